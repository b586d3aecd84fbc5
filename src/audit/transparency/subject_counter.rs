//! Counts the history of one data subject: what happened within a window (the period of a report), and the
//! state at the window's end.
//!
//! Events before the window give context, such as the category of an attribute or the purpose of a grant.
//! They are not counted. Events after the window are ignored.

use super::labels::{
    ALL_PURPOSES, ALLOWED, CONFIRMED, CONTEST_WITHDRAWN, CONTESTED, DISCLOSED, DURATION_BUCKETS,
    GRANT_EXPIRED, GRANT_REVOKED, GRANT_VALID, NO_POLICY, NO_REPLY, NOT_DISCLOSED, NOTHING_ALLOWED,
    OTHER_REPLIES, REQUESTED, RESOLVED, SAME_ATTRIBUTE, bucket, decision, provenance, word,
};
use super::requests;
use super::subject_counts::{EndState, Reach, StoredAttribute, SubjectCounts};
use super::table::Population;
use crate::domain::DAY_MS;
use crate::domain::attribute::Attribute;
use crate::domain::consent::Decision;
use crate::domain::event::{Event, GrantIssued, GrantUsed, Provenance, Reason, Recorded, SignalKind, Tier};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Recorded times from `from_ms` on and before `to_ms`, milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first moment in it.
    pub from_ms: u64,
    /// The first moment after it.
    pub to_ms: u64,
}

impl Window {
    fn contains(self, ms: u64) -> bool {
        (self.from_ms..self.to_ms).contains(&ms)
    }
}

/// What the counter remembers of an attribute.
#[derive(Clone)]
struct SeenAttribute {
    category: String,
    provenance: Provenance,
    key: String,
    derived_from: Vec<EventId>,
}

/// What the counter remembers of a grant.
struct SeenGrant {
    purpose: String,
    recipient: String,
    expires_at_ms: u64,
    is_revoked: bool,
}

/// Applies the events of one data subject, oldest first.
pub struct SubjectCounter {
    window: Window,
    /// Whether the event being applied is in the window. Only then is it counted.
    is_in_window: bool,
    counts: SubjectCounts,
    state: SubjectState,
    bytes: u64,
    /// Every attribute that was ever recorded.
    attributes: HashMap<EventId, SeenAttribute>,
    /// Attributes that shaped a reply, by the name of the reply and the recipient that gave it.
    replies: HashMap<String, BTreeMap<String, HashSet<EventId>>>,
    grants: HashMap<EventId, SeenGrant>,
    /// When the subject refused or withdrew consent, by event.
    refusals: HashMap<EventId, u64>,
    contested: HashSet<EventId>,
}

impl SubjectCounter {
    /// Starts before the first event.
    #[must_use]
    pub fn new(window: Window) -> Self {
        Self {
            window,
            is_in_window: false,
            counts: SubjectCounts::default(),
            state: SubjectState::default(),
            bytes: 0,
            attributes: HashMap::new(),
            replies: HashMap::new(),
            grants: HashMap::new(),
            refusals: HashMap::new(),
            contested: HashSet::new(),
        }
    }

    /// Applies the next event, with the size of its entry in bytes.
    pub fn event(&mut self, event: &Recorded, bytes: u64) {
        if event.recorded_at_ms >= self.window.to_ms {
            return;
        }
        self.is_in_window = self.window.contains(event.recorded_at_ms);
        self.bytes = self.bytes.saturating_add(bytes);
        match &event.event {
            Event::GrantIssued(issued) => self.grant_issued(event, issued),
            Event::GrantUsed(used) => self.grant_used(event, used),
            Event::GrantGivenAgain(again) => self.grant_reused(event, again.count),
            Event::GrantRevoked { grant, cause, .. } => self.grant_revoked(event, *grant, *cause),
            Event::ConsentRequested(terms) => {
                for purpose in &terms.purposes {
                    self.count(Population::Decisions, &[REQUESTED, purpose], 1);
                }
            }
            Event::Consent { decision, terms } => self.decided(event, *decision, &terms.purposes),
            Event::Signal { kind, lifted, .. } => {
                let kind = word(SignalKind::as_str_name(kind), "SIGNAL_KIND_");
                self.count(Population::Signals, &[&kind, if *lifted { "lifted" } else { "recorded" }], 1);
            }
            Event::PersonalBoundsSet(_) => self.count(Population::Signals, &["personal-bounds", "set"], 1),
            Event::RecordingRefused(refused) => {
                let tier = word(Tier::as_str_name(&refused.decided_by), "TIER_");
                let policy = if refused.policy.is_empty() { NO_POLICY } else { &refused.policy };
                let labels = [tier.as_str(), policy, &refused.category];
                self.count(Population::RefusedRecordings, &labels, refused.count.max(1).into());
            }
            Event::RequestSubmitted(_) | Event::RequestExtended(_) | Event::RequestDecided(_) => {
                for (population, labels) in requests::steps(event, &self.state.rights) {
                    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                    self.count(population, &labels, 1);
                }
            }
            _ => self.attribute_changed(event),
        }
        self.state.apply(event);
    }

    /// Ends the history after the last event, and returns the counts.
    #[must_use]
    pub fn end(mut self) -> SubjectCounts {
        let attributes = self.state.attributes.values().map(|stored| StoredAttribute {
            category: stored.attribute.category.clone(),
            provenance: stored.attribute.provenance,
            value: stored.attribute.value.clone(),
        });
        let artifacts = self.state.rights.artifacts.values();
        self.counts.end_state = EndState {
            attributes: attributes.collect(),
            bytes: self.bytes,
            artifacts: artifacts.filter(|artifact| artifact.invalidated.is_none()).count() as u64,
            jurisdiction: self.state.description.jurisdiction.clone(),
            age_band: self.state.description.age.band_name(self.state.recorded_at_ms),
        };
        self.counts
    }

    /// Whether nothing was recorded about the subject before the window ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.version == 0
    }

    /// Counts if the event being applied is in the window.
    fn count(&mut self, population: Population, labels: &[&str], count: u64) {
        if self.is_in_window {
            self.counts.counts.add(population, labels, count);
        }
    }

    fn attribute_changed(&mut self, event: &Recorded) {
        match &event.event {
            Event::AttributeRecorded(attribute) | Event::EarlierAttributeRecorded(attribute) => {
                self.attribute_recorded(event, attribute);
            }
            Event::AttributeCorrected { attribute, corrects, .. } => {
                self.contest_ended(*corrects, RESOLVED);
                self.attribute_recorded(event, attribute);
            }
            Event::AttributeContested { attribute, .. } => {
                let is_new = self.is_inferred(*attribute) && self.contested.insert(*attribute);
                self.count(Population::Contests, &[CONTESTED], u64::from(is_new));
            }
            Event::AttributeConfirmed { attribute } => {
                let was_contested = self.contest_ended(*attribute, CONTEST_WITHDRAWN);
                let is_unprompted = !was_contested && self.is_inferred(*attribute);
                self.count(Population::Contests, &[CONFIRMED], u64::from(is_unprompted));
            }
            Event::AttributeRemoved { attribute, .. } => {
                self.contest_ended(*attribute, RESOLVED);
            }
            _ => {}
        }
    }

    fn attribute_recorded(&mut self, event: &Recorded, attribute: &Attribute) {
        if self.is_in_window && attribute.provenance == Provenance::Inferred {
            let drawn_from = self.drawn_from(&event.actor.name, attribute);
            self.count(Population::Inferences, &[drawn_from], 1);
        }
        let seen = SeenAttribute {
            category: attribute.category.clone(),
            provenance: attribute.provenance,
            key: attribute.key.clone(),
            derived_from: attribute.derived_from.clone(),
        };
        self.attributes.insert(event.event_id, seen);
    }

    fn is_inferred(&self, attribute: EventId) -> bool {
        self.attributes.get(&attribute).is_some_and(|seen| seen.provenance == Provenance::Inferred)
    }

    /// The label for what an inference was drawn from: no reply, a reply shaped by the same attribute or
    /// its sources, or other replies. The inference names its replies, and several recipients may have
    /// used the same name. A name means the reply of the inference's writer. If the writer gave none with
    /// that name, it means the replies with that name from all recipients.
    fn drawn_from(&self, writer: &str, attribute: &Attribute) -> &'static str {
        if attribute.from_replies.is_empty() {
            return NO_REPLY;
        }
        let sources = self.sources(&attribute.derived_from);
        let is_shaped = |given: &BTreeMap<String, HashSet<EventId>>| {
            let own = given.get(writer);
            let mut shaped_by = own.into_iter().chain(given.values().filter(|_| own.is_none())).flatten();
            shaped_by.any(|id| {
                let key = self.attributes.get(id).map(|seen| seen.key.as_str());
                key == Some(attribute.key.as_str()) || sources.contains(id)
            })
        };
        let mut replies = attribute.from_replies.iter().filter_map(|reply| self.replies.get(reply));
        if replies.any(is_shaped) { SAME_ATTRIBUTE } else { OTHER_REPLIES }
    }

    /// These attributes, and every attribute that they derive from through any number of steps.
    fn sources(&self, direct: &[EventId]) -> HashSet<EventId> {
        let (mut sources, mut open) = (HashSet::new(), direct.to_vec());
        while let Some(source) = open.pop() {
            if sources.insert(source) {
                open.extend(self.attributes.get(&source).into_iter().flat_map(|seen| &seen.derived_from));
            }
        }
        sources
    }

    /// Ends the contest of an attribute, if there is one. Returns whether there was one.
    fn contest_ended(&mut self, attribute: EventId, label: &str) -> bool {
        let was_contested = self.contested.remove(&attribute);
        self.count(Population::Contests, &[label], u64::from(was_contested));
        was_contested
    }

    fn decided(&mut self, event: &Recorded, decided: Decision, purposes: &[String]) {
        if !decided.is_yes() {
            self.refusals.insert(event.event_id, event.recorded_at_ms);
        }
        let label = decision(decided);
        if purposes.is_empty() {
            self.count(Population::Decisions, &[label, ALL_PURPOSES], 1);
        }
        purposes.iter().for_each(|purpose| self.count(Population::Decisions, &[label, purpose], 1));
    }

    fn grant_issued(&mut self, event: &Recorded, issued: &GrantIssued) {
        let seen = SeenGrant {
            purpose: issued.purpose.clone(),
            recipient: issued.recipient.clone(),
            expires_at_ms: issued.expires_at_ms,
            is_revoked: false,
        };
        self.grants.insert(event.event_id, seen);
        let is_released = !issued.allowed.is_empty();
        let (label, reach) =
            if is_released { (ALLOWED, Reach::Released) } else { (NOTHING_ALLOWED, Reach::NothingAllowed) };
        self.count(Population::GrantRequests, &[label], 1);
        self.reached(reach);
        if is_released {
            self.released(event, 1);
        }
        for class in &issued.withheld {
            let tier = word(Tier::as_str_name(&class.decided_by), "TIER_");
            let reason = word(Reason::as_str_name(&class.reason), "REASON_");
            let policy = if class.policy.is_empty() { NO_POLICY } else { &class.policy };
            self.count(Population::Withheld, &[&tier, policy, &reason], 1);
        }
    }

    /// Counts each reuse of a grant as a release, on the day on which it was recorded.
    fn grant_reused(&mut self, event: &Recorded, count: u32) {
        self.count(Population::GrantRequests, &[ALLOWED], count.into());
        self.released(event, count.into());
    }

    fn reached(&mut self, reach: Reach) {
        if self.is_in_window {
            self.counts.reach = self.counts.reach.max(reach);
        }
    }

    fn released(&mut self, event: &Recorded, count: u64) {
        if self.is_in_window {
            let releases = self.counts.release_days.entry(event.recorded_at_ms / DAY_MS).or_default();
            *releases = releases.saturating_add(count);
        }
    }

    fn grant_used(&mut self, event: &Recorded, used: &GrantUsed) {
        self.remember_reply(&event.actor.name, used);
        let grant = self.grants.get(&used.grant);
        let Some(grant) = grant.filter(|_| self.is_in_window) else { return };
        let times = u64::from(used.count.max(1));
        let status = if grant.is_revoked {
            GRANT_REVOKED
        } else if grant.expires_at_ms <= event.recorded_at_ms {
            GRANT_EXPIRED
        } else {
            GRANT_VALID
        };
        let (purpose, recipient) = (grant.purpose.clone(), grant.recipient.clone());
        self.count(Population::Replies, &[&purpose, &recipient], times);
        self.count(Population::GrantStatus, &[status], times);
        let disclosure = if used.ai_disclosure_shown { DISCLOSED } else { NOT_DISCLOSED };
        self.count(Population::Disclosures, &[disclosure], times);
        for attribute in &used.shaped_by {
            let seen = self.attributes.get(attribute).cloned();
            if let Some(seen) = seen {
                let labels = [seen.category.as_str(), provenance(seen.provenance)];
                self.count(Population::UsedAttributes, &labels, times);
            }
        }
        self.reached(Reach::Used);
        self.counts.recipients.insert(recipient);
    }

    fn remember_reply(&mut self, recipient: &str, used: &GrantUsed) {
        let ids = used.shaped_by.iter().copied();
        let given = self.replies.entry(used.reply.clone()).or_default();
        given.entry(recipient.to_owned()).or_default().extend(ids);
    }

    fn grant_revoked(&mut self, event: &Recorded, grant: EventId, cause: Option<EventId>) {
        if let Some(grant) = self.grants.get_mut(&grant) {
            grant.is_revoked = true;
        }
        if let Some(refused_at_ms) = cause.and_then(|cause| self.refusals.get(&cause)).copied() {
            let delay_ms = event.recorded_at_ms.saturating_sub(refused_at_ms);
            self.count(Population::RevocationDelays, &[bucket(&DURATION_BUCKETS, delay_ms)], 1);
        }
    }
}
