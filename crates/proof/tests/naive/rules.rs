//! Published rules: which bounds are in force, and whether rules are signed.

use super::{Asked, Line, Log};
use ed25519_dalek::{Signature, VerifyingKey};
use prost::Message;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{EventBody, LegalBasis, Role};
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
    for (_, event) in asked.log.system(asked.position) {
        match event {
            Event::BackupRestored(restored) if restored.use_waits => waits = Some(&restored.restore),
            Event::RestoreConfirmed(confirmed) if waits == Some(&confirmed.restore) => waits = None,
            _ => {}
        }
    }
    waits.is_some()
}

/// The positions of published rules that have no valid signature, or repeat an earlier definition.
pub fn unsigned(log: Log<'_>) -> BTreeSet<u64> {
    let system = log.lines.iter().filter(|line| line.is_system() && line.body.is_some());
    system.filter(|line| is_unsigned(log, line)).map(|line| line.position).collect()
}

fn is_unsigned(log: Log<'_>, line: &Line) -> bool {
    let Some(event) = line.event() else { return false };
    let people_before = log.before(line.position).any(|line| !line.is_system());
    let edition = log.edition(line.position);
    let definitions: Vec<(&Line, &Event)> =
        log.system(line.position).filter(|(_, other)| id_of(other).is_some()).collect();
    let replaces = definitions.iter().any(|(_, other)| id_of(other) == id_of(event));
    let must_be_signed = match event {
        Event::NoticeRequired(_) => true,
        Event::PurposeDefined(defined) if declares(defined.legal_basis()) => true,
        Event::BoundsPublished(_) => people_before,
        Event::PurposeDefined(_) | Event::CategoryDefined(_) => edition >= 2 && replaces,
        _ => return false,
    };
    let repeats = edition >= 2
        && line.role() != Role::Ledger
        && definitions.iter().any(|(earlier, other)| earlier.role() != Role::Ledger && *other == event);
    let signed = line.body.as_ref().and_then(|body| body.writer_signature.as_ref());
    let is_checked = must_be_signed || matches!(event, Event::BoundsPublished(_)) && signed.is_some();
    repeats || is_checked && !is_signed(line.body.as_ref())
}

fn declares(basis: LegalBasis) -> bool {
    !matches!(basis, LegalBasis::Unspecified | LegalBasis::Consent)
}

fn id_of(event: &Event) -> Option<(bool, &str)> {
    match event {
        Event::PurposeDefined(defined) => Some((true, &defined.id)),
        Event::CategoryDefined(defined) => Some((false, &defined.id)),
        _ => None,
    }
}

fn is_signed(body: Option<&EventBody>) -> bool {
    let Some(body) = body else { return false };
    let Some(by) = &body.writer_signature else { return false };
    let (Ok(key), Ok(signature)) = (by.public_key.as_slice().try_into(), by.signature.as_slice().try_into())
    else {
        return false;
    };
    let Ok(key) = VerifyingKey::from_bytes(key) else { return false };
    let event = EventBody { event: body.event.clone(), ..EventBody::default() };
    let signed = [b"sayso writer signature v1\n".as_slice(), &event.encode_to_vec()].concat();
    by.algorithm == -8 && key.verify_strict(&signed, &Signature::from_bytes(signature)).is_ok()
}
