//! Records, corrects, removes, contests and confirms attributes.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun, Frame, PendingEvent, Timestamping};
use crate::app::log::moment::Moment;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::profile::Profiles;
use crate::app::statement_rules;
use crate::domain::attribute::{Attribute, is_text};
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::profile::SubjectState;
use crate::domain::{Violation, Violations};
use sayso_proof::event::Provenance;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Attributes in one request.
const ATTRIBUTES_MAX: usize = 128;
const REASON_BYTES_MAX: usize = 512;

/// Attributes of one subject, to be recorded all or none.
#[derive(Clone, Debug)]
pub struct NewAttributes {
    /// Whose.
    pub subject: SubjectId,
    /// Each with the event that it corrects, if it corrects one. 1 to 128.
    pub attributes: Vec<(Attribute, Option<EventId>)>,
}

/// What recording did.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The events.
    pub receipt: Receipt,
    /// Of the attributes, by index: inferences that are not held, because the person declared their key themself.
    pub not_held: Vec<u32>,
}

/// What is to become of an attribute that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// No longer held.
    Remove,
    /// The person says that it is wrong.
    Contest,
    /// The person says that it is right.
    Confirm,
}

impl Profiles {
    /// Records attributes.
    ///
    /// # Errors
    /// Out of bounds, refused by bounds, not the caller's to say, no room, erased, stale, a reused key, a correction of what is
    /// not held; or the store.
    pub async fn record_attributes(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewAttributes,
        options: &WriteOptions,
    ) -> Result<Recording, AppError> {
        let subject = new.subject.clone();
        match self.begin_recording(caller, &new, options).await? {
            Begun::Replayed(receipt, events) => {
                let stream = self.core.stream(&subject).await?.ok_or(AppError::Erased)?;
                // As it was then: what has been said since is not told by asking again.
                let end = events.last().map_or(0, |last| last.version.saturating_add(1));
                let state = self.core.state_as_of(&stream, Moment::Version(end))?;
                Ok(Recording { receipt, not_held: not_held(&state, &events) })
            }
            Begun::Append(append) => self.finish_recording(append, new).await,
        }
    }

    /// Records attributes in the order in which this is called: returns once the subject's turn has come, and leaves
    /// a task that ends once the attributes are durable.
    ///
    /// # Errors
    /// As for [`Profiles::record_attributes`], from here or from the task.
    pub async fn record_in_order(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewAttributes,
        options: &WriteOptions,
    ) -> Result<JoinHandle<Result<Receipt, AppError>>, AppError> {
        let begun = self.begin_recording(caller, &new, options).await?;
        let profiles = Arc::clone(self);
        Ok(tokio::spawn(async move {
            match begun {
                Begun::Replayed(receipt, _) => Ok(receipt),
                Begun::Append(append) => Ok(profiles.finish_recording(append, new).await?.receipt),
            }
        }))
    }

    async fn begin_recording(
        self: &Arc<Self>,
        caller: &Caller,
        new: &NewAttributes,
        options: &WriteOptions,
    ) -> Result<Begun, AppError> {
        self.check_attributes(new)?;
        statement_rules::check_provenance(caller, new.attributes.iter().map(|(attribute, _)| attribute))?;
        let oldest_ms = new.attributes.iter().map(|(attribute, _)| attribute.observed_at_ms).min();
        self.core.begin(caller, &new.subject, options, oldest_ms, Timestamping::Shared).await
    }

    async fn finish_recording(
        self: &Arc<Self>,
        append: Append,
        mut new: NewAttributes,
    ) -> Result<Recording, AppError> {
        for (attribute, _) in &mut new.attributes {
            let (terms, words) = (&self.inferences, &append.rules.vocabulary);
            attribute.complete(&append.caller.name, terms, words, append.now_ms);
        }
        statement_rules::check_displacement(&append.caller, &append.stream.read().state, &new.attributes)?;
        let mut pending_events = Vec::with_capacity(new.attributes.len());
        // What was built from a fact falls with it when it is replaced, too.
        let mut changes_grants = !append.stream.read().state.rights.artifacts.is_empty();
        let held = held_events(&append, &new);
        for (attribute, corrects) in &new.attributes {
            changes_grants |= corrects.is_some();
            pending_events.push(self.core.plan(recorded_or_corrected(&held, attribute.clone(), *corrects)?));
        }
        changes_grants = changes_grants || replaces_a_source(&append, &new);
        let refused =
            self.refused_at_the_door(&append, new.attributes.iter().map(|(attribute, _)| attribute));
        if !refused.is_empty() {
            return Err(self.refuse_recording(append, refused).await?);
        }
        self.check_room(&append, &pending_events)?;
        // Last, so that only a write that would otherwise be made learns of an erasure.
        if new.attributes.iter().any(|(attribute, _)| self.is_fenced(&append, attribute)) {
            return Err(AppError::Erased);
        }
        let frame = match changes_grants {
            true => Frame { is_decision: false, ..self.core.with_revocations(&append, pending_events) },
            false => pending_events.into(),
        };
        let stream = Arc::clone(&append.stream);
        let written = self.core.commit(append, frame).await?;
        let not_held = not_held(&stream.read().state, &written.events);
        Ok(Recording { receipt: written.receipt, not_held })
    }

    /// Whether an attribute is from before an erasure of the part that it belongs to.
    fn is_fenced(&self, append: &Append, attribute: &Attribute) -> bool {
        let now = append.stream.read();
        let fences = &now.state.rights.fences;
        if fences.is_empty() {
            return false;
        }
        let rules = self.core.rules();
        let line = rules.vocabulary.category_ancestry(&attribute.category);
        let key_hash = self.core.key_hash(append.stream.keys.handle, &attribute.key);
        let oldest_ms = attribute.observed_at_ms.min(append.about_ms);
        fences.iter().any(|fence| oldest_ms <= fence.at_ms && fence.covers(&line, &key_hash))
    }

    fn check_attributes(&self, new: &NewAttributes) -> Result<(), AppError> {
        if !(1..=ATTRIBUTES_MAX).contains(&new.attributes.len()) {
            return Err(AppError::invalid("attributes", "must have 1 to 128"));
        }
        let (rules, now_ms) = (self.core.rules(), self.core.now_ms());
        let numbered = new.attributes.iter().enumerate();
        let found: Vec<Violation> = numbered
            .flat_map(|(number, (attribute, _))| {
                attribute.violations(&format!("attributes[{number}]"), now_ms, &rules.vocabulary)
            })
            .collect();
        if found.is_empty() { Ok(()) } else { Err(AppError::Invalid(Violations(found))) }
    }

    /// Removes, contests or confirms attributes, by key. Naming none changes nothing and is an error.
    ///
    /// # Errors
    /// A key that is not held, a fact that is not the caller's, or as for recording.
    pub async fn change_attributes(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        keys: &[String],
        change: (Change, &str),
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        if !(1..=ATTRIBUTES_MAX).contains(&keys.len()) {
            return Err(AppError::invalid("keys", "must name 1 to 128 keys"));
        }
        if !is_text(change.1, 0, REASON_BYTES_MAX) {
            return Err(AppError::invalid("reason", "must have at most 512 bytes"));
        }
        let append = match self.core.begin_existing(caller, subject, options, Timestamping::Shared).await? {
            Begun::Replayed(receipt, _) => return Ok(receipt),
            Begun::Append(append) => append,
        };
        let events = {
            let now = append.stream.read();
            let held = keys.iter().map(|key| now.state.attributes.get(key));
            let held = held.collect::<Option<Vec<_>>>().ok_or(AppError::NotFound("attribute"))?;
            statement_rules::check_change(caller, &held, change.0)?;
            held.iter().map(|held| held.event_id).collect::<Vec<EventId>>()
        };
        let pending_events: Vec<PendingEvent> = events
            .into_iter()
            .map(|attribute| {
                let reason = change.1.to_owned();
                self.core.plan(match change.0 {
                    Change::Remove => Event::AttributeRemoved { attribute, reason },
                    Change::Contest => Event::AttributeContested { attribute, reason },
                    Change::Confirm => Event::AttributeConfirmed { attribute },
                })
            })
            .collect();
        let pending_events = self.core.with_revocations(&append, pending_events);
        Ok(self.core.commit(append, pending_events).await?.receipt)
    }
}

fn recorded_or_corrected(
    held: &BTreeSet<EventId>,
    attribute: Attribute,
    corrects: Option<EventId>,
) -> Result<Event, AppError> {
    if !attribute.derived_from.iter().all(|source| held.contains(source)) {
        return Err(AppError::invalid("derived_from", "must name attributes of the subject that are held"));
    }
    match corrects {
        Some(corrects) if held.contains(&corrects) => Ok(Event::AttributeCorrected { corrects, attribute }),
        Some(_) => Err(AppError::invalid("corrects", "must name an attribute of the subject that is held")),
        None => Ok(Event::AttributeRecorded(attribute)),
    }
}

/// Events of everything that is held; none where no attribute names one.
fn held_events(append: &Append, new: &NewAttributes) -> BTreeSet<EventId> {
    let named = |(attribute, corrects): &(Attribute, Option<EventId>)| {
        corrects.is_some() || !attribute.derived_from.is_empty()
    };
    if !new.attributes.iter().any(named) {
        return BTreeSet::new();
    }
    append.stream.read().state.attributes.values().map(|held| held.event_id).collect()
}

/// Whether something that is held was derived from what these attributes would replace.
fn replaces_a_source(append: &Append, new: &NewAttributes) -> bool {
    let now = append.stream.read();
    let before = |(attribute, _): &(Attribute, Option<EventId>)| {
        now.state.attributes.get(&attribute.key).map(|held| held.event_id)
    };
    let replaced: BTreeSet<EventId> = new.attributes.iter().filter_map(before).collect();
    let mut sources = now.state.attributes.values().flat_map(|held| &held.attribute.derived_from);
    !replaced.is_empty() && sources.any(|source| replaced.contains(source))
}

/// Of recorded attributes, by index, the inferences that did not replace what the person declared.
fn not_held(state: &SubjectState, events: &[Recorded]) -> Vec<u32> {
    let attributes = events.iter().filter_map(|event| match &event.event {
        Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } => {
            Some((event.event_id, attribute))
        }
        _ => None,
    });
    let overruled = (0..).zip(attributes).filter(|(_, (event, attribute))| {
        let held = state.attributes.get(&attribute.key);
        let declared = held.is_some_and(|held| held.is_declared() && held.event_id != *event);
        declared && attribute.provenance == Provenance::Inferred
    });
    overruled.map(|(index, _)| index).collect()
}
