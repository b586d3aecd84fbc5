//! Forges entries with false times, which a verifier must find.

use super::*;

/// A yes that is sealed ahead, so that it seems newer than the withdrawal after it.
pub fn a_yes_ahead_of_a_withdrawal(world: &mut World) {
    let fact = world.open().fact;
    let now = world.log.now + 1000;
    let ahead_ms = world.dice.of(&[1, 500, 60_000, HOUR_MS, 1000 * HOUR_MS]);
    let yes = EventBody { about_ms: now + ahead_ms, ..body(given(everything())) };
    let consent = world.log.append_body(World::ada(), now + ahead_ms, &yes);
    world.log.now = now;
    world.revoke_by(withdrawn(everything()));
    let issued = world.grant_of(&fact, consent);
    world.log.append(World::ada(), Event::GrantIssued(issued));
}

/// A yes that states a time after the withdrawal.
pub fn a_yes_about_a_later_time(world: &mut World) {
    let fact = world.open().fact;
    world.log.about_ms = Some(world.log.now + HOUR_MS * (1 + world.dice.roll(100) as u64));
    let consent = world.log.append(World::ada(), given(everything()));
    world.log.about_ms = None;
    world.revoke_by(withdrawn(everything()));
    let issued = world.grant_of(&fact, consent);
    world.log.append(World::ada(), Event::GrantIssued(issued));
}

/// A yes from before a withdrawal that is recorded after it.
pub fn a_late_yes_from_before_a_withdrawal(world: &mut World) {
    let fact = world.open().fact;
    world.revoke_by(withdrawn(everything()));
    let late_ms = 2000 + world.dice.roll(10_000_000) as u64;
    let consent = world.log.append_late(World::ada(), given(everything()), late_ms);
    let issued = world.grant_of(&fact, consent);
    world.log.append(World::ada(), Event::GrantIssued(issued));
}

/// A grant that is dated back to before an attribute expired.
pub fn a_grant_from_before_an_expiry(world: &mut World) {
    let expires_at_ms = world.log.now + 10_000;
    let new = Attribute { expires_at_ms: Some(expires_at_ms), ..attribute("new", "food") };
    let id = world.log.append(World::ada(), recorded(new));
    world.log.now = expires_at_ms + 1000 + world.dice.roll(10_000_000) as u64;
    world.log.append(World::bob(), Event::RecordViewed(RecordViewed::default()));
    let consent = world.consent();
    let issued = world.grant_of(&Fact { id, key: "new".into(), category: "food".into() }, consent);
    let grant = body(Event::GrantIssued(issued));
    world.log.append_body(World::ada(), expires_at_ms - 1, &grant);
}

/// An entry that was sealed long before it was recorded.
pub fn an_old_entry(world: &mut World) {
    let back_ms = 121_000 + world.dice.roll(1_000_000_000) as u64;
    let handle = world.dice.of(&[World::ada(), World::bob(), Handle::SYSTEM]);
    let sealed_at_ms = world.log.recorded.last().unwrap() - back_ms;
    let viewed = Event::RecordViewed(RecordViewed::default());
    let viewed = EventBody { about_ms: sealed_at_ms, ..body(viewed) };
    world.log.append_body(handle, sealed_at_ms, &viewed);
}
