//! Explains the consents that a grant was based on, and what has happened to each consent since then.

use crate::app::caller::Caller;
use crate::domain::consent::{ConsentLog, ConsentRecord, Decision, Terms};
use crate::domain::consent_scope::overlap;
use crate::domain::event::{Actor, Event, GrantIssued, Recorded};
use crate::domain::ids::EventId;
use crate::domain::narrowed_consents::Narrowing;
use crate::domain::vocabulary::Vocabulary;
use crate::domain::wording;
use std::collections::BTreeSet;

/// A consent that a grant was based on, and what happened to it since.
#[derive(Clone, Debug)]
pub struct ExplainedConsent {
    /// Its event.
    pub event_id: EventId,
    /// Milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// What it covers.
    pub terms: Terms,
    /// Who recorded it.
    pub actor: Actor,
    /// What happened to it since; empty if it is in force.
    pub since: String,
}

/// What the explanations of consents depend on.
pub(crate) struct Known<'a> {
    /// All decisions of the data subject.
    pub log: &'a ConsentLog,
    /// The purposes and categories as they are now.
    pub vocabulary: &'a Vocabulary,
    /// The purposes and categories as they were at the time of a decision.
    pub words_of: &'a dyn Fn(&ConsentRecord) -> Vocabulary,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// The consents that a grant cites, oldest first. `history` has only what the caller may see.
pub(crate) fn consents(
    caller: &Caller,
    history: &[Recorded],
    issued: &GrantIssued,
    known: &Known<'_>,
) -> Vec<ExplainedConsent> {
    let cited: BTreeSet<EventId> = issued.allowed.iter().filter_map(|cited| cited.basis.consent()).collect();
    let mut explained = Vec::new();
    for event in history.iter().filter(|event| cited.contains(&event.event_id)) {
        let Event::Consent { terms, .. } = &event.event else { continue };
        let record = known.log.records().iter().find(|record| record.event_id == event.event_id);
        let since = record.map(|record| since(caller, record, known));
        explained.push(ExplainedConsent {
            event_id: event.event_id,
            recorded_at_ms: event.recorded_at_ms,
            terms: terms.clone(),
            actor: event.actor.clone(),
            since: since.unwrap_or_else(|| "ended since".to_owned()),
        });
    }
    explained
}

/// What happened to a consent since it was recorded; empty if all of it is in force.
fn since(caller: &Caller, record: &ConsentRecord, known: &Known<'_>) -> String {
    let Known { log, vocabulary, words_of, now_ms } = known;
    let mut later = log.records().iter().filter(|no| {
        let is_later_no = !no.decision.is_yes() && no.position > record.position;
        let is_visible = caller.sees_others() || no.concerns(&caller.name);
        is_later_no && is_visible && overlap(&no.terms, &record.terms, vocabulary)
    });
    let Some(ended_at_ms) = log.ended_at_ms(record, vocabulary, *now_ms) else {
        let mut narrowing = Narrowing::of(log, record);
        let narrows = |no: &&ConsentRecord| match vocabulary.changed_after(no.said_ms(), no.position) {
            true => narrowing.is_by(no, &words_of(no)),
            false => narrowing.is_by(no, vocabulary),
        };
        let first = later.find(narrows);
        return first
            .map(|no| format!("narrowed on {}", wording::time(no.recorded_at_ms)))
            .unwrap_or_default();
    };
    let at = wording::time(ended_at_ms);
    let outdated = record.outdated(&vocabulary.notices);
    if let Some(required) =
        outdated.filter(|required| required.since_ms.max(record.sealed_at_ms) == ended_at_ms)
    {
        return format!(
            "no longer counts since {at}: its notice is older than version `{}`",
            required.version
        );
    }
    if record.terms.until_ms == Some(ended_at_ms) {
        return format!("expired on {at}");
    }
    let ending = later.find(|no| no.recorded_at_ms == ended_at_ms).map(|no| no.decision);
    match ending {
        Some(Decision::Refused) => format!("refused on {at}"),
        Some(_) => format!("withdrawn on {at}"),
        None => format!("ended on {at}"),
    }
}
