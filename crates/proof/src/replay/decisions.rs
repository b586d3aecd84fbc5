//! Decisions of one data subject about use: consents, refusals and withdrawals.
//!
//! Decisions are indexed by *case*. A case has four *axes*: a purpose, a category, a recipient and a
//! conversation. On each axis, it has one name, or [`ALL`], which stands for every name. A decision can name
//! several purposes, categories, recipients and conversations. It is stored under every case that combines
//! them. A decision with more than [`CASES_MAX`] cases is not indexed, but compared with each use. To find
//! the decisions about a use, the caller looks up the cases that include the use.

use super::definitions::ConsentTime;
use super::effort::Effort;
use crate::entry::EventId;
use crate::event::{ConsentTerms, NoticeRef};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

/// The most cases under which a decision is indexed. A decision that names more is not indexed, but compared
/// with each use.
const CASES_MAX: usize = 1 << 12;

/// Stands for everything on an axis.
pub(super) const ALL: u32 = 0;

/// What a decision names on each axis, as numbers in ascending order: purposes, categories, recipients,
/// conversations. An axis without names stands for everything.
pub(super) type AxisNames = [Vec<u32>; 4];

/// The order of consents: when the data subject said them, and their positions.
pub(super) type Order = (u64, u64);

/// A consent, a refusal or a withdrawal.
pub(super) struct Decision {
    pub event_id: EventId,
    /// When the data subject stated the decision. For a consent, this is the time that it states, but no
    /// later than when it was recorded. For a refusal or withdrawal, it is when that was recorded.
    pub given: ConsentTime,
    /// True for a consent (given or renewed), false for a refusal or withdrawal.
    pub is_consent: bool,
    pub explicit: bool,
    pub notice: Option<NoticeRef>,
    pub until_ms: Option<u64>,
    pub names: AxisNames,
}

impl Decision {
    pub fn order(&self) -> Order {
        (self.given.said_at_ms, self.given.position)
    }

    /// Whether it is for certain conversations only.
    pub fn names_conversations(&self) -> bool {
        let [_, _, _, conversations] = &self.names;
        !conversations.is_empty()
    }

    /// A consent without purposes covers nothing.
    fn covers_nothing(&self) -> bool {
        let [purposes, ..] = &self.names;
        self.is_consent && purposes.is_empty()
    }
}

/// The indexed decisions that name one case.
#[derive(Default)]
pub(super) struct CaseDecisions {
    /// When the newest refusal or withdrawal was recorded, milliseconds since the Unix epoch.
    pub refused_at_ms: Option<u64>,
    /// The consents, as indices into `Decisions::all`.
    pub consents: BTreeMap<Order, usize>,
    /// The consents that have reached the end that they state, as indices into `Decisions::all`.
    pub ended: BTreeMap<Order, usize>,
}

/// Every decision of a data subject.
#[derive(Default)]
pub(super) struct Decisions {
    // Unordered: looked up, never iterated.
    numbers: HashMap<String, u32>,
    all: Vec<Decision>,
    // Unordered: looked up, never iterated.
    by_id: HashMap<EventId, usize>,
    // Unordered: looked up, never iterated.
    cases: HashMap<[u32; 4], CaseDecisions>,
    /// The decisions to compare with each use, because they are not indexed by case.
    wide: Vec<usize>,
    /// The ends of consents that are not yet reached.
    ends: BinaryHeap<Reverse<(u64, usize)>>,
    /// The last end that was reached, milliseconds since the Unix epoch.
    last_end_ms: u64,
}

impl Decisions {
    /// Adds a decision. Without terms, a consent covers nothing and a refusal covers everything.
    pub fn add(
        &mut self,
        event_id: EventId,
        given: ConsentTime,
        is_consent: bool,
        terms: Option<&ConsentTerms>,
        effort: &Effort,
    ) {
        let none = ConsentTerms::default();
        let terms = terms.unwrap_or(&none);
        let axes = [&terms.purposes, &terms.categories, &terms.recipients, &terms.interactions];
        let names = axes.map(|names| {
            let mut numbers: Vec<u32> = names.iter().map(|name| self.number(name)).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        });
        let (explicit, notice, until_ms) = (terms.explicit, terms.notice.clone(), terms.until_ms);
        let decision = Decision { event_id, given, is_consent, explicit, notice, until_ms, names };
        let index = self.all.len();
        self.by_id.entry(event_id).or_insert(index);
        if !decision.covers_nothing() {
            self.index(index, &decision, effort);
        }
        self.all.push(decision);
    }

    fn index(&mut self, index: usize, decision: &Decision, effort: &Effort) {
        let cases = case_count(&decision.names).filter(|cases| effort.spend(2 * cases));
        // If too few steps are left to index the decision, it is compared with each use instead.
        let _ = effort.take_failure();
        if cases.is_none() {
            self.wide.push(index);
        } else {
            for case in cases_of(&decision.names) {
                let case = self.cases.entry(case).or_default();
                if decision.is_consent {
                    case.consents.insert(decision.order(), index);
                } else {
                    case.refused_at_ms = case.refused_at_ms.max(Some(decision.given.said_at_ms));
                }
            }
        }
        if let Some(until_ms) = decision.until_ms.filter(|_| decision.is_consent) {
            self.ends.push(Reverse((until_ms, index)));
        }
    }

    /// Notes the consents that have reached the end that they state by `now_ms`. Those that were noted before
    /// stay noted, even if their end is later.
    pub fn advance(&mut self, now_ms: u64) {
        while let Some(Reverse((until_ms, index))) = self.ends.peek().copied()
            && until_ms <= now_ms
        {
            self.ends.pop();
            self.last_end_ms = self.last_end_ms.max(until_ms);
            let Some(decision) = self.all.get(index) else { continue };
            if case_count(&decision.names).is_none() {
                continue;
            }
            for case in cases_of(&decision.names) {
                if let Some(case) = self.cases.get_mut(&case) {
                    case.ended.insert(decision.order(), index);
                }
            }
        }
    }

    /// Whether a consent reached the end that it states after a time, milliseconds since the Unix epoch, and
    /// no later than the last call of [`Self::advance`] says.
    pub fn has_ended_since(&self, at_ms: u64) -> bool {
        self.last_end_ms > at_ms
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        // More names than 32 bits can count do not fit into an event.
        let number = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// The number of a name, if a decision has that name.
    pub fn known_number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub fn get(&self, index: usize) -> Option<&Decision> {
        self.all.get(index)
    }

    /// The decision of an event.
    pub fn by_id(&self, event_id: &[u8]) -> Option<&Decision> {
        self.get(*self.by_id.get(event_id)?)
    }

    /// The indexed decisions that name exactly this case.
    pub fn of_case(&self, case: &[u32; 4]) -> Option<&CaseDecisions> {
        self.cases.get(case)
    }

    /// The decisions to compare with each use.
    pub fn wide(&self) -> impl Iterator<Item = &Decision> {
        self.wide.iter().filter_map(|index| self.get(*index))
    }
}

/// The number of cases that a decision names; none if there are more than [`CASES_MAX`].
fn case_count(names: &AxisNames) -> Option<usize> {
    let count = names.iter().try_fold(1_usize, |count, names| count.checked_mul(names.len().max(1)));
    count.filter(|count| *count <= CASES_MAX)
}

fn cases_of(names: &AxisNames) -> Vec<[u32; 4]> {
    let [purposes, categories, recipients, conversations] =
        names.each_ref().map(|names| if names.is_empty() { &[ALL] } else { names.as_slice() });
    let mut cases = Vec::new();
    for purpose in purposes {
        for category in categories {
            for recipient in recipients {
                cases.extend(conversations.iter().map(|last| [*purpose, *category, *recipient, *last]));
            }
        }
    }
    cases
}
