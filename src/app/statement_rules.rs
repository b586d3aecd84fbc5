//! Rules about who may record which statement. A data subject's own words come from the data subject, a
//! channel (an application through which people speak) or a steward. A service records what it observes and
//! infers, and may also record that a data subject refuses something. A request that these rules reject
//! leaves nothing in the log, with one exception: if the request contains refusals by the data subject, these
//! are recorded.

use crate::app::caller::Caller;
use crate::app::consent::choice::Choice;
use crate::app::consent::signal::NewSignal;
use crate::app::error::AppError;
use crate::app::log::append::Append;
use crate::app::profile::change::Change;
use crate::app::reserved::Reserved;
use crate::bounds::rulebook::Rules;
use crate::domain::active_signal::ActiveSignal;
use crate::domain::attribute::Attribute;
use crate::domain::consent::Terms;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{Actor, AgeBand, Event, Provenance, Role, SignalKind, SubjectDescribed};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use crate::domain::stopped_purposes::{DIRECT_MARKETING, covered};
use crate::domain::vocabulary::Vocabulary;
use crate::domain::wording;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const WHO_LIFTS: &str = "only the person or a steward can lift it";

fn reserved(rule: Reserved, why: impl Into<String>) -> AppError {
    AppError::Reserved { rule, why: why.into() }
}

fn channel_needed(what: &str) -> AppError {
    let who = "needs a credential with the role `channel` or `service-channel`, a steward's or the person's";
    reserved(Reserved::ChannelRoleRequired, format!("{what} {who}"))
}

impl Caller {
    /// Whether the caller may record a data subject's words: as the data subject, as a steward, or as an
    /// application through which people speak.
    #[must_use]
    pub fn speaks_for_people(&self) -> bool {
        self.channel || matches!(self.role, Role::Subject | Role::Steward | Role::Channel)
    }

    /// Whether the caller is forbidden to lift refusals that the data subject recorded with the data
    /// subject's own credential.
    fn is_bound_by_own_refusals(&self) -> bool {
        !matches!(self.role, Role::Subject | Role::Steward)
    }

    fn recorded(&self, current: &CurrentAttribute) -> bool {
        matches!(current.actor.role, Role::Service | Role::Channel) && current.actor.name == self.name
    }

    /// Whether the caller may learn that there is this attribute: its role sees what others recorded, or it
    /// recorded the attribute itself.
    pub(crate) fn sees_attribute(&self, current: &CurrentAttribute) -> bool {
        self.sees_others() || self.recorded(current)
    }

    /// The actor recorded in an event. A service that is also a channel acts as a channel where it records a
    /// data subject's words.
    #[must_use]
    pub fn actor_of(&self, event: &Event) -> Actor {
        let role = if self.channel && is_speech(event) { Role::Channel } else { self.role };
        Actor { role, name: self.name.clone() }
    }
}

/// Whether an event records what a data subject said.
fn is_speech(event: &Event) -> bool {
    match event {
        Event::AttributeRecorded(attribute)
        | Event::EarlierAttributeRecorded(attribute)
        | Event::AttributeCorrected { attribute, .. } => attribute.provenance == Provenance::Declared,
        Event::AttributeContested { .. }
        | Event::AttributeConfirmed { .. }
        | Event::AttributeRemoved { .. }
        | Event::Consent { .. }
        | Event::Signal { .. }
        | Event::SubjectDescribed(_) => true,
        _ => false,
    }
}

/// Checks that a caller may record consent at all.
///
/// # Errors
/// The caller does not speak for people.
pub(crate) fn check_may_consent(caller: &Caller) -> Result<(), AppError> {
    if caller.speaks_for_people() { Ok(()) } else { Err(channel_needed("recording a consent")) }
}

/// Checks that a caller may record these consents in the data subject's current state.
///
/// # Errors
/// The caller does not speak for people, or the data subject's own refusal is in force.
pub(crate) fn check_consent(caller: &Caller, append: &Append, choices: &[Choice]) -> Result<(), AppError> {
    check_may_consent(caller)?;
    check_lifted_refusals(caller, &append.stream.read().state, &append.rules, choices)
}

/// Checks that these choices lift no refusal that the data subject recorded with their own credential.
///
/// # Errors
/// A choice would lift such a refusal. The error names the refusal and who can lift it.
fn check_lifted_refusals(
    caller: &Caller,
    state: &SubjectState,
    rules: &Rules,
    choices: &[Choice],
) -> Result<(), AppError> {
    if !caller.is_bound_by_own_refusals() {
        return Ok(());
    }
    let own = |actor: &Actor| actor.role == Role::Subject;
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
    Err(reserved(Reserved::RefusedBySubject, format!("{why}; {WHO_LIFTS}")))
}

/// The terms of a choice that decide which refusals the choice lifts.
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

/// Checks that a caller may record this signal at all. Everyone may record one; only a caller that speaks for
/// people may lift one.
///
/// # Errors
/// The caller does not speak for people.
pub(crate) fn check_signal(caller: &Caller, signal: &NewSignal) -> Result<(), AppError> {
    if signal.lift && !caller.speaks_for_people() {
        return Err(channel_needed("lifting a signal"));
    }
    Ok(())
}

/// Checks that lifting a signal takes back nothing that the data subject recorded with their own credential.
/// A steward may take it back for them, except an objection to direct marketing (GDPR Art. 21(3)).
///
/// # Errors
/// The data subject recorded the signal with their own credential. The error names the signal and who can
/// lift it.
pub(crate) fn check_signal_lift(
    caller: &Caller,
    state: &SubjectState,
    vocabulary: &Vocabulary,
    signal: &NewSignal,
) -> Result<(), AppError> {
    if !signal.lift || caller.role == Role::Subject {
        return Ok(());
    }
    let NewSignal { kind, purposes, interaction, .. } = signal;
    let objects_to_marketing = |standing: &ActiveSignal| {
        let lifted: Vec<String> = standing
            .purposes
            .iter()
            .filter(|id| purposes.is_empty() || purposes.contains(id))
            .cloned()
            .collect();
        // A signal for all purposes is lifted as a whole or not at all.
        let lifts_part = standing.purposes.is_empty() && !purposes.is_empty();
        *kind == SignalKind::Objection
            && !lifts_part
            && !covered(&DIRECT_MARKETING, &lifted, vocabulary).is_empty()
    };
    let is_bound = caller.is_bound_by_own_refusals();
    let own = state.signals.iter().filter(|standing| standing.by == Role::Subject);
    let lifted = own.filter(|standing| standing.is_lifted_by(*kind, purposes, interaction));
    let lifted = lifted.rev().find(|standing| is_bound || objects_to_marketing(standing));
    let Some(own) = lifted else { return Ok(()) };
    let name = kind.as_str_name().trim_start_matches("SIGNAL_KIND_").to_lowercase();
    let (at, event) = (wording::time(own.recorded_at_ms), own.event_id);
    let why = format!("the person recorded this {name} with their own credential on {at} (event {event})");
    let who = if objects_to_marketing(own) {
        "it is an objection to direct marketing, so only the person can lift it (GDPR Art. 21(3))"
    } else {
        WHO_LIFTS
    };
    Err(reserved(Reserved::RefusedBySubject, format!("{why}; {who}")))
}

/// Checks that a caller may record attributes of these provenances at all.
///
/// # Errors
/// An attribute is declared and the caller does not speak for people, or an attribute was observed or
/// inferred and the caller is a channel that is not also a service.
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
            return Err(reserved(
                Reserved::ServiceRoleRequired,
                format!("{who} needs the role `service` or `service-channel`"),
            ));
        }
    }
    Ok(())
}

/// Checks that these attributes replace nothing that they must not replace, by key or as a correction.
///
/// # Errors
/// The attribute to be replaced was declared or contested, or another service recorded it.
pub(crate) fn check_replacements(
    caller: &Caller,
    state: &SubjectState,
    attributes: &[(Attribute, Option<EventId>)],
) -> Result<(), AppError> {
    let corrections: HashSet<EventId> = attributes.iter().filter_map(|(_, corrects)| *corrects).collect();
    let current = state.attributes.values().filter(|current| corrections.contains(&current.event_id));
    let corrected: HashMap<EventId, &CurrentAttribute> =
        current.map(|current| (current.event_id, current.as_ref())).collect();
    let mut declared: HashSet<&str> = HashSet::new();
    for (number, (new, corrects)) in attributes.iter().enumerate() {
        let at = format!("attributes[{number}]");
        let current = state.attributes.get(&new.key).map(AsRef::as_ref);
        let corrected = corrects.and_then(|event| corrected.get(&event).copied());
        for before in [current, corrected].into_iter().flatten() {
            check_replacement(
                caller,
                before,
                new,
                corrects.is_some_and(|event| event == before.event_id),
                &at,
            )?;
        }
        if let Some(current) =
            current.filter(|current| corrects.is_some_and(|event| event != current.event_id))
        {
            check_moved_correction(caller, current, new, &at)?;
        }
        let key = new.key.as_str();
        match new.provenance {
            Provenance::Declared => drop(declared.insert(key)),
            Provenance::Observed if declared.contains(key) => return Err(declared_error(&at)),
            _ => {}
        }
    }
    Ok(())
}

fn check_replacement(
    caller: &Caller,
    before: &CurrentAttribute,
    new: &Attribute,
    is_correction: bool,
    at: &str,
) -> Result<(), AppError> {
    if new.provenance == Provenance::Declared {
        return check_contest(caller, before, at);
    }
    if before.is_declared() && (is_correction || new.provenance != Provenance::Inferred) {
        return Err(declared_error(at));
    }
    // A service may record the same conclusion again, because it stays contested. A declared attribute needs
    // no check here: an inference never replaces it.
    let same = before.is_contested_conclusion(new) && before.attribute.key == new.key;
    if before.contested && !before.is_declared() && !same {
        let why = "the person contested this attribute: only the person's own words may replace it";
        return Err(reserved(Reserved::StatedBySubject, format!("`{at}`: {why}")));
    }
    if is_correction && caller.role == Role::Service && !caller.recorded(before) {
        return Err(reserved(
            Reserved::RecordedByAnother,
            format!("`{at}`: a service corrects only what it recorded itself"),
        ));
    }
    Ok(())
}

/// Checks a service's correction that gives an attribute another key. It must not replace an attribute that
/// has this key already and was observed later. A person's own words and a steward's correction may replace
/// it.
fn check_moved_correction(
    caller: &Caller,
    current: &CurrentAttribute,
    new: &Attribute,
    at: &str,
) -> Result<(), AppError> {
    if caller.speaks_for_people() || !current.outlasts(new) {
        return Ok(());
    }
    let why = "must not move an attribute to a key with an attribute that was observed later";
    Err(AppError::invalid(&format!("{at}.corrects"), why))
}

fn declared_error(at: &str) -> AppError {
    let why = "this attribute was declared: only the person's own words may replace it";
    reserved(Reserved::StatedBySubject, format!("`{at}`: {why}"))
}

fn check_contest(caller: &Caller, current: &CurrentAttribute, at: &str) -> Result<(), AppError> {
    if !current.contested_in_person || !caller.is_bound_by_own_refusals() {
        return Ok(());
    }
    let why = format!("`{at}`: the person contested this attribute with their own credential; {WHO_LIFTS}");
    Err(reserved(Reserved::RefusedBySubject, why))
}

/// Checks that a caller may remove, contest or confirm these attributes.
///
/// # Errors
/// An attribute was recorded by another caller, or the data subject's words protect it.
pub(crate) fn check_change(
    caller: &Caller,
    current: &[&Arc<CurrentAttribute>],
    change: Change,
) -> Result<(), AppError> {
    if change == Change::Contest {
        return Ok(());
    }
    for (number, current) in current.iter().enumerate() {
        let at = format!("keys[{number}]");
        if caller.speaks_for_people() {
            check_contest(caller, current, &at)?;
        } else if !caller.recorded(current) {
            return Err(reserved(
                Reserved::RecordedByAnother,
                format!("`{at}`: a service removes only what it recorded itself"),
            ));
        } else if current.is_declared() || current.contested {
            return Err(channel_needed(&format!(
                "`{at}`: removing what a person declared, confirmed or contested"
            )));
        }
    }
    Ok(())
}

/// Checks that a caller may describe a data subject this way. A service may say that they are a child, and
/// nothing else.
///
/// # Errors
/// The caller does not speak for people.
pub(crate) fn check_description(caller: &Caller, description: &SubjectDescribed) -> Result<(), AppError> {
    let SubjectDescribed { age_band, age_years: _, jurisdiction, born } = description;
    let is_child = *age_band == AgeBand::Child && jurisdiction.is_empty() && born.is_empty();
    if is_child || caller.speaks_for_people() {
        return Ok(());
    }
    Err(channel_needed("describing a person as anything but a child"))
}

/// Checks that a description agrees with what the controller's staff recorded about the age.
///
/// # Errors
/// The description contradicts what a steward recorded, and the caller is not a steward.
pub(crate) fn check_staff_override(
    caller: &Caller,
    state: &SubjectState,
    description: &SubjectDescribed,
    now_ms: u64,
) -> Result<(), AppError> {
    if caller.role == Role::Steward || !state.description.overrides_staff(description, now_ms) {
        return Ok(());
    }
    let why = "a steward described the person as younger; only a steward can take that back";
    Err(reserved(Reserved::StatedBySteward, why))
}
