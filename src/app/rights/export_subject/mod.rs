//! The access and portability package (GDPR Art. 15, 20): what is held about a person, where it comes from, who got
//! it and what for.
//!
//! Passes are made over the person's events, each read, written and forgotten, so that memory does not grow with the
//! history: only with what is held now, with the decisions (which are few), and by 24 bytes a grant.

mod answer;
mod history;
mod records;
mod survey;

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::grants::evaluate_use::{UseCase, decide};
use crate::app::log::append::{Begun, Timestamping};
use crate::app::log::read::open;
use crate::app::log::receipt::WriteOptions;
use crate::app::log::stream::SubjectStream;
use crate::app::rights::Rights;
use crate::audit;
use crate::bounds::rulebook::Rules;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{AccessProvided, Event, Recorded};
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::profile::SubjectState;
use crate::domain::wording;
use crate::package::{self, Counts, Head, JsonFile, Kind, Page, Record, Section, Sink, Zip};
use crate::vault::VaultError;
use sayso_proof::event::{PackageKind, Provenance};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use survey::Survey;
use tokio::sync::mpsc;

/// Pieces that wait for a slow reader.
const WAITING_MAX: usize = 8;
/// Events whose places are read at once.
const READ_COUNT: usize = 512;

/// The next piece of a package.
#[derive(Clone, Debug)]
pub struct PackageChunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Events read so far, over all passes.
    pub done: u64,
    /// Events to be read in all.
    pub total: u64,
}

/// One export under way, on what stood when it began.
struct Export {
    rights: Arc<Rights>,
    stream: Arc<SubjectStream>,
    kind: Kind,
    subject: SubjectId,
    state: SubjectState,
    rules: Arc<Rules>,
    now_ms: u64,
    /// Who takes it.
    caller: Caller,
    /// What it answers.
    request: Option<EventId>,
    done: AtomicU64,
}

impl Rights {
    /// Makes a package of everything about a person, or of what they provided, as one ZIP file. It is recorded before
    /// the first byte. An erasure carried out meanwhile ends it. A request that it answers is completed behind the last
    /// byte, and not where the caller goes away before.
    ///
    /// # Errors
    /// Nothing is held about the person (and nothing tells one who was erased from one who never was); the request is not
    /// theirs, of another kind, or decided already; or the store.
    /// Later errors come through the channel, after which nothing follows: what came before is no whole file.
    pub async fn export_subject(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        kind: Kind,
        request: Option<EventId>,
    ) -> Result<mpsc::Receiver<Result<PackageChunk, AppError>>, AppError> {
        let stream = self.note_access(caller, subject, kind, request).await.map_err(|error| match error {
            AppError::Erased => AppError::UnknownSubject,
            error => error,
        })?;
        let state = stream.read().state.clone();
        let export = Export {
            rights: Arc::clone(self),
            stream,
            kind,
            subject: subject.clone(),
            state,
            rules: self.core.rules(),
            now_ms: self.core.now_ms(),
            caller: caller.clone(),
            request,
            done: AtomicU64::new(0),
        };
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(export.run(sender));
        Ok(receiver)
    }

    /// Records that a package is taken away.
    async fn note_access(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        kind: Kind,
        request: Option<EventId>,
    ) -> Result<Arc<SubjectStream>, AppError> {
        if let Some(stream) = self.core.stream(subject).await? {
            self.core.record_reuse_before_read(&stream).await;
        }
        let begun =
            self.core.begin_existing(caller, subject, &WriteOptions::default(), Timestamping::Shared).await?;
        let Begun::Append(append) = begun else {
            return Err(AppError::Internal(Cause::Inconsistent("a write without a key was replayed")));
        };
        let stream = Arc::clone(&append.stream);
        let items = stream.read().state.version;
        if items == 0 {
            // A handle without events: nothing is held.
            return Err(AppError::UnknownSubject);
        }
        if let Some(request) = &request {
            answer::check(&stream, kind, request)?;
        }
        let kind = match kind {
            Kind::Access => PackageKind::Access,
            Kind::Portability => PackageKind::Portability,
        };
        let request = request.map(|id| id.0.to_vec()).unwrap_or_default();
        let event = Event::AccessProvided(AccessProvided { request, kind: kind.into(), items });
        let pending_events = vec![self.core.plan(event)];
        self.core.commit(append, pending_events).await?;
        Ok(stream)
    }
}

impl Export {
    async fn run(self, sender: mpsc::Sender<Result<PackageChunk, AppError>>) {
        let pieces = sender.clone();
        let written = tokio::task::spawn_blocking(move || {
            let written = self.write(&pieces);
            (self, written)
        });
        let told = match written.await {
            Ok((export, Ok(()))) => export.answer(&sender).await.map_err(|error| export.as_told(error)),
            Ok((export, Err(error))) => Err(export.as_told(error)),
            Err(_) => Err(AppError::Internal(Cause::Task)),
        };
        if let Err(error) = told {
            let _gone = sender.send(Err(error)).await;
        }
    }

    /// Whatever fails once an erasure has begun, fails because of it.
    fn as_told(&self, error: AppError) -> AppError {
        let destroyed =
            matches!(error, AppError::Erased | AppError::Internal(Cause::Vault(VaultError::Destroyed)));
        if destroyed || self.stream.read().erased { AppError::Overtaken } else { error }
    }

    /// Calls `each` with every event, oldest first; those recorded since the export began are not among them.
    fn each(&self, mut each: impl FnMut(&Recorded) -> Result<(), AppError>) -> Result<(), AppError> {
        let (store, end) = (self.rights.core.store(), self.state.version);
        let mut next = 0;
        while next < end {
            let places = store.read_subject(self.stream.keys.handle, next, READ_COUNT)?;
            if places.is_empty() {
                break;
            }
            for (version, position) in places {
                if self.stream.read().erased {
                    return Err(AppError::Overtaken);
                }
                if version >= end {
                    return Ok(());
                }
                each(&open(&self.stream.keys, store.read_entry(position)?)?)?;
                self.done.fetch_add(1, Ordering::Relaxed);
                next = version.saturating_add(1);
            }
        }
        Ok(())
    }

    /// How many events are read in all: once to survey, and once a section that tells of them, twice over.
    fn total(&self) -> u64 {
        let of_events = [Section::Disclosures, Section::Uses, Section::Revocations, Section::History];
        let sections = self.kind.sections().iter().filter(|section| of_events.contains(section)).count();
        (sections as u64).saturating_mul(2).saturating_add(1).saturating_mul(self.state.version)
    }

    fn write(&self, sender: &mpsc::Sender<Result<PackageChunk, AppError>>) -> Result<(), AppError> {
        let total = self.total();
        let pipe = audit::Pipe::new(|bytes| {
            let done = self.done.load(Ordering::Relaxed);
            sender.blocking_send(Ok(PackageChunk { bytes, done, total })).is_ok()
        });
        let survey = Survey::of(self)?;
        let mut zip = Zip::new(pipe, self.now_ms);
        self.write_page(&mut zip, &survey)?;
        self.write_json(&mut zip, &survey)?;
        self.write_receipts(&mut zip, &survey)?;
        if self.stream.read().erased {
            return Err(AppError::Overtaken);
        }
        zip.finish()?;
        Ok(())
    }

    fn write_page<W: Write>(&self, zip: &mut Zip<W>, survey: &Survey) -> Result<(), AppError> {
        let counts = Counts {
            attributes: self.held().count() as u64,
            decisions: self.state.consents.records().len() as u64,
            events: self.state.version,
        };
        let made_at = wording::time(self.now_ms);
        let head = Head {
            kind: self.kind,
            controller: &self.rights.controller,
            subject: &self.subject(),
            made_at: &made_at,
            origin: self.rights.core.ledger.origin(),
            counts,
        };
        let mut page = Page::begin(zip.begin("index.html")?, &head)?;
        self.write_sections(survey, &mut page)?;
        page.finish(&self.rights.controller)?;
        Ok(())
    }

    fn write_json<W: Write>(&self, zip: &mut Zip<W>, survey: &Survey) -> Result<(), AppError> {
        let ledger = package::Ledger {
            origin: self.rights.core.ledger.origin().to_owned(),
            verifier_key: self.rights.core.ledger.verifier_key().to_string(),
            checkpoint: self.rights.core.ledger.checkpoint().note.clone(),
        };
        let mut json = JsonFile::begin(zip.begin("package.json")?)?;
        json.field("format", &package::FORMAT)?;
        json.field("version", &package::VERSION)?;
        json.field("kind", &self.kind.name())?;
        json.field("made_at", &wording::time(self.now_ms))?;
        json.field("events", &self.state.version)?;
        json.field("ledger", &ledger)?;
        json.field("controller", self.rights.controller.as_ref())?;
        json.field("subject", &self.subject())?;
        self.write_sections(survey, &mut json)?;
        json.finish()?;
        Ok(())
    }

    fn write_receipts<W: Write>(&self, zip: &mut Zip<W>, survey: &Survey) -> Result<(), AppError> {
        for record in self.state.consents.records() {
            if self.stream.read().erased {
                return Err(AppError::Overtaken);
            }
            let (stream, rules) = (&self.stream, &self.rules);
            let receipt =
                self.rights.consent.make_receipt(stream, rules, &self.state, &survey.asked, record)?;
            let member = zip.begin(&records::receipt_path(&record.event_id))?;
            serde_json::to_writer_pretty(member, &receipt).map_err(std::io::Error::from)?;
        }
        Ok(())
    }

    fn write_sections(&self, survey: &Survey, sink: &mut impl Sink) -> Result<(), AppError> {
        for section in self.kind.sections() {
            sink.section(*section)?;
            match section {
                Section::Attributes => self.attributes(survey, sink)?,
                Section::PermittedUses => {
                    self.permitted(survey, |permitted| Ok(sink.record(&Record::PermittedUse(permitted))?))?;
                }
                Section::Recipients => {
                    for named in survey.recipients.values() {
                        sink.record(&Record::Recipient(named.clone()))?;
                    }
                }
                Section::Disclosures => self.each(|event| match &event.event {
                    Event::GrantIssued(issued) if !issued.allowed.is_empty() => {
                        Ok(sink.record(&Record::Disclosure(self.disclosure(event, issued)))?)
                    }
                    _ => Ok(()),
                })?,
                Section::Uses => self.each(|event| match &event.event {
                    Event::GrantUsed(used) => {
                        let record = self.reported(event, used, survey)?;
                        record.map_or(Ok(()), |used| Ok(sink.record(&Record::Use(used))?))
                    }
                    _ => Ok(()),
                })?,
                Section::Revocations => self.each(|event| match records::revoked_grant(event) {
                    Some(revoked) => Ok(sink.record(&Record::RevokedGrant(revoked))?),
                    None => Ok(()),
                })?,
                Section::Consents => {
                    for record in self.state.consents.records() {
                        sink.record(&Record::Consent(self.consent(record)))?;
                    }
                }
                Section::Notices => {
                    for notice in self.notices(survey) {
                        sink.record(&Record::Notice(notice))?;
                    }
                }
                Section::Signals => {
                    for signal in &self.state.signals {
                        sink.record(&Record::Signal(records::signal(signal)))?;
                    }
                }
                Section::History => {
                    self.each(|event| Ok(sink.record(&Record::History(history::history(event)?))?))?;
                }
            }
        }
        Ok(())
    }

    /// What is held and belongs into a package of this kind: inferences are not the person's to take along (Art. 20).
    fn held(&self) -> impl Iterator<Item = &CurrentAttribute> {
        let all = self.kind == Kind::Access;
        let goes = move |provenance: Provenance| all || provenance != Provenance::Inferred;
        self.state
            .attributes
            .values()
            .map(AsRef::as_ref)
            .filter(move |held: &&CurrentAttribute| goes(held.attribute.provenance))
    }

    fn attributes(&self, survey: &Survey, sink: &mut impl Sink) -> Result<(), AppError> {
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        if self.kind == Kind::Access {
            self.permitted(survey, |permitted| {
                for allowed in permitted.allowed {
                    uses.entry(allowed.key).or_default().insert(permitted.purpose_title.clone());
                }
                Ok(())
            })?;
        }
        for held in self.held() {
            let purposes = uses.remove(&held.attribute.key).unwrap_or_default();
            let purposes = (self.kind == Kind::Access).then(|| purposes.into_iter().collect());
            sink.record(&Record::Attribute(self.attribute(held, purposes)?))?;
        }
        Ok(())
    }

    /// Decides now, for every purpose and recipient that a consent or a grant names.
    fn permitted(
        &self,
        survey: &Survey,
        mut each: impl FnMut(package::PermittedUse) -> Result<(), AppError>,
    ) -> Result<(), AppError> {
        for purpose in survey.purposes(&self.rules.vocabulary) {
            for recipient in &survey.asking {
                let asked = UseCase { purpose: purpose.clone(), ..UseCase::default() };
                let name = recipient.as_deref().unwrap_or_default();
                let decision = decide(&self.rules, &self.state, name, &asked, self.now_ms);
                each(self.permitted_use(&purpose, recipient.clone(), decision))?;
            }
        }
        Ok(())
    }
}
