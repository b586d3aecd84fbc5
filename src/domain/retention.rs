//! Retention rules: how long each class of events is kept, and which events have passed that time.

use super::DAY_MS;
use super::active_signal::ActiveSignal;
use super::attribute::Attribute;
use super::event::{ArtifactInvalidated, ErasureRefused, Event, HoldLifted, HoldPlaced, Reason, Recorded};
use super::event::{RequestDecided, RequestExtended, RequestSubmitted, RetentionDefined};
use super::ids::EventId;
use super::narrowed_consents::was_taken_back;
use super::profile::SubjectState;
use super::request::{RequestOutcome, RequestRecord};
use super::rights::Artifact;
use super::vocabulary::Vocabulary;
use crate::domain::consent::ConsentRecord;
use crate::domain::event::{ErasureScope, RetentionClass};
use std::collections::{BTreeMap, BTreeSet};

/// The longest retention period that can be set: a hundred years, milliseconds.
pub const KEEP_MS_MAX: u64 = 100 * 365 * DAY_MS;

/// The retention rules in force, each with the time it was defined (milliseconds since the Unix epoch).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retention {
    rules: BTreeMap<(RetentionClass, String, String), (RetentionDefined, u64)>,
}

impl Retention {
    /// Applies a definition; a period of 0 removes the rule.
    pub fn define(&mut self, rule: RetentionDefined, at_ms: u64) {
        let name = (rule.class, rule.category.clone(), rule.purpose.clone());
        if rule.keep_ms == 0 {
            self.rules.remove(&name);
        } else {
            self.rules.insert(name, (rule, at_ms));
        }
    }

    /// Every rule, sorted by class, category and purpose.
    pub fn rules(&self) -> impl Iterator<Item = &(RetentionDefined, u64)> {
        self.rules.values()
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn rule(&self, class: RetentionClass, category: &str, purpose: &str) -> Option<u64> {
        let name = (class, category.to_owned(), purpose.to_owned());
        self.rules.get(&name).map(|(rule, _)| rule.keep_ms)
    }

    /// When an attribute ends, milliseconds since the Unix epoch, and whether a rule ends it. It ends at its
    /// own expiry or at the end of the period of its category, whichever comes first. `None` if it never
    /// ends.
    #[must_use]
    pub fn attribute_ends_ms(
        &self,
        attribute: &Attribute,
        recorded_at_ms: u64,
        vocabulary: &Vocabulary,
    ) -> Option<(u64, bool)> {
        let ancestry = vocabulary.category_ancestry(&attribute.category);
        let keep = self.keep_ms(RetentionClass::Profile, &ancestry, &[]);
        let own = attribute.expires_at_ms.map(|end| (end, false));
        let by_rule = keep.map(|keep| (recorded_at_ms.saturating_add(keep), true));
        own.into_iter().chain(by_rule).min()
    }

    /// How long an event of this class is kept. The rule of its category or purpose applies; if that has no
    /// rule, the rule of its nearest ancestor with a rule. If both category and purpose have a rule, the
    /// shorter period applies. If neither has one, the rule of the class applies.
    fn keep_ms(&self, class: RetentionClass, categories: &[&str], purposes: &[&str]) -> Option<u64> {
        let by_category = categories.iter().find_map(|category| self.rule(class, category, ""));
        let by_purpose = purposes.iter().find_map(|purpose| self.rule(class, "", purpose));
        by_category.into_iter().chain(by_purpose).min().or_else(|| self.rule(class, "", ""))
    }
}

/// The events of a data subject's stream that have passed their retention time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Attributes that have ended but are still in the profile, each as the id of the event that recorded it
    /// and a flag. The flag is true if a retention rule ended the attribute, and false if its own expiry did.
    pub attributes: Vec<(EventId, bool)>,
    /// The versions to destroy.
    pub versions: BTreeSet<u64>,
}

/// The events of a history that have passed their retention time at `now_ms` (milliseconds since the Unix
/// epoch).
#[must_use]
pub fn ended(
    history: &[Recorded],
    state: &SubjectState,
    retention: &Retention,
    vocabulary: &Vocabulary,
    now_ms: u64,
) -> Ended {
    let ending = Ending { state, retention, vocabulary, now_ms };
    let mut ended = Ended::default();
    for event in history {
        let at_ms = ending.ends_at_ms(event);
        if at_ms.is_some_and(|(end, _)| end <= now_ms) {
            ended.versions.insert(event.version);
            let is_current = state.attributes.values().any(|current| current.event_id == event.event_id);
            if let (true, Some((_, by_retention))) = (is_current, at_ms) {
                ended.attributes.push((event.event_id, by_retention));
            }
        }
    }
    ended
}

/// Whether an event does not justify keeping a data subject's stream. If all remaining events are of this
/// kind, the whole stream is erased. They record what happened to data that is gone, or they protected that
/// data.
#[must_use]
pub fn is_no_reason_to_keep(event: &Event) -> bool {
    matches!(
        event,
        Event::ErasureRequested(_)
            | Event::ErasureRefused(_)
            | Event::AttributeExpired { .. }
            | Event::ConsentExpired { .. }
            | Event::SubjectDescribed(_)
            | Event::RecordViewed(_)
            | Event::RecipientsKept(_)
    )
}

struct Ending<'a> {
    state: &'a SubjectState,
    retention: &'a Retention,
    vocabulary: &'a Vocabulary,
    now_ms: u64,
}

impl Ending<'_> {
    /// When the event's retention ends (milliseconds since the Unix epoch), and whether a retention rule ends
    /// it. `None` if it never ends.
    fn ends_at_ms(&self, event: &Recorded) -> Option<(u64, bool)> {
        let after = |from: u64, keep: Option<u64>| keep.map(|keep| (from.saturating_add(keep), true));
        if self.decides_a_request(&event.event) {
            return None;
        }
        match &event.event {
            Event::AttributeRecorded(attribute)
            | Event::EarlierAttributeRecorded(attribute)
            | Event::AttributeCorrected { attribute, .. } => {
                self.retention.attribute_ends_ms(attribute, event.recorded_at_ms, self.vocabulary)
            }
            Event::GrantIssued(grant) => {
                let ancestry = self.vocabulary.purpose_ancestry(&grant.purpose);
                let keep = self.retention.keep_ms(RetentionClass::Uses, &[], &ancestry);
                after(event.recorded_at_ms.max(grant.expires_at_ms), keep)
            }
            Event::Consent { terms, .. } => {
                let ancestries =
                    terms.purposes.iter().map(|purpose| self.vocabulary.purpose_ancestry(purpose));
                let keep = ancestries
                    .map(|ancestry| self.retention.keep_ms(RetentionClass::Consent, &[], &ancestry));
                // If there are several purposes, the longest period applies. If one of them has no rule,
                // retention never ends.
                let keep = keep.collect::<Option<Vec<u64>>>().and_then(|each| each.into_iter().max());
                self.no_longer_counts_since_ms(event).and_then(|since| after(since, keep))
            }
            Event::RequestDecided(decided) if decided.outcome != RequestOutcome::Accepted => {
                after(event.recorded_at_ms, self.retention.keep_ms(RetentionClass::Requests, &[], &[]))
            }
            Event::RequestSubmitted(request) => {
                let record = self.state.rights.requests.get(&request.request);
                let record = record.filter(|record| !record.is_open())?;
                let decided_ms = record.decided.as_ref().map(|decided| decided.at_ms);
                let closed_ms = decided_ms.into_iter().chain(record.withdrawn_at_ms).max()?;
                after(closed_ms, self.retention.keep_ms(RetentionClass::Requests, &[], &[]))
            }
            Event::ErasureRequested(_)
            | Event::ErasureRefused(_)
            | Event::RequestExtended(_)
            | Event::RequestWithdrawn(_)
            | Event::RecordViewed(_) => {
                after(event.recorded_at_ms, self.retention.keep_ms(RetentionClass::Requests, &[], &[]))
            }
            Event::AttributeExpired { .. } => {
                after(event.recorded_at_ms, self.retention.keep_ms(RetentionClass::Profile, &[], &[]))
            }
            Event::ConsentRequested(_) | Event::ConsentExpired { .. } => {
                after(event.recorded_at_ms, self.retention.keep_ms(RetentionClass::Consent, &[], &[]))
            }
            // A signal that is still active is kept, and so is what lifted a part of it.
            Event::Signal { .. } => {
                let counts = self
                    .state
                    .signals
                    .iter()
                    .any(|signal| signal.event_id == event.event_id || may_have_narrowed(signal, event));
                after(event.recorded_at_ms, self.retention.keep_ms(RetentionClass::Consent, &[], &[]))
                    .filter(|_| !counts)
            }
            Event::HoldPlaced(HoldPlaced { hold, .. }) | Event::HoldLifted(HoldLifted { hold, .. }) => {
                let is_active = self.state.rights.holds.iter().any(|each| each.id == *hold);
                after(event.recorded_at_ms, self.retention.keep_ms(RetentionClass::Requests, &[], &[]))
                    .filter(|_| !is_active)
            }
            _ => None,
        }
    }

    /// Whether an event about a request must stay, because without it the request would get another state.
    fn decides_a_request(&self, event: &Event) -> bool {
        let rights = &self.state.rights;
        match event {
            // A refused erasure stops uses until the person withdraws the request. If it was refused in part,
            // a request for that part follows once its hold is lifted.
            Event::RequestSubmitted(RequestSubmitted { request, .. })
            | Event::RequestDecided(RequestDecided { request, .. })
            | Event::ErasureRefused(ErasureRefused { request, .. }) => {
                rights.kept.contains(request) || rights.kept_parts.contains_key(request)
            }
            // Without it, the request would be open again, and could be carried out.
            Event::RequestWithdrawn(withdrawn) => rights.requests.contains_key(&withdrawn.request),
            // Without it, a request that is open again would count as refused.
            Event::RequestExtended(RequestExtended { request, .. }) => {
                rights.requests.get(request).is_some_and(RequestRecord::is_open)
            }
            _ => false,
        }
    }

    /// Whether a decision may prevent a legal basis other than consent from applying. No such basis
    /// replaces a consent that has ended, and a no (a refusal or withdrawal) ends a legitimate interest.
    fn excludes_a_declared_basis(&self, record: &ConsentRecord) -> bool {
        let named = &record.terms.purposes;
        let covers = |purpose: &str| {
            let ancestry = self.vocabulary.purpose_ancestry(purpose);
            named.is_empty() || named.iter().any(|name| ancestry.contains(&name.as_str()))
        };
        let mut purposes = self.vocabulary.purposes();
        purposes.any(|purpose| self.vocabulary.declared_basis(&purpose.id).is_some() && covers(&purpose.id))
    }

    /// When a consent decision stopped having an effect, milliseconds since the Unix epoch. Until the profile
    /// is erased, a no always has an effect, and so has a yes that a no may have taken back. Any other yes
    /// has an effect until it allows nothing of what it names.
    fn no_longer_counts_since_ms(&self, event: &Recorded) -> Option<u64> {
        let record = self.state.consents.records().iter().find(|record| record.event_id == event.event_id)?;
        if self.excludes_a_declared_basis(record) {
            return None;
        }
        // Once the profile is erased, decisions are only evidence.
        let erased = self.state.rights.fences.iter().filter(|fence| fence.scope == ErasureScope::Profile);
        if self.state.attributes.is_empty()
            && let Some(at_ms) = erased.map(|fence| fence.at_ms).filter(|at| *at >= event.sealed_at_ms).max()
        {
            return Some(at_ms);
        }
        // Before the profile is erased, a no has an effect, however old it is.
        if !record.decision.is_yes() {
            return None;
        }
        let consents = &self.state.consents;
        if was_taken_back(consents, record, self.vocabulary) {
            return None;
        }
        let ended_at_ms = consents.ended_at_ms(record, self.vocabulary, self.now_ms)?;
        // A consent that has ended still counts if it keeps an earlier consent from allowing something again.
        let still_counts = consents.ends_another(record, self.vocabulary, self.now_ms);
        (!still_counts).then_some(ended_at_ms)
    }
}

/// Whether an event may have taken purposes out of a signal that is still active.
fn may_have_narrowed(signal: &ActiveSignal, event: &Recorded) -> bool {
    let Event::Signal { kind, purposes, lifted: true, interaction } = &event.event else { return false };
    let is_partial = !purposes.is_empty() && !signal.purposes.is_empty();
    is_partial && signal.matches_signal(*kind, interaction) && signal.sealed_at_ms < event.sealed_at_ms
}

/// The events to record for artifacts that have expired and are not recorded as invalidated.
#[must_use]
pub fn ended_artifacts(state: &SubjectState, now_ms: u64) -> Vec<Event> {
    let ended = state.rights.artifacts.iter();
    let ended = ended.filter(|(_, artifact)| artifact.ended().is_none() && artifact.is_expired(now_ms));
    let event = |(event, artifact): (&EventId, &Artifact)| {
        Event::ArtifactInvalidated(ArtifactInvalidated {
            artifact: *event,
            reason: Reason::ArtifactExpired,
            cause: None,
            artifact_id: artifact.id.to_string(),
            recipient: artifact.registered.recipient.clone(),
        })
    };
    ended.map(event).collect()
}

/// The events that recorded consents which have expired, if the expiry is not recorded yet.
#[must_use]
pub fn ended_consents(state: &SubjectState, now_ms: u64) -> Vec<EventId> {
    let ended = state.consents.records().iter().filter(|record| {
        record.decision.is_yes()
            && record.terms.until_ms.is_some_and(|until| until <= now_ms)
            && !state.rights.expired_consents.contains(&record.event_id)
    });
    ended.map(|record| record.event_id).collect()
}
