//! Makes the access and portability package (GDPR Art. 15, 20): what is recorded about a data subject, where
//! it comes from, who received it and for which purposes.
//!
//! An export reads the subject's events several times, one event at a time, and never has the whole history
//! in memory. Its memory grows only with the current attributes, the artifacts, the requests and the consent
//! decisions, and by about 40 bytes per grant.

mod answer;
mod artifacts;
mod completeness;
pub(crate) mod export;
mod history;
mod prior_recipients;
mod records;
mod survey;

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::grants::evaluate_use::{UseCase, decide};
use crate::app::log::append::{Begun, Timestamping};
use crate::app::log::receipt::WriteOptions;
use crate::app::log::stream::SubjectStream;
use crate::app::rights::Rights;
use crate::app::rights::export_subject::export::{CHUNKS_MAX, Export, PackageChunk};
use crate::app::rights::export_subject::survey::Survey;
use crate::audit;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{AccessProvided, Event, PackageKind, Provenance};
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::wording;
use crate::package::{self, Counts, Head, JsonFile, Kind, Page, Record, Section, Sink, Titles, Zip};
use sayso_proof::signed_document::DocumentKind;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

impl Rights {
    /// Makes a package, one ZIP file. It has everything about a subject (access), or what they provided
    /// (portability). The export is recorded before the first byte is sent. If the package answers a request,
    /// that request is completed after the last byte was received, and stays open if the caller disconnects
    /// before.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject (an erased subject looks like one who never existed); the
    /// request is not theirs, of another kind, or decided already; or the store fails. A later error comes
    /// through the channel, as its last message, for instance if the subject is erased in the meantime. Then
    /// the bytes before it are not a complete file.
    pub async fn export_subject(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        kind: Kind,
        request: Option<EventId>,
    ) -> Result<mpsc::Receiver<Result<PackageChunk, AppError>>, AppError> {
        let stream =
            self.record_export(caller, subject, kind, request).await.map_err(|error| match error {
                AppError::Erased => AppError::UnknownSubject,
                error => error,
            })?;
        // The commitment comes first, so that the package has at least what the log committed to.
        let proven = match kind {
            Kind::Access => Some(self.core.prove_subject(subject).await?),
            Kind::Portability => None,
        };
        let state = stream.read().state.clone();
        let export = Export {
            rights: Arc::clone(self),
            stream,
            kind,
            subject: subject.clone(),
            state,
            rules: self.core.rules(),
            titles: self.core.rules_history().titles(),
            now_ms: self.core.now_ms(),
            caller: caller.clone(),
            request,
            proven,
            done: AtomicU64::new(0),
        };
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        tokio::spawn(export.run(sender));
        Ok(receiver)
    }

    /// Records the export and returns the subject's stream.
    async fn record_export(
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
            return Err(AppError::Internal(Cause::Inconsistent(
                "a write without an idempotency key was replayed",
            )));
        };
        let stream = Arc::clone(&append.stream);
        let items = stream.read().state.version;
        if items == 0 {
            // The subject has a handle, but no events.
            return Err(AppError::UnknownSubject);
        }
        if let Some(request) = &request {
            answer::check(&stream, kind, request)?;
        }
        let kind = match kind {
            Kind::Access => PackageKind::Access,
            Kind::Portability => PackageKind::Portability,
        };
        let event = Event::AccessProvided(AccessProvided { request, kind, items });
        let pending_events = vec![self.core.plan(event)];
        self.core.commit(append, pending_events).await?;
        Ok(stream)
    }
}

impl Export {
    async fn run(self, sender: mpsc::Sender<Result<PackageChunk, AppError>>) {
        let chunks = sender.clone();
        let written = tokio::task::spawn_blocking(move || {
            let written = self.write(&chunks);
            (self, written)
        });
        let result = match written.await {
            Ok((export, Ok(()))) => export.answer(&sender).await.map_err(|error| export.public_error(error)),
            Ok((export, Err(error))) => Err(export.public_error(error)),
            Err(_) => Err(AppError::Internal(Cause::Task)),
        };
        if let Err(error) = result {
            let _receiver_gone = sender.send(Err(error)).await;
        }
    }

    /// How many events are read in all: one pass for the survey, and two for each section of events (page and
    /// JSON).
    fn total(&self) -> u64 {
        let event_sections = [Section::Disclosures, Section::Uses, Section::Revocations, Section::History];
        let sections = self.kind.sections().iter().filter(|section| event_sections.contains(section)).count();
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
        self.write_completeness(&mut zip)?;
        if self.stream.read().erased {
            return Err(AppError::Overtaken);
        }
        let ledger = &self.rights.core.ledger;
        zip.sign(ledger.origin(), |digest| ledger.sign_document(DocumentKind::Package, digest))?;
        zip.finish()?;
        Ok(())
    }

    fn write_page<W: Write>(&self, zip: &mut Zip<W>, survey: &Survey) -> Result<(), AppError> {
        let made_at = wording::time(self.now_ms);
        let head = Head {
            kind: self.kind,
            controller: &self.rights.controller,
            subject: &self.subject(),
            made_at: &made_at,
            origin: self.rights.core.ledger.origin(),
            counts: Counts {
                attributes: self.exported_attributes().count() as u64,
                decisions: self.state.consents.records().len() as u64,
                events: self.state.version,
            },
        };
        let words = &self.rules.vocabulary;
        let titles = Titles {
            purposes: words.purposes().map(|of| (of.id.clone(), of.title.clone())).collect(),
            categories: words.categories().map(|of| (of.id.clone(), of.title.clone())).collect(),
        };
        let mut page = Page::begin(zip.begin("index.html")?, &head, titles)?;
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
        let history = self.rights.core.rules_history();
        for record in self.state.consents.records() {
            if self.stream.read().erased {
                return Err(AppError::Overtaken);
            }
            let receipt = self.rights.consent.make_receipt(
                &self.stream,
                &history,
                &self.state,
                &survey.asked,
                record,
            )?;
            let member = zip.begin(&records::receipt_path(&record.event_id))?;
            serde_json::to_writer_pretty(member, &receipt).map_err(std::io::Error::from)?;
        }
        Ok(())
    }

    fn write_sections(&self, survey: &Survey, sink: &mut impl Sink) -> Result<(), AppError> {
        for section in self.kind.sections() {
            sink.section(*section)?;
            match section {
                Section::Attributes => self.write_attributes(survey, sink)?,
                Section::PermittedUses => {
                    self.for_each_permitted_use(survey, |permitted| {
                        Ok(sink.record(&Record::PermittedUse(permitted))?)
                    })?;
                }
                Section::Recipients => {
                    for recipient in survey.recipients.values() {
                        sink.record(&Record::Recipient(recipient.clone()))?;
                    }
                }
                Section::PriorRecipients => {
                    for recipient in self.prior_recipients()? {
                        sink.record(&Record::PriorRecipient(recipient))?;
                    }
                }
                Section::Disclosures => self.for_each_event(|event| match &event.event {
                    Event::GrantIssued(issued) if !issued.allowed.is_empty() => {
                        Ok(sink.record(&Record::Disclosure(self.disclosure(event, issued)))?)
                    }
                    _ => Ok(()),
                })?,
                Section::Uses => self.for_each_event(|event| match &event.event {
                    Event::GrantUsed(used) => {
                        let record = self.reported_use(event, used, survey)?;
                        record.map_or(Ok(()), |used| Ok(sink.record(&Record::Use(used))?))
                    }
                    _ => Ok(()),
                })?,
                Section::Artifacts => {
                    for artifact in self.state.rights.artifacts.values() {
                        let record = self.artifact(artifact, survey)?;
                        sink.record(&Record::Artifact(record))?;
                    }
                }
                Section::Revocations => self.for_each_event(|event| match records::revoked_grant(event) {
                    Some(revocation) => Ok(sink.record(&Record::RevokedGrant(revocation))?),
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
                    self.for_each_event(|event| {
                        Ok(sink.record(&Record::History(history::history(event, &self.rules.vocabulary)?))?)
                    })?;
                }
            }
        }
        Ok(())
    }

    /// The current attributes that belong in a package of this kind: portability does not cover inferences
    /// (GDPR Art. 20).
    fn exported_attributes(&self) -> impl Iterator<Item = &CurrentAttribute> {
        let has_all = self.kind == Kind::Access;
        let is_exported = move |provenance: Provenance| has_all || provenance != Provenance::Inferred;
        self.state
            .attributes
            .values()
            .map(AsRef::as_ref)
            .filter(move |current: &&CurrentAttribute| is_exported(current.attribute.provenance))
    }

    fn write_attributes(&self, survey: &Survey, sink: &mut impl Sink) -> Result<(), AppError> {
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        if self.kind == Kind::Access {
            self.for_each_permitted_use(survey, |permitted| {
                for allowed in permitted.allowed {
                    uses.entry(allowed.key).or_default().insert(permitted.purpose_title.clone());
                }
                Ok(())
            })?;
        }
        for current in self.exported_attributes() {
            let purposes = uses.remove(&current.attribute.key).unwrap_or_default();
            let purposes = (self.kind == Kind::Access).then(|| purposes.into_iter().collect());
            sink.record(&Record::Attribute(self.attribute(current, purposes)?))?;
        }
        Ok(())
    }

    /// Decides, as of the start of the export, about every pair of a purpose and a recipient in the survey.
    /// Calls `each` with each result.
    fn for_each_permitted_use(
        &self,
        survey: &Survey,
        mut each: impl FnMut(package::PermittedUse) -> Result<(), AppError>,
    ) -> Result<(), AppError> {
        // A person may have decided about each of many recipients alone. So each decision is made with the
        // consents that can matter to its recipient.
        let mut state = self.state.clone();
        for purpose in survey.purposes(&self.rules.vocabulary) {
            // Recipients with a name come before all others.
            let (named, others): (Vec<_>, Vec<_>) =
                survey.deciding_for.iter().partition(|recipient| recipient.is_some());
            for recipient in named.into_iter().chain(others) {
                let use_case = UseCase { purpose: purpose.clone(), ..UseCase::default() };
                let name = recipient.as_deref().unwrap_or_default();
                state.consents = self.state.consents.about_recipient(name);
                let decision = decide(&self.rules, &state, name, &use_case, self.now_ms);
                each(self.permitted_use(&purpose, recipient.clone(), decision))?;
            }
        }
        Ok(())
    }
}
