//! Lists the consents for which people have to be asked again. No index is kept for this list. Each page
//! of the list examines a limited number of people. The state of each person is taken from memory, or
//! folded from their events.

use crate::app::caller::Caller;
use crate::app::consent::Consent;
use crate::app::error::{AppError, Cause};
use crate::app::log::core::Core;
use crate::app::profile::paging::Room;
use crate::bounds::lapsed_consents::{LapsedConsent, lapsed_consents};
use crate::bounds::rulebook::Rules;
use crate::domain::DAY_MS;
use crate::domain::ids::{Handle, SubjectId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The largest number of people that are examined for one page, and that a query may name.
const PEOPLE_MAX: usize = 256;
/// How far ahead the list can look, in days: ten years.
const WITHIN_DAYS_MAX: u32 = 3_652;
/// The size of an item in an answer besides the consent, in bytes.
const ITEM_BYTES: usize = 256;

/// Which consents to list.
#[derive(Clone, Debug, Default)]
pub struct OutdatedQuery {
    /// Only these people, at most 256; if there are none, everybody.
    pub subjects: Vec<SubjectId>,
    /// Also list consents that stop counting within this many days; at most 3,652.
    pub within_days: u32,
    /// The `next` of the previous page; empty for the first page.
    pub page_token: String,
    /// The most items on the page.
    pub count: usize,
}

/// A consent for which a person has to be asked again.
#[derive(Clone, Debug)]
pub struct OutdatedConsent {
    /// The id of the person, if the query names it: the ledger keeps no list of ids.
    pub subject: Option<SubjectId>,
    /// The random id that the log uses for the person.
    pub handle: Handle,
    /// The consent, and why it does not count.
    pub lapsed: LapsedConsent,
}

/// A page of such consents.
#[derive(Clone, Debug, Default)]
pub struct OutdatedPage {
    /// By person; the oldest consent of a person first.
    pub consents: Vec<OutdatedConsent>,
    /// The people that were examined.
    pub examined: u64,
    /// The token of the next page; none on the last page. An empty page can have a next one.
    pub next: Option<String>,
}

/// A person to examine.
struct Person {
    subject: Option<SubjectId>,
    handle: Handle,
    /// What stands for the person in a page token: their number in the query, or their handle.
    name: String,
    /// The position up to which earlier pages list the person's consents.
    after: u64,
}

/// The people of a page, and the token of the next page if all of them were examined.
struct People {
    people: Vec<Person>,
    next: Option<String>,
}

impl Consent {
    /// Lists the consents for which people have to be asked again. There are six reasons: the consent names a
    /// version of a notice that no longer counts; a purpose or category that it names, or one below, was
    /// redefined; such a category became special; a rule requires a newer consent; a guardian's consent ended
    /// with the person's age; or the consent ends within the stated days. A view is recorded for each person
    /// that the query names, and for each other person on the page.
    ///
    /// # Errors
    /// The days, the number of people or the page token are invalid, or the store fails.
    pub async fn list_outdated(
        self: &Arc<Self>,
        caller: &Caller,
        query: OutdatedQuery,
    ) -> Result<OutdatedPage, AppError> {
        if query.within_days > WITHIN_DAYS_MAX {
            return Err(AppError::invalid("within_days", "must be at most 3,652"));
        }
        if query.subjects.len() > PEOPLE_MAX {
            return Err(AppError::invalid("subjects", "must have at most 256"));
        }
        let people = self.people(&query)?;
        let named = people.people.iter().filter(|person| person.subject.is_some());
        let named: Vec<Handle> = named.map(|person| person.handle).collect();
        let (core, count) = (Arc::clone(&self.core), query.count);
        let within_ms = u64::from(query.within_days).saturating_mul(DAY_MS);
        // Folding the events of people who are not in memory takes long, so it must not occupy a thread that
        // answers requests.
        let examining = tokio::task::spawn_blocking(move || examine(&core, people, within_ms, count));
        let mut page = examining.await.map_err(|_| AppError::Internal(Cause::Task))??;
        let shown = page.consents.iter().map(|consent| consent.handle);
        for handle in named.into_iter().chain(shown).collect::<BTreeSet<Handle>>() {
            match self.core.stream_by_handle(handle).await? {
                Some(stream) => self.core.record_view_in(caller, stream, "ListOutdatedConsents").await?,
                // Erased in the meantime.
                None => page.consents.retain(|consent| consent.handle != handle),
            }
        }
        Ok(page)
    }

    fn people(&self, query: &OutdatedQuery) -> Result<People, AppError> {
        let (name, after) = match query.page_token.rsplit_once('-') {
            Some((name, after)) => (name, after.parse().map_err(|_| wrong_token())?),
            None if query.page_token.is_empty() => ("", 0),
            None => return Err(wrong_token()),
        };
        let after_of = |own: &str| if own == name { after } else { 0 };
        let vault = &self.core.vault;
        if query.subjects.is_empty() {
            // The previous page may have ended between two consents of this person.
            let first = if name.is_empty() { None } else { Some(handle(name).ok_or_else(wrong_token)?) };
            let again = first.filter(|_| after < u64::MAX);
            let handles = again.into_iter().chain(vault.handles(first, PEOPLE_MAX)?);
            let person = |handle: Handle| {
                let name = handle.to_string();
                Person { subject: None, handle, after: after_of(&name), name }
            };
            let people: Vec<Person> = handles.take(PEOPLE_MAX).map(person).collect();
            let last = people.last().filter(|_| people.len() == PEOPLE_MAX);
            let next = last.map(|last| format!("{}-{}", last.name, u64::MAX));
            return Ok(People { people, next });
        }
        let first: usize = if name.is_empty() { 0 } else { name.parse().map_err(|_| wrong_token())? };
        let mut people = Vec::new();
        for (number, subject) in query.subjects.iter().enumerate().skip(first) {
            if let Some(keys) = vault.subject(subject)? {
                let name = number.to_string();
                let after = after_of(&name);
                people.push(Person { subject: Some(subject.clone()), handle: keys.handle, name, after });
            }
        }
        Ok(People { people, next: None })
    }
}

fn wrong_token() -> AppError {
    AppError::invalid("page_token", "must be the `next_page_token` of the previous answer")
}

fn handle(text: &str) -> Option<Handle> {
    hex::decode(text).ok()?.try_into().ok().map(Handle)
}

/// Examines people until the page is full.
fn examine(core: &Core, people: People, within_ms: u64, count: usize) -> Result<OutdatedPage, AppError> {
    let now_ms = core.now_ms();
    let until_ms = now_ms.saturating_add(within_ms);
    let mut rules = core.rules_at(now_ms);
    if !rules.are_in_force_at(until_ms) {
        rules = core.rules_history().with_now(&[], until_ms)?;
    }
    let (mut page, mut room) = (OutdatedPage::default(), Room::new(count));
    for person in people.people {
        let mut last = person.after;
        for lapsed in lapsed(core, person.handle, &rules, (now_ms, until_ms))? {
            let position = lapsed.record.position;
            if position <= person.after {
                continue;
            }
            // All items of one consent are on one page.
            if position != last && !room.take(lapsed.record.bytes().saturating_add(ITEM_BYTES)) {
                page.next = Some(format!("{}-{last}", person.name));
                return Ok(page);
            }
            last = position;
            let (subject, handle) = (person.subject.clone(), person.handle);
            page.consents.push(OutdatedConsent { subject, handle, lapsed });
        }
        page.examined = page.examined.saturating_add(1);
    }
    page.next = people.next;
    Ok(page)
}

/// The lapsed consents of a person. A stream that is not in memory is loaded and dropped again, so that a
/// list evicts no stream that requests use.
fn lapsed(
    core: &Core,
    handle: Handle,
    rules: &Rules,
    (now_ms, until_ms): (u64, u64),
) -> Result<Vec<LapsedConsent>, AppError> {
    if let Some(stream) = core.streams.get(&handle) {
        // A copy, because writes must not wait for the comparison of all decisions.
        let state = {
            let now = stream.read();
            (!now.erased).then(|| now.state.clone())
        };
        return Ok(state.map_or_else(Vec::new, |state| lapsed_consents(&state, rules, now_ms, until_ms)));
    }
    let Some(keys) = core.vault.by_handle(handle)? else { return Ok(Vec::new()) };
    match core.load_stream(keys) {
        Ok(stream) => Ok(lapsed_consents(&stream.read().state, rules, now_ms, until_ms)),
        // Erased in the meantime.
        Err(_) if core.vault.by_handle(handle)?.is_none() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
