//! Submits a request of a data subject: records it with its due date, and, if no steward has to decide, also
//! fulfills it before the call returns.

use crate::app::caller::Caller;
use crate::app::consent::remaining_uses::{RemainingUse, remaining_uses};
use crate::app::erasure::erase_subject::Erasure;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun, PendingEvent, Timestamping};
use crate::app::log::key_hashes::key_hash_of;
use crate::app::log::moment::Moment;
use crate::app::log::read::open_system_entry;
use crate::app::log::receipt::WriteOptions;
use crate::app::log::stream::SubjectStream;
use crate::app::rights::Rights;
use crate::app::rights::list_requests::SubmittedRequest;
use crate::domain::PURPOSES_MAX;
use crate::domain::attribute::is_text;
use crate::domain::checks::Checks;
use crate::domain::erasure::{self, Limits, Scope};
use crate::domain::event::{
    ErasureRefused, Event, Recorded, RequestDecided, RequestKey, RequestSubmitted, Role, SignalKind,
};
use crate::domain::ids::{EventId, Handle, SubjectId};
use crate::domain::request::{
    DETAILS_BYTES_MAX, Ground, Jurisdiction, KEYS_MAX, RequestKind, RequestOutcome, due_at_ms,
};
use crate::domain::rights::Hold;
use crate::domain::unmatched::Unmatched;
use sayso_proof::entry::parse_header;
use sayso_proof::merkle::Hash;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A request to be submitted.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// The right that is exercised.
    pub kind: RequestKind,
    /// The scope of an erasure; none for other requests.
    pub scope: Option<Scope>,
    /// The attribute keys to rectify, at most 128.
    pub keys: Vec<String>,
    /// The purposes of a restriction or objection, at most 32. None means all.
    pub purposes: Vec<String>,
    /// The subject's own words, at most 2,048 bytes.
    pub details: String,
    /// The jurisdiction that sets the due date. None means the jurisdiction in the subject's description, or
    /// else the controller's default.
    pub jurisdiction: Option<Jurisdiction>,
}

/// A request that is about to be recorded.
struct PendingRequest {
    id: EventId,
    new: NewRequest,
    jurisdiction: Jurisdiction,
    submitted_at_ms: u64,
    due_at_ms: u64,
}

impl PendingRequest {
    /// The event of the request.
    fn event(&self, subject: &SubjectId, detail: Detail) -> Event {
        let is_full = detail == Detail::Full;
        let (mut keys, mut category) = (self.new.keys.clone(), String::new());
        let mut details = self.new.details.clone();
        match &self.new.scope {
            Some(Scope::Key(key)) => keys.push(key.clone()),
            Some(Scope::Category(of)) => category.clone_from(of),
            Some(Scope::Content(text)) => text.expose().clone_into(&mut details),
            _ => {}
        }
        Event::RequestSubmitted(RequestSubmitted {
            request: self.id,
            kind: self.new.kind,
            jurisdiction: self.jurisdiction,
            due_at_ms: self.due_at_ms,
            scope: self.new.scope.as_ref().map(|scope| scope.kind()).unwrap_or_default(),
            category,
            keys: if is_full { keys } else { Vec::new() },
            purposes: self.new.purposes.clone(),
            details: if is_full { details } else { String::new() },
            subject: subject.as_str().to_owned(),
            key_hash: Vec::new(),
            follows: None,
        })
    }

    /// The event of the request's refusal.
    fn refusal(&self, ground: Ground) -> Event {
        Event::RequestDecided(RequestDecided {
            request: self.id,
            kind: self.new.kind,
            outcome: RequestOutcome::Refused,
            ground,
            reason: String::new(),
            submitted_at_ms: self.submitted_at_ms,
            due_at_ms: self.due_at_ms,
            erasure: None,
            changes: Vec::new(),
        })
    }
}

impl Rights {
    /// Records a request, and fulfills it if no decision is needed. A restriction or objection takes effect
    /// in the same frame. An erasure is carried out, unless a hold blocks it or the controller requires a
    /// steward's decision.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, and the request is no restriction and no objection, which
    /// are recorded about anybody; nothing recorded is in scope of the erasure; a field is
    /// invalid; the expected version is stale; the idempotency key was used for another request; or the store
    /// fails. A refusal is not an error: it is recorded, and the returned request says so.
    pub async fn submit_request(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        new: NewRequest,
        options: &WriteOptions,
    ) -> Result<SubmittedRequest, AppError> {
        self.check_request(&new)?;
        if let Some(id) = self.replayed_erasure(caller, options)? {
            return self.submitted(id, Vec::new()).await;
        }
        let timestamping = Timestamping::Distinct;
        let begun = match is_no(&new) {
            // A no is recorded about anybody, as `RecordSignal` does.
            true => self.core.begin(caller, subject, options, None, timestamping).await,
            false => self.core.begin_existing(caller, subject, options, timestamping).await,
        };
        let append = match begun.map_err(|error| nothing_to_erase(error, &new))? {
            Begun::Append(append) => append,
            Begun::Replayed(_, events) => {
                let id = events.iter().find_map(request_of).ok_or(AppError::KeyReused)?;
                self.core.record_view(caller, subject, "SubmitRequest").await?;
                self.erasure.resume_erasure(id).await?;
                let remaining_uses = self.remaining_after(subject, &events).await?;
                let is_first = events.first().is_some_and(|first| first.version == 0);
                let unmatched = unmatched(is_first);
                let submitted = self.submitted(id, Vec::new()).await?;
                return Ok(SubmittedRequest { remaining_uses, unmatched, ..submitted });
            }
        };
        let described = match append.stream.read().state.description.jurisdiction.as_str() {
            "" => None,
            "US-CA" => Some(Jurisdiction::California),
            _ => Some(Jurisdiction::Gdpr),
        };
        let jurisdiction = new.jurisdiction.or(described).unwrap_or(self.settings.jurisdiction);
        let request = PendingRequest {
            id: self.core.new_id(),
            jurisdiction,
            submitted_at_ms: append.now_ms,
            due_at_ms: due_at_ms(jurisdiction, append.now_ms),
            new,
        };
        let steward_decides = caller.role == Role::Subject && self.settings.steward_decides_erasures;
        match (&request.new.scope, request.new.kind) {
            (Some(scope), RequestKind::Erasure) if !steward_decides => {
                let scope = scope.clone();
                self.submit_erasure(append, subject, request, scope).await
            }
            (_, RequestKind::Restriction) => {
                self.submit_signal(append, subject, request, SignalKind::Restriction).await
            }
            (_, RequestKind::Objection) => {
                self.submit_signal(append, subject, request, SignalKind::Objection).await
            }
            _ => {
                let pending_events = vec![self.core.plan(request.event(subject, Detail::Full))];
                self.core.commit(append, pending_events).await?;
                self.submitted(request.id, Vec::new()).await
            }
        }
    }

    async fn submit_erasure(
        self: &Arc<Self>,
        mut append: Append,
        subject: &SubjectId,
        request: PendingRequest,
        scope: Scope,
    ) -> Result<SubmittedRequest, AppError> {
        let holds = append.stream.read().state.rights.holds.clone();
        let id = request.id;
        let verdict = self.weigh_holds(&append.stream, id, &scope, holds)?;
        let is_whole = scope == Scope::All
            && matches!(&verdict, ErasureVerdict::Erase { holds, .. } if holds.is_empty());
        let is_refused = matches!(&verdict, ErasureVerdict::Refuse(_));
        // The request for the erasure of a text holds the text, so it is erased with it.
        let detail = if is_whole || is_refused || scope.is_text() { Detail::Full } else { Detail::Minimal };
        let mut event = request.event(subject, detail);
        if let (Event::RequestSubmitted(submitted), Scope::Key(key)) = (&mut event, &scope) {
            submitted.key_hash = key_hash_of(&append.stream.keys, key)?;
        }
        let mut pending_events = vec![self.core.plan(event)];
        match verdict {
            ErasureVerdict::Refuse(refused) => {
                let ground = refused.ground;
                pending_events.push(self.core.plan(Event::ErasureRefused(refused)));
                pending_events.push(self.core.plan(request.refusal(ground)));
                // The answer to the request outlives the text, so it must not have the digest of the request.
                let request_stamp = scope.is_text().then(|| std::mem::take(&mut append.request_stamp));
                let frame = self.core.with_revocations(&append, pending_events);
                let written = self.core.commit(append, frame).await?;
                if let Some(request_stamp) = request_stamp {
                    self.erasure.remember(request_stamp, id);
                }
                return self.submitted(id, written.revoked).await;
            }
            ErasureVerdict::Erase { holds, events } => {
                pending_events.extend(events);
                let (submitted_at_ms, due_at_ms) = (request.submitted_at_ms, request.due_at_ms);
                let erasure = Erasure { request: id, scope, holds, submitted_at_ms, due_at_ms };
                let copies = self.erasure.erase(append, pending_events, erasure).await?.left;
                Ok(SubmittedRequest { copies, ..self.submitted(id, Vec::new()).await? })
            }
        }
    }

    /// Decides whether holds block an erasure as a whole, keep a part of what is in scope, or keep nothing.
    /// Holds that keep nothing in scope do not count.
    ///
    /// # Errors
    /// Nothing that is recorded is in scope, or the store fails.
    pub(crate) fn weigh_holds(
        &self,
        stream: &SubjectStream,
        request: EventId,
        scope: &Scope,
        holds: Vec<Hold>,
    ) -> Result<ErasureVerdict, AppError> {
        let is_whole = holds.iter().any(Hold::is_whole);
        if holds.iter().all(Hold::is_whole) && (is_whole || *scope == Scope::All) {
            return Ok(match is_whole {
                true => ErasureVerdict::Refuse(refusal(request, scope, &holds)),
                false => ErasureVerdict::Erase { holds, events: Vec::new() },
            });
        }
        let history = self.erasure.history(stream)?;
        let vocabulary = &self.core.rules().vocabulary;
        let selection = erasure::select(&history, scope, &holds, vocabulary, Limits::default())?;
        let counts = |hold: &Hold| hold.is_whole() || selection.holds.contains(&hold.id);
        let holds: Vec<Hold> = holds.into_iter().filter(counts).collect();
        let is_all_kept = match holds.is_empty() {
            true => selection.versions.is_empty(),
            false => !erasure::erases_data(&history, &selection),
        };
        match (is_all_kept, holds.is_empty()) {
            (true, true) => Err(AppError::NotFound("attribute")),
            (true, false) => Ok(ErasureVerdict::Refuse(refusal(request, scope, &holds))),
            (false, true) => Ok(ErasureVerdict::Erase { holds, events: Vec::new() }),
            (false, false) if scope.is_text() => Err(AppError::Precondition(
                "a hold keeps a part of what holds this text, so nothing was erased; erase its keys one by one \
                 (scope key), and what the hold keeps of each is recorded",
            )),
            (false, false) => {
                let refused = partial_refusal(request, &holds);
                let mut events = vec![self.core.plan(Event::ErasureRefused(refused))];
                events.extend(self.removals_of_kept(stream, scope, &holds));
                Ok(ErasureVerdict::Erase { holds, events })
            }
        }
    }

    /// Events that remove from the profile the attributes in scope that a hold keeps. The hold lets the
    /// controller keep these attributes, but not use them.
    fn removals_of_kept(&self, stream: &SubjectStream, scope: &Scope, holds: &[Hold]) -> Vec<PendingEvent> {
        let rules = self.core.rules();
        let now = stream.read();
        let kept = now.state.attributes.values().filter(|current| {
            let category = &current.attribute.category;
            let in_scope = match scope {
                Scope::All | Scope::Profile => true,
                Scope::Key(key) => current.attribute.key == *key,
                Scope::Category(named) => {
                    rules.vocabulary.category_ancestry(category).contains(&named.as_str())
                }
                // A hold never keeps a part of these.
                Scope::Content(_) | Scope::Versions(_) => false,
            };
            in_scope && holds.iter().any(|hold| hold.keeps(category, &rules.vocabulary))
        });
        let removal = |attribute| {
            let reason = "its erasure was requested; it is kept under a hold only".to_owned();
            self.core.plan(Event::AttributeRemoved { attribute, reason })
        };
        kept.map(|current| removal(current.event_id)).collect()
    }

    async fn submit_signal(
        self: &Arc<Self>,
        append: Append,
        subject: &SubjectId,
        request: PendingRequest,
        kind: SignalKind,
    ) -> Result<SubmittedRequest, AppError> {
        let purposes = request.new.purposes.clone();
        let mut pending_events = vec![self.core.plan(request.event(subject, Detail::Full))];
        let signal = Event::Signal { kind, purposes, lifted: false, interaction: String::new() };
        // The signal's event directly follows the request's event. There, a refusal of the request looks for
        // the signal.
        pending_events.push(self.core.plan(signal));
        let remaining_uses = match kind {
            SignalKind::Objection => {
                let (state, rules) = (&append.stream.read().state, &append.rules);
                remaining_uses(state, &rules.vocabulary, append.now_ms, &request.new.purposes)
            }
            _ => Vec::new(),
        };
        let unmatched = unmatched(append.stream.read().state.version == 0);
        let frame = self.core.with_revocations(&append, pending_events);
        let written = self.core.commit(append, frame).await?;
        let submitted = self.submitted(request.id, written.revoked).await?;
        Ok(SubmittedRequest { remaining_uses, unmatched, ..submitted })
    }

    /// The purposes for which data may still be used after the objection that these events record.
    async fn remaining_after(
        self: &Arc<Self>,
        subject: &SubjectId,
        events: &[Recorded],
    ) -> Result<Vec<RemainingUse>, AppError> {
        let objection = events.iter().find_map(|event| match &event.event {
            Event::RequestSubmitted(submitted) if submitted.kind == RequestKind::Objection => {
                Some((event, submitted))
            }
            _ => None,
        });
        let Some((event, submitted)) = objection else { return Ok(Vec::new()) };
        let stream = self.core.stream(subject).await?.ok_or(AppError::Erased)?;
        let before = self.core.state_as_of(&stream, Moment::Version(event.version))?;
        let (rules, now_ms) = (self.core.rules_at(event.sealed_at_ms), event.sealed_at_ms);
        Ok(remaining_uses(&before, &rules.vocabulary, now_ms, &submitted.purposes))
    }

    /// The request for a full erasure, or for the erasure of a text, that was made with this idempotency key,
    /// within the last hour and since the last start. The log has nothing by which a repetition could be
    /// recognized.
    /// Only the `ErasureCompleted` of early versions has the hash of the key.
    fn replayed_erasure(&self, caller: &Caller, options: &WriteOptions) -> Result<Option<EventId>, AppError> {
        let request_stamp = self.core.request_stamp(caller, options)?;
        let (RequestKey::Sealed(sealed), Some(in_clear)) = (&request_stamp.sealed, &request_stamp.in_clear)
        else {
            return Ok(None);
        };
        let found = match self.erasure.recent_erasures.find(sealed, self.core.now_ms()) {
            Some(found) => Some(found),
            None => self.early_erasure(in_clear)?,
        };
        match found {
            Some((_, digest)) if digest != request_stamp.digest => Err(AppError::KeyReused),
            found => Ok(found.map(|(request, _)| request)),
        }
    }

    /// The erasure that early versions recorded with this hash of an idempotency key, and the digest of its
    /// request.
    fn early_erasure(&self, in_clear: &Hash) -> Result<Option<(EventId, Vec<u8>)>, AppError> {
        let Some((position, _)) = self.core.store().find_idempotent(in_clear)? else { return Ok(None) };
        let stored = self.core.stored_entry(position)?;
        let header = stored.bytes.as_deref().map(parse_header).transpose()?;
        if header.is_none_or(|header| header.handle != Handle::SYSTEM) {
            return Ok(None);
        }
        let recorded = open_system_entry(stored)?;
        match &recorded.event {
            Event::ErasureCompleted(completed) => {
                Ok(completed.request.map(|request| (request, recorded.request_digest)))
            }
            _ => Ok(None),
        }
    }

    fn check_request(&self, new: &NewRequest) -> Result<(), AppError> {
        let mut checks = Checks::new();
        let is_erasure = new.kind == RequestKind::Erasure;
        let names_purposes = matches!(
            new.kind,
            RequestKind::Restriction
                | RequestKind::Objection
                | RequestKind::DecisionAccess
                | RequestKind::DecisionAppeal
        );
        checks.need(new.kind != RequestKind::Unspecified, "kind", "must name a right");
        checks.need(
            is_erasure == new.scope.is_some(),
            "scope",
            "must be named for an erasure (all, profile, key, category or content), and for nothing else",
        );
        checks.need(new.keys.len() <= KEYS_MAX, "keys", "must have at most 128");
        let keys = new.keys.iter().all(|key| is_text(key, 1, 256));
        checks.need(keys, "keys", "each must have 1 to 256 bytes and no control characters");
        let details = new.details.len() <= DETAILS_BYTES_MAX;
        checks.need(details, "details", "must have at most 2048 bytes");
        let says_what = new.kind != RequestKind::Complaint || !new.details.trim().is_empty();
        checks.need(says_what, "details", "must say what the complaint is about");
        checks.need(
            names_purposes || new.purposes.is_empty(),
            "purposes",
            "must be empty unless the request is a restriction or objection, or about an automated decision",
        );
        checks.need(new.purposes.len() <= PURPOSES_MAX, "purposes", "must have at most 32");
        if let Some(scope) = &new.scope {
            self.check_scope(scope)?;
        }
        let is_text = new.scope.as_ref().is_some_and(Scope::is_text);
        let problem = "must be empty for the erasure of a text";
        checks.need(!is_text || new.details.is_empty(), "details", problem);
        let rules = self.core.rules();
        checks.need_purposes(&rules.vocabulary, &new.purposes, "purposes");
        Ok(checks.finish()?)
    }
}

impl Rights {
    /// Checks the scope of an erasure.
    ///
    /// # Errors
    /// The category is unknown, or the text has a wrong length.
    pub(super) fn check_scope(&self, scope: &Scope) -> Result<(), AppError> {
        let mut checks = Checks::new();
        match scope {
            Scope::Category(category) => {
                checks.need_categories(&self.core.rules().vocabulary, [category], "category");
            }
            Scope::Content(text) => {
                let text = text.expose();
                let fits = text.len() <= DETAILS_BYTES_MAX && !text.trim().is_empty();
                checks.need(fits, "content", "must be a text of 1 to 2048 bytes");
            }
            Scope::All | Scope::Profile | Scope::Key(_) | Scope::Versions(_) => {}
        }
        Ok(checks.finish()?)
    }
}

/// What happens to a request for erasure.
pub(crate) enum ErasureVerdict {
    /// It is refused as a whole.
    Refuse(ErasureRefused),
    /// It is carried out, except for what these holds keep.
    Erase {
        holds: Vec<Hold>,
        /// What is recorded about the kept part.
        events: Vec<PendingEvent>,
    },
}

/// The error of a request about a person of whom nothing is recorded. For an erasure, it says where the
/// answer to an earlier request is. It is the same for a person who was erased and for one who never existed.
fn nothing_to_erase(error: AppError, new: &NewRequest) -> AppError {
    match error {
        AppError::UnknownSubject if new.scope == Some(Scope::All) => AppError::NothingToErase,
        error => error,
    }
}

/// The refusal of an erasure as a whole, by holds that keep everything in its scope. Only a purpose that each
/// of them requires stays allowed.
fn refusal(request: EventId, scope: &Scope, holds: &[Hold]) -> ErasureRefused {
    let is_whole = holds.iter().any(Hold::is_whole);
    let categories = holds.iter().flat_map(|hold| &hold.placed.categories).cloned();
    let categories: BTreeSet<String> = categories.filter(|_| !is_whole).collect();
    let requires = |purpose: &&String| holds.iter().all(|hold| hold.placed.purposes.contains(purpose));
    let first = holds.first().map_or(&[][..], |hold| &hold.placed.purposes);
    let purposes: BTreeSet<String> = first.iter().filter(requires).cloned().collect();
    ErasureRefused {
        ground: ground_of(holds),
        holds: holds.iter().map(|hold| hold.id).collect(),
        purposes: purposes.into_iter().collect(),
        categories: categories.into_iter().collect(),
        ..scope.refusal(request)
    }
}

/// The refusal to erase the part that holds keep. The other part is erased, so the event must not name what
/// the person wanted erased.
fn partial_refusal(request: EventId, holds: &[Hold]) -> ErasureRefused {
    let ids = holds.iter().map(|hold| hold.id).collect();
    ErasureRefused { request, ground: ground_of(holds), holds: ids, ..ErasureRefused::default() }
}

/// The legal ground of the hold that was placed first.
fn ground_of(holds: &[Hold]) -> Ground {
    holds.first().map(|hold| hold.placed.ground).unwrap_or_default()
}

/// How much the event of a request says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// Everything.
    Full,
    /// No attribute keys and no words of the subject: a partial erasure keeps the event, so the event must
    /// not name what is erased.
    Minimal,
}

/// Whether a request says no to uses of data.
fn is_no(new: &NewRequest) -> bool {
    matches!(new.kind, RequestKind::Restriction | RequestKind::Objection)
}

/// What a request matches nothing with, if it is the first that is recorded about the person or not.
fn unmatched(is_first: bool) -> Vec<Unmatched> {
    is_first.then_some(Unmatched::Subject).into_iter().collect()
}

/// The id of the request that an event belongs to.
fn request_of(event: &Recorded) -> Option<EventId> {
    match &event.event {
        Event::RequestSubmitted(request) => Some(request.request),
        Event::ErasureRequested(request) => Some(request.request),
        Event::RequestDecided(request) => Some(request.request),
        _ => None,
    }
}
