//! Replays every grant against what the person had said by then: would it have been issued rightly?
//!
//! Written from the rule in `docs/format.md`, on purpose without a line of the daemon's own decision, so that an error
//! there is not repeated here. Out of scope: what policies say. Of published bounds it is checked that they are signed by
//! whoever published them, and that a grant cites exactly those in force; the person's own are replayed in full.

mod bounds;
mod consent;
mod fault;
mod minimize;
mod personal_bounds;
mod subject;
mod vocabulary;

use crate::entry::{Handle, Header};
use crate::event::{EventBody, GrantIssued, event_body::Event};
use crate::writer;
use bounds::Bounds;
use serde::Serialize;
use std::collections::HashMap;

use subject::Person;
use vocabulary::Vocabulary;

pub use fault::{Fault, Finding};
pub(crate) use minimize::essence;

/// Findings that are kept in full; beyond, they are only counted.
const FINDINGS_MAX: usize = 1000;

/// What replaying showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Grants replayed.
    pub replayed: u64,
    /// Grants that can't be replayed, because events of their subject before them are erased or withheld.
    pub not_replayable: u64,
    /// Grants that should not have been issued.
    pub unjustified: u64,
    /// Versions of bounds that nobody signed who may publish them.
    pub bounds_unsigned: u64,
    /// What is wrong with them, the first thousand.
    pub findings: Vec<Finding>,
}

impl Replayed {
    /// Notes a version of bounds that nobody signed who may publish it.
    pub(crate) fn found_unsigned(&mut self, position: u64) {
        self.bounds_unsigned += 1;
        self.found(Finding { position, grant: String::new(), attribute: None, fault: Fault::UnsignedBounds });
    }

    fn found(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// Adds what replaying other people of the same log showed.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.replayed += other.replayed;
        self.not_replayable += other.not_replayable;
        self.unjustified += other.unjustified;
        self.bounds_unsigned += other.bounds_unsigned;
        self.findings.extend(other.findings);
        self.findings.sort_by_key(|finding| finding.position);
        self.findings.truncate(FINDINGS_MAX);
    }
}

/// The state of a log as far as it was read, in order of position: of everybody, or of some people.
#[derive(Default)]
pub struct Replay {
    vocabulary: Vocabulary,
    bounds: Bounds,
    // Unordered: looked up, never walked.
    people: HashMap<Handle, Person>,
    /// The restore that use waits for.
    unconfirmed: Option<Vec<u8>>,
    result: Replayed,
}

impl Replay {
    /// Takes the next entry; no body where it is withheld. Erased entries are not taken: they show as missing versions.
    pub fn take(&mut self, position: u64, header: &Header, body: Option<&EventBody>) {
        let event = body.and_then(|body| body.event.as_ref());
        if header.handle != Handle::SYSTEM {
            return self.person(position, header, body.is_some(), event);
        }
        if body.is_some_and(|body| is_unsigned(body, !self.people.is_empty())) {
            self.result.found_unsigned(position);
        }
        if let Some(event) = event {
            self.publish(position, header.sealed_at_ms, event);
        }
    }

    /// Takes an event about nobody. Who signed it is not asked here.
    pub(crate) fn publish(&mut self, position: u64, moment: u64, event: &Event) {
        match event {
            Event::BoundsPublished(published) => self.bounds.take(position, moment, published),
            Event::BackupRestored(restored) if restored.use_waits => {
                self.unconfirmed = Some(restored.restore.clone());
            }
            Event::RestoreConfirmed(confirmed) => {
                self.unconfirmed.take_if(|restore| *restore == confirmed.restore);
            }
            event => self.vocabulary.take(event),
        }
    }

    /// Takes an entry about somebody, readable or not.
    pub(crate) fn person(&mut self, position: u64, header: &Header, readable: bool, event: Option<&Event>) {
        let person = self.people.entry(header.handle).or_default();
        person.arrives(header.version, readable);
        match event {
            Some(Event::GrantIssued(grant)) if person.is_whole() => {
                let mut faults = faults(grant, person, &self.vocabulary, &self.bounds, header.sealed_at_ms);
                if self.unconfirmed.is_some() && !grant.allowed.is_empty() {
                    faults.push((None, Fault::RestoreUnconfirmed));
                }
                self.result.replayed += 1;
                self.result.unjustified += u64::from(!faults.is_empty());
                for (attribute, fault) in faults {
                    let grant = hex::encode(header.event_id);
                    self.result.found(Finding { position, grant, attribute, fault });
                }
            }
            Some(Event::GrantIssued(_)) => self.result.not_replayable += 1,
            Some(event) => person.take(&header.event_id, header.sealed_at_ms, event),
            None => {}
        }
    }

    /// The result.
    #[must_use]
    pub fn finish(self) -> Replayed {
        self.result
    }
}

/// Whether these are bounds that nobody signed who may publish them. What a log begins with, before it has an entry about
/// anybody, is the ledger's own word; the rest is signed by whoever published it.
pub(crate) fn is_unsigned(body: &EventBody, begun: bool) -> bool {
    let Some(event @ Event::BoundsPublished(_)) = &body.event else { return false };
    let signature = body.writer_signature.as_ref();
    (begun || signature.is_some()) && writer::verify(event, signature).is_err()
}

/// Everything wrong with a grant issued at `moment`, by attribute.
fn faults(
    grant: &GrantIssued,
    person: &Person,
    vocabulary: &Vocabulary,
    bounds: &Bounds,
    moment: u64,
) -> Vec<(Option<String>, Fault)> {
    let mut faults = Vec::new();
    if !grant.bounds.iter().all(|position| bounds.has(*position)) {
        faults.push((None, Fault::UnknownBounds));
    } else if grant.bounds != bounds.in_force(moment) {
        faults.push((None, Fault::OtherBounds));
    }
    if grant.allowed.is_empty() {
        return faults;
    }
    if !vocabulary.has_purpose(&grant.purpose) {
        faults.push((None, Fault::UndefinedPurpose));
    }
    faults.extend(
        person.signal_against(&grant.purpose, &grant.interaction, vocabulary).map(|fault| (None, fault)),
    );
    for allowed in &grant.allowed {
        if let Err(fault) = person.allows(grant, allowed, vocabulary, moment) {
            faults.push((Some(hex::encode(&allowed.attribute)), fault));
        }
    }
    faults
}
