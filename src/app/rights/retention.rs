//! Retention passes: they end what has expired (consents and artifacts) and erase what is no longer to be
//! kept (attributes, and records of decisions, uses and requests). An attribute is kept until its own
//! expiry or until a retention rule ends it, whichever comes first. If a hold keeps it longer, it may no
//! longer be used.
//!
//! The ledger's clock decides what has expired. While this clock is not trusted, a pass neither ends nor
//! erases anything. One pass handles a limited number of subjects. It records an event for everything that
//! it ends or erases.

use crate::app::caller::Caller;
use crate::app::erasure::erase_subject::Erasure;
use crate::app::erasure::notified::{list_versions, records_disclosure};
use crate::app::error::{AppError, Cause};
use crate::app::log::append::PendingEvent;
use crate::app::log::index::CONSENT_SAID;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::stream::SubjectStream;
use crate::app::log::system_stream::SystemEvent;
use crate::app::rights::Rights;
use crate::app::rights::retention_cursor::{EndCursor, RetentionCursor};
use crate::domain::DAY_MS;
use crate::domain::checks::Checks;
use crate::domain::erasure::{self, Scope};
use crate::domain::event::{Event, Recorded, RetentionClass, RetentionDefined};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use crate::domain::retention::{self, KEEP_MS_MAX, is_no_reason_to_keep};
use crate::domain::rights::Hold;
use crate::domain::vocabulary::Vocabulary;
use std::collections::HashSet;
use std::sync::Arc;

/// The most subjects that one pass handles for each kind of expiry. If more decisions or artifacts have
/// ended, the next pass follows at once.
const SUBJECTS_MAX: usize = 64;
/// The most expiries of one subject that one frame (events that are written together) records. The next pass
/// finds the others.
const EXPIRIES_MAX: usize = 128;
/// For this many milliseconds after an expiry time, every round looks again for new index records with that
/// time. The reason: if an event expires soon after it was sealed, its record may reach the index only after
/// its expiry.
const SETTLED_MS: u64 = 120_000;

impl Rights {
    /// Defines how long a class of events is kept.
    ///
    /// # Errors
    /// A field is invalid, a category or purpose is not defined, or the store fails.
    pub async fn set_retention(
        self: &Arc<Self>,
        caller: &Caller,
        rule: RetentionDefined,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        self.check_retention(&rule)?;
        let about_ms = self.core.event_time(options)?;
        let request_stamp = self.core.request_stamp(caller, options)?;
        let events = vec![SystemEvent::new(Event::RetentionDefined(rule))];
        let (mut receipt, _) = self.core.publish_as(caller.actor(), about_ms, events, request_stamp).await?;
        receipt.events = self.core.attach_proofs(receipt.events, options.proofs)?;
        Ok(receipt)
    }

    /// The retention rules in force, each with when it was defined, milliseconds since the Unix epoch.
    #[must_use]
    pub fn list_retention(&self) -> Vec<(RetentionDefined, u64)> {
        self.core.rules().retention.rules().cloned().collect()
    }

    fn check_retention(&self, rule: &RetentionDefined) -> Result<(), AppError> {
        let (class, rules) = (rule.class, self.core.rules());
        let vocabulary = &rules.vocabulary;
        let mut checks = Checks::new();
        let is_named = class != RetentionClass::Unspecified;
        checks.need(is_named, "class", "must be profile, consent, requests or uses");
        let may_have_category = class == RetentionClass::Profile;
        checks.need(
            may_have_category || rule.category.is_empty(),
            "category",
            "must be empty unless the class is profile",
        );
        let may_have_purpose = matches!(class, RetentionClass::Consent | RetentionClass::Uses);
        checks.need(
            may_have_purpose || rule.purpose.is_empty(),
            "purpose",
            "must be empty unless the class is consent or uses",
        );
        checks.need(rule.keep_ms <= KEEP_MS_MAX, "keep", "must be at most 100 years");
        checks.need(rule.keep_ms == 0 || rule.keep_ms >= 1_000, "keep", "must be at least a second");
        checks.need_categories(vocabulary, Some(&rule.category).filter(|id| !id.is_empty()), "category");
        checks.need_purposes(vocabulary, Some(&rule.purpose).filter(|id| !id.is_empty()), "purpose");
        Ok(checks.finish()?)
    }

    /// Runs one retention pass, for a limited number of subjects. Call it at an interval. Returns whether
    /// more decisions or artifacts have ended, so that the next pass should follow at once.
    ///
    /// # Errors
    /// The store fails. The next pass finds what this pass did not end.
    pub async fn end_expired(self: &Arc<Self>) -> Result<bool, AppError> {
        self.core.retry_pending_revocations().await;
        if let Err(error) = self.core.record_due_reuse().await {
            tracing::warn!(%error, "the counts of reused grants are not recorded yet");
        }
        // Expired attributes are erased, so an untrusted clock must not decide.
        if self.core.clock_state().is_skewed() {
            return Ok(false);
        }
        let mut cursor = self.retention_cursor.lock().await;
        let now_ms = self.core.now_ms();
        let ended = self.core.ended_attributes(now_ms, cursor.attributes.as_deref(), SUBJECTS_MAX)?;
        // After the last page the cursor starts over. So attributes that a hold keeps are checked once in
        // each round.
        cursor.attributes = ended.last().filter(|_| ended.len() == SUBJECTS_MAX).map(|last| last.key.clone());
        for stream in self.streams_at(ended.iter().map(|ended| ended.position)).await? {
            self.expire_entries(stream).await?;
        }
        let ended = self.core.ended_decisions(now_ms, cursor.decisions.after(), SUBJECTS_MAX)?;
        for stream in self.streams_at(cursor.decisions.open(&ended)).await? {
            self.end_decisions(stream).await?;
        }
        let is_last = ended.len() < SUBJECTS_MAX;
        cursor.decisions.advance(&ended, now_ms.saturating_sub(SETTLED_MS), is_last);
        let has_more = self.end_artifacts(&mut cursor.artifacts, now_ms).await? || !is_last;
        let has_more = self.end_aged(&mut cursor, now_ms).await? || has_more;
        self.apply_rules(&mut cursor).await?;
        let has_more = self.index_earlier_consents(&mut cursor).await? || has_more;
        cursor.store(&self.core);
        Ok(has_more)
    }

    /// Indexes consents that an earlier version recorded by when they were given, for a page of the log. Then
    /// consents of every age are looked at anew. Returns whether there are more.
    async fn index_earlier_consents(
        self: &Arc<Self>,
        cursor: &mut RetentionCursor,
    ) -> Result<bool, AppError> {
        if self.core.has_consents_said()? {
            return Ok(false);
        }
        let next = self.core.index_consents_said(cursor.indexed_to).await?;
        match next {
            Some(next) => cursor.indexed_to = next,
            None => {
                (cursor.indexed_to, cursor.aged_ms) = (0, 0);
                cursor.ages.clear();
            }
        }
        Ok(true)
    }

    /// Revokes what rests on consents that have reached an age that a rule in force compares. Returns whether
    /// there are more. Consents that had reached the age before the rule came into force were handled when
    /// it came into force.
    async fn end_aged(self: &Arc<Self>, cursor: &mut RetentionCursor, now_ms: u64) -> Result<bool, AppError> {
        let ages = self.core.rules().bounds.consent_ages();
        cursor.ages.retain(|days, _| ages.contains(days));
        let (mut has_more, aged_ms) = (false, cursor.aged_ms);
        for days in ages {
            let age_ms = days.saturating_mul(DAY_MS);
            let Some(said_by_ms) = now_ms.checked_sub(age_ms) else { continue };
            let of_age = cursor.ages.entry(days).or_insert_with(|| {
                EndCursor::after_time(CONSENT_SAID, aged_ms.saturating_sub(age_ms.saturating_add(DAY_MS)))
            });
            let page = self.core.consents_said(said_by_ms, of_age.after(), SUBJECTS_MAX)?;
            for stream in self.streams_at(of_age.open(&page)).await? {
                self.end_decisions(stream).await?;
            }
            let is_last = page.len() < SUBJECTS_MAX;
            of_age.advance(&page, said_by_ms.saturating_sub(SETTLED_MS), is_last);
            has_more |= !is_last;
        }
        cursor.aged_ms = now_ms;
        Ok(has_more)
    }

    /// Erases what retention rules end, for the next page of subjects.
    async fn apply_rules(self: &Arc<Self>, cursor: &mut RetentionCursor) -> Result<(), AppError> {
        if self.core.rules().retention.is_empty() {
            return Ok(());
        }
        let handles = self.core.vault.handles(cursor.subjects, SUBJECTS_MAX)?;
        cursor.subjects = handles.last().copied().filter(|_| handles.len() == SUBJECTS_MAX);
        for handle in handles {
            if let Some(stream) = self.core.stream_by_handle(handle).await? {
                self.expire_entries(stream).await?;
            }
        }
        Ok(())
    }

    /// Records the end of artifacts, so that watchers of their recipients are notified. Returns whether more
    /// have ended.
    async fn end_artifacts(self: &Arc<Self>, cursor: &mut EndCursor, now_ms: u64) -> Result<bool, AppError> {
        let page = self.core.ended_artifacts(now_ms, cursor.after(), SUBJECTS_MAX)?;
        for stream in self.streams_at(cursor.open(&page)).await? {
            let write_lock = stream.write_lock().await;
            let ended = retention::ended_artifacts(&stream.read().state, now_ms);
            if ended.is_empty() || stream.read().erased {
                continue;
            }
            let append = self.core.append_for_ledger(stream, write_lock).await;
            let frame = self.core.frame(&append, Vec::new(), ended);
            self.core.commit(append, frame).await?;
        }
        let is_last = page.len() < SUBJECTS_MAX;
        cursor.advance(&page, now_ms.saturating_sub(SETTLED_MS), is_last);
        Ok(!is_last)
    }

    /// The streams of the subjects to whom the entries at these positions belong, each once.
    async fn streams_at(
        self: &Arc<Self>,
        positions: impl Iterator<Item = u64>,
    ) -> Result<Vec<Arc<SubjectStream>>, AppError> {
        let (mut streams, mut seen) = (Vec::new(), HashSet::new());
        for position in positions {
            if let Some(stream) = self.core.stream_at(position).await?
                && seen.insert(stream.keys.handle)
            {
                streams.push(stream);
            }
        }
        Ok(streams)
    }

    /// Records the end of one subject's consents. Revokes the grants that rest on them, and the grants that
    /// the subject's present age contradicts. Watchers are notified of these revocations.
    async fn end_decisions(self: &Arc<Self>, stream: Arc<SubjectStream>) -> Result<(), AppError> {
        let now_ms = self.core.now_ms();
        if !may_have_ended(&stream.read().state, now_ms) {
            return Ok(());
        }
        let write_lock = stream.write_lock().await;
        if stream.read().erased {
            return Ok(());
        }
        let ended = retention::ended_consents(&stream.read().state, now_ms);
        let append = self.core.append_for_ledger(stream, write_lock).await;
        let pending_events: Vec<PendingEvent> = ended
            .into_iter()
            .take(EXPIRIES_MAX)
            .map(|consent| self.core.plan(Event::ConsentExpired { consent }))
            .collect();
        let frame = self.core.with_revocations(&append, pending_events);
        if frame.events.is_empty() {
            return Ok(());
        }
        self.core.commit(append, frame).await.map(|_| ())
    }

    /// Erases the expired entries of one subject. If there is no hold and the remaining events do not justify
    /// keeping the stream (for example expiries, views and descriptions), erases everything.
    async fn expire_entries(self: &Arc<Self>, stream: Arc<SubjectStream>) -> Result<(), AppError> {
        let write_lock = stream.write_lock().await;
        let (erased, holds) = {
            let now = stream.read();
            (now.erased, now.state.rights.holds.clone())
        };
        if erased {
            return Ok(());
        }
        let (rules, now_ms) = (self.core.rules(), self.core.now_ms());
        let history = self.erasure.history(&stream)?;
        let (state, of_now) = (stream.read().state.clone(), Arc::clone(&rules));
        // In a thread of its own, because it compares all decisions of the person.
        let work = tokio::task::spawn_blocking(move || {
            let ended = retention::ended(&history, &state, &of_now.retention, &of_now.vocabulary, now_ms);
            (history, ended)
        });
        let (history, ended) = work.await.map_err(|_| AppError::Internal(Cause::Task))?;
        if ended.versions.is_empty() {
            return Ok(());
        }
        let kept: Vec<PendingEvent> = ended
            .attributes
            .iter()
            .filter(|(id, _)| is_held(&history, id, &holds, &rules.vocabulary))
            .take(EXPIRIES_MAX)
            .map(|(attribute, by_retention)| self.core.plan(expiry(*attribute, *by_retention)))
            .collect();
        if !kept.is_empty() {
            // The hold keeps the attributes, and not for use. What no hold keeps is erased in the next pass.
            let append = self.core.append_for_ledger(stream, write_lock).await;
            let frame = self.core.with_revocations(&append, kept);
            return self.core.commit(append, frame).await.map(|_| ());
        }
        let limits = erasure::Limits::default();
        let mut scope = Scope::Versions(ended.versions.into_iter().take(EXPIRIES_MAX).collect());
        let mut selection = erasure::select(&history, &scope, &holds, &rules.vocabulary, limits)?;
        if selection.versions.is_empty() {
            return Ok(());
        }
        if let Scope::Versions(versions) = &mut scope
            && records_disclosure(&history, &selection.versions)
        {
            // A new list takes the place of earlier ones.
            versions.extend(list_versions(&history));
            selection = erasure::select(&history, &scope, &holds, &rules.vocabulary, limits)?;
        }
        let remains = |event: &&Recorded| selection.versions.binary_search(&event.version).is_err();
        if holds.is_empty() && history.iter().filter(remains).all(|event| is_no_reason_to_keep(&event.event))
        {
            scope = Scope::All;
            selection = erasure::select(&history, &scope, &holds, &rules.vocabulary, limits)?;
        }
        let is_selected = |id: &EventId| {
            let event = history.iter().find(|event| event.event_id == *id);
            event.is_some_and(|event| selection.versions.binary_search(&event.version).is_ok())
        };
        let expired = ended.attributes.into_iter().filter(|(id, _)| is_selected(id));
        let pending_events: Vec<PendingEvent> = expired
            .map(|(attribute, by_retention)| self.core.plan(expiry(attribute, by_retention)))
            .collect();
        let append = self.core.append_for_ledger(stream, write_lock).await;
        let request = self.core.new_id();
        let (submitted_at_ms, due_at_ms) = (append.now_ms, append.now_ms);
        let erasure = Erasure { request, scope, holds, submitted_at_ms, due_at_ms };
        tracing::info!(entries = selection.versions.len(), "erasing entries whose retention ended");
        self.erasure.erase(append, pending_events, erasure).await.map(|_| ())
    }
}

/// Whether time alone may have ended a decision of the subject, or something that rests on one.
fn may_have_ended(state: &SubjectState, now_ms: u64) -> bool {
    state.description.age.born.is_some()
        || state.grants.values().any(|grant| grant.is_open(now_ms))
        || state.rights.artifacts.values().any(|artifact| artifact.ended_at(now_ms).is_none())
        || !retention::ended_consents(state, now_ms).is_empty()
}

fn expiry(attribute: EventId, by_retention: bool) -> Event {
    Event::AttributeExpired { attribute, by_retention }
}

/// Whether a hold keeps the attribute that this event recorded.
fn is_held(history: &[Recorded], id: &EventId, holds: &[Hold], vocabulary: &Vocabulary) -> bool {
    let recorded = history.iter().find(|event| event.event_id == *id).map(|event| &event.event);
    let (Some(Event::AttributeRecorded(attribute)) | Some(Event::AttributeCorrected { attribute, .. })) =
        recorded
    else {
        return false;
    };
    holds.iter().any(|hold| hold.keeps(&attribute.category, vocabulary))
}
