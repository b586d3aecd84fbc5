//! Checks what is recorded about grants after they were issued: uses, repeated requests that were answered
//! with the same grant, artifacts and revocations.

use super::{Asked, Handle, Line, Log, consent, standing, unrevoked};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{ConsentTerms, GrantIssued};
use std::collections::BTreeSet;

const MINUTE_MS: u64 = 60_000;

/// A grant, and the first moment at which it ended.
struct Issued<'a> {
    line: &'a Line,
    grant: &'a GrantIssued,
    issued: u64,
    ended: Option<u64>,
}

/// The grant with an id, as it is known before a position.
fn grant_of<'a>(log: Log<'a>, handle: Handle, id: &[u8], before: u64) -> Option<Issued<'a>> {
    let (line, grant) = log.of(handle, before).find_map(|(line, event)| match event {
        Event::GrantIssued(grant) if line.id[..] == *id => Some((line, grant)),
        _ => None,
    })?;
    let revoked = log.of(handle, before).filter_map(|(line, event)| match event {
        Event::GrantRevoked(revoked) if revoked.grant == id => Some(log.moment(line)),
        _ => None,
    });
    let contradicted = unrevoked::contradicted(log, handle, before);
    let contradicted = contradicted.into_iter().filter(|(grant, _)| grant[..] == *id).map(|(_, at)| at);
    let ended = revoked.chain(contradicted).min();
    Some(Issued { line, grant, issued: log.moment(line), ended })
}

impl Issued<'_> {
    fn may_be_used_at(&self, used: u64, late: u64) -> bool {
        let is_before = used.saturating_add(5 * MINUTE_MS) < self.issued;
        let used = used.saturating_sub(late);
        !is_before && used < self.grant.expires_at_ms && self.ended.is_none_or(|ended| used <= ended)
    }

    fn allows(&self, attributes: &[Vec<u8>]) -> bool {
        attributes.iter().all(|one| self.grant.allowed.iter().any(|granted| granted.attribute == *one))
    }
}

/// The id under which recipients know what an entry recorded.
fn recipients_id(line: &Line) -> String {
    format!("g{}-{}", line.position, hex::encode(&line.id[8..]))
}

fn is_stated(stated: &str, right: &str) -> bool {
    stated.is_empty() || stated == right
}

/// The positions of reports that contradict their grant.
pub fn wrong(log: Log<'_>) -> BTreeSet<u64> {
    let people = log.lines.iter().filter(|line| !line.is_system());
    people.filter(|line| !is_right(log, line)).map(|line| line.position).collect()
}

fn is_right(log: Log<'_>, line: &Line) -> bool {
    let Some(event) = line.event() else { return true };
    let grant_of = |id: &[u8]| grant_of(log, line.handle, id, line.position);
    match event {
        Event::GrantIssued(grant) => {
            let counts_add_up = grant.ranking.is_none_or(|ranking| {
                ranking.chosen as usize == grant.allowed.len() && ranking.chosen <= ranking.permitted
            });
            counts_add_up && grant.expires_at_ms <= log.grant_moment(line) + 24 * 60 * MINUTE_MS
        }
        Event::GrantUsed(used) => grant_of(&used.grant).is_none_or(|of| {
            let actor = line.body.as_ref().and_then(|body| body.actor.as_ref());
            actor.is_none_or(|actor| is_stated(&actor.name, &of.grant.recipient))
                && of.may_be_used_at(line.about_ms().min(log.grant_moment(line)), 0)
                && of.allows(&used.shaped_by)
                && agrees_with_newer_rules(log, line, &of)
        }),
        Event::GrantGivenAgain(given)
            if log.edition(line.position) >= 5
                && (given.recipient.is_empty() || given.first_ms == 0 || given.last_ms == 0) =>
        {
            false
        }
        Event::GrantGivenAgain(given) => grant_of(&given.grant).is_none_or(|of| {
            let mut stated = [given.first_ms, given.last_ms].into_iter().filter(|stated| *stated > 0);
            of.grant.ranking.is_none()
                && is_stated(&given.recipient, &of.grant.recipient)
                && stated.all(|stated| of.may_be_used_at(stated, MINUTE_MS))
        }),
        Event::ArtifactRegistered(artifact) => grant_of(&artifact.grant).is_none_or(|of| {
            artifact.recipient == of.grant.recipient
                && artifact.purpose == of.grant.purpose
                && log.grant_moment(line) < of.grant.expires_at_ms
                && of.ended.is_none()
                && of.allows(&artifact.sources)
        }),
        Event::GrantRevoked(revoked) => grant_of(&revoked.grant).is_none_or(|of| {
            is_stated(&revoked.recipient, &of.grant.recipient)
                && is_stated(&revoked.grant_id, &recipients_id(of.line))
        }),
        Event::ArtifactInvalidated(ended) => {
            let mut before = log.of(line.handle, line.position);
            before.all(|(of, event)| match event {
                Event::ArtifactRegistered(artifact) if of.id[..] == ended.artifact[..] => {
                    is_stated(&ended.recipient, &artifact.recipient)
                        && is_stated(&ended.artifact_id, &recipients_id(of))
                }
                _ => true,
            })
        }
        _ => true,
    }
}

/// Whether a consent of the person reached the end that it states after a use and before its report.
fn has_ended_between(log: Log<'_>, line: &Line, used: u64, now: u64) -> bool {
    log.of(line.handle, line.position).any(|(_, event)| {
        let terms = match event {
            Event::ConsentGiven(given) => &given.terms,
            Event::ConsentRenewed(renewed) => &renewed.terms,
            _ => return false,
        };
        let terms = terms.as_ref().filter(|terms| !terms.purposes.is_empty());
        terms.and_then(|terms| terms.until_ms).is_some_and(|until| until > used && until <= now)
    })
}

/// Whether a use agrees with the rules that were published since its grant.
fn agrees_with_newer_rules(log: Log<'_>, line: &Line, of: &Issued<'_>) -> bool {
    let (handle, position, now) = (line.handle, line.position, log.grant_moment(line));
    let since = |other: &Line| other.position > of.line.position && other.position < position;
    let is_rule = |event: &Event| {
        matches!(
            event,
            Event::BoundsPublished(_)
                | Event::PurposeDefined(_)
                | Event::CategoryDefined(_)
                | Event::NoticePublished(_)
                | Event::NoticeRequired(_)
        )
    };
    let has_end = |terms: &Option<ConsentTerms>| terms.as_ref().is_some_and(|terms| terms.until_ms.is_some());
    let ends_by_itself = |event: &Event| match event {
        Event::ConsentGiven(given) => has_end(&given.terms),
        Event::ConsentRenewed(renewed) => has_end(&renewed.terms),
        _ => false,
    };
    let are_new = log.system(position).any(|(other, event)| since(other) && is_rule(event));
    let is_limited =
        log.of(handle, position).any(|(other, event)| ends_by_itself(event) && log.moment(other) > of.issued);
    let same_edition = log.edition(of.line.position) == log.edition(position);
    let is_late = of.grant.expires_at_ms <= now;
    if !are_new || is_limited && !is_late || !same_edition {
        return true;
    }
    let used = line.about_ms().min(now);
    let allowed = of.grant.allowed.iter();
    let allowed = allowed.map(|one| unrevoked::as_it_is_now(log, handle, one, position)).collect();
    let grant = GrantIssued { allowed, ..of.grant.clone() };
    let asked = Asked { log, grant: &grant, handle, position, now, words_at: used.max(of.issued) };
    if is_late {
        // What the rules at the time of the grant do not allow by now either, somebody decided later.
        let by_rules = |one| {
            let before = Asked { words_at: of.issued, ..asked };
            !standing::is_on_a_basis(asked, one) && standing::is_on_a_basis(before, one)
        };
        return has_ended_between(log, line, asked.words_at, now) || !grant.allowed.iter().any(by_rules);
    }
    grant.allowed.iter().all(|one| {
        // What ended the grant is no fault of an earlier use.
        let is_explained = of.ended.is_some() && consent::is_refused(asked, &one.category);
        standing::is_on_a_basis(asked, one) || is_explained
    })
}
