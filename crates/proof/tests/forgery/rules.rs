//! Forges rules that no publisher signed or could sign, and definitions that change what people agreed to.

use super::*;
use sayso_proof::writer;

const DAY_MS: u64 = 86_400_000;

fn next_house(world: &World) -> (Event, u64) {
    let version = world.house_versions + 1;
    (bounds(Tier::Provider, "house", &version.to_string()), version)
}

pub fn unsigned(world: &mut World) {
    let (house, _) = next_house(world);
    let basis = PurposeDefined { id: "new".into(), ..PurposeDefined::default() };
    let basis = PurposeDefined { legal_basis: LegalBasis::LegitimateInterest.into(), ..basis };
    let (id, version) = ("n".into(), "1".into());
    let rules = [
        house,
        bounds(Tier::Provider, "another", "1"),
        purpose("tone-adaptation", "personalization", "Tone and mood"),
        category("money", "", true),
        Event::PurposeDefined(basis),
        Event::NoticeRequired(NoticeRequired { id, version, effective_from_ms: 0 }),
    ];
    let rule = world.dice.of(&rules);
    world.log.append_rule(Role::Steward, rule, None);
}

pub fn signed_for_another_place(world: &mut World) {
    let (event, sequence) = next_house(world);
    let now = world.log.now;
    let ahead_ms = 302_000 + world.dice.roll(1_000_000_000) as u64;
    let old_ms = 30 * DAY_MS + 2000 + world.dice.roll(1_000_000_000) as u64;
    let (origin, sequence, signed_at_ms) = match world.dice.roll(6) {
        0 => ("sayso.example/other", sequence, now),
        1 => (ORIGIN, sequence - 1, now),
        2 => (ORIGIN, sequence + 1 + world.dice.roll(100) as u64, now),
        3 => (ORIGIN, sequence, now + ahead_ms),
        4 => (ORIGIN, sequence, now - old_ms),
        _ => ("", sequence, now),
    };
    let binding = Binding { origin, sequence: sequence.max(1), signed_at_ms };
    let signature = match binding.sequence {
        1 if sequence == 0 => None,
        _ => Some(writer::sign(&event, binding, &steward()).unwrap()),
    };
    world.log.append_rule(Role::Steward, event, signature);
}

/// The operator changes what the steward signed.
pub fn changed_after_the_signature(world: &mut World) {
    let (event, sequence) = next_house(world);
    let mut signature = world.signed(&event, sequence, &steward());
    let mut published = match event {
        Event::BoundsPublished(published) => published,
        _ => panic!(),
    };
    match world.dice.roll(5) {
        0 => published.policies = "permit(principal, action, resource);".into(),
        1 => published.pack = "another".into(),
        2 => published.effective_from_ms = 7,
        3 => signature.signed_at_ms += 1,
        _ => signature.public_key = authority().verifying_key().to_bytes().to_vec(),
    }
    world.log.append_rule(Role::Steward, Event::BoundsPublished(published), Some(signature));
}

/// An old version is published again, with its old signature or a new one.
pub fn published_again(world: &mut World) {
    let (event, sequence) = next_house(world);
    let signature = world.signed(&event, sequence, &steward());
    world.log.append_rule(Role::Steward, event.clone(), Some(signature.clone()));
    let signature = match world.dice.roll(2) {
        0 => signature,
        _ => world.signed(&event, sequence + 1, &steward()),
    };
    world.log.append_rule(Role::Steward, event, Some(signature));
}

pub fn by_the_wrong_author(world: &mut World) {
    let (house, version) = next_house(world);
    let law = bounds(Tier::Public, "law", "1");
    match world.dice.roll(4) {
        0 => world.publish(Role::Authority, house, version, &steward()),
        1 => world.publish(Role::Steward, law, 1, &authority()),
        2 => world.publish(Role::Service, house, version, &steward()),
        _ => world.publish(Role::Ledger, house, version, &steward()),
    }
}

pub fn with_a_key_of_the_other_tier(world: &mut World) {
    let (house, version) = next_house(world);
    let law = bounds(Tier::Public, "law", "1");
    let (of_house, of_law) = match world.dice.roll(2) {
        0 => (steward(), steward()),
        _ => (authority(), authority()),
    };
    world.publish(Role::Steward, house, version, &of_house);
    world.publish(Role::Authority, law, 1, &of_law);
}

/// Definitions that the steward signed, and that no definition may say.
pub fn that_no_definition_may_say(world: &mut World) {
    let all = [
        category("health", "", false),
        category("allergy", "preference", true),
        category("food", "", false),
        category("food", "work", false),
        category("preference", "food", false),
        purpose("tone-adaptation", "", "Tone"),
        purpose("personalization", "tone-adaptation", "Adapt"),
        purpose("personalization", "personalization", "Adapt"),
    ];
    let event = world.dice.of(&all);
    world.publish(Role::Steward, event, 2, &steward());
}

/// A word is redefined after the consent, and a grant uses the consent for the new meaning.
pub fn that_widen_a_consent(world: &mut World) {
    let (fact, consent) = (world.open().fact, world.consent());
    let moved = world.dice.roll(2) == 0;
    let event = match moved {
        true => purpose("advertising", "personalization", "Advertise"),
        false => purpose("tone-adaptation", "personalization", "Sell"),
    };
    world.publish(Role::Steward, event, 2, &steward());
    let mut issued = world.grant_of(&fact, consent);
    if moved {
        issued.purpose = "advertising".into();
    }
    world.log.append(World::ada(), Event::GrantIssued(issued));
}

/// A consent to an earlier version of a notice than the required one allows nothing.
pub fn that_require_another_notice(world: &mut World) {
    let terms = ConsentTerms { notice: Some(published_notice()), ..everything() };
    let consent = world.log.append(World::ada(), given(terms));
    let fact = world.open().fact;
    // The other consent names no notice, so it would do.
    let version = format!("{}", 2 + world.dice.roll(100));
    let notice = Some(NoticeRef { version: version.clone(), ..published_notice() });
    let published = Event::NoticePublished(NoticePublished { notice, text: "We ask.".into() });
    world.log.append_rule(Role::Steward, published, None);
    let required = NoticeRequired { id: "n".into(), version, effective_from_ms: 0 };
    world.publish(Role::Steward, Event::NoticeRequired(required), 1, &steward());
    let issued = world.grant_of(&fact, consent);
    world.log.append(World::ada(), Event::GrantIssued(issued));
}

pub fn unsigned_after_everybody_was_erased(world: &mut World) {
    let handles = PEOPLE.map(subject);
    let is_of_a_person = |at: &u64| {
        let header = sayso_proof::entry::parse_header(&world.log.entries[*at as usize]).unwrap();
        handles.contains(&header.handle)
    };
    let positions: Vec<u64> = (0..world.log.size()).filter(is_of_a_person).collect();
    world.log.erase(&positions, true);
    let (house, _) = next_house(world);
    let role = world.dice.of(&[Role::Ledger, Role::Steward]);
    world.log.append_rule(role, house, None);
}
