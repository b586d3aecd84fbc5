//! What a person's events add up to, as far as grants depend on it.

use super::consent::{Answer, Case, Decision, answer};
use super::fault::Fault;
use super::personal_bounds::{self, Of};
use super::vocabulary::Vocabulary;
use crate::event::event_body::Event;
use crate::event::{
    Attribute, ConsentTerms, GrantIssued, GrantedAttribute, PersonalBoundsSet, Provenance, SignalKind,
};
use std::collections::{BTreeSet, HashMap};

type EventId = [u8; 16];

#[derive(Default)]
pub(super) struct Person {
    due: u64,
    broken: bool,
    // Unordered: looked up, never walked.
    facts: HashMap<EventId, Fact>,
    /// Facts that nothing has replaced, by key.
    // Unordered: looked up, never walked.
    current: HashMap<String, Vec<EventId>>,
    decisions: Vec<Decision>,
    signals: Vec<Signal>,
    /// What the person chose last.
    choices: PersonalBoundsSet,
}

struct Fact {
    key: String,
    category: String,
    declared: bool,
    inferred: bool,
    derived_from: Vec<Vec<u8>>,
    expires_at_ms: Option<u64>,
    observed_at_ms: u64,
    gone: Option<Fault>,
    contested: bool,
    /// What the person had declared under the same key, where this is an inference.
    against: Option<EventId>,
}

impl Fact {
    /// Nothing about the fact itself forbids its use.
    fn usable(&self, now: u64) -> Result<(), Fault> {
        if let Some(gone) = self.gone {
            return Err(gone);
        }
        if self.contested {
            return Err(Fault::Contested);
        }
        if self.expires_at_ms.is_some_and(|expires| expires <= now) {
            return Err(Fault::Expired);
        }
        Ok(())
    }
}

struct Signal {
    kind: SignalKind,
    purposes: Vec<String>,
    /// The one conversation that it is for; empty: everywhere, and of a lifting: every conversation.
    interaction: String,
    /// Recorded or lifted.
    on: bool,
}

impl Person {
    /// Notes that version `version` came, readable or not.
    pub fn arrives(&mut self, version: u64, readable: bool) {
        self.broken |= version != self.due || !readable;
        self.due = version.saturating_add(1);
    }

    /// Whether every event so far was there and could be read.
    pub fn is_whole(&self) -> bool {
        !self.broken
    }

    /// Takes an event.
    pub fn take(&mut self, id: &EventId, moment: u64, event: &Event) {
        match event {
            Event::AttributeRecorded(recorded) => self.record(id, recorded.attribute.as_ref()),
            Event::AttributeCorrected(corrected) => {
                self.gone(&corrected.corrects, Fault::Corrected);
                self.record(id, corrected.attribute.as_ref());
            }
            Event::AttributeRemoved(removed) => self.gone(&removed.attribute, Fault::Removed),
            Event::AttributeExpired(expired) => self.gone(&expired.attribute, Fault::Expired),
            Event::AttributeContested(contested) => {
                if let Some(fact) = self.fact_mut(&contested.attribute) {
                    fact.contested = true;
                }
            }
            Event::AttributeConfirmed(confirmed) => self.confirm(&confirmed.attribute),
            Event::ConsentGiven(given) => self.decide(id, moment, true, given.terms.as_ref()),
            Event::ConsentRenewed(renewed) => self.decide(id, moment, true, renewed.terms.as_ref()),
            Event::ConsentRefused(refused) => self.decide(id, moment, false, refused.terms.as_ref()),
            Event::ConsentWithdrawn(withdrawn) => self.decide(id, moment, false, withdrawn.terms.as_ref()),
            Event::SignalRecorded(signal) => {
                self.signal(signal.kind(), &signal.purposes, &signal.interaction, true);
            }
            Event::SignalLifted(signal) => {
                self.signal(signal.kind(), &signal.purposes, &signal.interaction, false);
            }
            Event::PersonalBoundsSet(choices) => self.choices = choices.clone(),
            _ => {}
        }
    }

    fn fact_mut(&mut self, id: &[u8]) -> Option<&mut Fact> {
        self.facts.get_mut(<&EventId>::try_from(id).ok()?)
    }

    fn record(&mut self, id: &EventId, attribute: Option<&Attribute>) {
        let Some(attribute) = attribute else { return };
        let mut fact = Fact {
            key: attribute.key.clone(),
            category: attribute.category.clone(),
            declared: attribute.provenance() == Provenance::Declared,
            inferred: attribute.provenance() == Provenance::Inferred,
            derived_from: attribute.derived_from.clone(),
            expires_at_ms: attribute.expires_at_ms,
            observed_at_ms: attribute.observed_at_ms,
            gone: None,
            contested: false,
            against: None,
        };
        let current = self.current.entry(fact.key.clone()).or_default();
        current.retain(|before| {
            let Some(old) = self.facts.get_mut(before) else { return false };
            // An inference never silently overrides what the person declared.
            if old.declared && fact.inferred {
                fact.against = Some(*before);
                return true;
            }
            old.gone.get_or_insert(Fault::Replaced);
            false
        });
        current.push(*id);
        self.facts.insert(*id, fact);
    }

    fn gone(&mut self, id: &[u8], how: Fault) {
        let Some(fact) = self.fact_mut(id) else { return };
        fact.gone.get_or_insert(how);
        let key = fact.key.clone();
        if let Some(current) = self.current.get_mut(&key) {
            current.retain(|other| other != id);
        }
    }

    /// The person's own word on an inference: it counts beside what they declared before.
    fn confirm(&mut self, id: &[u8]) {
        if let Some(fact) = self.fact_mut(id) {
            (fact.contested, fact.declared, fact.against) = (false, true, None);
        }
    }

    fn decide(&mut self, id: &EventId, moment: u64, yes: bool, terms: Option<&ConsentTerms>) {
        // Without terms, a yes covers nothing and a no covers everything.
        let terms = terms.cloned().unwrap_or_default();
        self.decisions.push(Decision { event_id: *id, moment, yes, terms });
    }

    fn signal(&mut self, kind: SignalKind, purposes: &[String], interaction: &str, on: bool) {
        let (purposes, interaction) = (purposes.to_vec(), interaction.to_owned());
        self.signals.push(Signal { kind, purposes, interaction, on });
    }

    /// A signal in force that forbids this purpose, everywhere or in this conversation.
    pub fn signal_against(&self, purpose: &str, interaction: &str, vocabulary: &Vocabulary) -> Option<Fault> {
        let line = vocabulary.purpose_line(purpose);
        let here = |signal: &Signal| signal.interaction.is_empty() || signal.interaction == interaction;
        let stands = |kind: SignalKind| {
            let mut later = self.signals.iter();
            while let Some(signal) = later.next() {
                if signal.on
                    && signal.kind == kind
                    && here(signal)
                    && still_covers(signal, later.clone(), &line)
                {
                    return true;
                }
            }
            false
        };
        let kinds = [
            (SignalKind::Restriction, Fault::Restricted),
            (SignalKind::Pause, Fault::Paused),
            (SignalKind::Objection, Fault::Objected),
        ];
        kinds.into_iter().find(|(kind, _)| stands(*kind)).map(|(_, fault)| fault)
    }

    /// Whether the grant could rightly allow this attribute at `now`.
    pub fn allows(
        &self,
        grant: &GrantIssued,
        allowed: &GrantedAttribute,
        vocabulary: &Vocabulary,
        now: u64,
    ) -> Result<(), Fault> {
        let fact = self.fact(&allowed.attribute).ok_or(Fault::UnknownAttribute)?;
        if fact.key != allowed.key || fact.category != allowed.category {
            return Err(Fault::Described);
        }
        self.usable(fact, now)?;
        asked_for(grant, fact, vocabulary)?;
        self.chosen(grant, fact, vocabulary, now)?;
        let case = Case {
            purpose: &grant.purpose,
            category: &fact.category,
            recipient: &grant.recipient,
            interaction: &grant.interaction,
            now,
        };
        let standing = self.covered(&case, vocabulary)?;
        if !standing.iter().any(|yes| yes.event_id == allowed.consent.as_slice()) {
            return Err(Fault::Citation);
        }
        self.sources_allow(grant, fact, &case, vocabulary)
    }

    /// The person's own bounds let the grant have the fact.
    fn chosen(
        &self,
        grant: &GrantIssued,
        fact: &Fact,
        vocabulary: &Vocabulary,
        now: u64,
    ) -> Result<(), Fault> {
        let of = Of {
            category: &fact.category,
            declared: fact.declared,
            inferred: fact.inferred,
            observed_at_ms: fact.observed_at_ms,
        };
        personal_bounds::allow(&self.choices, grant, &of, vocabulary, now)
    }

    fn fact(&self, id: &[u8]) -> Option<&Fact> {
        self.facts.get(<&EventId>::try_from(id).ok()?)
    }

    /// Nothing that is held forbids the fact's use.
    fn usable(&self, fact: &Fact, now: u64) -> Result<(), Fault> {
        fact.usable(now)?;
        let declared = fact.against.and_then(|id| self.facts.get(&id));
        if declared.is_some_and(|declared| declared.usable(now).is_ok()) {
            return Err(Fault::DeclaredOtherwise);
        }
        Ok(())
    }

    fn covered(&self, case: &Case<'_>, vocabulary: &Vocabulary) -> Result<Vec<&Decision>, Fault> {
        if !vocabulary.has_category(case.category) {
            return Err(Fault::UndefinedCategory);
        }
        match answer(&self.decisions, case, vocabulary) {
            Answer::Silence => Err(Fault::NoConsent),
            Answer::No => Err(Fault::Refused),
            Answer::Yes(standing) if self.choices.ask_each_time => {
                let asked: Vec<&Decision> =
                    standing.into_iter().filter(|yes| !yes.terms.interactions.is_empty()).collect();
                if asked.is_empty() { Err(Fault::NotAsked) } else { Ok(asked) }
            }
            Answer::Yes(standing) => Ok(standing),
        }
    }

    /// A derived attribute is allowed what all its sources are, and falls with any of them.
    fn sources_allow(
        &self,
        grant: &GrantIssued,
        fact: &Fact,
        case: &Case<'_>,
        vocabulary: &Vocabulary,
    ) -> Result<(), Fault> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&Vec<u8>> = fact.derived_from.iter().collect();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let source = self.fact(id).ok_or(Fault::SourceWithheld)?;
            self.usable(source, case.now).map_err(|_| Fault::SourceWithheld)?;
            self.chosen(grant, source, vocabulary, case.now).map_err(|_| Fault::SourceWithheld)?;
            let of_source = Case { category: &source.category, ..*case };
            self.covered(&of_source, vocabulary).map_err(|_| Fault::SourceWithheld)?;
            open.extend(&source.derived_from);
        }
        Ok(())
    }
}

/// Whether a signal covers a purpose, with its ancestors, after everything lifted `later`. Lifting without naming
/// purposes takes back every signal of its kind; naming some takes back those by their names, and never part of a signal
/// for all purposes.
fn still_covers<'a>(signal: &Signal, later: impl Iterator<Item = &'a Signal>, line: &[&str]) -> bool {
    let meant = |other: &&Signal| {
        let place = other.interaction.is_empty() || other.interaction == signal.interaction;
        !other.on && other.kind == signal.kind && place
    };
    let lifted: Vec<&Signal> = later.filter(meant).collect();
    if lifted.iter().any(|lifted| lifted.purposes.is_empty()) {
        return false;
    }
    let covers = |purpose: &String| {
        line.contains(&purpose.as_str()) && !lifted.iter().any(|lifted| lifted.purposes.contains(purpose))
    };
    signal.purposes.is_empty() || signal.purposes.iter().any(covers)
}

/// Minimisation: nothing beyond what the request named.
fn asked_for(grant: &GrantIssued, fact: &Fact, vocabulary: &Vocabulary) -> Result<(), Fault> {
    let line = vocabulary.category_line(&fact.category);
    let category = grant.categories.is_empty()
        || grant.categories.iter().any(|category| line.contains(&category.as_str()));
    let key = grant.keys.is_empty() || grant.keys.contains(&fact.key);
    if category && key { Ok(()) } else { Err(Fault::NotAskedFor) }
}
