//! Checks what a data subject's events say about each other: references, uses of grants, and revocations.

use super::actors;
use super::fault::{Fault, Finding};
use super::grant::GrantCheck;
use super::issued_grants::{IssuedGrants, Times};
use super::missing::{Citing, Missing, NO_GRANT};
use super::own_events::{Kind, OwnEvents};
use super::parties::Named;
use super::profile::Profile;
use super::revocations::{MissingRevocation, PendingRevocation, Revocations, Unchecked};
use super::subject::Subject;
use super::vocabulary::Vocabulary;
use super::withheld::{self, WithheldFound};
use crate::entry::EventId;
use crate::event::event_body::Event;
use crate::event::{Actor, ConsentTerms, GrantIssued, GrantUsed};
use std::collections::{BTreeMap, HashSet};

/// An entry of a data subject.
#[derive(Clone, Copy)]
pub(super) struct CheckedEntry<'a> {
    pub event_id: &'a EventId,
    pub times: Times,
    /// Who recorded it, if that is known.
    pub actor: Option<&'a Actor>,
    pub event: Option<&'a Event>,
    /// Whether the content is withheld.
    pub is_withheld: bool,
}

/// The events so far that published rules. Rules may revoke grants.
#[derive(Default)]
pub(super) struct RuleEvents {
    // Unordered: looked up, never iterated.
    ids: HashSet<EventId>,
}

impl RuleEvents {
    /// Adds a system event, if it published a rule.
    pub fn add(&mut self, event_id: EventId, event: &Event) {
        let is_rule = matches!(
            event,
            Event::BoundsPublished(_)
                | Event::PurposeDefined(_)
                | Event::CategoryDefined(_)
                | Event::NoticeRequired(_)
                | Event::NoticePublished(_)
        );
        if is_rule {
            self.ids.insert(event_id);
        }
    }
}

/// The rules that were published before an entry.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub vocabulary: &'a Vocabulary,
    pub events: &'a RuleEvents,
}

/// What is found after the last entry of a data subject.
pub(super) struct Ending {
    pub findings: Vec<Finding>,
    /// The grants and artifacts whose revocation is announced and still to be recorded, each with its
    /// position.
    pub pending: Vec<(u64, PendingRevocation)>,
    /// The grants of which it was not checked whether they had to be revoked, by position.
    pub unchecked: BTreeMap<u64, Unchecked>,
}

/// A data subject's events so far.
#[derive(Default)]
pub(super) struct SubjectChecks {
    own: OwnEvents,
    grants: IssuedGrants,
    revocations: Revocations,
    profile: Profile,
}

impl SubjectChecks {
    /// Checks what a grant withholds.
    pub fn check_withheld<'a>(&self, grant: &'a GrantIssued, check: &mut GrantCheck<'a>) -> WithheldFound {
        withheld::check(grant, &self.profile, &self.own, check)
    }

    /// Notes what is missing from the stream right before the next entry, or that this entry is withheld. The
    /// frame before it has ended.
    pub fn note_missing(&mut self, missing: Missing) {
        self.revocations.note_missing(missing, &mut self.grants);
    }

    /// Notes that a grant could not be checked in full, which is counted elsewhere.
    pub fn note_unchecked(&mut self, grant: &EventId) {
        if let Some(grant) = self.grants.get_mut(grant) {
            grant.is_unchecked = true;
        }
    }

    /// Checks the next entry and applies it. `subject` is the state before the entry. Returns the findings
    /// about the entry and about those before it.
    pub fn apply(
        &mut self,
        entry: CheckedEntry<'_>,
        subject: &mut Subject,
        rules: Rules<'_>,
    ) -> Vec<Finding> {
        let CheckedEntry { times, event, .. } = entry;
        let missing = self.revocations.before(times, event, &mut self.grants, subject, rules.vocabulary);
        let mut findings: Vec<Finding> = missing.into_iter().map(not_revoked).collect();
        if let Some(event) = event {
            findings.extend(self.check(entry, event, subject, rules));
        }
        match entry.is_withheld {
            true => self.own.add_withheld(entry.event_id),
            false => self.own.add(entry.event_id, event),
        }
        let Some(event) = event else { return findings };
        let edition = rules.vocabulary.edition();
        self.grants.apply(entry.event_id, times, (rules.events.ids.len(), edition), event);
        self.profile.apply(entry.event_id, event, subject, edition);
        self.revocations.apply(times, entry.event_id, event, &mut self.grants, edition);
        findings
    }

    /// The grant on which an event reports, if the data subject has no such grant as far as is known.
    pub fn missing_grant<'a>(&self, event: Option<&'a Event>) -> Option<&'a [u8]> {
        let grant = match event? {
            Event::GrantUsed(used) => &used.grant,
            Event::GrantGivenAgain(given) => &given.grant,
            Event::ArtifactRegistered(registered) => &registered.grant,
            _ => return None,
        };
        (self.own.kind(grant) != Some(Kind::Grant)).then_some(grant)
    }

    /// Ends the last frame of entries (see `revocations.rs`), because the next entry of the log is not about
    /// this data subject.
    pub fn end_frame(&mut self, subject: &mut Subject, vocabulary: &Vocabulary) {
        self.revocations.end_frame(&mut self.grants, subject, vocabulary);
    }

    /// The findings after the last entry.
    pub fn finish(mut self, subject: &mut Subject, vocabulary: &Vocabulary) -> Ending {
        self.revocations.end_frame(&mut self.grants, subject, vocabulary);
        let (missing, pending) = self.revocations.finish();
        let findings = missing.into_iter().map(not_revoked).collect();
        let position_of = |id: &EventId| {
            let artifact = || self.grants.artifact(id).map(|artifact| artifact.position);
            self.grants.get(id).map(|grant| grant.position).or_else(artifact)
        };
        let positions = |of: PendingRevocation| position_of(&of.id).map(|position| (position, of));
        let pending = pending.into_iter().filter_map(positions).collect();
        Ending { findings, pending, unchecked: self.revocations.into_unchecked() }
    }

    fn check(
        &self,
        entry: CheckedEntry<'_>,
        event: &Event,
        subject: &mut Subject,
        rules: Rules<'_>,
    ) -> Vec<Finding> {
        let position = entry.times.position;
        let mut faults = Vec::new();
        let lacking = self.own.lack(event, |id| rules.events.ids.contains(id));
        let by = Citing { position, grant: NO_GRANT };
        // An id that the data subject has is that of another kind of event.
        let may_be_missing = |named: &Named<'_>| {
            self.own.kind(named.id()).is_none()
                && subject.may_be_missing(named.missing_kind(), named.id(), by)
        };
        if !subject.is_too_long() && !lacking.iter().all(may_be_missing) {
            faults.push((None, Fault::UnknownReference));
        }
        let cited = terms(event).and_then(|terms| terms.notice.as_ref());
        let fault = cited.and_then(|notice| rules.vocabulary.notices().citation_fault(notice));
        faults.extend(fault.map(|fault| (None, fault)));
        if let Event::RevocationsPending(pending) = event
            && self.revocations.is_understated(*pending, entry.times.now_ms)
        {
            faults.push((None, Fault::PendingUnderstated));
        }
        let edition = rules.vocabulary.edition();
        if !actors::may_record(event, entry.actor, edition) {
            faults.push((None, Fault::WrongRole));
        }
        let actor = entry.actor.map_or("", |actor| actor.name.as_str());
        let reported = self.grants.check_report(entry.times, actor, edition, event);
        if let Event::GrantUsed(used) = event
            && !subject.is_too_long()
            && reported.is_empty()
        {
            faults.extend(self.fault_under_rules(entry, used, subject, rules).map(|fault| (None, fault)));
        }
        faults.extend(reported);
        let grant = grant_of(event).map(hex::encode).unwrap_or_default();
        let finding = |(attribute, fault)| Finding { position, grant: grant.clone(), attribute, fault };
        faults.into_iter().map(finding).collect()
    }

    /// Why the rules that were published after a grant contradict its use.
    fn fault_under_rules(
        &self,
        entry: CheckedEntry<'_>,
        used: &GrantUsed,
        subject: &mut Subject,
        rules: Rules<'_>,
    ) -> Option<Fault> {
        let id = <&EventId>::try_from(used.grant.as_slice()).ok()?;
        let grant = self.grants.get(id)?;
        let are_new = grant.rules < rules.events.ids.len();
        let is_same_edition = grant.edition == rules.vocabulary.edition();
        let Times { now_ms, about_ms, .. } = entry.times;
        if !are_new || !is_same_edition {
            return None;
        }
        let words_at_ms = about_ms.min(now_ms).max(grant.issued_ms);
        if grant.expires_at_ms <= now_ms {
            let times = (now_ms, words_at_ms);
            return self.revocations.fault_of_late_report((id, grant), subject, rules.vocabulary, times);
        }
        let has_ended = grant.ended_ms.is_some();
        let is_of_rules = |fault: Fault| match fault {
            Fault::NoConsent | Fault::NoticeOutdated | Fault::LegalBasis | Fault::UndefinedCategory => true,
            // The use was before the end of the grant, so the refusal that ended it was later.
            Fault::Refused => !has_ended,
            _ => false,
        };
        let times = (now_ms, words_at_ms);
        self.revocations.fault_under_rules((id, grant), subject, rules.vocabulary, times, is_of_rules)
    }
}

fn not_revoked(missing: MissingRevocation) -> Finding {
    let MissingRevocation { position, grant, is_artifact } = missing;
    let fault = if is_artifact { Fault::NotInvalidated } else { Fault::NotRevoked };
    Finding { position, grant: hex::encode(grant), attribute: None, fault }
}

/// The grant that an event is about.
fn grant_of(event: &Event) -> Option<&[u8]> {
    match event {
        Event::GrantUsed(used) => Some(&used.grant),
        Event::GrantGivenAgain(given) => Some(&given.grant),
        Event::GrantRevoked(revoked) => Some(&revoked.grant),
        Event::ArtifactRegistered(registered) => Some(&registered.grant),
        _ => None,
    }
}

fn terms(event: &Event) -> Option<&ConsentTerms> {
    match event {
        Event::ConsentRequested(requested) => requested.terms.as_ref(),
        Event::ConsentGiven(given) => given.terms.as_ref(),
        Event::ConsentRefused(refused) => refused.terms.as_ref(),
        Event::ConsentRenewed(renewed) => renewed.terms.as_ref(),
        Event::ConsentWithdrawn(withdrawn) => withdrawn.terms.as_ref(),
        _ => None,
    }
}
