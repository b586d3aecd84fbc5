//! Forges logs that conceal the end of a grant. For example, a revocation is missing, or the grant lasts
//! longer than a consent or attribute that it rests on. Other logs report on grants that never existed.

use super::grants::forbidding;
use super::*;

const DAY_MS: u64 = 24 * HOUR_MS;

fn append(world: &mut World, event: Event) -> Id {
    world.log.append(World::ada(), event)
}

fn viewed() -> Event {
    Event::RecordViewed(RecordViewed::default())
}

/// An erasure that nobody asked for, and that is never completed, hides that a decision revoked nothing.
pub fn behind_an_invented_erasure(world: &mut World) {
    let (open, change) = (world.open(), forbidding(world));
    append(world, change);
    let request = vec![world.dice.roll(256) as u8; 16];
    let scope = ErasureScope::All.into();
    let erasure = Event::ErasureRequested(ErasureRequested { request, scope });
    match world.dice.roll(2) {
        0 => drop(world.log.append_at_same_time(World::ada(), erasure)),
        _ => drop(append(world, erasure)),
    }
    world.log.now += world.dice.of(&[0, 600_000, 10 * HOUR_MS]);
    let used = Event::GrantUsed(World::use_of(&open));
    let next = world.dice.of(&[used, viewed()]);
    append(world, next);
}

/// The consent, the attribute or its source ends within a minute, and the grant lasts for hours.
pub fn of_what_ends_before_the_grant(world: &mut World) {
    let ends_ms = Some(world.log.now + 60_000);
    let kind = world.dice.roll(3);
    let source = Attribute { expires_at_ms: ends_ms.filter(|_| kind == 0), ..attribute("source", "food") };
    let source = append(world, recorded(source)).to_vec();
    let derived_from = if kind == 0 { vec![source] } else { Vec::new() };
    let expires_at_ms = ends_ms.filter(|_| kind == 1);
    let fact = recorded(Attribute { expires_at_ms, derived_from, ..attribute("new", "food") });
    let fact = Fact { id: append(world, fact), key: "new".into(), category: "food".into() };
    let consent = ConsentTerms { until_ms: ends_ms.filter(|_| kind == 2), ..everything() };
    let consent = append(world, given(consent));
    let issued = world.grant_of(&fact, consent);
    append(world, Event::GrantIssued(issued));
}

/// An attribute was erased, and then grants are reported on that never existed.
pub fn of_no_grant_behind_an_erased_attribute(world: &mut World) {
    let open = world.open();
    append(world, recorded(attribute("gone", "food")));
    let position = world.log.size() - 1;
    world.log.erase_stating(&[(position, ErasedKind::Attribute)]);
    let grant = vec![world.dice.roll(256) as u8; 16];
    let recipient = String::from("bot");
    let events = [
        Event::GrantUsed(GrantUsed { grant: grant.clone(), ..World::use_of(&open) }),
        Event::GrantGivenAgain(GrantGivenAgain { grant: grant.clone(), recipient, ..Default::default() }),
        Event::GrantRevoked(GrantRevoked { grant: grant.clone(), ..World::revocation(&open) }),
        Event::ArtifactRegistered(ArtifactRegistered { grant: grant.clone(), ..artifact_of(&open) }),
        Event::ArtifactInvalidated(ArtifactInvalidated { artifact: grant.clone(), ..Default::default() }),
        Event::RequestWithdrawn(RequestWithdrawn { request: grant.clone() }),
        Event::ConsentExpired(ConsentExpired { consent: grant.clone() }),
        Event::HoldLifted(HoldLifted { hold: grant, ..Default::default() }),
    ];
    let event = world.dice.of(&events);
    append(world, event);
}

/// More grants are reported on than entries are missing.
pub fn of_more_grants_than_are_missing(world: &mut World) {
    let open = world.open();
    append(world, viewed());
    let position = world.log.size() - 1;
    match world.dice.roll(3) {
        0 => world.log.erase(&[position], true),
        1 => world.log.erase_stating(&[(position, ErasedKind::Unspecified)]),
        _ => world.log.erase_stating(&[(position, ErasedKind::Other)]),
    }
    for number in 0..2 {
        append(world, Event::GrantUsed(GrantUsed { grant: vec![number; 16], ..World::use_of(&open) }));
    }
}

/// Revocations are announced, and never recorded. Meanwhile the grants expire, and something is allowed
/// again.
pub fn of_announced_revocations(world: &mut World) {
    let change = forbidding(world);
    append(world, change);
    let left = 1 + world.dice.roll(300) as u32;
    let pending = Event::RevocationsPending(RevocationsPending { left: left + 100 });
    world.log.append_at_same_time(World::ada(), pending);
    world.log.now += world.dice.of(&[2, 30]) * DAY_MS;
    let next = world.dice.of(&[given(everything()), recorded(attribute("new", "food"))]);
    append(world, next);
}

/// Fewer revocations are announced than grants are contradicted.
pub fn of_more_than_was_announced(world: &mut World) {
    let issued = world.next_grant();
    append(world, Event::GrantIssued(issued));
    let change = forbidding(world);
    append(world, change);
    let pending = Event::RevocationsPending(RevocationsPending { left: 1 });
    world.log.append_at_same_time(World::ada(), pending);
}

/// Requests are answered with a grant that ended long ago, at no stated times.
pub fn given_again_at_no_stated_time(world: &mut World) {
    let adopted = Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 5 });
    world.log.append_rule(Role::Ledger, adopted, None);
    let open = world.open();
    world.log.now = open.expires_at_ms + 2 * DAY_MS;
    let (first_ms, last_ms) = (open.expires_at_ms - 1000, open.expires_at_ms - 1);
    let right =
        GrantGivenAgain { grant: open.id.to_vec(), count: 1000, first_ms, last_ms, recipient: "bot".into() };
    let wrong = match world.dice.roll(4) {
        0 => GrantGivenAgain { first_ms: 0, last_ms: 0, ..right },
        1 => GrantGivenAgain { first_ms: 0, ..right },
        2 => GrantGivenAgain { last_ms: 0, ..right },
        _ => GrantGivenAgain { recipient: String::new(), ..right },
    };
    append(world, Event::GrantGivenAgain(wrong));
}

pub fn artifact_of(open: &Open) -> ArtifactRegistered {
    ArtifactRegistered {
        recipient: "bot".into(),
        sources: vec![open.fact.id.to_vec()],
        grant: open.id.to_vec(),
        purpose: "tone-adaptation".into(),
        ..ArtifactRegistered::default()
    }
}

/// A decision revokes the grants, and not what was built with them.
pub fn of_an_artifact(world: &mut World) {
    let open = world.open();
    let artifact = artifact_of(&open);
    // Without sources, it may have been built from all that the grant allows.
    let sources = if world.dice.roll(2) == 0 { Vec::new() } else { artifact.sources.clone() };
    append(world, Event::ArtifactRegistered(ArtifactRegistered { sources, ..artifact }));
    let change = forbidding(world);
    world.revoke_by(change);
    if world.dice.roll(2) == 0 {
        world.log.now += world.dice.of(&[1000, 2 * DAY_MS]);
        append(world, viewed());
    }
}
