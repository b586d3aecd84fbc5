//! Finds the consents for which one data subject has to be asked again. They no longer allow the uses that
//! they cover, or will stop allowing them by a stated time.

use crate::bounds::decide::Case;
use crate::bounds::rulebook::Rules;
use crate::domain::consent::{ConsentRecord, Cover, NoConsent, Terms};
use crate::domain::consent_scope::{ConsentCase, Given, named_cases};
use crate::domain::event::Reason;
use crate::domain::hierarchy::{Ancestor, Since};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use crate::domain::vocabulary::Vocabulary;
use std::collections::{BTreeMap, BTreeSet};

/// The most comparisons of a case (a combination of the names in consents) with a decision, for one data
/// subject. A consent whose cases are not all decided is listed with everything that it names.
const COMPARISONS_MAX: usize = 1 << 24;
/// The most cases that are decided, however few decisions there are.
const CASES_MAX: usize = 1 << 14;
/// The most combinations of purpose, recipient and conversation that are decided for one data subject.
const USES_MAX: usize = 64;
/// The most words at or below those of consents that are examined for one data subject.
const WORDS_MAX: usize = 1 << 22;

/// A consent that does not count, or will not count by a stated time, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct LapsedConsent {
    /// The consent.
    pub record: ConsentRecord,
    /// The purposes that it no longer allows, or no longer for every category. Each is a purpose that it
    /// names, or one below.
    pub purposes: Vec<String>,
    /// The reason for which uses are or will be denied.
    pub reason: Reason,
    /// The time from which they are or will be denied, milliseconds since the Unix epoch; none if not known.
    pub since_ms: Option<u64>,
    /// The rule that ends the consent, as `pack/id`; empty if no rule is the reason.
    pub policy: String,
    /// The version of the notice that is required; empty if the notice is not the reason.
    pub required_version: String,
}

/// The consents that have lapsed now, or will have by `until_ms` under `rules`, which are the rules in force
/// then. Oldest first. Times are in milliseconds since the Unix epoch.
///
/// A consent is left out if another consent allows the same use, if the data subject took it back, or if it
/// has ended at the time that they had stated.
pub(crate) fn lapsed_consents(
    state: &SubjectState,
    rules: &Rules,
    now_ms: u64,
    until_ms: u64,
) -> Vec<LapsedConsent> {
    let records = state.consents.records();
    let consents: Vec<&ConsentRecord> = records.iter().filter(|record| record.decision.is_yes()).collect();
    let cases_left = COMPARISONS_MAX.checked_div(records.len()).unwrap_or_default().min(CASES_MAX);
    let mut lapsing = Lapsing {
        state,
        rules,
        now_ms,
        until_ms,
        cases_left,
        words_left: WORDS_MAX,
        covers: BTreeMap::new(),
        below: BTreeMap::new(),
        found: BTreeMap::new(),
    };
    for record in &consents {
        lapsing.add_uncovered(record);
    }
    lapsing.add_ended_by_rules(&consents);
    lapsing.found.into_values().collect()
}

struct Lapsing<'a> {
    state: &'a SubjectState,
    rules: &'a Rules,
    now_ms: u64,
    until_ms: u64,
    /// How many more cases may be decided.
    cases_left: usize,
    /// How many more words may be examined.
    words_left: usize,
    /// What the decisions say about the cases that were decided. Many consents name the same cases.
    covers: BTreeMap<CaseNames, Cover>,
    /// For each word that consents name, the pairs of that word and a word below it. Purposes and categories
    /// are kept apart.
    below: BTreeMap<(Axis, String), Vec<(Ancestor<'a>, Ancestor<'a>)>>,
    /// By consent, the oldest first, then by reason and rule.
    found: BTreeMap<(u64, Reason, String), LapsedConsent>,
}

/// The purpose, category, recipient and conversation of a case.
type CaseNames = [String; 4];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Axis {
    Purpose,
    Category,
}

/// Why a consent lapses: the reason, the rule, and since when.
type Why = (Reason, String, Option<u64>);

impl<'a> Lapsing<'a> {
    /// What the decisions say about a case; `None` if too many cases were decided already.
    fn cover(&mut self, case: &ConsentCase<'_>) -> Option<Cover> {
        let names = [case.purpose, case.category, case.recipient, case.interaction].map(str::to_owned);
        if let Some(cover) = self.covers.get(&names) {
            return Some(*cover);
        }
        self.cases_left = self.cases_left.checked_sub(1)?;
        let cover = self.state.consents.cover(&self.rules.vocabulary, case);
        self.covers.insert(names, cover);
        Some(cover)
    }

    /// Adds a consent if its notice is outdated, its words have another meaning, a category became special,
    /// or it ends by its own terms.
    fn add_uncovered(&mut self, record: &ConsentRecord) {
        let Some(likely) = self.likely_reason(record) else { return };
        let terms = self.with_changed_words(record);
        let cases = terms.as_ref().and_then(|terms| named_cases(terms, self.until_ms, CASES_MAX));
        let decided: Option<Vec<_>> =
            cases.iter().flatten().map(|case| self.cover(case).map(|cover| (case, cover))).collect();
        let Some(decided) = decided.filter(|decided| !decided.is_empty()) else {
            for purpose in &record.terms.purposes {
                self.add(record, self.why(record, likely, None), purpose);
            }
            return;
        };
        for (case, cover) in decided {
            let Cover::Denied { reason, by: Some(by) } = cover else { continue };
            let reason = match reason {
                _ if by != record.event_id => continue,
                NoConsent::NoticeOutdated => Reason::NoticeOutdated,
                NoConsent::WordsChanged => Reason::WordsChanged,
                NoConsent::NotExplicit if self.became_special_ms(record, case.category).is_some() => {
                    Reason::NotExplicit
                }
                NoConsent::Expired if self.ends_soon(record) => Reason::ConsentExpired,
                _ => continue,
            };
            self.add(record, self.why(record, reason, Some(case)), case.purpose);
        }
    }

    /// The terms of a consent, together with the words below those that it names which have changed since.
    /// They have at most one recipient and one conversation, because the notice and the words are the same
    /// for all of them. `None` if there are too many words to examine.
    fn with_changed_words(&mut self, record: &ConsentRecord) -> Option<Terms> {
        let mut terms = record.terms.clone();
        terms.recipients.truncate(1);
        terms.interactions.truncate(1);
        let given = record.given();
        if self.rules.vocabulary.changed_after(record.said_ms(), record.position) {
            terms.purposes = self.changed_words(Axis::Purpose, &terms.purposes, given)?;
            terms.categories = self.changed_words(Axis::Category, &terms.categories, given)?;
        }
        Some(terms)
    }

    /// The named words, and the words below them that have changed since the consent was given.
    fn changed_words(&mut self, axis: Axis, named: &[String], given: Given) -> Option<Vec<String>> {
        let rules = self.rules;
        let vocabulary = &rules.vocabulary;
        let mut words = named.to_vec();
        let mut known: BTreeSet<String> = named.iter().cloned().collect();
        for word in named {
            let pairs = self.below.entry((axis, word.clone())).or_insert_with(|| match axis {
                Axis::Purpose => vocabulary.purpose_pairs(word),
                Axis::Category => vocabulary.category_pairs(word),
            });
            self.words_left = self.words_left.checked_sub(pairs.len())?;
            for (above, lowest) in pairs.iter() {
                let is_changed = !given.means(above, lowest)
                    || (axis == Axis::Category && became_special(vocabulary, lowest.id, given).is_some());
                if is_changed && known.insert(lowest.id.to_owned()) {
                    words.push(lowest.id.to_owned());
                }
            }
        }
        Some(words)
    }

    /// When a category became special after a consent was given, milliseconds since the Unix epoch; `None` if
    /// it did not.
    fn became_special_ms(&self, record: &ConsentRecord, category: &str) -> Option<u64> {
        became_special(&self.rules.vocabulary, category, record.given()).map(|since| since.at_ms)
    }

    /// A quick check: a reason for which a consent may lapse, or `None` if it can't.
    fn likely_reason(&self, record: &ConsentRecord) -> Option<Reason> {
        let vocabulary = &self.rules.vocabulary;
        if record.outdated(&vocabulary.notices).is_some() {
            Some(Reason::NoticeOutdated)
        } else if self.ends_soon(record) {
            Some(Reason::ConsentExpired)
        } else {
            let has_changed = vocabulary.changed_after(record.said_ms(), record.position);
            has_changed.then_some(Reason::WordsChanged)
        }
    }

    /// Whether a consent that has not ended yet ends by its own terms.
    fn ends_soon(&self, record: &ConsentRecord) -> bool {
        record.terms.until_ms.is_some_and(|end_ms| self.now_ms < end_ms && end_ms <= self.until_ms)
    }

    fn why(&self, record: &ConsentRecord, reason: Reason, case: Option<&ConsentCase<'_>>) -> Why {
        let since_ms = match reason {
            Reason::NoticeOutdated => {
                let required = record.outdated(&self.rules.vocabulary.notices);
                required.map(|required| required.since_ms.max(record.sealed_at_ms))
            }
            Reason::ConsentExpired => record.terms.until_ms,
            Reason::WordsChanged => {
                case.and_then(|case| record.words_changed_ms(&self.rules.vocabulary, case))
            }
            Reason::NotExplicit => case.and_then(|case| self.became_special_ms(record, case.category)),
            _ => None,
        };
        (reason, String::new(), since_ms)
    }

    /// Adds the consents that rules end by their age, and the guardian's consents that they end by the age of
    /// the data subject.
    fn add_ended_by_rules(&mut self, consents: &[&ConsentRecord]) {
        let (state, rules, now_ms, until_ms) = (self.state, self.rules, self.now_ms, self.until_ms);
        let by_event: BTreeMap<EventId, &ConsentRecord> =
            consents.iter().map(|record| (record.event_id, *record)).collect();
        let has_guardian = consents.iter().any(|record| record.terms.guardian);
        for (purpose, recipient, interaction) in self.uses(consents) {
            let case = Case { recipient, purpose, categories: &[], keys: &[], interaction, now_ms };
            let mut ended = rules.bounds.aged_consents(state, &rules.vocabulary, &case, until_ms);
            if has_guardian {
                let case = Case { now_ms: until_ms, ..case };
                ended.extend(rules.bounds.ended_guardian_consents(state, &rules.vocabulary, &case));
            }
            for ended in ended {
                let Some(record) = by_event.get(&ended.consent) else { continue };
                let position = record.position;
                let known = self.found.range((position, Reason::Unspecified, String::new())..);
                let mut known = known.take_while(|((other, ..), _)| *other == position);
                if !known.any(|(_, lapsed)| is_named(&lapsed.purposes, purpose)) {
                    self.add(record, (ended.reason, ended.policy, ended.ends_ms), purpose);
                }
            }
        }
    }

    /// The uses to decide, each with a purpose, recipient and conversation. They are what consents that have
    /// not ended name, the newest consents first.
    fn uses<'b>(&self, consents: &[&'b ConsentRecord]) -> BTreeSet<(&'b str, &'b str, &'b str)> {
        let first = |names: &'b [String]| names.first().map_or("", String::as_str);
        let mut uses = BTreeSet::new();
        for record in consents.iter().rev() {
            if record.terms.until_ms.is_some_and(|end_ms| end_ms <= self.now_ms) {
                continue;
            }
            let (recipient, interaction) =
                (first(&record.terms.recipients), first(&record.terms.interactions));
            for purpose in &record.terms.purposes {
                if uses.len() < USES_MAX {
                    uses.insert((purpose.as_str(), recipient, interaction));
                }
            }
        }
        uses
    }

    fn add(&mut self, record: &ConsentRecord, why: Why, purpose: &str) {
        let (reason, policy, since_ms) = why;
        let key = (record.position, reason, policy.clone());
        if let Some(lapsed) = self.found.get_mut(&key) {
            lapsed.since_ms = lapsed.since_ms.into_iter().chain(since_ms).min();
            if !is_named(&lapsed.purposes, purpose) {
                lapsed.purposes.push(purpose.to_owned());
            }
            return;
        }
        let notices = &self.rules.vocabulary.notices;
        let notice = record.terms.notice.as_ref().filter(|_| reason == Reason::NoticeOutdated);
        let required = notice.and_then(|notice| notices.required(&notice.id));
        let lapsed = LapsedConsent {
            record: record.clone(),
            purposes: vec![purpose.to_owned()],
            reason,
            since_ms,
            policy,
            required_version: required.map(|required| required.version.clone()).unwrap_or_default(),
        };
        self.found.insert(key, lapsed);
    }
}

fn is_named(names: &[String], name: &str) -> bool {
    names.iter().any(|other| other == name)
}

/// When a category became special, if that was after a consent was given.
fn became_special(vocabulary: &Vocabulary, category: &str, given: Given) -> Option<Since> {
    let since = vocabulary.special_since(category)?;
    (!since.is_before(given.said_ms, given.position)).then_some(since)
}
