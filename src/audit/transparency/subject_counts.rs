//! One person's history, counted: what happened within the window, and what stood at its end.
//!
//! Events before the window give context (which category an attribute has, which grant a use belongs to) and are not
//! counted. What is counted adds up: the days of a period make the period.

use super::labels::{
    ARTIFACT_BUCKETS, BYTES_BUCKETS, NOT_SAID, RELEASE_BUCKETS, SPAN_BUCKETS, bucket, provenance, word,
};
use super::requests;
use super::table::{Base, Counts};
use super::values::GroupName;
use crate::domain::DAY_MS;
use crate::domain::attribute::Attribute;
use crate::domain::consent::Decision;
use crate::domain::description::UNKNOWN;
use crate::domain::event::{Event, GrantIssued, GrantUsed, Recorded};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use sayso_proof::event::{Provenance, Reason, SignalKind, Tier};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Recorded times from `from_ms` on and before `to_ms`, milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first moment in it.
    pub from_ms: u64,
    /// The first moment after it.
    pub to_ms: u64,
}

impl Window {
    fn has(self, ms: u64) -> bool {
        (self.from_ms..self.to_ms).contains(&ms)
    }
}

/// How far personalisation reached a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// No grant was asked for.
    #[default]
    NeverAsked,
    /// Grants were asked for, and nothing was allowed.
    NothingAllowed,
    /// Something was allowed, and no use was reported.
    Released,
    /// A reply was personalised.
    Used,
}

impl Reach {
    fn label(self) -> &'static str {
        match self {
            Self::NeverAsked => "no grant asked for",
            Self::NothingAllowed => "asked, nothing allowed",
            Self::Released => "released, no use reported",
            Self::Used => "replies personalised",
        }
    }
}

/// What stood when the window ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Facts held: category, provenance, and (of inferences) the value.
    pub held: Vec<HeldAttribute>,
    /// Bytes of entries.
    pub bytes: u64,
    /// Artefacts that stand.
    pub artifacts: u64,
    /// Where the person is, as the log says; empty: it doesn't.
    pub jurisdiction: String,
    /// How old, likewise.
    pub age_band: &'static str,
}

/// A fact as it is counted.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldAttribute {
    /// Its category.
    pub category: String,
    /// How it came to be held.
    pub provenance: Provenance,
    /// JSON text, to be hashed.
    pub value: crate::domain::attribute::Secret,
}

/// One person, counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubjectCounts {
    counts: Counts,
    release_days: BTreeMap<u64, u64>,
    reach: Reach,
    /// Recipients whose replies were personalised with this person's data.
    pub recipients: BTreeSet<String>,
    /// What stood at the end.
    pub standing: Standing,
}

impl SubjectCounts {
    /// Takes in what was counted of the same person for the days after.
    pub fn merge(&mut self, later: Self) {
        self.counts.merge(later.counts);
        for (day, count) in later.release_days {
            let there = self.release_days.entry(day).or_default();
            *there = there.saturating_add(count);
        }
        self.reach = self.reach.max(later.reach);
        self.recipients.extend(later.recipients);
        self.standing = later.standing;
    }

    /// Groups that the person is compared in.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupName> {
        let recipients = self.recipients.iter().map(|recipient| ("recipient", recipient.clone()));
        let [place, age] = self.described();
        let said =
            [("jurisdiction", place), ("age band", age)].into_iter().filter(|(_, said)| *said != NOT_SAID);
        recipients.chain(said.map(|(dimension, said)| (dimension, said.to_owned()))).collect()
    }

    /// Jurisdiction and age band.
    fn described(&self) -> [&str; 2] {
        fn said(text: &str) -> &str {
            if text.is_empty() || text == UNKNOWN { NOT_SAID } else { text }
        }
        [said(self.standing.jurisdiction.as_str()), said(self.standing.age_band)]
    }

    /// Everything that this person counts for, with what can only be said at the end.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts.clone();
        for releases in self.release_days.values() {
            counts.add(Base::ReleaseDay, &[bucket(&RELEASE_BUCKETS, *releases)], 1);
        }
        let [place, age] = self.described();
        counts.add(Base::Reach, &[place, age, self.reach.label()], 1);
        counts.add(Base::Bytes, &[bucket(&BYTES_BUCKETS, self.standing.bytes)], 1);
        counts.add(Base::Artifacts, &[bucket(&ARTIFACT_BUCKETS, self.standing.artifacts)], 1);
        for fact in &self.standing.held {
            counts.add(Base::Held, &[&fact.category, provenance(fact.provenance)], 1);
        }
        counts
    }
}

/// What is known of an attribute.
#[derive(Clone)]
struct Class {
    category: String,
    source: Provenance,
    key: String,
    derived_from: Vec<EventId>,
}

/// What a grant was for.
struct GrantSeen {
    purpose: String,
    recipient: String,
    expires_at_ms: u64,
    fallen: bool,
}

/// Walks through one person's history, oldest first.
pub struct SubjectCounter {
    window: Window,
    person: SubjectCounts,
    state: SubjectState,
    bytes: u64,
    /// Every attribute there ever was.
    attributes: HashMap<EventId, Class>,
    /// Attributes that shaped a reply, by its name and who gave it.
    replies: HashMap<String, BTreeMap<String, HashSet<EventId>>>,
    grants: HashMap<EventId, GrantSeen>,
    /// When the person said no.
    noes: HashMap<EventId, u64>,
    contested: HashSet<EventId>,
}

impl SubjectCounter {
    /// Before the first event.
    #[must_use]
    pub fn new(window: Window) -> Self {
        Self {
            window,
            person: SubjectCounts::default(),
            state: SubjectState::default(),
            bytes: 0,
            attributes: HashMap::new(),
            replies: HashMap::new(),
            grants: HashMap::new(),
            noes: HashMap::new(),
            contested: HashSet::new(),
        }
    }

    /// The next event, with the bytes of its entry. What was recorded after the window is left out.
    pub fn event(&mut self, event: &Recorded, bytes: u64) {
        if event.recorded_at_ms >= self.window.to_ms {
            return;
        }
        let counts = self.window.has(event.recorded_at_ms);
        self.bytes = self.bytes.saturating_add(bytes);
        match &event.event {
            Event::GrantIssued(issued) => self.issued(event, issued, counts),
            Event::GrantUsed(used) => self.used(event, used, counts),
            Event::GrantGivenAgain(again) if counts => self.given_again(event, again.count),
            Event::GrantRevoked { grant, cause, .. } => self.revoked(event, *grant, *cause, counts),
            Event::ConsentRequested(terms) if counts => {
                for purpose in &terms.purposes {
                    self.count(Base::Decision, &["asked", purpose], 1);
                }
            }
            Event::Consent { decision, terms } => self.decided(event, *decision, &terms.purposes, counts),
            Event::Signal { kind, lifted, .. } if counts => {
                let kind = word(SignalKind::as_str_name(kind), "SIGNAL_KIND_");
                self.count(Base::Signal, &[&kind, if *lifted { "lifted" } else { "recorded" }], 1);
            }
            Event::PersonalBoundsSet(_) if counts => self.count(Base::Signal, &["personal-bounds", "set"], 1),
            Event::RecordingRefused(refused) if counts => {
                let tier = word(Tier::as_str_name(&refused.decided_by()), "TIER_");
                let policy = if refused.policy.is_empty() { "-" } else { &refused.policy };
                let labels = [tier.as_str(), policy, &refused.category];
                self.count(Base::RefusedRecording, &labels, refused.count.max(1).into());
            }
            Event::RequestSubmitted(_) | Event::RequestExtended(_) | Event::RequestDecided(_) if counts => {
                for (base, labels) in requests::steps(event, &self.state.rights) {
                    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                    self.count(base, &labels, 1);
                }
            }
            _ => self.attribute(event, counts),
        }
        self.state.apply(event);
    }

    /// After the last event.
    #[must_use]
    pub fn end(mut self) -> SubjectCounts {
        let held = self.state.attributes.values().map(|held| HeldAttribute {
            category: held.attribute.category.clone(),
            provenance: held.attribute.provenance,
            value: held.attribute.value.clone(),
        });
        self.person.standing = Standing {
            held: held.collect(),
            bytes: self.bytes,
            artifacts: self
                .state
                .rights
                .artifacts
                .values()
                .filter(|built| built.invalidated.is_none())
                .count() as u64,
            jurisdiction: self.state.description.jurisdiction.clone(),
            age_band: self.state.description.age_band_name(),
        };
        self.person
    }

    /// Whether anything was recorded about the person before the window ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.version == 0
    }

    fn count(&mut self, base: Base, labels: &[&str], count: u64) {
        self.person.counts.add(base, labels, count);
    }

    fn attribute(&mut self, event: &Recorded, counts: bool) {
        match &event.event {
            Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } => {
                if let Event::AttributeCorrected { corrects, .. } = &event.event {
                    self.settled(*corrects, "corrected or removed after it", counts);
                }
                if counts && attribute.provenance == Provenance::Inferred {
                    let drawn_from = self.drawn_from(&event.actor.name, attribute);
                    self.count(Base::Loop, &[drawn_from], 1);
                }
                let (category, key) = (attribute.category.clone(), attribute.key.clone());
                let derived_from = attribute.derived_from.clone();
                let class = Class { category, source: attribute.provenance, key, derived_from };
                self.attributes.insert(event.event_id, class);
            }
            Event::AttributeContested { attribute, .. } => {
                let begun = self.is_inferred(*attribute) && self.contested.insert(*attribute);
                self.count(Base::Contest, &["contested"], u64::from(begun && counts));
            }
            Event::AttributeConfirmed { attribute } => {
                let was_contested = self.settled(*attribute, "taken back by the person", counts);
                let unasked = counts && !was_contested && self.is_inferred(*attribute);
                self.count(Base::Contest, &["confirmed without a contest"], u64::from(unasked));
            }
            Event::AttributeRemoved { attribute, .. } => {
                self.settled(*attribute, "corrected or removed after it", counts);
            }
            _ => {}
        }
    }

    fn is_inferred(&self, attribute: EventId) -> bool {
        self.attributes.get(&attribute).is_some_and(|class| class.source == Provenance::Inferred)
    }

    /// What an inference was drawn from: replies of its writer by these names, or of anybody where the writer gave none.
    fn drawn_from(&self, writer: &str, attribute: &Attribute) -> &'static str {
        if attribute.from_replies.is_empty() {
            return "no reply named";
        }
        let ground = self.ground(&attribute.derived_from);
        let shaped = attribute.from_replies.iter().filter_map(|reply| self.replies.get(reply)).any(|given| {
            let own = given.get(writer);
            let mut facts = own.into_iter().chain(given.values().filter(|_| own.is_none())).flatten();
            facts.any(|fact| {
                let key = self.attributes.get(fact).map(|class| class.key.as_str());
                key == Some(attribute.key.as_str()) || ground.contains(fact)
            })
        });
        if shaped { "replies that the same fact had shaped" } else { "other replies" }
    }

    /// Everything that something derives from, through any number of steps.
    fn ground(&self, sources: &[EventId]) -> HashSet<EventId> {
        let (mut ground, mut open) = (HashSet::new(), sources.to_vec());
        while let Some(source) = open.pop() {
            if ground.insert(source) {
                open.extend(self.attributes.get(&source).into_iter().flat_map(|class| &class.derived_from));
            }
        }
        ground
    }

    /// A contest that ended; whether there was one.
    fn settled(&mut self, attribute: EventId, how: &str, counts: bool) -> bool {
        let was_contested = self.contested.remove(&attribute);
        if was_contested && counts {
            self.count(Base::Contest, &[how], 1);
        }
        was_contested
    }

    fn decided(&mut self, event: &Recorded, decision: Decision, purposes: &[String], counts: bool) {
        if !decision.is_yes() {
            self.noes.insert(event.event_id, event.recorded_at_ms);
        }
        let label = match decision {
            Decision::Given => "given",
            Decision::Refused => "refused",
            Decision::Renewed => "renewed",
            Decision::Withdrawn => "withdrawn",
        };
        if counts {
            // A no may be to everything.
            let everything = ["all purposes".to_owned()];
            let named = if purposes.is_empty() { everything.as_slice() } else { purposes };
            named.iter().for_each(|purpose| self.count(Base::Decision, &[label, purpose], 1));
        }
    }

    fn issued(&mut self, event: &Recorded, issued: &GrantIssued, counts: bool) {
        let seen = GrantSeen {
            purpose: issued.purpose.clone(),
            recipient: issued.recipient.clone(),
            expires_at_ms: issued.expires_at_ms,
            fallen: false,
        };
        self.grants.insert(event.event_id, seen);
        if !counts {
            return;
        }
        let released = !issued.allowed.is_empty();
        self.count(Base::Asked, &[if released { "something allowed" } else { "nothing allowed" }], 1);
        let reach = if released { Reach::Released } else { Reach::NothingAllowed };
        self.person.reach = self.person.reach.max(reach);
        if released {
            let day = self.person.release_days.entry(event.recorded_at_ms / DAY_MS).or_default();
            *day = day.saturating_add(1);
        }
        for class in &issued.withheld {
            let tier = word(Tier::as_str_name(&class.decided_by()), "TIER_");
            let reason = word(Reason::as_str_name(&class.reason()), "REASON_");
            let policy = if class.policy.is_empty() { "-" } else { &class.policy };
            self.count(Base::Withheld, &[&tier, policy, &reason], 1);
        }
    }

    /// A release each, on the day on which it was written down.
    fn given_again(&mut self, event: &Recorded, count: u32) {
        self.count(Base::Asked, &["something allowed"], count.into());
        let day = self.person.release_days.entry(event.recorded_at_ms / DAY_MS).or_default();
        *day = day.saturating_add(count.into());
    }

    fn used(&mut self, event: &Recorded, used: &GrantUsed, counts: bool) {
        self.replied(&event.actor.name, used);
        let grant = EventId::from_slice(&used.grant).and_then(|grant| self.grants.get(&grant));
        let Some(grant) = grant.filter(|_| counts) else { return };
        let times = u64::from(used.count.max(1));
        let standing = match grant {
            GrantSeen { fallen: true, .. } => "after it had fallen",
            GrantSeen { expires_at_ms, .. } if *expires_at_ms <= event.recorded_at_ms => {
                "after it had expired"
            }
            _ => "while it stood",
        };
        let (purpose, recipient) = (grant.purpose.clone(), grant.recipient.clone());
        self.count(Base::Use, &[&purpose, &recipient], times);
        self.count(Base::Standing, &[standing], times);
        let told = if used.ai_disclosure_shown { "shown" } else { "not reported as shown" };
        self.count(Base::Disclosure, &[told], times);
        for attribute in &used.shaped_by {
            let class = EventId::from_slice(attribute).and_then(|id| self.attributes.get(&id)).cloned();
            if let Some(class) = class {
                self.count(Base::UsedAttribute, &[&class.category, provenance(class.source)], times);
            }
        }
        self.person.reach = Reach::Used;
        self.person.recipients.insert(recipient);
    }

    fn replied(&mut self, recipient: &str, used: &GrantUsed) {
        let ids = used.shaped_by.iter().filter_map(|id| EventId::from_slice(id));
        let given = self.replies.entry(used.reply.clone()).or_default();
        given.entry(recipient.to_owned()).or_default().extend(ids);
    }

    fn revoked(&mut self, event: &Recorded, grant: EventId, cause: Option<EventId>, counts: bool) {
        if let Some(grant) = self.grants.get_mut(&grant) {
            grant.fallen = true;
        }
        let said_at = cause.and_then(|cause| self.noes.get(&cause)).copied();
        if let Some(said_at) = said_at.filter(|_| counts) {
            let after = event.recorded_at_ms.saturating_sub(said_at);
            self.count(Base::Bite, &[bucket(&SPAN_BUCKETS, after)], 1);
        }
    }
}
