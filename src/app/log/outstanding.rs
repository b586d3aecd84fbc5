//! The recipients that were notified of an erasure and have not reported what they did about it (GDPR Art.
//! 17(2), 19). The list is computed from the system events and kept in memory. An item of the list has
//! neither the id of the request nor the name of the recipient. Both are read from the log when the list
//! is shown.

use crate::app::log::address::{address, address_of};
use crate::app::log::index::recipient_hash;
use crate::domain::DAY_MS;
use crate::domain::event::{ErasureOutcome, Event, Recorded, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most entries in memory, about 100 bytes each. The oldest are kept, and the others are counted.
const ENTRIES_MAX: usize = 262_144;
/// The most reminders of one recipient about one erasure.
const REMINDERS_MAX: u32 = 12;
/// The edition of the rules from which on reminders are recorded.
const REMINDERS_EDITION: u32 = 5;

/// When recipients are reminded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// How long a recipient has to answer, milliseconds.
    pub answer_ms: u64,
    /// The time between two reminders, milliseconds.
    pub remind_ms: u64,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { answer_ms: 14 * DAY_MS, remind_ms: 4 * DAY_MS }
    }
}

/// An erasure and a recipient: the position of its `ErasureCompleted`, and the hash of the recipient.
pub(crate) type Key = (u64, [u8; 16]);

/// A recipient that has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// From when on its time counts, milliseconds since the Unix epoch.
    pub from_ms: u64,
    pub reminders: u32,
    /// When it was recorded that it is overdue, milliseconds since the Unix epoch; 0 if it was not.
    pub escalated_ms: u64,
    /// The position of the report in which another recipient named it; 0 if none did.
    pub named_at: u64,
    /// When the recipient was last notified, milliseconds since the Unix epoch.
    told_ms: u64,
}

/// A reminder to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DueReminder {
    pub key: Key,
    pub number: u32,
    /// Whether the recipient is overdue from this reminder on.
    pub is_escalated: bool,
    pub named_at: u64,
}

/// The recipients that have not answered.
pub(crate) struct Outstanding {
    deadlines: Deadlines,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<Key, Waiting>,
    /// The entries by when their next reminder is due.
    schedule: BTreeSet<(u64, Key)>,
    overdue: u64,
    /// Entries that are not in memory.
    left_out: u64,
    /// When the log adopted the rules with reminders, milliseconds since the Unix epoch. Time counts from
    /// then on, so that old erasures do not become overdue all at once.
    adopted_ms: Option<u64>,
}

impl Outstanding {
    /// The recipients that have not answered, from the system events, oldest first.
    pub fn new(events: &[Recorded], deadlines: Deadlines) -> Self {
        let outstanding = Self { deadlines, state: Mutex::default() };
        outstanding.add(events);
        outstanding
    }

    pub fn deadlines(&self) -> Deadlines {
        self.deadlines
    }

    /// Applies later system events.
    pub fn add(&self, events: &[Recorded]) {
        let mut state = self.state();
        events.iter().for_each(|event| state.apply(event, self.deadlines));
    }

    /// How many have not answered, and how many of them are overdue.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state();
        ((state.waiting.len() as u64).saturating_add(state.left_out), state.overdue)
    }

    /// How many are not in memory.
    pub fn left_out(&self) -> u64 {
        self.state().left_out
    }

    pub fn get(&self, key: &Key) -> Option<Waiting> {
        self.state().waiting.get(key).copied()
    }

    /// The entries after a key, by position.
    pub fn after(&self, after: Option<Key>, count: usize) -> Vec<(Key, Waiting)> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let state = self.state();
        let later = state.waiting.range((from, std::ops::Bound::Unbounded));
        later.take(count).map(|(key, waiting)| (*key, *waiting)).collect()
    }

    /// The position of the oldest erasure that a recipient has not answered.
    pub fn first_of(&self, address: &str) -> Option<u64> {
        let hash = hash_of(address);
        self.state().waiting.keys().find(|(_, of)| *of == hash).map(|(position, _)| *position)
    }

    /// The reminders that are due.
    pub fn due(&self, now_ms: u64, count: usize) -> Vec<DueReminder> {
        let state = self.state();
        let due = state.schedule.iter().take_while(|(next_ms, _)| *next_ms <= now_ms).take(count);
        let reminder = |(_, key): &(u64, Key)| {
            let waiting = state.waiting.get(key)?;
            Some(DueReminder {
                key: *key,
                number: waiting.reminders.saturating_add(1),
                is_escalated: waiting.escalated_ms == 0 && waiting.due_ms(self.deadlines) <= now_ms,
                named_at: waiting.named_at,
            })
        };
        due.filter_map(reminder).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// When the answer is due, milliseconds since the Unix epoch.
    pub fn due_ms(&self, deadlines: Deadlines) -> u64 {
        self.from_ms.saturating_add(deadlines.answer_ms)
    }

    /// When the next reminder is due, milliseconds since the Unix epoch; `None` if there is none.
    fn next_ms(&self, deadlines: Deadlines) -> Option<u64> {
        let next_ms = self.told_ms.max(self.from_ms).saturating_add(deadlines.remind_ms);
        let next_ms = (self.reminders < REMINDERS_MAX).then_some(next_ms);
        let due_ms = (self.escalated_ms == 0).then_some(self.due_ms(deadlines));
        next_ms.into_iter().chain(due_ms).min()
    }
}

impl State {
    fn apply(&mut self, event: &Recorded, deadlines: Deadlines) {
        let at_ms = event.recorded_at_ms;
        match &event.event {
            Event::DecisionRulesAdopted(adopted) if adopted.edition >= REMINDERS_EDITION => {
                self.adopt(at_ms, deadlines);
            }
            Event::ErasureCompleted(completed) => {
                for recipient in &completed.recipients {
                    self.insert((event.position, hash_of(&address_of(recipient))), at_ms, 0, deadlines);
                }
            }
            Event::RecipientAcknowledged(done) => {
                self.remove(&(done.position, hash_of(&address(done.role, &done.recipient))), deadlines);
            }
            Event::RecipientReported(report) => {
                let own = hash_of(&address(report.role, &report.recipient));
                for position in &report.positions {
                    if report.outcome != ErasureOutcome::Unspecified {
                        self.remove(&(*position, own), deadlines);
                    }
                    for name in &report.onward {
                        self.insert((*position, hash_of(name)), at_ms, event.position, deadlines);
                    }
                }
            }
            Event::RecipientReminded(reminded) => {
                let hash = hash_of(&address(reminded.role, &reminded.recipient));
                self.remind(
                    &(reminded.position, hash),
                    reminded.number,
                    reminded.escalated,
                    at_ms,
                    deadlines,
                );
            }
            _ => {}
        }
    }

    fn adopt(&mut self, at_ms: u64, deadlines: Deadlines) {
        if self.adopted_ms.is_some() {
            return;
        }
        self.adopted_ms = Some(at_ms);
        self.schedule.clear();
        for (key, waiting) in &mut self.waiting {
            waiting.from_ms = at_ms;
            self.schedule.extend(waiting.next_ms(deadlines).map(|next_ms| (next_ms, *key)));
        }
    }

    fn insert(&mut self, key: Key, at_ms: u64, named_at: u64, deadlines: Deadlines) {
        if self.waiting.len() >= ENTRIES_MAX && !self.waiting.contains_key(&key) {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        let waiting = Waiting { from_ms: at_ms, reminders: 0, escalated_ms: 0, named_at, told_ms: at_ms };
        if self.waiting.contains_key(&key) {
            return;
        }
        self.waiting.insert(key, waiting);
        self.schedule.extend(waiting.next_ms(deadlines).map(|next_ms| (next_ms, key)));
    }

    fn remove(&mut self, key: &Key, deadlines: Deadlines) {
        let Some(waiting) = self.waiting.remove(key) else { return };
        self.overdue = self.overdue.saturating_sub(u64::from(waiting.escalated_ms > 0));
        if let Some(next_ms) = waiting.next_ms(deadlines) {
            self.schedule.remove(&(next_ms, *key));
        }
    }

    fn remind(&mut self, key: &Key, number: u32, escalated: bool, at_ms: u64, deadlines: Deadlines) {
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        if let Some(next_ms) = waiting.next_ms(deadlines) {
            self.schedule.remove(&(next_ms, *key));
        }
        (waiting.reminders, waiting.told_ms) = (number, at_ms);
        if escalated && waiting.escalated_ms == 0 {
            waiting.escalated_ms = at_ms;
            self.overdue = self.overdue.saturating_add(1);
        }
        if let Some(next_ms) = waiting.next_ms(deadlines) {
            self.schedule.insert((next_ms, *key));
        }
    }
}

/// The hash of a recipient.
pub(crate) fn hash_of(address: &str) -> [u8; 16] {
    recipient_hash(address).first_chunk().copied().unwrap_or_default()
}

/// The role in an event: not set for a service.
pub(crate) fn role_in_event(role: Role) -> Role {
    if role == Role::Auditor { role } else { Role::Unspecified }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::domain::event::{
        DecisionRulesAdopted, ErasureCompleted, PriorRecipient, RecipientAcknowledged, RecipientReminded,
        RecipientReported,
    };
    use crate::domain::histories::recorded;

    const DEADLINES: Deadlines = Deadlines { answer_ms: 100, remind_ms: 40 };

    fn erasure(position: u64, at_ms: u64, names: &[&str]) -> Recorded {
        let prior = |name: &&str| PriorRecipient { name: (*name).into(), ..PriorRecipient::default() };
        let recipients = names.iter().map(prior).collect();
        recorded(
            position,
            at_ms,
            Event::ErasureCompleted(ErasureCompleted { recipients, ..Default::default() }),
        )
    }

    fn reminded(position: u64, at_ms: u64, number: u32, escalated: bool) -> Recorded {
        let event = RecipientReminded {
            position,
            recipient: "tutor".into(),
            number,
            escalated,
            ..Default::default()
        };
        recorded(900, at_ms, Event::RecipientReminded(event))
    }

    #[test]
    fn a_recipient_is_reminded_until_its_time_is_over_and_then_is_overdue() {
        let outstanding = Outstanding::new(&[erasure(7, 1_000, &["tutor"])], DEADLINES);
        assert_eq!(outstanding.due(1_039, 9), []);
        let first = outstanding.due(1_040, 9)[0];
        assert_eq!((first.number, first.is_escalated, first.key.0), (1, false, 7));
        outstanding.add(&[reminded(7, 1_040, 1, false)]);
        assert_eq!(outstanding.due(1_079, 9), []);
        outstanding.add(&[reminded(7, 1_080, 2, false)]);
        let last = outstanding.due(1_100, 9)[0];
        assert_eq!(
            (last.number, last.is_escalated),
            (3, true),
            "the deadline comes before the next reminder"
        );
        outstanding.add(&[reminded(7, 1_100, 3, true)]);
        assert_eq!(outstanding.counts(), (1, 1));
        assert!(!outstanding.due(1_140, 9)[0].is_escalated, "it is escalated once");
        for number in 4..=REMINDERS_MAX {
            outstanding.add(&[reminded(7, 1_100 + u64::from(number) * 40, number, false)]);
        }
        assert_eq!(outstanding.due(u64::MAX, 9), [], "the number of reminders is limited");
        let done = RecipientAcknowledged { position: 7, recipient: "tutor".into(), ..Default::default() };
        outstanding.add(&[recorded(950, 2_000, Event::RecipientAcknowledged(done))]);
        assert_eq!(outstanding.counts(), (0, 0));
    }

    #[test]
    fn erasures_of_before_count_from_the_adoption_of_the_rules() {
        let adopted = Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 5 });
        let events = [erasure(7, 1_000, &["tutor"]), recorded(8, 50_000, adopted)];
        let outstanding = Outstanding::new(&events, DEADLINES);
        assert_eq!(outstanding.due(50_039, 9), []);
        assert_eq!(outstanding.due(50_040, 9).len(), 1);
    }

    #[test]
    fn a_recipient_that_another_names_waits_too_and_an_outcome_other_than_deletion_settles() {
        let outstanding = Outstanding::new(&[erasure(7, 1_000, &["tutor", "coach"])], DEADLINES);
        let report = RecipientReported {
            positions: vec![7],
            recipient: "tutor".into(),
            outcome: ErasureOutcome::Disproportionate,
            onward: vec!["mailer".into(), "coach".into()],
            ..Default::default()
        };
        outstanding.add(&[recorded(20, 1_010, Event::RecipientReported(report))]);
        let left: Vec<_> = outstanding.after(None, 9);
        let named: BTreeMap<[u8; 16], u64> =
            left.iter().map(|((_, hash), of)| (*hash, of.named_at)).collect();
        assert_eq!(named, BTreeMap::from([(hash_of("mailer"), 20), (hash_of("coach"), 0)]));
        assert_eq!(outstanding.first_of("mailer"), Some(7));
    }

    #[test]
    fn the_entries_in_memory_are_limited_and_the_others_counted() {
        let many: Vec<Recorded> = (0..2_u64).map(|position| erasure(position, 1, &["a"])).collect();
        let outstanding = Outstanding::new(&many, DEADLINES);
        {
            let mut state = outstanding.state();
            for position in 2..=ENTRIES_MAX as u64 {
                state.insert((position, [0; 16]), 1, 0, DEADLINES);
            }
        }
        assert_eq!((outstanding.left_out(), outstanding.counts().0), (1, ENTRIES_MAX as u64 + 1));
    }
}
