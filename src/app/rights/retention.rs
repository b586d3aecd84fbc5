//! What has an end, ended: attributes at their own end or a rule's, consents, uses, requests. Bounded work at a time, on
//! the ledger's clock; everything that ends is logged.

use crate::app::caller::Caller;
use crate::app::erasure::erase_subject::Erasure;
use crate::app::error::AppError;
use crate::app::log::append::PendingEvent;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::stream::SubjectStream;
use crate::app::log::system_stream::SystemEvent;
use crate::app::rights::Rights;
use crate::clock;
use crate::domain::erasure::{self, Scope};
use crate::domain::event::{Event, Recorded, RetentionDefined};
use crate::domain::ids::{EventId, Handle};
use crate::domain::retention::{self, KEEP_MS_MAX, keeps_nobody};
use crate::domain::{Violation, Violations, vocabulary};
use sayso_proof::event::RetentionClass;
use std::collections::HashSet;
use std::sync::Arc;

/// People looked at for each of the three kinds of endings, each time.
const PEOPLE_MAX: usize = 64;
/// Endings of one person that are recorded in one frame; the rest is found the next time.
const ENDINGS_MAX: usize = 128;
/// How long after its end a decision is looked for again, should it have been on its way when its end came.
const SETTLED_MS: u64 = 120_000;

/// How far the search for endings has come.
#[derive(Default)]
pub(crate) struct RetentionCursor {
    attributes: Option<Vec<u8>>,
    decisions: Option<Vec<u8>>,
    artifacts: Option<Vec<u8>>,
    people: Option<Handle>,
}

impl Rights {
    /// Defines how long a class of events is kept.
    ///
    /// # Errors
    /// Out of bounds, an unknown word; or the store.
    pub async fn set_retention(
        self: &Arc<Self>,
        caller: &Caller,
        rule: RetentionDefined,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        self.check_retention(&rule)?;
        let about_ms = self.core.event_time(options)?;
        let request_stamp = self.core.request_stamp(caller, options)?;
        let plain = vec![SystemEvent::new(Event::RetentionDefined(rule))];
        let (mut receipt, _) = self.core.publish_as(caller.actor(), about_ms, plain, request_stamp).await?;
        receipt.events = self.core.attach_proofs(receipt.events, options.proofs)?;
        Ok(receipt)
    }

    /// Retention in force, each rule with when it was defined.
    #[must_use]
    pub fn list_retention(&self) -> Vec<(RetentionDefined, u64)> {
        self.core.rules().retention.rules().cloned().collect()
    }

    fn check_retention(&self, rule: &RetentionDefined) -> Result<(), AppError> {
        let mut found = Vec::new();
        let mut need = |holds: bool, field: &str, problem: String| {
            if !holds {
                found.push(Violation::new(field, problem));
            }
        };
        let (class, rules) = (rule.class(), self.core.rules());
        need(
            class != RetentionClass::Unspecified,
            "class",
            "must be profile, consent, requests or uses".into(),
        );
        let profile = class == RetentionClass::Profile;
        need(profile || rule.category.is_empty(), "category", "is for the profile only".into());
        let purposeful = matches!(class, RetentionClass::Consent | RetentionClass::Uses);
        need(purposeful || rule.purpose.is_empty(), "purpose", "is for consents and uses only".into());
        need(rule.keep_ms <= KEEP_MS_MAX, "keep", "must be at most 100 years".into());
        need(rule.keep_ms == 0 || rule.keep_ms >= 1_000, "keep", "must be at least a second".into());
        if !rule.category.is_empty() && !rules.vocabulary.has_category(&rule.category) {
            let near = rules.vocabulary.near_categories(&rule.category);
            need(false, "category", vocabulary::unknown("category", &near));
        }
        if !rule.purpose.is_empty() && !rules.vocabulary.has_purpose(&rule.purpose) {
            let near = rules.vocabulary.near_purposes(&rule.purpose);
            need(false, "purpose", vocabulary::unknown("purpose", &near));
        }
        if found.is_empty() { Ok(()) } else { Err(AppError::Invalid(Violations(found))) }
    }

    /// Ends what has come to its end, for at most a bounded number of people; called again and again.
    ///
    /// # Errors
    /// The store. What was not ended is found again the next time.
    pub async fn end_expired(self: &Arc<Self>) -> Result<(), AppError> {
        self.core.retry_pending_revocations().await;
        self.core.record_due_reuse().await?;
        // What ends is erased: not by a clock that is not believed.
        if self.core.clock_state().is_skewed() {
            return Ok(());
        }
        let mut sweep = self.retention_cursor.lock().await;
        let now_ms = self.core.now_ms();
        let ended = self.core.ended_attributes(now_ms, sweep.attributes.as_deref(), PEOPLE_MAX)?;
        // To the beginning again after the last: what a hold keeps is looked at once a round.
        sweep.attributes = ended.last().filter(|_| ended.len() == PEOPLE_MAX).map(|(key, _)| key.clone());
        for stream in self.streams_at(ended.iter().map(|(_, position)| *position)).await? {
            self.end_in(stream).await?;
        }
        let ended = self.core.ended_decisions(now_ms, sweep.decisions.as_deref(), PEOPLE_MAX)?;
        for stream in self.streams_at(ended.iter().map(|(_, position)| *position)).await? {
            self.end_consents(stream).await?;
        }
        let settled = self.core.ended_decisions(
            now_ms.saturating_sub(SETTLED_MS),
            sweep.decisions.as_deref(),
            PEOPLE_MAX,
        )?;
        if let Some((key, _)) = settled.last() {
            sweep.decisions = Some(key.clone());
        }
        self.end_artifacts(&mut sweep, now_ms).await?;
        if self.core.rules().retention.is_empty() {
            return Ok(());
        }
        let people = self.core.vault.handles(sweep.people, PEOPLE_MAX)?;
        sweep.people = people.last().copied().filter(|_| people.len() == PEOPLE_MAX);
        for handle in people {
            if let Some(stream) = self.core.stream_by_handle(handle).await? {
                self.end_in(stream).await?;
            }
        }
        Ok(())
    }

    /// Records that artifacts have reached their end, so that their recipients hear of it.
    async fn end_artifacts(
        self: &Arc<Self>,
        sweep: &mut RetentionCursor,
        now_ms: u64,
    ) -> Result<(), AppError> {
        let ended = self.core.ended_artifacts(now_ms, sweep.artifacts.as_deref(), PEOPLE_MAX)?;
        for stream in self.streams_at(ended.iter().map(|(_, position)| *position)).await? {
            let write_lock = stream.write_lock().await;
            let ended = retention::ended_artifacts(&stream.read().state, now_ms);
            if ended.is_empty() || stream.read().erased {
                continue;
            }
            let append = self.core.append_for_ledger(stream, write_lock).await;
            let frame = self.core.frame(&append, Vec::new(), ended);
            self.core.commit(append, frame).await?;
        }
        let settled_ms = now_ms.saturating_sub(SETTLED_MS);
        let settled = self.core.ended_artifacts(settled_ms, sweep.artifacts.as_deref(), PEOPLE_MAX)?;
        if let Some((key, _)) = settled.last() {
            sweep.artifacts = Some(key.clone());
        }
        Ok(())
    }

    /// The lanes of whomever these entries are about, each once.
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

    /// Records that consents of a person have ended, so that whoever watches hears of it.
    async fn end_consents(self: &Arc<Self>, stream: Arc<SubjectStream>) -> Result<(), AppError> {
        let now_ms = self.core.now_ms();
        if retention::ended_consents(&stream.read().state, now_ms).is_empty() {
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
            .take(ENDINGS_MAX)
            .map(|consent| self.core.plan(Event::ConsentExpired { consent }))
            .collect();
        let pending_events = self.core.with_revocations(&append, pending_events);
        self.core.commit(append, pending_events).await.map(|_| ())
    }

    /// Ends what is over in a person's record; where nothing would be left, the person.
    async fn end_in(self: &Arc<Self>, stream: Arc<SubjectStream>) -> Result<(), AppError> {
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
        let ended = {
            let now = stream.read();
            retention::ended(&history, &now.state, &rules.retention, &rules.vocabulary, now_ms)
        };
        if ended.versions.is_empty() {
            return Ok(());
        }
        let mut scope = Scope::Versions(ended.versions.into_iter().take(ENDINGS_MAX).collect());
        let mut selection = erasure::select(&history, &scope, &holds, &rules.vocabulary);
        if selection.versions.is_empty() {
            return Ok(());
        }
        let stays = |event: &&Recorded| selection.versions.binary_search(&event.version).is_err();
        if holds.is_empty() && history.iter().filter(stays).all(|event| keeps_nobody(&event.event)) {
            scope = Scope::All;
            selection = erasure::select(&history, &scope, &holds, &rules.vocabulary);
        }
        let goes = |id: &EventId| {
            let event = history.iter().find(|event| event.event_id == *id);
            event.is_some_and(|event| selection.versions.binary_search(&event.version).is_ok())
        };
        let expired =
            ended.attributes.into_iter().filter(|(id, _)| goes(id)).map(|(attribute, by_retention)| {
                self.core.plan(Event::AttributeExpired { attribute, by_retention })
            });
        let pending_events: Vec<PendingEvent> = expired.collect();
        let append = self.core.append_for_ledger(stream, write_lock).await;
        let request = EventId(clock::event_id(self.core.clock.as_ref()));
        let (submitted_at_ms, due_at_ms) = (append.now_ms, append.now_ms);
        let erasure = Erasure { request, scope, holds, submitted_at_ms, due_at_ms };
        tracing::info!(entries = selection.versions.len(), "ending what was kept long enough");
        self.erasure.erase(append, pending_events, erasure).await
    }
}
