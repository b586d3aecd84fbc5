//! Finds events in the wrong place: a system event in the stream of a person, or an event about a person
//! among the system events. Also finds events that their author's role may not record, events that name
//! something that does not exist, and ids that occur twice.

use super::{Line, Log};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{Attribute, ConsentTerms, ErasureScope, NoticeRef, Role};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// The positions of entries whose id an earlier entry has.
pub fn repeated_ids(lines: &[Line]) -> BTreeSet<u64> {
    let is_repeated =
        |line: &&Line| lines.iter().any(|other| other.position < line.position && other.id == line.id);
    lines.iter().filter(is_repeated).map(|line| line.position).collect()
}

/// The positions of entries that are in the wrong place (see the top of this file), that name what the person
/// did not have, or that name a notice that was not published in this form.
pub fn wrong(log: Log<'_>) -> BTreeSet<u64> {
    log.lines.iter().filter(|line| !is_right(log, line)).map(|line| line.position).collect()
}

fn is_right(log: Log<'_>, line: &Line) -> bool {
    let Some(event) = line.event() else { return true };
    if line.is_system() {
        return may_be_system_event(event) && is_right_system_event(log, line, event);
    }
    let is_complete = !log.is_incomplete(line.handle, line.position);
    may_concern_a_person(event)
        && may_be_recorded_by(log, line, event)
        && (!is_complete || names_what_exists(log, line, event))
        && terms(event).and_then(|terms| terms.notice.as_ref()).is_none_or(|one| is_published(log, line, one))
}

/// Whether the role that the event states may record it.
fn may_be_recorded_by(log: Log<'_>, line: &Line, event: &Event) -> bool {
    let is_consent = matches!(event, Event::ConsentGiven(_) | Event::ConsentRenewed(_));
    let takes_back = matches!(event, Event::SignalLifted(_) | Event::AttributeConfirmed(_));
    let own_bounds = matches!(event, Event::PersonalBoundsSet(_));
    match line.role() {
        _ if log.edition(line.position) < 5 || !(is_consent || takes_back || own_bounds) => true,
        Role::Subject | Role::Steward => true,
        Role::Channel => !own_bounds,
        _ => false,
    }
}

fn may_be_system_event(event: &Event) -> bool {
    matches!(event, Event::RecordViewed(_)) || !may_concern_a_person(event)
}

fn may_concern_a_person(event: &Event) -> bool {
    !matches!(
        event,
        Event::RecipientAcknowledged(_)
            | Event::RecipientReported(_)
            | Event::RecipientReminded(_)
            | Event::ErasureCompleted(_)
            | Event::BoundsPublished(_)
            | Event::PurposeDefined(_)
            | Event::CategoryDefined(_)
            | Event::NoticePublished(_)
            | Event::NoticeRequired(_)
            | Event::AuditExported(_)
            | Event::LogOpened(_)
            | Event::LogKeyRotated(_)
            | Event::RetentionDefined(_)
            | Event::BackupRestored(_)
            | Event::RestoreConfirmed(_)
            | Event::ClockAccepted(_)
            | Event::DecisionRulesAdopted(_)
            | Event::WitnessAdded(_)
            | Event::WitnessRemoved(_)
            | Event::FiguresReported(_)
            | Event::SubjectMapCommitted(_)
    )
}

fn is_right_system_event(log: Log<'_>, line: &Line, event: &Event) -> bool {
    match event {
        Event::NoticePublished(one) => {
            one.notice.as_ref().is_some_and(|notice| notice.digest[..] == Sha256::digest(&one.text)[..])
        }
        Event::RestoreConfirmed(one) => log.system(line.position).any(
            |(_, event)| matches!(event, Event::BackupRestored(restored) if restored.restore == one.restore),
        ),
        Event::RecipientAcknowledged(one) => one.position < line.position,
        Event::RecipientReminded(one) => one.position < line.position && one.named_at < line.position,
        Event::RecipientReported(one) => one.positions.iter().all(|position| *position < line.position),
        _ => true,
    }
}

fn terms(event: &Event) -> Option<&ConsentTerms> {
    match event {
        Event::ConsentRequested(one) => one.terms.as_ref(),
        Event::ConsentGiven(one) => one.terms.as_ref(),
        Event::ConsentRefused(one) => one.terms.as_ref(),
        Event::ConsentRenewed(one) => one.terms.as_ref(),
        Event::ConsentWithdrawn(one) => one.terms.as_ref(),
        _ => None,
    }
}

fn is_published(log: Log<'_>, line: &Line, cited: &NoticeRef) -> bool {
    let first = log.system(line.position).find_map(|(_, event)| match event {
        Event::NoticePublished(one) => {
            one.notice.as_ref().filter(|notice| (&notice.id, &notice.version) == (&cited.id, &cited.version))
        }
        _ => None,
    });
    first.is_some_and(|notice| notice.digest == cited.digest)
}

/// The person's earlier event with an id.
fn earlier<'a>(log: Log<'a>, line: &Line, id: &[u8]) -> Option<&'a Line> {
    log.before(line.position).find(|other| other.handle == line.handle && other.id[..] == *id)
}

fn names_what_exists(log: Log<'_>, line: &Line, event: &Event) -> bool {
    let has = |id: &[u8], is_kind: fn(&Event) -> bool| {
        earlier(log, line, id).and_then(Line::event).is_some_and(is_kind)
    };
    let attribute = |id: &Vec<u8>| has(id, records_attribute);
    let sources = |one: &Option<Attribute>| one.iter().flat_map(|one| &one.derived_from).all(attribute);
    let grant = |id: &Vec<u8>| has(id, |event| matches!(event, Event::GrantIssued(_)));
    let own = |id: &Vec<u8>| earlier(log, line, id).is_some();
    let cause = |id: &Vec<u8>| id.is_empty() || own(id) || is_rule(log, line, id);
    let request = |id: &Vec<u8>| {
        let mut own = log.of(line.handle, line.position);
        own.any(|(_, event)| matches!(event, Event::RequestSubmitted(one) if one.request == *id))
    };
    let hold = |id: &Vec<u8>| {
        let mut own = log.of(line.handle, line.position);
        own.any(|(_, event)| matches!(event, Event::HoldPlaced(one) if one.hold == *id))
    };
    match event {
        Event::AttributeRecorded(one) => sources(&one.attribute),
        Event::EarlierAttributeRecorded(one) => sources(&one.attribute),
        Event::AttributeCorrected(one) => sources(&one.attribute) && attribute(&one.corrects),
        Event::AttributeContested(one) => attribute(&one.attribute),
        Event::AttributeConfirmed(one) => attribute(&one.attribute),
        Event::AttributeSourcesAdded(one) => attribute(&one.attribute) && one.sources.iter().all(attribute),
        Event::AttributeRemoved(one) => attribute(&one.attribute),
        Event::AttributeExpired(one) => attribute(&one.attribute),
        Event::ConsentExpired(one) => {
            has(&one.consent, |event| matches!(event, Event::ConsentGiven(_) | Event::ConsentRenewed(_)))
        }
        Event::GrantIssued(one) => one.withheld.iter().all(|class| {
            (class.decided_by_event.is_empty() || own(&class.decided_by_event))
                && (class.source.is_empty() || attribute(&class.source))
        }),
        Event::GrantUsed(one) => grant(&one.grant),
        Event::GrantGivenAgain(one) => grant(&one.grant),
        Event::ArtifactRegistered(one) => grant(&one.grant),
        Event::GrantRevoked(one) => {
            grant(&one.grant) && cause(&one.cause) && (one.source.is_empty() || attribute(&one.source))
        }
        Event::ArtifactInvalidated(one) => {
            has(&one.artifact, |event| matches!(event, Event::ArtifactRegistered(_))) && cause(&one.cause)
        }
        Event::ErasureRequested(one) => {
            matches!(one.scope(), ErasureScope::Retention | ErasureScope::All) || request(&one.request)
        }
        Event::ErasureRefused(one) => request(&one.request) && one.holds.iter().all(hold),
        Event::AccessProvided(one) => one.request.is_empty() || request(&one.request),
        Event::RequestDecided(one) => request(&one.request),
        Event::RequestExtended(one) => request(&one.request),
        Event::RequestWithdrawn(one) => request(&one.request),
        Event::HoldLifted(one) => hold(&one.hold),
        _ => true,
    }
}

fn records_attribute(event: &Event) -> bool {
    matches!(
        event,
        Event::AttributeRecorded(_) | Event::EarlierAttributeRecorded(_) | Event::AttributeCorrected(_)
    )
}

/// Whether an id is that of an earlier event that published a rule.
fn is_rule(log: Log<'_>, line: &Line, id: &[u8]) -> bool {
    log.system(line.position).any(|(other, event)| {
        other.id[..] == *id
            && matches!(
                event,
                Event::BoundsPublished(_)
                    | Event::PurposeDefined(_)
                    | Event::CategoryDefined(_)
                    | Event::NoticePublished(_)
                    | Event::NoticeRequired(_)
            )
    })
}
