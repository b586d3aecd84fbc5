//! Who may say what. People's words come from the person, a channel or a steward; a service records what it observes and infers,
//! and every no. What is refused here leaves nothing in the log.

use crate::app::caller::Caller;
use crate::app::consent::choice::Choice;
use crate::app::consent::signal::NewSignal;
use crate::app::error::AppError;
use crate::app::log::append::Append;
use crate::app::profile::record_attributes::Change;
use crate::bounds::rulebook::Rules;
use crate::domain::attribute::Attribute;
use crate::domain::consent::Terms;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{Event, SubjectDescribed};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use crate::domain::wording;
use sayso_proof::event::{Actor, AgeBand, Provenance, Role};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// `ErrorInfo` reason: people's words need the role `channel`.
const CHANNEL_NEEDED: &str = "CHANNEL_NEEDED";
/// `ErrorInfo` reason: observations and inferences need the role `service`.
const SERVICE_NEEDED: &str = "SERVICE_NEEDED";
/// `ErrorInfo` reason: the person said no with their own credential.
const PERSONS_NO: &str = "PERSONS_NO";
/// `ErrorInfo` reason: the person, a channel or a steward said so, and an observation or inference does not displace it.
const PERSONS_WORD: &str = "PERSONS_WORD";
/// `ErrorInfo` reason: another recorded it.
const NOT_YOURS: &str = "NOT_YOURS";
/// `ErrorInfo` reason: the controller's staff said so.
const STAFF_WORD: &str = "STAFF_WORD";

const WHO_LIFTS: &str = "only the person or a steward can lift it";

fn refused(reason: &'static str, why: impl Into<String>) -> AppError {
    AppError::Reserved { reason, why: why.into() }
}

fn channel_needed(what: &str) -> AppError {
    let who = "needs a credential with the role `channel` or `service-channel`, a steward's or the person's";
    refused(CHANNEL_NEEDED, format!("{what} {who}"))
}

impl Caller {
    /// Whether it carries a person's words: as the person, as a steward, or as an application through which people speak.
    #[must_use]
    pub fn speaks_for_people(&self) -> bool {
        self.channel || matches!(self.role, Role::Subject | Role::Steward | Role::Channel)
    }

    /// Whether a no of the person's own is not its to lift.
    fn is_bound_by_persons_no(&self) -> bool {
        !matches!(self.role, Role::Subject | Role::Steward)
    }

    fn recorded(&self, held: &CurrentAttribute) -> bool {
        matches!(held.actor.role(), Role::Service | Role::Channel) && held.actor.name == self.name
    }

    /// As it is recorded in an event. A service that is a channel, too, acts as a channel where it carries a person's words.
    #[must_use]
    pub fn actor_of(&self, event: &Event) -> Actor {
        let role = if self.channel && is_speech(event) { Role::Channel } else { self.role };
        Actor { role: role.into(), name: self.name.clone() }
    }
}

/// Whether an event is what a person said.
fn is_speech(event: &Event) -> bool {
    match event {
        Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } => {
            attribute.provenance == Provenance::Declared
        }
        Event::AttributeContested { .. }
        | Event::AttributeConfirmed { .. }
        | Event::AttributeRemoved { .. }
        | Event::Consent { .. }
        | Event::Signal { .. }
        | Event::SubjectDescribed(_) => true,
        _ => false,
    }
}

/// Whether a caller may record a yes at all.
///
/// # Errors
/// It carries nobody's words.
pub(crate) fn check_yes(caller: &Caller) -> Result<(), AppError> {
    if caller.speaks_for_people() { Ok(()) } else { Err(channel_needed("recording a yes")) }
}

/// Whether a caller may record a yes as the person stands.
///
/// # Errors
/// It carries nobody's words, or the person's own no stands against it.
pub(crate) fn check_consent(caller: &Caller, append: &Append, choices: &[Choice]) -> Result<(), AppError> {
    check_yes(caller)?;
    lifts_no_refusal(caller, &append.stream.read().state, &append.rules, choices)
}

/// Whether these choices lift nothing that the person refused with their own credential.
///
/// # Errors
/// Which no stands, and who can lift it.
fn lifts_no_refusal(
    caller: &Caller,
    state: &SubjectState,
    rules: &Rules,
    choices: &[Choice],
) -> Result<(), AppError> {
    if !caller.is_bound_by_persons_no() {
        return Ok(());
    }
    let own = |actor: &Actor| actor.role() == Role::Subject;
    let yeses = choices.iter().filter(|choice| choice.decision.is_yes());
    let lifted = yeses.map(scope_of).find_map(|terms| {
        state.consents.no_lifted_by(&terms, &rules.vocabulary, |no| own(&no.actor)).cloned()
    });
    let Some(no) = lifted else { return Ok(()) };
    let (at, event) = (wording::time(no.recorded_at_ms), no.event_id);
    let what = match no.terms.purposes.as_slice() {
        [] => "every purpose".to_owned(),
        purposes => format!("`{}`", purposes.join("`, `")),
    };
    let why = format!("the person said no to {what} with their own credential on {at} (event {event})");
    Err(refused(PERSONS_NO, format!("{why}; {WHO_LIFTS}")))
}

/// What a choice names, as far as a no is lifted by it.
fn scope_of(choice: &Choice) -> Terms {
    Terms {
        purposes: choice.purposes.clone(),
        categories: choice.categories.clone(),
        recipients: choice.recipients.clone(),
        explicit: choice.explicit,
        interactions: choice.interactions.clone(),
        ..Terms::default()
    }
}

/// Whether a caller may record signals of this kind at all: every signal, but the lifting of one only for people.
///
/// # Errors
/// It carries nobody's words.
pub(crate) fn check_signal(caller: &Caller, signal: &NewSignal) -> Result<(), AppError> {
    if signal.lift && !caller.speaks_for_people() {
        return Err(channel_needed("lifting a signal"));
    }
    Ok(())
}

/// Whether a lifting takes back nothing that the person said with their own credential.
///
/// # Errors
/// Which signal stands, and who can lift it.
pub(crate) fn check_signal_lift(
    caller: &Caller,
    state: &SubjectState,
    signal: &NewSignal,
) -> Result<(), AppError> {
    if !signal.lift || !caller.is_bound_by_persons_no() {
        return Ok(());
    }
    let NewSignal { kind, purposes, interaction, .. } = signal;
    let own = state.signals.iter().filter(|standing| standing.by == Role::Subject);
    let lifted = own.rev().find(|standing| standing.is_lifted_by(*kind, purposes, interaction));
    let Some(own) = lifted else { return Ok(()) };
    let name = kind.as_str_name().trim_start_matches("SIGNAL_KIND_").to_lowercase();
    let (at, event) = (wording::time(own.recorded_at_ms), own.event_id);
    let why = format!("the person recorded this {name} with their own credential on {at} (event {event})");
    Err(refused(PERSONS_NO, format!("{why}; {WHO_LIFTS}")))
}

/// Whether a caller may record facts of these provenances at all.
///
/// # Errors
/// A declaration by a service that carries nobody's words, or another fact by a channel that is no service.
pub(crate) fn check_provenance<'a>(
    caller: &Caller,
    attributes: impl Iterator<Item = &'a Attribute>,
) -> Result<(), AppError> {
    for attribute in attributes {
        let declared = attribute.provenance == Provenance::Declared;
        if declared && !caller.speaks_for_people() {
            return Err(channel_needed("recording what a person declared"));
        }
        if !declared && caller.role == Role::Channel {
            let who = "a channel records what people declare; recording what was observed or inferred";
            return Err(refused(
                SERVICE_NEEDED,
                format!("{who} needs the role `service` or `service-channel`"),
            ));
        }
    }
    Ok(())
}

/// Whether these facts displace nothing that they must not: neither by their key nor as a correction.
///
/// # Errors
/// A declaration, a contest, or another service's fact stands against one of them.
pub(crate) fn check_displacement(
    caller: &Caller,
    state: &SubjectState,
    attributes: &[(Attribute, Option<EventId>)],
) -> Result<(), AppError> {
    let named: HashSet<EventId> = attributes.iter().filter_map(|(_, corrects)| *corrects).collect();
    let held = state.attributes.values().filter(|held| named.contains(&held.event_id));
    let corrected: HashMap<EventId, &CurrentAttribute> =
        held.map(|held| (held.event_id, held.as_ref())).collect();
    let mut declared: HashSet<&str> = HashSet::new();
    for (number, (new, corrects)) in attributes.iter().enumerate() {
        let at = format!("attributes[{number}]");
        let held = state.attributes.get(&new.key).map(AsRef::as_ref);
        let corrected = corrects.and_then(|event| corrected.get(&event).copied());
        for before in [held, corrected].into_iter().flatten() {
            may_displace(caller, before, new, corrects.is_some_and(|event| event == before.event_id), &at)?;
        }
        let key = new.key.as_str();
        match new.provenance {
            Provenance::Declared => drop(declared.insert(key)),
            Provenance::Observed if declared.contains(key) => return Err(declaration(&at)),
            _ => {}
        }
    }
    Ok(())
}

fn may_displace(
    caller: &Caller,
    before: &CurrentAttribute,
    new: &Attribute,
    is_correction: bool,
    at: &str,
) -> Result<(), AppError> {
    if new.provenance == Provenance::Declared {
        return contest_in_person(caller, before, at);
    }
    if before.is_declared() && (is_correction || new.provenance != Provenance::Inferred) {
        return Err(declaration(at));
    }
    // The same conclusion again stays contested. Of what is declared, an inference takes no place.
    let same = before.is_contested_conclusion(new) && before.attribute.key == new.key;
    if before.contested && !before.is_declared() && !same {
        let why = "the person contested what is held: only what they say takes its place, no observation or inference";
        return Err(refused(PERSONS_WORD, format!("`{at}`: {why}")));
    }
    if is_correction && caller.role == Role::Service && !caller.recorded(before) {
        return Err(refused(NOT_YOURS, format!("`{at}`: a service corrects only what it recorded itself")));
    }
    Ok(())
}

fn declaration(at: &str) -> AppError {
    let why = "what is held was declared: no observation or inference takes the place of what a person said";
    refused(PERSONS_WORD, format!("`{at}`: {why}"))
}

fn contest_in_person(caller: &Caller, held: &CurrentAttribute, at: &str) -> Result<(), AppError> {
    if !held.contested_in_person || !caller.is_bound_by_persons_no() {
        return Ok(());
    }
    let why = format!("`{at}`: the person contested what is held with their own credential; {WHO_LIFTS}");
    Err(refused(PERSONS_NO, why))
}

/// Whether a caller may remove, contest or confirm what is held.
///
/// # Errors
/// It is not the caller's, or the person's word stands against it.
pub(crate) fn check_change(
    caller: &Caller,
    held: &[&Arc<CurrentAttribute>],
    change: Change,
) -> Result<(), AppError> {
    if change == Change::Contest {
        return Ok(());
    }
    for (number, held) in held.iter().enumerate() {
        let at = format!("keys[{number}]");
        if caller.speaks_for_people() {
            contest_in_person(caller, held, &at)?;
        } else if !caller.recorded(held) {
            return Err(refused(
                NOT_YOURS,
                format!("`{at}`: a service removes only what it recorded itself"),
            ));
        } else if held.is_declared() || held.contested {
            return Err(channel_needed(&format!(
                "`{at}`: removing what a person declared, confirmed or contested"
            )));
        }
    }
    Ok(())
}

/// Whether a caller may describe a person so. A service may say that they are a child, and nothing else.
///
/// # Errors
/// It carries nobody's words, or the staff's word stands against it.
pub(crate) fn check_description(caller: &Caller, said: &SubjectDescribed) -> Result<(), AppError> {
    let is_child = said.age_band() == AgeBand::Child && said.jurisdiction.is_empty();
    if is_child || caller.speaks_for_people() {
        return Ok(());
    }
    Err(channel_needed("describing a person as anything but a child"))
}

/// Whether a description keeps to what the controller's staff said of the age.
///
/// # Errors
/// It does not, and comes from nobody who may.
pub(crate) fn check_staff_override(
    caller: &Caller,
    state: &SubjectState,
    said: &SubjectDescribed,
) -> Result<(), AppError> {
    if caller.role == Role::Steward || !state.description.overrides_staff(said) {
        return Ok(());
    }
    let why = "a steward described the person as younger; only a steward can take that back";
    Err(refused(STAFF_WORD, why))
}
