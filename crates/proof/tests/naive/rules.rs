//! Finds which published bounds are in force, and checks how rules were published: each version only once,
//! by a role that may publish it, with the signature that the log's edition requires.

use super::{Asked, Line, Log};
use ed25519_dalek::{Signature, VerifyingKey};
use prost::Message;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{EventBody, LegalBasis, NoticePublished, Role, Tier};
use std::collections::{BTreeMap, BTreeSet};

/// The positions of the bounds in force at the moment of a grant.
pub fn in_force(asked: Asked<'_>) -> Vec<u64> {
    // For each tier and pack, the latest time with its position.
    let mut latest: BTreeMap<(i32, &str), (u64, u64)> = BTreeMap::new();
    for (line, event) in asked.log.system(asked.position) {
        let Event::BoundsPublished(bounds) = event else { continue };
        if bounds.effective_from_ms > asked.now {
            continue;
        }
        let time = bounds.effective_from_ms.max(asked.log.moment(line));
        let kept = latest.entry((bounds.tier, &bounds.pack)).or_default();
        *kept = (*kept).max((time, line.position));
    }
    let positions: BTreeSet<u64> = latest.into_values().map(|(_, position)| position).collect();
    positions.into_iter().collect()
}

/// Whether a restore is not confirmed yet.
pub fn use_waits(asked: Asked<'_>) -> bool {
    let mut waits = None;
    for (line, event) in asked.log.system(asked.position) {
        let must_wait = asked.log.edition(line.position) >= 2;
        match event {
            Event::BackupRestored(restored) if restored.use_waits || must_wait => {
                waits = Some(&restored.restore);
            }
            Event::RestoreConfirmed(confirmed) if waits == Some(&confirmed.restore) => waits = None,
            _ => {}
        }
    }
    waits.is_some()
}

/// The positions of rules that were not published as they must be.
pub fn unsigned(log: Log<'_>) -> BTreeSet<u64> {
    let system = log.lines.iter().filter(|line| line.is_system() && line.body.is_some());
    system.filter(|line| is_at_fault(log, line)).map(|line| line.position).collect()
}

/// The origin of the logs of the tests.
const ORIGIN: &str = "sayso.example/acme";

fn is_at_fault(log: Log<'_>, line: &Line) -> bool {
    let Some(event) = line.event() else { return false };
    if is_repeated(log, line, event) {
        return true;
    }
    let signature = line.body.as_ref().and_then(|body| body.writer_signature.as_ref());
    let Some((tier, ..)) = rule_of(event) else {
        let is_bounds = matches!(event, Event::BoundsPublished(_));
        return is_bounds && (must_be_signed(log, line, event) || signature.is_some());
    };
    let role_may_publish = match line.role() {
        Role::Unspecified => true,
        Role::Ledger => is_at_beginning(log, line),
        role => role == if tier == "public" { Role::Authority } else { Role::Steward },
    };
    let Some(signature) = signature else {
        return !role_may_publish || must_be_signed(log, line, event);
    };
    let is_bound = signature.sequence != 0;
    let earlier = log.system(line.position).filter(|(_, other)| rule_of(other) == rule_of(event)).count();
    let recorded = log.recorded(line.position);
    let is_bound_rightly = is_bound
        && signature.sequence == earlier as u64 + 1
        && signature.signed_at_ms <= recorded + 300_000
        && recorded <= signature.signed_at_ms.saturating_add(2_592_000_000);
    let fits = if is_bound { is_bound_rightly } else { log.edition(line.position) < 4 };
    let is_other_tier = |(other, by): (&Line, &Event)| {
        let key = other.body.as_ref().and_then(|body| body.writer_signature.as_ref());
        rule_of(by).is_some_and(|(its, ..)| its != tier)
            && key.is_some_and(|key| key.public_key == signature.public_key)
            && is_signed(other)
    };
    !role_may_publish || !fits || !is_signed(line) || log.system(line.position).any(is_other_tier)
}

/// The tier, kind and name of what an event is a version of.
fn rule_of(event: &Event) -> Option<(&'static str, u8, &str)> {
    match event {
        Event::BoundsPublished(bounds) => match bounds.tier() {
            Tier::Public => Some(("public", 0, &bounds.pack)),
            Tier::Provider => Some(("provider", 0, &bounds.pack)),
            _ => None,
        },
        Event::PurposeDefined(defined) => Some(("provider", 1, &defined.id)),
        Event::CategoryDefined(defined) => Some(("provider", 2, &defined.id)),
        Event::NoticeRequired(required) => Some(("provider", 3, &required.id)),
        _ => None,
    }
}

/// Whether the ledger alone recorded everything up to an entry.
fn is_at_beginning(log: Log<'_>, line: &Line) -> bool {
    let by_ledger = |line: &Line| line.is_system() && line.body.is_some() && line.role() == Role::Ledger;
    log.before(line.position).count() as u64 == line.position
        && by_ledger(line)
        && log.before(line.position).all(by_ledger)
}

fn must_be_signed(log: Log<'_>, line: &Line, event: &Event) -> bool {
    let edition = log.edition(line.position);
    let is_new = || !log.system(line.position).any(|(_, other)| rule_of(other) == rule_of(event));
    let declares = |basis| !matches!(basis, LegalBasis::Unspecified | LegalBasis::Consent);
    match event {
        Event::NoticeRequired(_) => true,
        Event::PurposeDefined(defined) if declares(defined.legal_basis()) => true,
        Event::BoundsPublished(_) if edition >= 4 => !is_at_beginning(log, line),
        Event::BoundsPublished(_) => {
            let has_erased = log.before(line.position).count() as u64 != line.position;
            has_erased || log.before(line.position).any(|line| !line.is_system())
        }
        Event::PurposeDefined(_) | Event::CategoryDefined(_) => edition >= 2 && !is_new(),
        _ => false,
    }
}

fn is_repeated(log: Log<'_>, line: &Line, event: &Event) -> bool {
    let mut earlier = log.system(line.position);
    match event {
        Event::BoundsPublished(new) => earlier.any(|(_, old)| {
            matches!(old, Event::BoundsPublished(old)
                if (old.tier(), &old.pack, &old.version) == (new.tier(), &new.pack, &new.version))
        }),
        Event::NoticePublished(new) => {
            let named = |of: &NoticePublished| {
                let notice = of.notice.clone().unwrap_or_default();
                (notice.id, notice.version)
            };
            earlier.any(|(_, old)| matches!(old, Event::NoticePublished(old) if named(old) == named(new)))
        }
        Event::NoticeRequired(_) => earlier.any(|(_, old)| old == event),
        Event::PurposeDefined(_) | Event::CategoryDefined(_) => {
            log.edition(line.position) >= 2
                && !is_at_beginning(log, line)
                && earlier.any(|(of, old)| old == event && !is_at_beginning(log, of))
        }
        _ => false,
    }
}

fn is_signed(line: &Line) -> bool {
    let Some(body) = &line.body else { return false };
    let (Some(by), Some(event)) = (&body.writer_signature, &body.event) else { return false };
    let (Ok(key), Ok(signature)) = (by.public_key.as_slice().try_into(), by.signature.as_slice().try_into())
    else {
        return false;
    };
    let Ok(key) = VerifyingKey::from_bytes(key) else { return false };
    let tier = rule_of(event).map_or("", |(tier, ..)| tier);
    let (sequence, at) = (by.sequence, by.signed_at_ms);
    let before = match (sequence, at) {
        (0, 0) => "sayso writer signature v1\n".to_owned(),
        (0, _) | (_, 0) => return false,
        _ => format!("sayso rule signature v2\n{ORIGIN}\n{tier}\n{sequence}\n{at}\n"),
    };
    let event = EventBody { event: body.event.clone(), ..EventBody::default() };
    let signed = [before.as_bytes(), &event.encode_to_vec()].concat();
    by.algorithm == -8 && key.verify_strict(&signed, &Signature::from_bytes(signature)).is_ok()
}
