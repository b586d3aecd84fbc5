//! Forges false events about grants that were valid when they were issued, and events in the wrong place (a
//! system event in a person's stream, or the reverse).

use super::grants::forbidding;
use super::*;

fn report(world: &mut World, used: GrantUsed) {
    world.log.append(World::ada(), Event::GrantUsed(used));
}

pub fn after_the_expiry(world: &mut World) {
    let open = world.open();
    world.log.now = open.expires_at_ms + world.dice.roll(100_000) as u64;
    report(world, World::use_of(&open));
}

pub fn after_the_revocation(world: &mut World) {
    let change = forbidding(world);
    let open = world.revoke_by(change);
    world.log.now += world.dice.roll(100_000) as u64;
    report(world, World::use_of(&open));
}

pub fn before_the_grant(world: &mut World) {
    let open = world.open();
    let late_ms = 302_000 + world.dice.roll(1_000_000_000) as u64;
    world.log.append_late(World::ada(), Event::GrantUsed(World::use_of(&open)), late_ms);
}

pub fn of_no_grant(world: &mut World) {
    let used = World::use_of(&world.open());
    let invented = vec![world.dice.roll(256) as u8; 16];
    match world.dice.roll(3) {
        0 => report(world, GrantUsed { grant: invented, ..used }),
        1 => report(world, GrantUsed { grant: world.consent().to_vec(), ..used }),
        _ => drop(world.log.append(World::bob(), Event::GrantUsed(used))),
    }
}

pub fn shaped_by_something_else(world: &mut World) {
    let other = match world.dice.roll(2) {
        0 => vec![world.dice.roll(256) as u8; 16],
        _ => world.log.append(World::ada(), recorded(attribute("other", "food"))).to_vec(),
    };
    let mut used = World::use_of(&world.open());
    used.shaped_by.push(other);
    report(world, used);
}

pub fn by_another_recipient(world: &mut World) {
    let used = Event::GrantUsed(World::use_of(&world.open()));
    let actor = Some(Actor { role: Role::Service.into(), name: world.dice.of(&["shop", "bot2"]).into() });
    world.log.now += 1000;
    let now = world.log.now;
    world.log.append_body(World::ada(), now, &EventBody { about_ms: now, actor, ..body(used) });
}

/// The service records that the person consented, or took back a no.
pub fn of_what_the_service_says_for_the_person(world: &mut World) {
    let adopted = Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 5 });
    world.log.append_rule(Role::Ledger, adopted, None);
    let attribute = world.open().fact.id.to_vec();
    let said = world.dice.of(&[
        given(everything()),
        Event::ConsentRenewed(ConsentRenewed { terms: Some(everything()) }),
        Event::SignalLifted(SignalLifted { kind: SignalKind::Pause.into(), ..SignalLifted::default() }),
        Event::AttributeConfirmed(AttributeConfirmed { attribute }),
        Event::PersonalBoundsSet(PersonalBoundsSet::default()),
    ]);
    let role = world.dice.of(&[Role::Service, Role::Ledger, Role::Auditor, Role::Unspecified]);
    let actor = Some(Actor { role: role.into(), name: "bot".into() });
    world.log.now += 1000;
    let now = world.log.now;
    world.log.append_body(World::ada(), now, &EventBody { about_ms: now, actor, ..body(said) });
}

pub fn without_a_revocation(world: &mut World) {
    let change = forbidding(world);
    world.log.append(World::ada(), change);
    if world.dice.roll(2) == 0 {
        let next = world.dice.of(&[Event::RecordViewed(RecordViewed::default()), given(everything())]);
        world.log.append(World::ada(), next);
    }
}

pub fn with_something_allowed_before_announced_revocations(world: &mut World) {
    let change = forbidding(world);
    world.log.append(World::ada(), change);
    let left = 1 + world.dice.roll(3) as u32;
    world.log.append_at_same_time(World::ada(), Event::RevocationsPending(RevocationsPending { left }));
    let next = match world.dice.roll(2) {
        0 => given(everything()),
        _ => Event::RevocationsPending(RevocationsPending { left: 0 }),
    };
    world.log.append(World::ada(), next);
}

pub fn with_a_revocation_of_something_else(world: &mut World) {
    world.log.append(World::ada(), Event::RecordViewed(RecordViewed::default()));
    let mut revoked = World::revocation(&world.open());
    match world.dice.roll(4) {
        0 => revoked.recipient = "shop".into(),
        1 => revoked.grant_id.push('0'),
        2 => revoked.cause = vec![7; 16],
        _ => revoked.grant = vec![7; 16],
    }
    world.log.append(World::ada(), Event::GrantRevoked(revoked));
}

pub fn with_a_false_artifact(world: &mut World) {
    let open = world.open();
    let mut artifact = ArtifactRegistered {
        recipient: "bot".into(),
        sources: vec![open.fact.id.to_vec()],
        grant: open.id.to_vec(),
        purpose: "tone-adaptation".into(),
        ..ArtifactRegistered::default()
    };
    match world.dice.roll(6) {
        0 => artifact.recipient = "shop".into(),
        1 => artifact.purpose = "advertising".into(),
        2 => artifact.grant = vec![7; 16],
        3 => artifact.sources.push(vec![7; 16]),
        4 => world.log.now = open.expires_at_ms,
        _ => drop(world.revoke_by(withdrawn(everything()))),
    }
    world.log.append(World::ada(), Event::ArtifactRegistered(artifact));
}

pub fn given_again_after_its_end(world: &mut World) {
    let open = world.revoke_by(withdrawn(everything()));
    let first_ms = world.log.now;
    let last_ms = first_ms + 61_000 + world.dice.roll(1_000_000) as u64;
    let (grant, recipient) = (open.id.to_vec(), "bot".into());
    let again = GrantGivenAgain { grant, count: 2, first_ms, last_ms, recipient };
    world.log.append(World::ada(), Event::GrantGivenAgain(again));
}

/// The grant withholds what the person does not have, or not for this reason.
pub fn with_a_false_reason_for_withholding(world: &mut World) {
    let id = world.log.append(World::ada(), recorded(attribute("sick", "health")));
    let fact = world.open().fact;
    let mut issued = world.next_grant();
    issued.keys = vec![fact.key, "sick".into()];
    let mut class = WithheldClass {
        category: "health".into(),
        count: 1,
        reason: Reason::NotExplicit.into(),
        decided_by: Tier::Public.into(),
        policy: "built-in/consent".into(),
        decided_by_event: world.consent().to_vec(),
        ..WithheldClass::default()
    };
    match world.dice.roll(5) {
        0 => class.count = 2,
        1 => class.category = "money".into(),
        2 => class.reason = Reason::Objected.into(),
        3 => class.decided_by_event = id.to_vec(),
        _ => class.decided_by_event = vec![7; 16],
    }
    issued.withheld = vec![class];
    world.log.append(World::ada(), Event::GrantIssued(issued));
}

pub fn about_a_false_notice(world: &mut World) {
    let mut notice = published_notice();
    match world.dice.roll(3) {
        0 => notice.version = "2".into(),
        1 => notice.id = "other".into(),
        _ => notice.digest = vec![world.dice.roll(256) as u8; 32],
    }
    let terms = ConsentTerms { notice: Some(notice), ..everything() };
    let decision = match world.dice.roll(2) {
        0 => given(terms),
        _ => Event::ConsentRequested(ConsentRequested { terms: Some(terms) }),
    };
    world.log.append(World::ada(), decision);
}

pub fn with_another_text_of_a_notice(world: &mut World) {
    let version = world.dice.of(&["1", "2"]);
    let notice = Some(NoticeRef { version: version.into(), ..published_notice() });
    let text = format!("We ask {}.", world.dice.roll(1000));
    let published = Event::NoticePublished(NoticePublished { notice, text });
    world.log.append_rule(Role::Steward, published, None);
}

pub fn about_nobody(world: &mut World) {
    let issued = Event::GrantIssued(world.next_grant());
    let events = [issued, given(everything()), recorded(attribute("new", "food")), signal(SignalKind::Pause)];
    let event = world.dice.of(&events);
    world.log.append_rule(Role::Service, event, None);
}

pub fn about_a_person_instead_of_the_log(world: &mut World) {
    let rules = [
        purpose("new", "", "New"),
        category("new", "", false),
        bounds(Tier::Provider, "new", "1"),
        Event::ErasureCompleted(ErasureCompleted::default()),
        Event::RestoreConfirmed(RestoreConfirmed { restore: vec![1; 16] }),
        Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 4 }),
    ];
    let event = world.dice.of(&rules);
    world.log.append(World::ada(), event);
}

pub fn with_an_id_that_occurs_twice(world: &mut World) {
    let position = world.dice.roll(world.log.size() as usize) as u64;
    world.log.next_event_id = Some(event_id(position));
    match world.dice.roll(3) {
        0 => drop(world.log.append(World::ada(), recorded(attribute("new", "food")))),
        1 => drop(world.log.append(World::bob(), given(everything()))),
        _ => drop(world.log.append_rule(Role::Steward, purpose("new", "", "New"), None)),
    }
}

pub fn naming_what_the_person_does_not_have(world: &mut World) {
    let of_bob = world.log.append(World::bob(), recorded(attribute("other", "food"))).to_vec();
    let id = world.dice.of(&[of_bob, vec![7; 16], world.open().id.to_vec()]);
    let request = id.clone();
    let corrected = Some(attribute("new", "food"));
    let derived = Attribute { derived_from: vec![id.clone()], ..attribute("new", "food") };
    let events = [
        Event::AttributeContested(AttributeContested { attribute: id.clone(), ..Default::default() }),
        Event::AttributeConfirmed(AttributeConfirmed { attribute: id.clone() }),
        Event::AttributeCorrected(AttributeCorrected { corrects: id.clone(), attribute: corrected }),
        recorded(derived),
        Event::ConsentExpired(ConsentExpired { consent: id.clone() }),
        Event::RequestDecided(RequestDecided { request: request.clone(), ..Default::default() }),
        Event::RequestWithdrawn(RequestWithdrawn { request }),
        Event::HoldLifted(HoldLifted { hold: id, ..Default::default() }),
    ];
    let event = world.dice.of(&events);
    world.log.append(World::ada(), event);
}
