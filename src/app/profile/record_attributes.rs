//! Records, corrects, removes, contests and confirms attributes.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun, Frame, PendingEvent, Timestamping};
use crate::app::log::moment::Moment;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::revocation::revoked_ids;
use crate::app::log::stream::HistoryUse;
use crate::app::profile::Profiles;
use crate::app::profile::change::Change;
use crate::app::profile::placed_by_time::PlacedByTime;
use crate::app::profile::similar_keys::{SimilarKey, check_keys, similar_keys};
use crate::app::statement_rules;
use crate::domain::attribute::{Attribute, is_text};
use crate::domain::event::{Event, Provenance, Recorded};
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::profile::SubjectState;
use crate::domain::{Violation, Violations};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The most attributes in one request.
const ATTRIBUTES_MAX: usize = 128;
const REASON_BYTES_MAX: usize = 512;

/// Attributes of one data subject, recorded together or not at all.
#[derive(Clone, Debug)]
pub struct NewAttributes {
    /// The data subject.
    pub subject: SubjectId,
    /// 1 to 128 attributes, each with the event that it corrects, if it is a correction.
    pub attributes: Vec<(Attribute, Option<EventId>)>,
    /// Indexes of the attributes whose time of observation the caller states.
    pub stated: BTreeSet<usize>,
}

/// The result of recording attributes.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// The recorded events.
    pub receipt: Receipt,
    /// Indexes of the attributes that did not take effect: inferences under a key that the data subject
    /// declared, attributes that were observed before the current one under their key, and attributes that
    /// were stated before the data subject last spoke about their key.
    pub superseded: Vec<u32>,
    /// Ids of the grants that the recording revoked. Grants that the caller may not see are left out.
    pub revoked_grants: Vec<String>,
    /// For new keys: existing keys that differ only in case or look.
    pub similar_keys: Vec<SimilarKey>,
}

impl Profiles {
    /// Records attributes.
    ///
    /// # Errors
    /// The request is invalid, reuses an idempotency key, or corrects an attribute that is not current;
    /// bounds, limits or the caller's role forbid it; the subject is being erased or the expected version is
    /// stale; or the store failed.
    pub async fn record_attributes(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewAttributes,
        options: &WriteOptions,
    ) -> Result<Recording, AppError> {
        let (begun, _in_use) = self.begin_recording(caller, &new, options).await?;
        match begun {
            Begun::Replayed(receipt, events) => self.replayed_recording(caller, &new, receipt, &events).await,
            Begun::Append(append) => self.finish_recording(append, new).await,
        }
    }

    /// The answer to a repeated request. It is computed from the state at the first request, because it must
    /// not reveal what was recorded since.
    async fn replayed_recording(
        self: &Arc<Self>,
        caller: &Caller,
        new: &NewAttributes,
        receipt: Receipt,
        events: &[Recorded],
    ) -> Result<Recording, AppError> {
        let stream = self.core.stream(&new.subject).await?.ok_or(AppError::Erased)?;
        let begin = events.first().map_or(0, |first| first.version);
        let end = events.last().map_or(0, |last| last.version.saturating_add(1));
        let before = self.core.state_as_of(&stream, Moment::Version(begin))?;
        let after = self.core.state_as_of(&stream, Moment::Version(end))?;
        Ok(Recording {
            receipt,
            superseded: superseded(caller, &after, events),
            revoked_grants: revoked_ids(caller, events.iter().map(|event| &event.event)),
            similar_keys: similar_keys(caller, &before, &new.attributes),
        })
    }

    /// Records attributes in the order of the calls. Returns once the write lock is taken, with a task that
    /// ends when the attributes are durable.
    ///
    /// # Errors
    /// The errors of [`Profiles::record_attributes`]. Either this call or the task returns them.
    pub async fn record_in_order(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewAttributes,
        options: &WriteOptions,
    ) -> Result<JoinHandle<Result<Recording, AppError>>, AppError> {
        let (begun, in_use) = self.begin_recording(caller, &new, options).await?;
        let profiles = Arc::clone(self);
        Ok(tokio::spawn(async move {
            let _in_use = in_use;
            match begun {
                // A client that connects again repeats many messages. To answer these cheaply, a repeated
                // message gets only its receipt.
                Begun::Replayed(receipt, _) => Ok(Recording { receipt, ..Recording::default() }),
                Begun::Append(append) => profiles.finish_recording(append, new).await,
            }
        }))
    }

    async fn begin_recording(
        self: &Arc<Self>,
        caller: &Caller,
        new: &NewAttributes,
        options: &WriteOptions,
    ) -> Result<(Begun, Option<HistoryUse>), AppError> {
        self.check_attributes(new)?;
        statement_rules::check_provenance(caller, new.attributes.iter().map(|(attribute, _)| attribute))?;
        let oldest_ms = new.attributes.iter().map(|(attribute, _)| attribute.observed_at_ms).min();
        let in_use = self.prepare_sources(&new.subject, &new.attributes).await;
        let begun = self.core.begin(caller, &new.subject, options, oldest_ms, Timestamping::Shared).await?;
        Ok((begun, in_use))
    }

    async fn finish_recording(
        self: &Arc<Self>,
        append: Append,
        mut new: NewAttributes,
    ) -> Result<Recording, AppError> {
        check_sources(&current_events(&append, &new), &new)?;
        let sources = self.complete_sources(&append, &mut new.attributes).await?;
        statement_rules::check_provenance(
            &append.caller,
            new.attributes.iter().map(|(attribute, _)| attribute),
        )?;
        for (attribute, _) in &mut new.attributes {
            let (terms, words) = (&self.inferences, &append.rules.vocabulary);
            attribute.complete(&append.caller.name, terms, words, append.now_ms);
        }
        check_keys(&append.stream.read().state, &new.attributes)?;
        statement_rules::check_replacements(&append.caller, &append.stream.read().state, &new.attributes)?;
        check_late_corrections(&append, &new)?;
        let similar_keys = similar_keys(&append.caller, &append.stream.read().state, &new.attributes);
        let pending_events = self.plan_recording(&append, &new);
        // Grants and artifacts end when an attribute that they depend on is replaced.
        let changes_grants = new.attributes.iter().any(|(_, corrects)| corrects.is_some())
            || replaces_what_is_in_use(&append.stream.read().state, &new)
            || replaces_a_source(&append, &new);
        let attributes = new.attributes.iter().map(|(attribute, _)| attribute);
        let refused = self.refusals(&append, attributes.zip(&sources));
        if !refused.is_empty() {
            return Err(self.refuse_recording(append, refused).await?);
        }
        self.check_room(&append, &pending_events)?;
        // This check comes last, so that only a write that is otherwise valid reveals an erasure.
        for (attribute, _) in &new.attributes {
            if self.is_fenced(&append, attribute)? {
                return Err(AppError::Erased);
            }
        }
        let frame = match changes_grants {
            true => Frame { is_decision: false, ..self.core.with_revocations(&append, pending_events) },
            false => pending_events.into(),
        };
        let (stream, caller) = (Arc::clone(&append.stream), append.caller.clone());
        let written = self.core.commit(append, frame).await?;
        let superseded = superseded(&caller, &stream.read().state, &written.events);
        Ok(Recording { receipt: written.receipt, superseded, revoked_grants: written.revoked, similar_keys })
    }

    /// The events that record these attributes, in their order.
    fn plan_recording(&self, append: &Append, new: &NewAttributes) -> Vec<PendingEvent> {
        let mut placed = PlacedByTime::of(append, &new.attributes);
        let mut events = Vec::with_capacity(new.attributes.len());
        for (number, (attribute, corrects)) in new.attributes.iter().enumerate() {
            let attribute = attribute.clone();
            let observed_ms = new.stated.contains(&number).then_some(attribute.observed_at_ms);
            let stated_ms = observed_ms.into_iter().chain(append.stated_ms).min();
            let event = match corrects {
                Some(corrects) => Event::AttributeCorrected { corrects: *corrects, attribute },
                None if placed.is_earlier(append, &attribute, stated_ms) => {
                    Event::EarlierAttributeRecorded(attribute)
                }
                None => Event::AttributeRecorded(attribute),
            };
            let planned = self.core.plan(event);
            placed.apply(append, &planned);
            events.push(planned);
        }
        events
    }

    /// Whether an attribute predates an erasure of the part that it belongs to.
    fn is_fenced(&self, append: &Append, attribute: &Attribute) -> Result<bool, AppError> {
        let now = append.stream.read();
        let oldest_ms = attribute.observed_at_ms.min(append.about_ms);
        let fences = || now.state.rights.fences.iter().filter(|fence| oldest_ms <= fence.at_ms);
        if fences().next().is_none() {
            return Ok(false);
        }
        let rules = self.core.rules();
        let ancestry = rules.vocabulary.category_ancestry(&attribute.category);
        let key_hashes = self.core.key_hashes(&append.stream.keys, &attribute.key)?;
        Ok(fences().any(|fence| fence.covers(&ancestry, &key_hashes)))
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

    /// Removes, contests or confirms attributes, by key. A request without keys is an error.
    ///
    /// # Errors
    /// A key has no current attribute, or the caller may not change an attribute. The errors of
    /// [`Profiles::record_attributes`] are also possible.
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
        let begun = self.core.begin_existing(caller, subject, options, Timestamping::Distinct).await?;
        let append = match begun {
            Begun::Replayed(receipt, _) => return Ok(receipt),
            Begun::Append(append) => append,
        };
        let events = {
            let now = append.stream.read();
            let attributes = keys.iter().map(|key| now.state.attributes.get(key));
            let attributes = attributes.collect::<Option<Vec<_>>>().ok_or(AppError::NotFound("attribute"))?;
            statement_rules::check_change(caller, &attributes, change.0)?;
            attributes.iter().map(|current| current.event_id).collect::<Vec<EventId>>()
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
        let frame = self.core.with_revocations(&append, pending_events);
        Ok(self.core.commit(append, frame).await?.receipt)
    }
}

/// Checks that new attributes name only current attributes, as sources and as what they correct.
fn check_sources(current: &BTreeSet<EventId>, new: &NewAttributes) -> Result<(), AppError> {
    for (attribute, corrects) in &new.attributes {
        if !attribute.derived_from.iter().all(|source| current.contains(source)) {
            return Err(AppError::invalid("derived_from", "must name current attributes of the subject"));
        }
        if corrects.is_some_and(|corrects| !current.contains(&corrects)) {
            return Err(AppError::invalid("corrects", "must name a current attribute of the subject"));
        }
    }
    Ok(())
}

/// Checks that no correction was stated before the data subject last spoke about an attribute that it
/// changes. A late correction must not undo what they said later.
fn check_late_corrections(append: &Append, new: &NewAttributes) -> Result<(), AppError> {
    let Some(stated_ms) = append.stated_ms else { return Ok(()) };
    let now = append.stream.read();
    let times = &now.state.statement_times;
    let is_late = |(attribute, corrects): &(Attribute, Option<EventId>)| {
        let Some(corrects) = corrects else { return false };
        let corrected = now.state.attributes.values().find(|current| current.event_id == *corrects);
        let mut keys = corrected.map(|current| &current.attribute.key).into_iter().chain([&attribute.key]);
        keys.any(|key| times.has_spoken_since(key, stated_ms))
    };
    if new.attributes.iter().any(is_late) {
        let problem =
            "must be after the person last contested, confirmed, removed or corrected this attribute";
        return Err(AppError::invalid("options.about", problem));
    }
    Ok(())
}

/// The events of all current attributes; empty if no new attribute is a correction or names sources.
fn current_events(append: &Append, new: &NewAttributes) -> BTreeSet<EventId> {
    let named = |(attribute, corrects): &(Attribute, Option<EventId>)| {
        corrects.is_some() || !attribute.derived_from.is_empty()
    };
    if !new.attributes.iter().any(named) {
        return BTreeSet::new();
    }
    append.stream.read().state.attributes.values().map(|current| current.event_id).collect()
}

/// Whether these attributes replace one that an open grant allows, or may replace one that an artifact was
/// built from.
fn replaces_what_is_in_use(state: &SubjectState, new: &NewAttributes) -> bool {
    let keys = new.attributes.iter().map(|(attribute, _)| attribute.key.as_str());
    let replaced: BTreeSet<&str> = keys.filter(|key| state.attributes.contains_key(*key)).collect();
    let open = state.grants.values().filter(|grant| grant.ended().is_none());
    let mut allowed = open.flat_map(|grant| grant.issued.allowed.iter());
    !state.rights.artifacts.is_empty()
        || !replaced.is_empty() && allowed.any(|cited| replaced.contains(cited.key.as_str()))
}

/// Whether a current attribute was derived from an attribute that these attributes would replace.
fn replaces_a_source(append: &Append, new: &NewAttributes) -> bool {
    let now = append.stream.read();
    let before = |(attribute, _): &(Attribute, Option<EventId>)| {
        now.state.attributes.get(&attribute.key).map(|current| current.event_id)
    };
    let replaced: BTreeSet<EventId> = new.attributes.iter().filter_map(before).collect();
    let mut sources = now.state.attributes.values().flat_map(|current| &current.attribute.derived_from);
    !replaced.is_empty() && sources.any(|source| replaced.contains(source))
}

/// Indexes of the recorded attributes that did not take effect. If a late attribute is not in the profile,
/// the answer lists it only if the caller may learn what is: that there is a current attribute, or none.
fn superseded(caller: &Caller, state: &SubjectState, events: &[Recorded]) -> Vec<u32> {
    let attributes = events.iter().filter_map(|event| match &event.event {
        Event::AttributeRecorded(attribute)
        | Event::EarlierAttributeRecorded(attribute)
        | Event::AttributeCorrected { attribute, .. } => Some((event, attribute)),
        _ => None,
    });
    let without_effect = (0..).zip(attributes).filter(|(_, (event, attribute))| {
        let current = state.attributes.get(&attribute.key);
        let is_declared = attribute.provenance == Provenance::Declared;
        if matches!(event.event, Event::EarlierAttributeRecorded(_)) {
            let is_told = caller.sees_others() || is_declared && caller.speaks_for_people();
            return current.map_or(is_told, |current| caller.sees_attribute(current));
        }
        let Some(current) = current else { return false };
        let declared = current.is_declared() && current.event_id != event.event_id;
        declared && attribute.provenance == Provenance::Inferred
    });
    without_effect.map(|(index, _)| index).collect()
}
