//! A person asks for something that they have a right to: recorded with its due date, and where nobody has to decide,
//! done before the answer.

use crate::app::caller::Caller;
use crate::app::erasure::erase_subject::Erasure;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun, PendingEvent, Timestamping};
use crate::app::log::read::open_system_entry;
use crate::app::log::receipt::WriteOptions;
use crate::app::rights::Rights;
use crate::app::rights::list_requests::SubmittedRequest;
use crate::clock;
use crate::domain::attribute::is_text;
use crate::domain::erasure::{Scope, Selection};
use crate::domain::event::{ErasureRefused, Event, Recorded, RequestSubmitted, Role, SignalKind};
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::request::{
    self, DETAILS_BYTES_MAX, Ground, Jurisdiction, KEYS_MAX, PURPOSES_MAX, RequestKind, RequestOutcome,
};
use crate::domain::rights::Hold;
use crate::domain::{Violation, Violations, vocabulary};
use sayso_proof::event::RequestDecided;
use std::sync::Arc;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// Which right.
    pub kind: RequestKind,
    /// Of an erasure.
    pub scope: Option<Scope>,
    /// Attribute keys of a rectification.
    pub keys: Vec<String>,
    /// Of a restriction or objection; none: all.
    pub purposes: Vec<String>,
    /// The person's own words.
    pub details: String,
    /// None: by where the person is described to be, otherwise the controller's default.
    pub jurisdiction: Option<Jurisdiction>,
}

/// A request on its way, with its id and dates.
struct Asked {
    id: EventId,
    new: NewRequest,
    jurisdiction: Jurisdiction,
    submitted_at_ms: u64,
    due_at_ms: u64,
}

impl Asked {
    /// The event. `named` leaves out what an erasure would have to take away again at once.
    fn event(&self, subject: &SubjectId, named: bool) -> Event {
        let (mut keys, mut category) = (self.new.keys.clone(), String::new());
        match &self.new.scope {
            Some(Scope::Key(key)) => keys.push(key.clone()),
            Some(Scope::Category(of)) => category.clone_from(of),
            _ => {}
        }
        Event::RequestSubmitted(RequestSubmitted {
            request: self.id.0.to_vec(),
            kind: self.new.kind.into(),
            jurisdiction: self.jurisdiction.into(),
            due_at_ms: self.due_at_ms,
            scope: self.new.scope.as_ref().map(|scope| scope.kind().into()).unwrap_or_default(),
            category,
            keys: if named { keys } else { Vec::new() },
            purposes: self.new.purposes.clone(),
            details: if named { self.new.details.clone() } else { String::new() },
            subject: subject.as_str().to_owned(),
            key_hash: Vec::new(),
        })
    }

    fn refused(&self, ground: Ground) -> Event {
        Event::RequestDecided(RequestDecided {
            request: self.id.0.to_vec(),
            kind: self.new.kind.into(),
            outcome: RequestOutcome::Refused.into(),
            ground: ground.into(),
            reason: String::new(),
            submitted_at_ms: self.submitted_at_ms,
            due_at_ms: self.due_at_ms,
            erasure: None,
        })
    }
}

impl Rights {
    /// Records a request, and does what needs no decision: a restriction or objection takes effect in the same frame; an
    /// erasure is carried out, unless a hold stands or the controller wants a steward's decision.
    ///
    /// # Errors
    /// Nothing is held about the person (or of what is to be erased), out of bounds, stale, a reused key; or the store.
    /// A refusal is no error: it is recorded, and the request says so.
    pub async fn submit_request(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        new: NewRequest,
        options: &WriteOptions,
    ) -> Result<SubmittedRequest, AppError> {
        self.check_request(&new)?;
        if let Some(before) = self.erased_before(caller, options)? {
            return self.submitted_before(before).await;
        }
        let append = match self.core.begin_existing(caller, subject, options, Timestamping::Distinct).await? {
            Begun::Append(append) => append,
            Begun::Replayed(_, events) => {
                let id = events.iter().find_map(request_of).ok_or(AppError::KeyReused)?;
                self.core.record_view(caller, subject, "SubmitRequest").await?;
                self.erasure.resume_erasure(id).await?;
                return self.submitted_before(id).await;
            }
        };
        let of_person = match append.stream.read().state.description.jurisdiction.as_str() {
            "" => None,
            "US-CA" => Some(Jurisdiction::California),
            _ => Some(Jurisdiction::Gdpr),
        };
        // What the request says, what is known of the person, what the controller answers by otherwise.
        let jurisdiction = new.jurisdiction.or(of_person).unwrap_or(self.settings.jurisdiction);
        let asked = Asked {
            id: EventId(clock::event_id(self.core.clock.as_ref())),
            jurisdiction,
            submitted_at_ms: append.now_ms,
            due_at_ms: request::due_at_ms(jurisdiction, append.now_ms),
            new,
        };
        let waits = caller.role == Role::Subject && self.settings.steward_decides_erasures;
        match (&asked.new.scope, asked.new.kind) {
            (Some(scope), RequestKind::Erasure) if !waits => {
                let scope = scope.clone();
                self.submit_erasure(append, subject, asked, scope).await
            }
            (_, RequestKind::Restriction) => {
                self.submit_signal(append, subject, asked, SignalKind::Restriction).await
            }
            (_, RequestKind::Objection) => {
                self.submit_signal(append, subject, asked, SignalKind::Objection).await
            }
            _ => {
                let pending_events = vec![self.core.plan(asked.event(subject, true))];
                self.core.commit(append, pending_events).await?;
                self.submitted(asked.id, Vec::new()).await
            }
        }
    }

    async fn submit_erasure(
        self: &Arc<Self>,
        append: Append,
        subject: &SubjectId,
        asked: Asked,
        scope: Scope,
    ) -> Result<SubmittedRequest, AppError> {
        let holds = append.stream.read().state.rights.holds.clone();
        let id = asked.id;
        let begun = self.erasure_or_refusal(&append, id, &scope, holds)?;
        let whole =
            scope == Scope::All && matches!(&begun, ErasureVerdict::Erase(holds, _) if holds.is_empty());
        let mut event = asked.event(subject, whole);
        if let (Event::RequestSubmitted(submitted), Scope::Key(key)) = (&mut event, &scope) {
            submitted.key_hash = self.core.key_hash(append.stream.keys.handle, key);
        }
        let mut pending_events = vec![self.core.plan(event)];
        match begun {
            ErasureVerdict::Refused(refused) => {
                let ground = refused.ground();
                pending_events.push(self.core.plan(Event::ErasureRefused(refused)));
                pending_events.push(self.core.plan(asked.refused(ground)));
                self.core.commit(append, pending_events).await?;
            }
            ErasureVerdict::Erase(holds, kept) => {
                pending_events.extend(kept);
                let (submitted_at_ms, due_at_ms) = (asked.submitted_at_ms, asked.due_at_ms);
                let erasure = Erasure { request: id, scope, holds, submitted_at_ms, due_at_ms };
                self.erasure.erase(append, pending_events, erasure).await?;
            }
        }
        self.submitted(id, Vec::new()).await
    }

    /// Whether anything stands against an erasure: refused as a whole, or what is to be recorded of what is kept.
    pub(crate) fn erasure_or_refusal(
        &self,
        append: &Append,
        request: EventId,
        scope: &Scope,
        holds: Vec<Hold>,
    ) -> Result<ErasureVerdict, AppError> {
        let refused = |holds: &[Hold], whole: bool| {
            let ground = holds.first().map(|hold| hold.placed.ground).unwrap_or_default();
            let ids = holds.iter().map(|hold| hold.id.0.to_vec()).collect();
            ErasureRefused { request: request.0.to_vec(), ground, holds: ids, whole }
        };
        let against: Vec<Hold> = holds.iter().filter(|hold| hold.is_whole()).cloned().collect();
        if !against.is_empty() {
            return Ok(ErasureVerdict::Refused(refused(&against, true)));
        }
        if *scope == Scope::All && holds.is_empty() {
            return Ok(ErasureVerdict::Erase(holds, Vec::new()));
        }
        let Selection { versions, kept, .. } = self.erasure.select(&append.stream, scope, &holds)?;
        match (versions.is_empty(), kept.is_empty()) {
            (true, true) => Err(AppError::NotFound("attribute")),
            (true, false) => Ok(ErasureVerdict::Refused(refused(&holds, true))),
            // A hold that keeps nothing of what is asked for is no hold on it.
            (false, true) => Ok(ErasureVerdict::Erase(Vec::new(), Vec::new())),
            (false, false) => {
                let mut pending_events = vec![self.core.plan(Event::ErasureRefused(refused(&holds, false)))];
                pending_events.extend(self.set_aside(append, scope, &holds));
                Ok(ErasureVerdict::Erase(holds, pending_events))
            }
        }
    }

    /// What is kept on a ground is kept for that and not for use: it leaves the profile.
    fn set_aside(&self, append: &Append, scope: &Scope, holds: &[Hold]) -> Vec<PendingEvent> {
        let rules = self.core.rules();
        let now = append.stream.read();
        let set_aside = now.state.attributes.values().filter(|held| {
            let category = &held.attribute.category;
            let in_scope = match scope {
                Scope::All | Scope::Profile => true,
                Scope::Key(key) => held.attribute.key == *key,
                Scope::Category(named) => {
                    rules.vocabulary.category_ancestry(category).contains(&named.as_str())
                }
                Scope::Versions(_) => false,
            };
            in_scope && holds.iter().any(|hold| hold.keeps(category, &rules.vocabulary))
        });
        let removed = |attribute| {
            let reason = "its erasure was asked for; kept under a hold only".to_owned();
            self.core.plan(Event::AttributeRemoved { attribute, reason })
        };
        set_aside.map(|held| removed(held.event_id)).collect()
    }

    async fn submit_signal(
        self: &Arc<Self>,
        append: Append,
        subject: &SubjectId,
        asked: Asked,
        kind: SignalKind,
    ) -> Result<SubmittedRequest, AppError> {
        let purposes = asked.new.purposes.clone();
        let mut pending_events = vec![self.core.plan(asked.event(subject, true))];
        let signal = Event::Signal { kind, purposes, lifted: false, interaction: String::new() };
        // Right after the request: that is how its refusal finds it again.
        pending_events.push(self.core.plan(signal));
        let pending_events = self.core.with_revocations(&append, pending_events);
        let written = self.core.commit(append, pending_events).await?;
        self.submitted(asked.id, written.revoked).await
    }

    /// The request of an erasure of everything that was made with this idempotency key and left nothing else behind.
    fn erased_before(&self, caller: &Caller, options: &WriteOptions) -> Result<Option<EventId>, AppError> {
        let request_stamp = self.core.request_stamp(caller, options)?;
        let Some(hash) = &request_stamp.idempotency else { return Ok(None) };
        let Some((position, _)) = self.core.store().find_idempotent(hash)? else { return Ok(None) };
        let stored = self.core.store().read_entry(position)?;
        let Some(stream) = stored.bytes.as_deref().map(sayso_proof::entry::parse_header).transpose()? else {
            return Ok(None);
        };
        if stream.handle != crate::domain::ids::Handle::SYSTEM {
            return Ok(None);
        }
        let event = open_system_entry(stored)?;
        match &event.event {
            Event::ErasureCompleted(_) if event.request_digest != request_stamp.digest => {
                Err(AppError::KeyReused)
            }
            Event::ErasureCompleted(done) => Ok(EventId::from_slice(&done.request)),
            _ => Ok(None),
        }
    }

    async fn submitted_before(self: &Arc<Self>, id: EventId) -> Result<SubmittedRequest, AppError> {
        self.submitted(id, Vec::new()).await
    }

    fn check_request(&self, new: &NewRequest) -> Result<(), AppError> {
        let mut found = Vec::new();
        let mut need = |holds: bool, field: &str, problem: String| {
            if !holds {
                found.push(Violation::new(field, problem));
            }
        };
        let is_erasure = new.kind == RequestKind::Erasure;
        let signals = matches!(new.kind, RequestKind::Restriction | RequestKind::Objection);
        need(new.kind != RequestKind::Unspecified, "kind", "must say which right".into());
        need(
            is_erasure == new.scope.is_some(),
            "scope",
            "must be named for an erasure (all, profile, key or category), and for nothing else".into(),
        );
        need(new.keys.len() <= KEYS_MAX, "keys", "must have at most 128".into());
        let keys = new.keys.iter().all(|key| is_text(key, 1, 256));
        need(keys, "keys", "each must have 1 to 256 bytes and no control characters".into());
        need(new.details.len() <= DETAILS_BYTES_MAX, "details", "must have at most 2048 bytes".into());
        need(signals || new.purposes.is_empty(), "purposes", "are for restriction and objection".into());
        need(new.purposes.len() <= PURPOSES_MAX, "purposes", "must have at most 32".into());
        let rules = self.core.rules();
        for purpose in new.purposes.iter().filter(|id| !rules.vocabulary.has_purpose(id)) {
            let near = rules.vocabulary.near_purposes(purpose);
            need(false, "purposes", vocabulary::unknown("purpose", &near));
        }
        if let Some(Scope::Category(category)) = &new.scope
            && !rules.vocabulary.has_category(category)
        {
            let near = rules.vocabulary.near_categories(category);
            need(false, "category", vocabulary::unknown("category", &near));
        }
        if found.is_empty() { Ok(()) } else { Err(AppError::Invalid(Violations(found))) }
    }
}

/// What becomes of an erasure that is asked for.
pub(crate) enum ErasureVerdict {
    /// Refused as a whole.
    Refused(ErasureRefused),
    /// Carried out, but for what these holds keep; what is recorded of that.
    Erase(Vec<Hold>, Vec<PendingEvent>),
}

/// The request that an event belongs to.
fn request_of(event: &Recorded) -> Option<EventId> {
    match &event.event {
        Event::RequestSubmitted(request) => EventId::from_slice(&request.request),
        Event::ErasureRequested(request) => EventId::from_slice(&request.request),
        Event::RequestDecided(request) => EventId::from_slice(&request.request),
        _ => None,
    }
}
