//! Builds a data subject's state from the steps of a test case.

use crate::bounds::pack_tests::table::{
    AttributeStep, ProvenanceName, SignalStep, Step, SubjectStep, TermsStep,
};
use crate::domain::DAY_MS;
use crate::domain::attribute::{Attribute, Secret};
use crate::domain::consent::{Decision, NoticeRef, Terms};
use crate::domain::event::{
    Actor, AgeBand, Event, GrantUsed, Provenance, Recorded, RequestKey, Role, SignalKind, SubjectDescribed,
};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;

/// Day 0: 2026-01-01, UTC.
const START_MS: u64 = 1_767_225_600_000;

/// The state of a data subject after the steps.
pub(crate) struct Scenario {
    pub state: SubjectState,
    /// Just after the last step.
    pub now_ms: u64,
    /// The attribute that the last step would record, if the case is about a recording.
    pub attempt: Option<Attribute>,
}

impl Scenario {
    /// Applies the steps in order, each at its own time. For a recording, the last step is not applied but
    /// becomes the attempt.
    ///
    /// # Errors
    /// A step has no field or more than one, is on an earlier day than the step before it, or names a missing
    /// attribute.
    pub fn from_steps(steps: &[Step], is_recording: bool) -> Result<Self, String> {
        let mut scenario = Self { state: SubjectState::default(), now_ms: START_MS, attempt: None };
        let mut day = 0;
        for (number, step) in (0_u64..).zip(steps) {
            let next = step.day.unwrap_or(day);
            if next < day {
                return Err(format!("step {number}: `day` must not be before the day of the previous step"));
            }
            day = next;
            scenario.now_ms = Self::moment_ms(day).saturating_add(number);
            let event = scenario.event(step).map_err(|problem| format!("step {number}: {problem}"))?;
            let last =
                is_recording && usize::try_from(number).is_ok_and(|at| at.saturating_add(1) == steps.len());
            match event {
                Event::AttributeRecorded(attribute) if last => scenario.attempt = Some(attribute),
                event => scenario.apply(number, event, step.disclosed.as_deref()),
            }
        }
        scenario.now_ms = scenario.now_ms.saturating_add(1);
        Ok(scenario)
    }

    /// The start of a day, milliseconds since the Unix epoch.
    pub fn moment_ms(day: u64) -> u64 {
        START_MS.saturating_add(day.saturating_mul(DAY_MS))
    }

    /// The actor for a role; only services have a name.
    pub fn actor(role: Role, name: &str) -> Actor {
        let name = if role == Role::Service { name.to_owned() } else { String::new() };
        Actor { role, name }
    }

    fn apply(&mut self, number: u64, event: Event, service: Option<&str>) {
        let role = if service.is_some() { Role::Service } else { Role::Subject };
        self.state.apply(&Recorded {
            event_id: EventId((u128::from(number).saturating_add(1)).to_be_bytes()),
            position: number,
            version: number,
            recorded_at_ms: self.now_ms,
            sealed_at_ms: self.now_ms,
            about_ms: self.now_ms,
            actor: Self::actor(role, service.unwrap_or_default()),
            request_digest: Vec::new(),
            request_key: RequestKey::None,
            event,
        });
    }

    fn event(&self, step: &Step) -> Result<Event, String> {
        let consent = |decision, terms: &TermsStep| Event::Consent { decision, terms: terms_of(terms) };
        let attribute_event = |key: &String| {
            let event = self.state.attributes.get(key).map(|current| current.event_id);
            event.ok_or_else(|| format!("there is no attribute with the key `{key}`"))
        };
        let mut events = Vec::new();
        events.extend(step.give.iter().map(|terms| consent(Decision::Given, terms)));
        events.extend(step.renew.iter().map(|terms| consent(Decision::Renewed, terms)));
        events.extend(step.refuse.iter().map(|terms| consent(Decision::Refused, terms)));
        events.extend(step.withdraw.iter().map(|terms| consent(Decision::Withdrawn, terms)));
        for (signal, lifted) in [(&step.signal, false), (&step.lift, true)] {
            if let Some(signal) = signal {
                events.push(signal_of(signal, lifted)?);
            }
        }
        if let Some(subject) = &step.describe {
            events.push(Event::SubjectDescribed(described(subject, self.now_ms)?));
        }
        if let Some(attribute) = &step.attribute {
            let sources =
                attribute.derived_from.iter().map(attribute_event).collect::<Result<Vec<_>, _>>()?;
            events.push(Event::AttributeRecorded(self.attribute(attribute, sources)));
        }
        if let Some(key) = &step.contest {
            events
                .push(Event::AttributeContested { attribute: attribute_event(key)?, reason: String::new() });
        }
        if let Some(key) = &step.confirm {
            events.push(Event::AttributeConfirmed { attribute: attribute_event(key)? });
        }
        if let Some(key) = &step.remove {
            events.push(Event::AttributeRemoved { attribute: attribute_event(key)?, reason: String::new() });
        }
        if step.disclosed.is_some() {
            events.push(Event::GrantUsed(GrantUsed { ai_disclosure_shown: true, ..GrantUsed::default() }));
        }
        match (events.pop(), events.is_empty()) {
            (Some(event), true) => Ok(event),
            (Some(_), false) => Err("it must have only one field besides `day`".into()),
            (None, _) => Err("it needs a field besides `day`".into()),
        }
    }

    fn attribute(&self, step: &AttributeStep, derived_from: Vec<EventId>) -> Attribute {
        let provenance = provenance(step.provenance);
        let inferred = provenance == Provenance::Inferred;
        Attribute {
            key: step.key.clone(),
            value: Secret::new(step.value.to_string()),
            category: step.category.clone(),
            provenance,
            evidence: Vec::new(),
            derived_from,
            confidence: inferred.then(|| f64::from(step.confidence.unwrap_or(100)) / 100.0),
            model: String::new(),
            observed_at_ms: self.now_ms,
            expires_at_ms: step.expires_day.map(Self::moment_ms),
            from_replies: Vec::new(),
            claimed_provenance: Provenance::Unspecified,
            embedding: None,
        }
    }
}

fn terms_of(terms: &TermsStep) -> Terms {
    Terms {
        purposes: terms.purposes.clone(),
        categories: terms.categories.clone(),
        recipients: terms.recipients.clone(),
        explicit: terms.explicit,
        guardian: terms.guardian,
        until_ms: terms.until_day.map(Scenario::moment_ms),
        notice: terms.notice.clone().map(|id| NoticeRef {
            id,
            version: terms.notice_version.clone(),
            ..NoticeRef::default()
        }),
        ..Terms::default()
    }
}

fn signal_of(signal: &SignalStep, lifted: bool) -> Result<Event, String> {
    let kind = match signal.kind.as_str() {
        "objection" => SignalKind::Objection,
        "restriction" => SignalKind::Restriction,
        "opt_out" => SignalKind::OptOut,
        "opt_out_automated" => SignalKind::OptOutAutomated,
        "limit_sensitive" => SignalKind::LimitSensitive,
        "pause" => SignalKind::Pause,
        other => {
            return Err(format!(
                "`kind` must be objection, restriction, opt_out, opt_out_automated, limit_sensitive or pause, \
                 not `{other}`"
            ));
        }
    };
    let (purposes, interaction) = (signal.purposes.clone(), signal.interaction.clone());
    Ok(Event::Signal { kind, purposes, lifted, interaction })
}

/// The problem with a name for which [`band`] is `None`.
pub(crate) const AGE_BAND_PROBLEM: &str = "`age_band` must be child, teen, adult or unknown";

/// An age band by its name; unspecified if the name is empty.
pub(crate) fn band(name: &str) -> Option<AgeBand> {
    match name {
        "" => Some(AgeBand::Unspecified),
        "child" => Some(AgeBand::Child),
        "teen" => Some(AgeBand::Teen),
        "adult" => Some(AgeBand::Adult),
        "unknown" => Some(AgeBand::Unknown),
        _ => None,
    }
}

fn described(subject: &SubjectStep, now_ms: u64) -> Result<SubjectDescribed, String> {
    let band = band(&subject.age_band).ok_or(AGE_BAND_PROBLEM)?;
    let description = SubjectDescribed {
        age_band: band,
        age_years: subject.age_years,
        jurisdiction: subject.jurisdiction.clone(),
        born: subject.born.clone(),
    };
    crate::domain::description::check(&description, now_ms).map_err(|violations| violations.to_string())?;
    Ok(description)
}

pub(crate) fn provenance(name: ProvenanceName) -> Provenance {
    match name {
        ProvenanceName::Declared => Provenance::Declared,
        ProvenanceName::Observed => Provenance::Observed,
        ProvenanceName::Inferred => Provenance::Inferred,
    }
}
