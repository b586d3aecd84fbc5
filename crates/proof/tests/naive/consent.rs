//! Finds which consents allow a use, by comparing consents and refusals case by case.

use super::Asked;
use super::words::{self, Kind, Moment};
use sayso_proof::event::ConsentTerms;
use sayso_proof::event::event_body::Event;

/// A decision about one purpose, category, recipient and conversation. None stands for everything.
#[derive(Clone, Debug)]
struct Single {
    id: [u8; 16],
    position: u64,
    sealed: u64,
    /// The time that it counts from.
    from: u64,
    permits: bool,
    explicit: bool,
    until: Option<u64>,
    purpose: Option<String>,
    category: Option<String>,
    recipient: Option<String>,
    interaction: Option<String>,
    notice: Option<(String, String)>,
    /// The conversations that the whole decision names.
    interactions: Vec<String>,
}

fn names(all: &[String]) -> Vec<Option<String>> {
    if all.is_empty() { vec![None] } else { all.iter().cloned().map(Some).collect() }
}

/// Every decision of the person before the grant, one for each combination of names.
fn singles(asked: Asked<'_>) -> Vec<Single> {
    let mut all = Vec::new();
    for (line, event) in asked.own() {
        let (terms, permits): (&Option<ConsentTerms>, bool) = match event {
            Event::ConsentGiven(given) => (&given.terms, true),
            Event::ConsentRenewed(renewed) => (&renewed.terms, true),
            Event::ConsentRefused(refused) => (&refused.terms, false),
            Event::ConsentWithdrawn(withdrawn) => (&withdrawn.terms, false),
            _ => continue,
        };
        let terms = terms.clone().unwrap_or_default();
        if permits && terms.purposes.is_empty() {
            continue;
        }
        let sealed = asked.log.moment(line);
        let one = Single {
            id: line.id,
            position: line.position,
            sealed,
            from: if permits { line.about_ms().min(sealed) } else { sealed },
            permits,
            explicit: terms.explicit,
            until: terms.until_ms,
            purpose: None,
            category: None,
            recipient: None,
            interaction: None,
            notice: terms.notice.map(|notice| (notice.id, notice.version)),
            interactions: terms.interactions.clone(),
        };
        for purpose in names(&terms.purposes) {
            for category in names(&terms.categories) {
                for recipient in names(&terms.recipients) {
                    for interaction in names(&terms.interactions) {
                        let (purpose, category) = (purpose.clone(), category.clone());
                        let recipient = recipient.clone();
                        all.push(Single { purpose, category, recipient, interaction, ..one.clone() });
                    }
                }
            }
        }
    }
    all
}

fn above(asked: Asked<'_>, kind: Kind, id: &str) -> Vec<String> {
    words::upward(asked, kind, id, words::now(asked))
}

fn matches_name(named: Option<&String>, of: &str) -> bool {
    named.is_none_or(|named| named == of)
}

/// Whether the names of a decision cover a case by what they cover now.
fn names_case(asked: Asked<'_>, one: &Single, category: &str) -> bool {
    let grant = asked.grant;
    one.purpose.as_ref().is_none_or(|named| above(asked, Kind::Purpose, &grant.purpose).contains(named))
        && one.category.as_ref().is_none_or(|named| above(asked, Kind::Category, category).contains(named))
        && matches_name(one.recipient.as_ref(), &grant.recipient)
        && matches_name(one.interaction.as_ref(), &grant.interaction)
}

/// Whether a permission covers a case.
fn permits_case(asked: Asked<'_>, one: &Single, category: &str) -> bool {
    if !one.permits || !names_case(asked, one, category) {
        return false;
    }
    let special = words::special(asked, category);
    let names_special = one.category.as_ref().is_some_and(|it| special.contains(it));
    if !special.is_empty() && (!one.explicit || !names_special) {
        return false;
    }
    let given = Moment { time: one.from, position: one.position };
    let meant = |kind, named: Option<&String>, used: &str| {
        named.is_none_or(|named| words::meant(asked, kind, named, used, given, one.sealed))
    };
    meant(Kind::Purpose, one.purpose.as_ref(), &asked.grant.purpose)
        && meant(Kind::Category, one.category.as_ref(), category)
}

/// Whether the scope of one decision lies within that of another.
fn is_within(asked: Asked<'_>, inner: &Single, outer: &Single) -> bool {
    let word = |kind, inner: Option<&String>, outer: Option<&String>| match (inner, outer) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(inner), Some(outer)) => above(asked, kind, inner).contains(outer),
    };
    word(Kind::Purpose, inner.purpose.as_ref(), outer.purpose.as_ref())
        && word(Kind::Category, inner.category.as_ref(), outer.category.as_ref())
        && (outer.recipient.is_none() || inner.recipient == outer.recipient)
        && (outer.interaction.is_none() || inner.interaction == outer.interaction)
}

/// The conversations that each consent names that allows a category, with the id of the consent.
pub fn allowing(asked: Asked<'_>, category: &str) -> Vec<([u8; 16], Vec<String>)> {
    let all = singles(asked);
    let permissions: Vec<&Single> = all.iter().filter(|one| permits_case(asked, one, category)).collect();
    let refusals: Vec<&Single> =
        all.iter().filter(|one| !one.permits && names_case(asked, one, category)).collect();
    let has_ended = |one: &Single| one.until.is_some_and(|until| until <= asked.now);
    let ended: Vec<&&Single> = permissions.iter().filter(|one| has_ended(one)).collect();
    let mut allowing = Vec::new();
    for one in &permissions {
        let later_ended = ended.iter().any(|other| (other.from, other.position) > (one.from, one.position));
        let prevails =
            refusals.iter().all(|refusal| refusal.from < one.from && is_within(asked, one, refusal));
        if !has_ended(one) && !later_ended && prevails && notice_counts(asked, one) {
            allowing.push((one.id, one.interactions.clone()));
        }
    }
    allowing
}

/// Whether a consent stops allowing a category before the grant expires, by its own end or by the end of a
/// later permission.
pub fn ends_too_early(asked: Asked<'_>, category: &str, id: &[u8]) -> bool {
    let all = singles(asked);
    let permissions: Vec<&Single> = all.iter().filter(|one| permits_case(asked, one, category)).collect();
    let mut cited = permissions.iter().filter(|one| one.id[..] == *id);
    cited.any(|cited| {
        permissions.iter().any(|one| {
            let is_later = (one.from, one.position) >= (cited.from, cited.position);
            is_later && one.until.is_some_and(|until| until < asked.grant.expires_at_ms)
        })
    })
}

/// Whether the notice that a permission names still counts.
fn notice_counts(asked: Asked<'_>, one: &Single) -> bool {
    let Some((id, version)) = &one.notice else { return true };
    if asked.edition() < 3 {
        return true;
    }
    let published = |of: &str, before: u64| {
        asked.log.system(before).find_map(|(line, event)| match event {
            Event::NoticePublished(published) => {
                let notice = published.notice.as_ref()?;
                (notice.id == *id && notice.version == of).then_some(line.position)
            }
            _ => None,
        })
    };
    asked.log.system(asked.position).all(|(line, event)| match event {
        Event::NoticeRequired(required) if required.id == *id => {
            let from = required.effective_from_ms.max(asked.log.moment(line));
            let first = published(&required.version, line.position).unwrap_or(line.position);
            from > asked.words_at || published(version, asked.position).is_some_and(|at| at >= first)
        }
        _ => true,
    })
}

/// Whether every permission for a category that has not ended loses to a refusal.
pub fn is_refused(asked: Asked<'_>, category: &str) -> bool {
    let all = singles(asked);
    let permissions: Vec<&Single> = all.iter().filter(|one| permits_case(asked, one, category)).collect();
    let has_ended = |one: &Single| one.until.is_some_and(|until| until <= asked.now);
    let ended: Vec<&&Single> = permissions.iter().filter(|one| has_ended(one)).collect();
    let is_over = |one: &Single| {
        has_ended(one) || ended.iter().any(|other| (other.from, other.position) > (one.from, one.position))
    };
    let loses = |one: &Single| {
        let refusals = all.iter().filter(|other| !other.permits && names_case(asked, other, category));
        refusals.into_iter().any(|refusal| !(refusal.from < one.from && is_within(asked, one, refusal)))
    };
    let mut standing = permissions.iter().filter(|one| !is_over(one)).peekable();
    standing.peek().is_some() && standing.all(|one| loses(one))
}

/// Whether decisions leave room for another legal basis than consent.
pub fn leave_room(asked: Asked<'_>, category: &str, can_be_refused: bool) -> bool {
    !singles(asked).iter().any(|one| (one.permits || can_be_refused) && names_case(asked, one, category))
}
