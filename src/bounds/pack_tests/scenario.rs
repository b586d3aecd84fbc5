//! Builds a data subject's state from the steps of a test case.

use crate::bounds::pack_tests::table::{FactStep, How, PersonStep, SignalStep, Step, TermsStep};
use crate::domain::DAY_MS;
use crate::domain::attribute::{Attribute, Secret};
use crate::domain::consent::Decision;
use crate::domain::consent::Terms;
use crate::domain::event::{Actor, Event, GrantUsed, Recorded, Role, SignalKind};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use sayso_proof::event::{AgeBand, Provenance, SubjectDescribed};

/// Day 0: 2026-01-01, UTC.
const START_MS: u64 = 1_767_225_600_000;

/// The state of a data subject after the steps.
pub(crate) struct Story {
    pub state: SubjectState,
    /// Just after the last step.
    pub now_ms: u64,
    /// The attribute that the last step would record, if the case is about a recording.
    pub attempt: Option<Attribute>,
}

impl Story {
    /// Applies the steps in order, each at a time of its own.
    ///
    /// # Errors
    /// A step is empty or has more than one field, goes back in time, or names a missing attribute.
    pub fn tell(steps: &[Step], attempts: bool) -> Result<Self, String> {
        let mut story = Self { state: SubjectState::default(), now_ms: START_MS, attempt: None };
        let mut day = 0;
        for (number, step) in (0_u64..).zip(steps) {
            let next = step.day.unwrap_or(day);
            if next < day {
                return Err(format!("step {number} goes back in time"));
            }
            day = next;
            story.now_ms = Self::moment_ms(day).saturating_add(number);
            let event = story.event(step).map_err(|problem| format!("step {number}: {problem}"))?;
            let last =
                attempts && usize::try_from(number).is_ok_and(|at| at.saturating_add(1) == steps.len());
            match event {
                Event::AttributeRecorded(attribute) if last => story.attempt = Some(attribute),
                event => story.happen(number, event, step.disclosed.as_deref()),
            }
        }
        story.now_ms = story.now_ms.saturating_add(1);
        Ok(story)
    }

    /// The start of a day, milliseconds since the Unix epoch.
    pub fn moment_ms(day: u64) -> u64 {
        START_MS.saturating_add(day.saturating_mul(DAY_MS))
    }

    /// The actor for a role; only services have a name.
    pub fn actor(role: Role, name: &str) -> Actor {
        let name = if role == Role::Service { name.to_owned() } else { String::new() };
        Actor { role: role.into(), name }
    }

    fn happen(&mut self, number: u64, event: Event, service: Option<&str>) {
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
            event,
        });
    }

    fn event(&self, step: &Step) -> Result<Event, String> {
        let said = |decision, terms: &TermsStep| Event::Consent { decision, terms: terms_of(terms) };
        let held = |key: &String| {
            let held = self.state.attributes.get(key).map(|held| held.event_id);
            held.ok_or_else(|| format!("no fact `{key}` is held"))
        };
        let mut events = Vec::new();
        events.extend(step.give.iter().map(|terms| said(Decision::Given, terms)));
        events.extend(step.renew.iter().map(|terms| said(Decision::Renewed, terms)));
        events.extend(step.refuse.iter().map(|terms| said(Decision::Refused, terms)));
        events.extend(step.withdraw.iter().map(|terms| said(Decision::Withdrawn, terms)));
        for (signal, lifted) in [(&step.signal, false), (&step.lift, true)] {
            if let Some(signal) = signal {
                events.push(signal_of(signal, lifted)?);
            }
        }
        if let Some(person) = &step.describe {
            events.push(Event::SubjectDescribed(described(person)?));
        }
        if let Some(fact) = &step.fact {
            let sources = fact.derived_from.iter().map(held).collect::<Result<Vec<_>, _>>()?;
            events.push(Event::AttributeRecorded(self.attribute(fact, sources)));
        }
        if let Some(key) = &step.contest {
            events.push(Event::AttributeContested { attribute: held(key)?, reason: String::new() });
        }
        if let Some(key) = &step.confirm {
            events.push(Event::AttributeConfirmed { attribute: held(key)? });
        }
        if let Some(key) = &step.remove {
            events.push(Event::AttributeRemoved { attribute: held(key)?, reason: String::new() });
        }
        if step.disclosed.is_some() {
            events.push(Event::GrantUsed(GrantUsed { ai_disclosure_shown: true, ..GrantUsed::default() }));
        }
        match (events.pop(), events.is_empty()) {
            (Some(event), true) => Ok(event),
            (Some(_), false) => Err("says more than one thing".into()),
            (None, _) => Err("says nothing".into()),
        }
    }

    fn attribute(&self, fact: &FactStep, derived_from: Vec<EventId>) -> Attribute {
        let provenance = provenance(fact.provenance);
        let inferred = provenance == Provenance::Inferred;
        Attribute {
            key: fact.key.clone(),
            value: Secret::new(fact.value.to_string()),
            category: fact.category.clone(),
            provenance,
            evidence: Vec::new(),
            derived_from,
            confidence: inferred.then(|| f64::from(fact.confidence.unwrap_or(100)) / 100.0),
            model: String::new(),
            observed_at_ms: self.now_ms,
            expires_at_ms: fact.expires_day.map(Self::moment_ms),
            from_replies: Vec::new(),
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
        until_ms: terms.until_day.map(Story::moment_ms),
        ..Terms::default()
    }
}

fn signal_of(signal: &SignalStep, lifted: bool) -> Result<Event, String> {
    let kind = match signal.kind.as_str() {
        "objection" => SignalKind::Objection,
        "restriction" => SignalKind::Restriction,
        "opt_out" => SignalKind::OptOut,
        "limit_sensitive" => SignalKind::LimitSensitive,
        "pause" => SignalKind::Pause,
        other => return Err(format!("`{other}` is no signal")),
    };
    let (purposes, interaction) = (signal.purposes.clone(), signal.interaction.clone());
    Ok(Event::Signal { kind, purposes, lifted, interaction })
}

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

fn described(person: &PersonStep) -> Result<SubjectDescribed, String> {
    let band = band(&person.age_band).ok_or("no such age band")?;
    let said = SubjectDescribed {
        age_band: band.into(),
        age_years: person.age_years,
        jurisdiction: person.jurisdiction.clone(),
    };
    crate::domain::description::check(&said).map_err(|violations| violations.to_string())?;
    Ok(said)
}

pub(crate) fn provenance(how: How) -> Provenance {
    match how {
        How::Declared => Provenance::Declared,
        How::Observed => Provenance::Observed,
        How::Inferred => Provenance::Inferred,
    }
}
