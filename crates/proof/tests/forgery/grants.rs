//! Forges logs with grants that should not have been issued, which a verifier must find.

use super::*;

/// Issues a grant after a change, which the test makes.
fn issue_with(world: &mut World, change: impl FnOnce(&mut GrantIssued)) {
    let mut issued = world.next_grant();
    change(&mut issued);
    world.log.append(World::ada(), Event::GrantIssued(issued));
}

pub fn citing_no_consent(world: &mut World) {
    let other = world.open();
    let id = match world.dice.roll(4) {
        0 => Vec::new(),
        1 => vec![world.dice.roll(256) as u8; 16],
        2 => other.id.to_vec(),
        _ => world.log.append(World::bob(), given(everything())).to_vec(),
    };
    issue_with(world, |issued| issued.allowed[0].consent = id);
}

pub fn citing_no_attribute(world: &mut World) {
    let id = match world.dice.roll(3) {
        0 => vec![world.dice.roll(256) as u8; 16],
        1 => world.consent().to_vec(),
        _ => world.log.append(World::bob(), recorded(attribute("other", "food"))).to_vec(),
    };
    issue_with(world, |issued| issued.allowed[0].attribute = id);
}

pub fn described_otherwise(world: &mut World) {
    let of_key = world.dice.roll(2) == 0;
    issue_with(world, |issued| match of_key {
        true => issued.allowed[0].key.push('x'),
        false => issued.allowed[0].category = "health".into(),
    });
}

pub fn outside_of_the_consent(world: &mut World) {
    let terms = match world.dice.roll(4) {
        0 => terms(&["advertising"], &[], &[]),
        1 => terms(&["personalization"], &["work"], &[]),
        2 => terms(&["personalization"], &[], &["shop"]),
        _ => ConsentTerms { interactions: vec!["chat-1".into()], ..everything() },
    };
    let consent = world.log.append(World::ada(), given(terms));
    let fact = Fact { id: [0; 16], key: "new".into(), category: "food".into() };
    let id = world.log.append(World::ada(), recorded(attribute(&fact.key, &fact.category)));
    let issued = world.grant_of(&Fact { id, ..fact }, consent);
    world.log.append(World::ada(), Event::GrantIssued(issued));
}

pub fn of_a_special_category(world: &mut World) {
    let category = world.dice.of(&["health", "allergy"]);
    let id = world.log.append(World::ada(), recorded(attribute("new", category)));
    let names = world.dice.roll(2) == 0;
    let terms = match names {
        true => terms(&["personalization"], &[category], &[]),
        false => ConsentTerms { explicit: true, ..everything() },
    };
    let consent = world.log.append(World::ada(), given(terms));
    let issued = world.grant_of(&Fact { id, key: "new".into(), category: category.into() }, consent);
    world.log.append(World::ada(), Event::GrantIssued(issued));
}

/// A decision that forbids every grant of Ada's.
pub fn forbidding(world: &mut World) -> Event {
    let food = Some(published_notice());
    let choices = PersonalBoundsSet::default();
    let only = vec!["shop".to_owned()];
    let never = vec![NeverUse { purposes: vec!["personalization".into()], ..NeverUse::default() }];
    let all = [
        withdrawn(everything()),
        withdrawn(ConsentTerms { notice: food, ..everything() }),
        refused(terms(&["tone-adaptation"], &[], &["bot"])),
        refused(terms(&[], &[], &[])),
        signal(SignalKind::Pause),
        signal(SignalKind::Restriction),
        signal(SignalKind::Objection),
        Event::PersonalBoundsSet(PersonalBoundsSet { paused: true, ..choices.clone() }),
        Event::PersonalBoundsSet(PersonalBoundsSet { ask_each_time: true, ..choices.clone() }),
        Event::PersonalBoundsSet(PersonalBoundsSet { only_recipients: only, ..choices.clone() }),
        Event::PersonalBoundsSet(PersonalBoundsSet { never, ..choices }),
    ];
    world.dice.of(&all)
}

pub fn after_a_decision_against_it(world: &mut World) {
    let (fact, consent) = (world.open().fact, world.consent());
    let change = forbidding(world);
    world.revoke_by(change);
    let issued = world.grant_of(&fact, consent);
    world.log.append(World::ada(), Event::GrantIssued(issued));
}

pub fn of_an_attribute_that_ended(world: &mut World) {
    let fact = Fact { id: [0; 16], key: "new".into(), category: "food".into() };
    let expires_at_ms = Some(world.log.now + 2000);
    let kind = world.dice.roll(6);
    let new = Attribute { expires_at_ms: expires_at_ms.filter(|_| kind == 0), ..attribute("new", "food") };
    let attribute_id = world.log.append(World::ada(), recorded(new));
    let attribute_bytes = attribute_id.to_vec();
    let other = Some(Attribute { value_json: "\"y\"".into(), ..attribute("new", "food") });
    let change = match kind {
        0 => Event::RecordViewed(RecordViewed::default()),
        1 => {
            Event::AttributeContested(AttributeContested { attribute: attribute_bytes, ..Default::default() })
        }
        2 => Event::AttributeRemoved(AttributeRemoved { attribute: attribute_bytes, ..Default::default() }),
        3 => Event::AttributeExpired(AttributeExpired { attribute: attribute_bytes, by_retention: true }),
        4 => Event::AttributeCorrected(AttributeCorrected { corrects: attribute_bytes, attribute: other }),
        _ => Event::AttributeRecorded(AttributeRecorded { attribute: other }),
    };
    world.log.append(World::ada(), change);
    world.log.now += 1000;
    let consent = world.consent();
    let issued = world.grant_of(&Fact { id: attribute_id, ..fact }, consent);
    world.log.append(World::ada(), Event::GrantIssued(issued));
}

pub fn by_other_bounds(world: &mut World) {
    let mut positions = world.in_force();
    match world.dice.roll(3) {
        0 => drop(positions.pop()),
        1 => positions.push(world.log.size() + 1),
        _ => positions.insert(0, 1),
    }
    issue_with(world, |issued| issued.bounds = positions);
}

pub fn during_a_restore(world: &mut World) {
    let restore = vec![world.dice.roll(256) as u8; 16];
    let restored = BackupRestored { restore, use_waits: true, ..BackupRestored::default() };
    world.log.append_rule(Role::Ledger, Event::BackupRestored(restored), None);
    if world.dice.roll(2) == 0 {
        let other = vec![0; 16];
        let confirmed = Event::RestoreConfirmed(RestoreConfirmed { restore: other });
        world.log.append_rule(Role::Ledger, confirmed, None);
    }
    issue_with(world, |_| ());
}

pub fn for_an_unknown_purpose(world: &mut World) {
    let purpose = world.dice.of(&["", "sale", "Tone-Adaptation"]);
    issue_with(world, |issued| issued.purpose = purpose.into());
}

pub fn of_what_was_not_requested(world: &mut World) {
    let by_key = world.dice.roll(2) == 0;
    issue_with(world, |issued| match by_key {
        true => issued.keys = vec!["another".into()],
        false => issued.categories = vec!["health".into()],
    });
}

pub fn for_longer_than_a_day(world: &mut World) {
    let more_ms = 1 + world.dice.roll(10_000_000) as u64;
    let expires_at_ms = world.log.now + 1000 + 24 * HOUR_MS + more_ms;
    issue_with(world, |issued| issued.expires_at_ms = expires_at_ms);
}

/// The operator erases the withdrawal, and says so. Then a verifier cannot know what is missing.
pub fn after_an_erased_decision(world: &mut World) {
    let (fact, consent) = (world.open().fact, world.consent());
    let change = forbidding(world);
    let position = world.log.size();
    world.log.append(World::ada(), change);
    let kind = world.dice.of(&[ErasedKind::Decision, ErasedKind::Unspecified]);
    world.log.erase_stating(&[(position, kind)]);
    let issued = world.grant_of(&fact, consent);
    world.log.append(World::ada(), Event::GrantIssued(issued));
}

/// The operator erases attributes, and cites more than those.
pub fn citing_more_than_was_erased(world: &mut World) {
    let positions = [0; 2].map(|_| {
        world.log.append(World::ada(), recorded(attribute("gone", "food")));
        world.log.size() - 1
    });
    let erased = 1 + world.dice.roll(2);
    let stated: Vec<_> = positions[..erased].iter().map(|at| (*at, ErasedKind::Attribute)).collect();
    world.log.erase_stating(&stated);
    let mut issued = world.next_grant();
    let invented =
        |number: usize| GrantedAttribute { attribute: vec![number as u8; 16], ..issued.allowed[0].clone() };
    issued.allowed = (0..=erased).map(invented).collect();
    world.log.append(World::ada(), Event::GrantIssued(issued));
}

/// The operator erases an attribute at the end of its retention, does not record that it ended, and continues
/// to grant it.
pub fn of_an_attribute_that_was_erased(world: &mut World) {
    let id = world.log.append(World::ada(), recorded(attribute("gone", "food")));
    let position = world.log.size() - 1;
    match world.dice.roll(3) {
        0 => world.log.erase(&[position], true),
        1 => world.log.erase_stating(&[(position, ErasedKind::Unspecified)]),
        _ => world.log.erase_stating(&[(position, ErasedKind::Attribute)]),
    }
    issue_with(world, |issued| issued.allowed[0].attribute = id.to_vec());
}

/// What is erased can hide no consent if it was an attribute.
pub fn on_a_consent_behind_an_erased_attribute(world: &mut World) {
    world.log.append(World::ada(), recorded(attribute("gone", "food")));
    let position = world.log.size() - 1;
    world.log.erase_stating(&[(position, ErasedKind::Attribute)]);
    let consent = vec![world.dice.roll(256) as u8; 16];
    issue_with(world, |issued| issued.allowed[0].consent = consent);
}

pub fn after_an_erasure_that_nothing_states(world: &mut World) {
    let change = forbidding(world);
    world.log.append(World::ada(), change);
    let position = world.log.size() - 1;
    world.log.erase(&[position], false);
    issue_with(world, |_| ());
}
