//! Replays every grant: checks, from the data subject's earlier events, whether it could be issued. Reports
//! the grants that should not have been issued.
//!
//! The replay implements the rules of `docs/format.md`. It deliberately shares no code with the daemon's
//! decision, so that a fault in the daemon is not repeated here.
//!
//! Published bounds are packs of policies that limit use. The replay has no policy engine and does not
//! evaluate these policies. It checks that published bounds are signed by their publisher, and that a grant
//! cites exactly the bounds in force. A data subject's own bounds need no policy engine, so the replay
//! applies them in full.

mod actors;
mod age;
mod allowed;
mod attribute;
mod bounds;
mod consent;
mod contents;
mod decisions;
mod definitions;
mod effort;
mod fault;
mod flag;
mod frames;
mod grant;
mod issued_artifacts;
mod issued_grants;
mod judge;
mod kept_only;
mod log_checks;
mod minimize;
mod missing;
mod notices;
mod own_events;
mod parties;
mod personal_bounds;
mod profile;
mod replayed;
mod revocations;
mod signals;
mod signed_rules;
mod signers;
mod sources;
mod staircase;
mod subject;
mod subject_checks;
#[cfg(test)]
mod tests;
mod vocabulary;
mod withheld;
mod withheld_reasons;
mod word_rules;

use crate::entry::{EventId, Handle, Header};
use crate::event::{EventBody, GrantIssued, Role, event_body::Event};
use bounds::Bounds;
use grant::{GrantCheck, GrantContext};
use issued_grants::{IssuedGrants, Times};
use revocations::Unchecked;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use subject::{RecordedAt, Subject};
use subject_checks::{CheckedEntry, RuleEvents, Rules, SubjectChecks};
use vocabulary::Vocabulary;

pub use fault::{Fault, Finding};
pub(crate) use flag::Flag;
pub(crate) use log_checks::LogChecks;
pub(crate) use minimize::minimize;
use missing::Citing;
pub use missing::{Doubt, UncheckedGrant};
pub(crate) use missing::{Missing, MissingEntries};
pub use replayed::{PendingGrant, Replayed};
pub(crate) use signed_rules::{RuleEvent, SignedRules};
pub use signers::{Positions, RuleSignatures, RuleSigner, UnsignedBounds};

/// From this edition of the rules of decisions on, use waits after every restore. Early daemons restored
/// without that.
const WAITING_EDITION: u32 = 2;

/// The moment of a grant, a report of its use or an artifact may be this long before its recorded time, in
/// milliseconds. Otherwise an end of a consent while the log orders the grant would make it a finding.
const ORDERING_MS_MAX: u64 = 500;

/// The state of a log up to the last entry applied, for all or some of its data subjects. Entries are applied
/// in order of position.
#[derive(Default)]
pub struct Replay {
    vocabulary: Vocabulary,
    bounds: Bounds,
    signed_rules: SignedRules,
    log_checks: LogChecks,
    rule_events: RuleEvents,
    subject_checks: BTreeMap<[u8; 16], SubjectChecks>,
    /// The data subject of the last entry, if it was not a system event.
    last_handle: Option<Handle>,
    // Unordered: looked up, never iterated.
    subjects: HashMap<Handle, Subject>,
    /// The last restore that has to be confirmed before data may be used.
    unconfirmed_restore: Option<Vec<u8>>,
    /// The recorded time of the last entry applied, milliseconds since the Unix epoch.
    recorded_at_ms: u64,
    /// The moment of the last system event, milliseconds since the Unix epoch.
    system_moment_ms: u64,
    result: Replayed,
}

/// An entry of a data subject.
pub(crate) struct SubjectEntry<'a> {
    pub position: u64,
    /// Milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    pub header: &'a Header,
    /// Whether the body can be read.
    pub readable: bool,
    /// The body, if grants depend on it.
    pub body: Option<&'a EventBody>,
    /// What is missing from the stream right before this entry.
    pub missing: &'a MissingEntries,
}

impl Replay {
    /// Applies the next entry, without a body if the body is withheld. Skip erased entries: the replay
    /// notices each one by the gap in the version numbers of its data subject's stream.
    pub fn apply(&mut self, position: u64, header: &Header, body: Option<&EventBody>) {
        self.recorded_at_ms = self.recorded_at_ms.max(header.sealed_at_ms);
        let recorded_at_ms = self.recorded_at_ms;
        self.result.check_time(position, header.sealed_at_ms, recorded_at_ms);
        let faults = body.map(|body| self.log_checks.check_next(position, header, body)).unwrap_or_default();
        faults.into_iter().for_each(|fault| self.result.add_fault_at(position, fault));
        if header.handle != Handle::SYSTEM {
            let known = self.subjects.get(&header.handle);
            let skipped = known.map_or(header.version, |subject| subject.skipped(header.version));
            let (readable, missing) = (body.is_some(), &MissingEntries::unknown(skipped));
            let entry = SubjectEntry { position, recorded_at_ms, header, readable, body, missing };
            return self.apply_subject_entry(&entry);
        }
        if let Some(body) = body {
            let (sealed_at_ms, has_subject_entry) = (header.sealed_at_ms, !self.subjects.is_empty());
            let next = RuleEvent { position, recorded_at_ms, sealed_at_ms, body, has_subject_entry };
            let faults = self.signed_rules.check(&next);
            self.result.add_rule_faults(faults);
        }
        let is_first = self.signed_rules.is_at_beginning();
        if let Some(event) = body.and_then(|body| body.event.as_ref()) {
            self.apply_system_event(position, header.event_id, header.sealed_at_ms, is_first, event);
        }
    }

    /// Applies a system event. Does not check who signed the event.
    pub(crate) fn apply_system_event(
        &mut self,
        position: u64,
        event_id: EventId,
        sealed_at_ms: u64,
        is_first: bool,
        event: &Event,
    ) {
        self.end_frame();
        self.rule_events.add(event_id, event);
        self.system_moment_ms = self.system_moment_ms.max(sealed_at_ms);
        let sealed_at_ms = self.system_moment_ms;
        match event {
            Event::BoundsPublished(published) => self.bounds.publish(position, sealed_at_ms, published),
            Event::BackupRestored(restored)
                if restored.use_waits || self.vocabulary.edition() >= WAITING_EDITION =>
            {
                self.unconfirmed_restore = Some(restored.restore.clone());
            }
            Event::RestoreConfirmed(confirmed) => {
                self.unconfirmed_restore.take_if(|restore| *restore == confirmed.restore);
            }
            event => self.vocabulary.apply(position, sealed_at_ms, is_first, event),
        }
    }

    /// Checks the last decision and its revocations, which follow each other in the log. They are judged by
    /// the rules in force before the next entry.
    fn end_frame(&mut self) {
        let Some(handle) = self.last_handle.take() else { return };
        if let (Some(checks), Some(subject)) =
            (self.subject_checks.get_mut(&handle.0), self.subjects.get_mut(&handle))
        {
            checks.end_frame(subject, &self.vocabulary);
        }
    }

    /// Applies an entry of a data subject, readable or not.
    pub(crate) fn apply_subject_entry(&mut self, entry: &SubjectEntry<'_>) {
        let SubjectEntry { position, header, body, .. } = *entry;
        let mut entries = entry.missing.clone();
        entries.extend(&MissingEntries::unknown(u64::from(!entry.readable)));
        let missing = entries.total();
        let is_missing = missing != Missing::default();
        if is_missing || self.last_handle != Some(header.handle) {
            self.end_frame();
        }
        self.vocabulary.advance(entry.recorded_at_ms);
        self.last_handle = Some(header.handle);
        if is_missing {
            self.subject_checks.entry(header.handle.0).or_default().note_missing(missing);
        }
        let subject = self.subjects.entry(header.handle).or_default();
        let moment_ms = subject.note(position, header.version, header.sealed_at_ms, &entries);
        // An event that a grant cites must come before the grant.
        if let Some((by, fault)) = subject.cited_before(&header.event_id) {
            self.result.unjustified += 1;
            let grant = hex::encode(by.grant);
            self.result.add(Finding { position: by.position, grant, attribute: None, fault });
        }
        let event = body.and_then(|body| body.event.as_ref());
        if let Some(named_at) = subject.named_before(&header.event_id, event) {
            self.result.add_fault_at(named_at, Fault::UnknownReference);
        }
        let rules = Rules { vocabulary: &self.vocabulary, events: &self.rule_events };
        // A report may not be dated back by more than the log needs to order it.
        let dated_ms = moment_ms.max(entry.recorded_at_ms.saturating_sub(ORDERING_MS_MAX));
        let is_report = matches!(event, Some(Event::GrantUsed(_) | Event::ArtifactRegistered(_)));
        let reported_ms = if is_report { dated_ms } else { moment_ms };
        let reported = CheckedEntry {
            event_id: &header.event_id,
            times: Times { position, now_ms: reported_ms, about_ms: body.map_or(0, |body| body.about_ms) },
            actor: body.and_then(|body| body.actor.as_ref()),
            event,
            is_withheld: !entry.readable,
        };
        let checks = self.subject_checks.entry(header.handle.0).or_default();
        let missing_grant = checks.missing_grant(event).map(hex::encode);
        let findings = checks.apply(reported, subject, rules);
        if let Some(grant) = missing_grant.filter(|_| findings.iter().all(|found| found.position != position))
        {
            let doubts = [Doubt::GrantMissing].into();
            self.result.add_report_unchecked(UncheckedGrant { position, grant, doubts });
        }
        findings.into_iter().for_each(|finding| self.result.add_fault(finding));
        match event {
            Some(Event::GrantIssued(grant)) => {
                self.check_grant(entry, grant, dated_ms);
            }
            Some(event) => {
                let edition = self.vocabulary.edition();
                let actor = body.and_then(|body| body.actor.as_ref());
                let by_subject = actor.is_some_and(|actor| actor.role() == Role::Subject);
                let about_ms = body.map_or(0, |body| body.about_ms);
                let recorded = RecordedAt { position, about_ms, edition, by_subject };
                if let Some(subject) = self.subjects.get_mut(&header.handle) {
                    subject.apply(&header.event_id, recorded, event);
                }
            }
            None => {}
        }
    }

    fn check_grant(&mut self, entry: &SubjectEntry<'_>, grant: &GrantIssued, now_ms: u64) {
        let SubjectEntry { position, header, .. } = *entry;
        let Some(subject) = self.subjects.get_mut(&header.handle) else { return };
        subject.decisions.advance(now_ms);
        let citing = Citing { position, grant: header.event_id };
        let context = GrantContext { grant, vocabulary: self.vocabulary.at(now_ms), citing, now_ms };
        let mut outcome = Outcome::default();
        if !self.bounds.in_force(now_ms).iter().eq(&grant.bounds) {
            let is_known = grant.bounds.iter().all(|position| self.bounds.contains(*position));
            let fault = if is_known { Fault::OtherBounds } else { Fault::UnknownBounds };
            outcome.faults.push((None, fault));
        }
        outcome.faults.extend(IssuedGrants::check_issued(grant, header, now_ms).map(|fault| (None, fault)));
        // A ranking also leaves out attributes.
        let is_withholding = !grant.withheld.is_empty() || grant.ranking.is_some();
        if is_withholding && !subject.is_withholding_certain() {
            outcome.doubts.insert(Doubt::WithheldUnknown);
        }
        let checks = self.subject_checks.get(&header.handle.0);
        if let Some(checks) = checks.filter(|_| is_withholding && !subject.is_too_long()) {
            subject.effort.add(grant.allowed.len().saturating_add(grant.withheld.len()));
            let withheld = checks.check_withheld(grant, &mut GrantCheck::new(subject, context));
            if subject.effort.take_failure() {
                // The check ran out of steps, so what it found may be wrong.
                outcome.doubts.insert(Doubt::TooLong);
            } else {
                outcome.faults.extend(withheld.fault.map(|fault| (None, fault)));
                outcome.doubts.extend(withheld.is_unknown.then_some(Doubt::WithheldUnknown));
            }
        }
        // A grant that allows nothing depends on no history.
        if !grant.allowed.is_empty() {
            if self.unconfirmed_restore.is_some() {
                outcome.faults.push((None, Fault::RestoreUnconfirmed));
            }
            outcome.check(context, subject);
        }
        let Outcome { faults, doubts } = outcome;
        let (is_faulty, grant) = (!faults.is_empty(), hex::encode(header.event_id));
        for (attribute, fault) in faults {
            self.result.add(Finding { position, grant: grant.clone(), attribute, fault });
        }
        self.result.unjustified += u64::from(is_faulty);
        if is_faulty || doubts.is_empty() {
            self.result.replayed += 1;
        } else {
            if let Some(checks) = self.subject_checks.get_mut(&header.handle.0) {
                checks.note_unchecked(&header.event_id);
            }
            self.result.add_unchecked(UncheckedGrant { position, grant, doubts });
        }
    }

    /// Returns the result.
    #[must_use]
    pub fn finish(self) -> Replayed {
        self.finish_with_flags().0
    }

    /// Returns the result; also every finding, and every grant that could not be checked in full.
    pub(crate) fn finish_with_flags(mut self) -> (Replayed, Vec<Flag>) {
        for (handle, checks) in std::mem::take(&mut self.subject_checks) {
            let Some(subject) = self.subjects.get_mut(&Handle(handle)) else { continue };
            let ending = checks.finish(subject, &self.vocabulary);
            ending.findings.into_iter().for_each(|finding| self.result.add_fault(finding));
            self.result.add_pending(ending.pending);
            for (position, Unchecked { grant, doubt }) in ending.unchecked {
                let (grant, doubts) = (hex::encode(grant), [doubt].into());
                self.result.add_revocation_unchecked(UncheckedGrant { position, grant, doubts });
            }
        }
        self.result.findings.sort_by_key(|finding| finding.position);
        self.result.unchecked_grants.sort_by_key(|grant| grant.position);
        let flags = std::mem::take(&mut self.result.flags);
        (self.result, flags)
    }
}

/// What the check of a grant found.
#[derive(Default)]
struct Outcome {
    /// Every fault. If a fault concerns one attribute, it comes with the id of the attribute.
    faults: Vec<(Option<String>, Fault)>,
    doubts: BTreeSet<Doubt>,
}

impl Outcome {
    /// Checks what the grant allows.
    fn check(&mut self, context: GrantContext<'_>, subject: &Subject) {
        let GrantContext { grant, vocabulary, .. } = context;
        if !vocabulary.has_purpose(&grant.purpose) {
            self.faults.push((None, Fault::UndefinedPurpose));
        }
        if subject.is_too_long() {
            self.doubts.insert(Doubt::TooLong);
            return;
        }
        subject.effort.add(grant.allowed.len());
        let mut check = GrantCheck::new(subject, context);
        let mut faults: Vec<_> = check.signal_against().map(|fault| (None, fault)).into_iter().collect();
        for granted in &grant.allowed {
            if let Err(fault) = check.check(granted) {
                faults.push((Some(hex::encode(&granted.attribute)), fault));
            }
        }
        if subject.effort.take_failure() {
            // The check ran out of steps, so what it found may be wrong.
            self.doubts.insert(Doubt::TooLong);
        } else {
            self.faults.extend(faults);
            self.doubts.extend(check.doubts);
        }
    }
}
