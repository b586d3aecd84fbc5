//! Counts attributes by who recorded them, and enforces the limits per recorder and per data subject.

use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{Actor, Role};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

/// Services must leave one part in this many of a data subject's limit free, so that the data subject can
/// still record and correct attributes when services have filled the rest.
const RESERVE_DIVISOR: usize = 8;

/// A number of attributes and the bytes that they take in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The number of attributes.
    pub facts: usize,
    /// The sum of their [`crate::domain::attribute::Attribute::bytes`].
    pub bytes: usize,
}

impl Load {
    /// The sum of both.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self { facts: self.facts.saturating_add(more.facts), bytes: self.bytes.saturating_add(more.bytes) }
    }

    fn without(self, less: Self) -> Self {
        Self { facts: self.facts.saturating_sub(less.facts), bytes: self.bytes.saturating_sub(less.bytes) }
    }

    /// The part of a limit that services may use.
    fn less_reserve(self) -> Self {
        self.without(Self { facts: self.facts / RESERVE_DIVISOR, bytes: self.bytes / RESERVE_DIVISOR })
    }

    /// Whether it exceeds a limit and is more than before. A write that does not grow the load is always
    /// accepted.
    fn outgrows(self, max: Self, was: Self) -> bool {
        (self.facts > max.facts && self.facts > was.facts)
            || (self.bytes > max.bytes && self.bytes > was.bytes)
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = if self.facts == 1 { "fact" } else { "facts" };
        write!(f, "{} {facts} of {} bytes", self.facts, self.bytes)
    }
}

/// Who recorded an attribute, as far as the data subject may know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recorder {
    /// The data subject.
    Person,
    /// The controller's staff, who are not distinguished.
    Staff,
    /// An application, by its credential's name.
    Service(String),
}

impl Recorder {
    /// The recorder for the actor of an event.
    #[must_use]
    pub fn of(actor: &Actor) -> Self {
        match actor.role() {
            Role::Subject => Self::Person,
            Role::Steward | Role::Authority | Role::Auditor | Role::Operator | Role::Ledger => Self::Staff,
            _ => Self::Service(actor.name.clone()),
        }
    }
}

impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person => f.write_str("the person"),
            Self::Staff => f.write_str("the controller's staff"),
            Self::Service(name) => write!(f, "service `{name}`"),
        }
    }
}

/// How much of a profile each recorder recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecorderUsage {
    all: Load,
    by_recorder: BTreeMap<Recorder, Load>,
}

impl RecorderUsage {
    /// The load of all recorders together.
    #[must_use]
    pub fn all(&self) -> Load {
        self.all
    }

    /// The load of one recorder.
    #[must_use]
    pub fn of(&self, recorder: &Recorder) -> Load {
        self.by_recorder.get(recorder).copied().unwrap_or_default()
    }

    /// The recorders with their loads, the most bytes first.
    #[must_use]
    pub fn largest_first(&self) -> Vec<(Recorder, Load)> {
        let mut all: Vec<_> = self.by_recorder.iter().map(|(of, load)| (of.clone(), *load)).collect();
        all.sort_by_key(|(_, load)| Reverse(load.bytes));
        all
    }

    pub(super) fn take(&mut self, held: &CurrentAttribute) {
        let load = load_of(held);
        self.all = self.all.and(load);
        let own = self.by_recorder.entry(Recorder::of(&held.actor)).or_default();
        *own = own.and(load);
    }

    pub(super) fn release(&mut self, held: &CurrentAttribute) {
        let load = load_of(held);
        self.all = self.all.without(load);
        let recorder = Recorder::of(&held.actor);
        if let Some(own) = self.by_recorder.get_mut(&recorder) {
            *own = own.without(load);
            if own.facts == 0 {
                self.by_recorder.remove(&recorder);
            }
        }
    }
}

fn load_of(held: &CurrentAttribute) -> Load {
    Load { facts: 1, bytes: held.attribute.bytes() }
}

/// Limits on the attributes of one data subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeLimits {
    /// The limit for what one service recorded.
    pub service: Load,
    /// The limit for all attributes. Services leave an eighth of it to the data subject and to stewards.
    pub person: Load,
}

impl Default for AttributeLimits {
    fn default() -> Self {
        Self {
            service: Load { facts: 4_000, bytes: 1 << 20 },
            person: Load { facts: 10_000, bytes: 3 << 20 },
        }
    }
}

/// Why no more may be recorded. Each variant contains only what its reader may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// The service has reached the limit of one service.
    OfService {
        /// What the service itself recorded.
        held: Load,
        /// The limit of one service.
        max: Load,
    },
    /// The limit of the data subject is reached; for a service, which learns only its own share.
    OfPerson {
        /// What the service itself recorded.
        held: Load,
    },
    /// The limit of the data subject is reached; for the data subject and for stewards.
    OfPersonBy {
        /// Everything.
        held: Load,
        /// The limit of the data subject.
        max: Load,
        /// The load of each recorder, the largest first.
        by: Vec<(Recorder, Load)>,
    },
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfService { held, max } => write!(
                f,
                "this service holds {held} about the person, and may hold {max}; remove some of them, or replace \
                 them under their keys"
            ),
            Self::OfPerson { held } => write!(
                f,
                "there is no room for more facts about this person; {held} are this service's: remove some of them, \
                 or replace them under their keys"
            ),
            Self::OfPersonBy { held, max, by } => {
                write!(f, "{held} are held about the person, and {max} may be; remove some of them")?;
                let Some((largest, load)) = by.first() else { return Ok(()) };
                write!(f, ". Most are by {largest}: {load}")
            }
        }
    }
}

impl AttributeLimits {
    /// Whether so much more fits even if it replaces nothing.
    #[must_use]
    pub fn has_room(&self, recorder: &Recorder, before: &RecorderUsage, more: Load) -> bool {
        let fits = |is: Load, max: Load| is.facts <= max.facts && is.bytes <= max.bytes;
        let person = fits(before.all.and(more), self.person_for(recorder));
        person && (!is_service(recorder) || fits(before.of(recorder).and(more), self.service))
    }

    /// Checks the usage after a write against the limits. A write that does not grow the usage always
    /// passes.
    ///
    /// # Errors
    /// The usage exceeds the limit of one service or that of the data subject.
    pub fn check(
        &self,
        recorder: &Recorder,
        before: &RecorderUsage,
        after: &RecorderUsage,
    ) -> Result<(), NoRoom> {
        let own = before.of(recorder);
        if is_service(recorder) && after.of(recorder).outgrows(self.service, own) {
            return Err(NoRoom::OfService { held: own, max: self.service });
        }
        if !after.all.outgrows(self.person_for(recorder), before.all) {
            return Ok(());
        }
        if is_service(recorder) {
            return Err(NoRoom::OfPerson { held: own });
        }
        Err(NoRoom::OfPersonBy { held: before.all, max: self.person, by: before.largest_first() })
    }

    fn person_for(&self, recorder: &Recorder) -> Load {
        if is_service(recorder) { self.person.less_reserve() } else { self.person }
    }
}

fn is_service(recorder: &Recorder) -> bool {
    matches!(recorder, Recorder::Service(_))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::domain::histories::histories;
    use crate::domain::profile::SubjectState;
    use proptest::prelude::*;

    fn load(facts: usize, bytes: usize) -> Load {
        Load { facts, bytes }
    }

    fn holdings(loads: &[(&str, Load)]) -> RecorderUsage {
        let mut holdings = RecorderUsage::default();
        for (name, load) in loads {
            let recorder = if name.is_empty() { Recorder::Person } else { Recorder::Service((*name).into()) };
            holdings.all = holdings.all.and(*load);
            holdings.by_recorder.insert(recorder, *load);
        }
        holdings
    }

    const LIMITS: AttributeLimits =
        AttributeLimits { service: Load { facts: 10, bytes: 100 }, person: Load { facts: 16, bytes: 800 } };

    fn check(by: &Recorder, before: &[(&str, Load)], after: &[(&str, Load)]) -> Result<(), NoRoom> {
        let (before, after) = (holdings(before), holdings(after));
        let more = load(after.all.facts - before.all.facts, after.all.bytes - before.all.bytes);
        let checked = LIMITS.check(by, &before, &after);
        // If `has_room` says yes, the full check agrees.
        assert!(checked.is_ok() || !LIMITS.has_room(by, &before, more));
        checked
    }

    #[test]
    fn a_service_has_its_own_limit_in_facts_and_in_bytes() {
        let tutor = Recorder::Service("tutor".into());
        let full = [("tutor", load(10, 50))];
        assert_eq!(check(&tutor, &[("tutor", load(9, 10))], &full), Ok(()));
        let no = NoRoom::OfService { held: load(10, 50), max: load(10, 100) };
        assert_eq!(check(&tutor, &full, &[("tutor", load(11, 51))]), Err(no));
        assert!(check(&tutor, &[("tutor", load(1, 99))], &[("tutor", load(2, 101))]).is_err());
        // The load of another service does not count.
        let coach = Recorder::Service("coach".into());
        assert_eq!(check(&coach, &full, &[("tutor", load(10, 50)), ("coach", load(1, 5))]), Ok(()));
    }

    #[test]
    fn services_leave_room_for_the_person() {
        let filled = [("a", load(10, 10)), ("b", load(4, 10))];
        let coach = Recorder::Service("b".into());
        let more = [("a", load(10, 10)), ("b", load(5, 11))];
        assert_eq!(check(&coach, &filled, &more), Err(NoRoom::OfPerson { held: load(4, 10) }));
        let own = [("a", load(10, 10)), ("b", load(4, 10)), ("", load(2, 8))];
        assert_eq!(check(&Recorder::Person, &filled, &own), Ok(()));
        let said =
            check(&Recorder::Staff, &own, &[("a", load(10, 10)), ("b", load(4, 10)), ("", load(3, 9))]);
        let said = said.unwrap_err().to_string();
        assert!(
            said.contains("16 facts of 28 bytes are held") && said.contains("service `a`: 10 facts"),
            "{said}"
        );
    }

    #[test]
    fn what_does_not_grow_goes_in_whatever_stands() {
        let over = holdings(&[("tutor", load(50, 5_000))]);
        for recorder in [Recorder::Service("tutor".into()), Recorder::Person] {
            assert_eq!(LIMITS.check(&recorder, &over, &over), Ok(()));
            assert_eq!(LIMITS.check(&recorder, &over, &holdings(&[("tutor", load(50, 4_999))])), Ok(()));
            assert!(LIMITS.check(&recorder, &over, &holdings(&[("tutor", load(50, 5_001))])).is_err());
        }
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_is_held(history in histories()) {
            let state = SubjectState::fold(&history);
            let mut counted = RecorderUsage::default();
            state.attributes.values().for_each(|held| counted.take(held));
            prop_assert_eq!(state.holdings, counted);
        }
    }
}
