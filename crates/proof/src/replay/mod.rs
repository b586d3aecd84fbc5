//! Replays every grant against its data subject's earlier events, and reports those that should not have been
//! issued.
//!
//! The replay implements the rules of `docs/format.md`. It deliberately shares no code with the daemon's
//! decision, so that a fault in the daemon is not repeated here.
//!
//! Published bounds are packs of policies that limit use. The replay has no policy engine and does not
//! evaluate these policies. It checks that published bounds are signed by their publisher, and that a grant
//! cites exactly the bounds in force. A data subject's own bounds need no policy engine, so the replay
//! applies them in full.

mod age;
mod attribute;
mod bounds;
mod consent;
mod decisions;
mod effort;
mod fault;
mod grant;
#[cfg(test)]
#[path = "tests/index.rs"]
mod index_tests;
mod kept_only;
mod minimize;
mod notices;
mod personal_bounds;
mod signals;
mod signed_rules;
mod sources;
mod subject;
mod vocabulary;

use crate::entry::{Handle, Header};
use crate::event::{EventBody, Role, event_body::Event};
use bounds::Bounds;
use grant::{GrantCheck, GrantContext};
use serde::Serialize;
use std::collections::HashMap;
use subject::{RecordedAt, Subject};
use vocabulary::Vocabulary;

pub use fault::{Fault, Finding};
pub(crate) use minimize::minimize;
pub(crate) use signed_rules::SignedRules;

/// Maximum number of findings kept. Further ones are only counted.
const FINDINGS_MAX: usize = 1000;

/// The result of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Grants replayed.
    pub replayed: u64,
    /// Grants that cannot be replayed, because earlier events of their data subject are erased or withheld.
    pub not_replayable: u64,
    /// Grants that should not have been issued.
    pub unjustified: u64,
    /// Versions of bounds, and definitions that replace another one, without a valid signature by their
    /// publisher.
    pub bounds_unsigned: u64,
    /// The first 1000 findings.
    pub findings: Vec<Finding>,
}

impl Replayed {
    /// Adds a finding of unsigned bounds.
    pub(crate) fn add_unsigned_bounds(&mut self, position: u64) {
        self.bounds_unsigned += 1;
        self.add(Finding { position, grant: String::new(), attribute: None, fault: Fault::UnsignedBounds });
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// Adds the result for other data subjects of the same log.
    pub(crate) fn merge(&mut self, other: Self) {
        self.replayed += other.replayed;
        self.not_replayable += other.not_replayable;
        self.unjustified += other.unjustified;
        self.bounds_unsigned += other.bounds_unsigned;
        self.findings.extend(other.findings);
        self.findings.sort_by_key(|finding| finding.position);
        self.findings.truncate(FINDINGS_MAX);
    }
}

/// The state of a log up to the last entry applied, for all or some of its data subjects. Entries are applied
/// in order of position.
#[derive(Default)]
pub struct Replay {
    vocabulary: Vocabulary,
    bounds: Bounds,
    signed_rules: SignedRules,
    // Unordered: looked up, never iterated.
    subjects: HashMap<Handle, Subject>,
    /// The last restore that has to be confirmed before data may be used.
    unconfirmed_restore: Option<Vec<u8>>,
    result: Replayed,
}

impl Replay {
    /// Applies the next entry, without a body if the body is withheld. Skip erased entries: the replay
    /// notices each one by the gap in the version numbers of its data subject's stream.
    pub fn apply(&mut self, position: u64, header: &Header, body: Option<&EventBody>) {
        if header.handle != Handle::SYSTEM {
            return self.apply_subject_entry(position, header, body.is_some(), body);
        }
        if body.is_some_and(|body| self.signed_rules.is_unsigned(body, !self.subjects.is_empty())) {
            self.result.add_unsigned_bounds(position);
        }
        let is_first = self.signed_rules.is_at_beginning();
        if let Some(event) = body.and_then(|body| body.event.as_ref()) {
            self.apply_system_event(position, header.sealed_at_ms, is_first, event);
        }
    }

    /// Applies a system event. Does not check who signed the event.
    pub(crate) fn apply_system_event(
        &mut self,
        position: u64,
        sealed_at_ms: u64,
        is_first: bool,
        event: &Event,
    ) {
        match event {
            Event::BoundsPublished(published) => self.bounds.publish(position, sealed_at_ms, published),
            Event::BackupRestored(restored) if restored.use_waits => {
                self.unconfirmed_restore = Some(restored.restore.clone());
            }
            Event::RestoreConfirmed(confirmed) => {
                self.unconfirmed_restore.take_if(|restore| *restore == confirmed.restore);
            }
            event => self.vocabulary.apply(position, sealed_at_ms, is_first, event),
        }
    }

    /// Applies an entry of a data subject, readable or not.
    pub(crate) fn apply_subject_entry(
        &mut self,
        position: u64,
        header: &Header,
        readable: bool,
        body: Option<&EventBody>,
    ) {
        let about_ms = body.map_or(0, |body| body.about_ms);
        let event = body.and_then(|body| body.event.as_ref());
        let subject = self.subjects.entry(header.handle).or_default();
        subject.note_version(header.version, readable);
        match event {
            Some(Event::GrantIssued(grant)) if subject.is_complete() => {
                let now_ms = header.sealed_at_ms;
                subject.decisions.advance(now_ms);
                let context = GrantContext { grant, vocabulary: self.vocabulary.at(now_ms), now_ms };
                let Some(mut faults) = grant_faults(context, subject, &mut self.bounds) else {
                    self.result.not_replayable += 1;
                    return;
                };
                if self.unconfirmed_restore.is_some() && !grant.allowed.is_empty() {
                    faults.push((None, Fault::RestoreUnconfirmed));
                }
                self.result.replayed += 1;
                self.result.unjustified += u64::from(!faults.is_empty());
                for (attribute, fault) in faults {
                    let grant = hex::encode(header.event_id);
                    self.result.add(Finding { position, grant, attribute, fault });
                }
            }
            Some(Event::GrantIssued(_)) => self.result.not_replayable += 1,
            Some(event) => {
                let edition = self.vocabulary.edition();
                let actor = body.and_then(|body| body.actor.as_ref());
                let by_subject = actor.is_some_and(|actor| actor.role() == Role::Subject);
                let recorded =
                    RecordedAt { position, sealed_at_ms: header.sealed_at_ms, about_ms, edition, by_subject };
                subject.apply(&header.event_id, recorded, event);
            }
            None => {}
        }
    }

    /// Returns the result.
    #[must_use]
    pub fn finish(self) -> Replayed {
        self.result
    }
}

/// Every fault of a grant. If a fault concerns one attribute, it comes with the id of the attribute. None if
/// the check would take too many steps.
fn grant_faults(
    context: GrantContext<'_>,
    subject: &Subject,
    bounds: &mut Bounds,
) -> Option<Vec<(Option<String>, Fault)>> {
    let GrantContext { grant, vocabulary, now_ms } = context;
    let mut faults = Vec::new();
    if grant.bounds != bounds.in_force(now_ms) {
        let is_known = grant.bounds.iter().all(|position| bounds.contains(*position));
        faults.push((None, if is_known { Fault::OtherBounds } else { Fault::UnknownBounds }));
    }
    if grant.allowed.is_empty() {
        return Some(faults);
    }
    if !vocabulary.has_purpose(&grant.purpose) {
        faults.push((None, Fault::UndefinedPurpose));
    }
    subject.effort.add(grant.allowed.len());
    let mut check = GrantCheck::new(subject, context);
    faults.extend(check.signal_against().map(|fault| (None, fault)));
    for granted in &grant.allowed {
        if let Err(fault) = check.check(granted) {
            faults.push((Some(hex::encode(&granted.attribute)), fault));
        }
    }
    (!subject.effort.take_failure()).then_some(faults)
}
