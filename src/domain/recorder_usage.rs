//! Counts attributes by who recorded them, and enforces the limits per recorder and per data subject.

use crate::domain::attribute::Attribute;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{Actor, Role};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

/// A data subject's limit divided by this number is the part that services must leave free. The data subject
/// can then still record and correct attributes when services have used up their part.
const RESERVE_DIVISOR: usize = 8;

/// A number of attributes and the bytes that they take in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The number of attributes.
    pub count: usize,
    /// The sum of their [`crate::domain::attribute::Attribute::bytes`].
    pub bytes: usize,
    /// The sum of the bytes of their embeddings, which answers leave out.
    pub embedding_bytes: usize,
}

impl Load {
    /// The load of one attribute.
    #[must_use]
    pub fn of(attribute: &Attribute) -> Self {
        Self { count: 1, bytes: attribute.bytes(), embedding_bytes: attribute.embedding_bytes() }
    }

    /// The sum of this load and the other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            bytes: self.bytes.saturating_add(other.bytes),
            embedding_bytes: self.embedding_bytes.saturating_add(other.embedding_bytes),
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_sub(other.count),
            bytes: self.bytes.saturating_sub(other.bytes),
            embedding_bytes: self.embedding_bytes.saturating_sub(other.embedding_bytes),
        }
    }

    /// The part of a limit that services may use.
    fn less_reserve(self) -> Self {
        self.without(Self {
            count: self.count / RESERVE_DIVISOR,
            bytes: self.bytes / RESERVE_DIVISOR,
            embedding_bytes: self.embedding_bytes / RESERVE_DIVISOR,
        })
    }

    /// Whether this load exceeds a limit and is larger than the load before the write. A write that does not
    /// increase the load is always accepted.
    fn outgrows(self, max: Self, before: Self) -> bool {
        (self.count > max.count && self.count > before.count)
            || (self.bytes > max.bytes && self.bytes > before.bytes)
            || (self.embedding_bytes > max.embedding_bytes && self.embedding_bytes > before.embedding_bytes)
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.count == 1 { "attribute" } else { "attributes" };
        write!(f, "{} {noun} ({} bytes", self.count, self.bytes)?;
        if self.embedding_bytes > 0 {
            write!(f, ", and {} bytes of embeddings", self.embedding_bytes)?;
        }
        f.write_str(")")
    }
}

/// Who recorded an attribute, in the detail that the data subject may know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recorder {
    /// The data subject.
    Subject,
    /// The controller's staff; their names are not distinguished.
    Staff,
    /// An application, by its credential's name.
    Service(String),
}

impl Recorder {
    /// The recorder for the actor of an event.
    #[must_use]
    pub fn of(actor: &Actor) -> Self {
        match actor.role {
            Role::Subject => Self::Subject,
            Role::Steward | Role::Authority | Role::Auditor | Role::Operator | Role::Ledger => Self::Staff,
            _ => Self::Service(actor.name.clone()),
        }
    }
}

impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject => f.write_str("the person"),
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

    pub(super) fn add(&mut self, current: &CurrentAttribute) {
        let load = load_of(current);
        self.all = self.all.and(load);
        let own = self.by_recorder.entry(Recorder::of(&current.actor)).or_default();
        *own = own.and(load);
    }

    pub(super) fn remove(&mut self, current: &CurrentAttribute) {
        let load = load_of(current);
        self.all = self.all.without(load);
        let recorder = Recorder::of(&current.actor);
        if let Some(own) = self.by_recorder.get_mut(&recorder) {
            *own = own.without(load);
            if own.count == 0 {
                self.by_recorder.remove(&recorder);
            }
        }
    }
}

fn load_of(current: &CurrentAttribute) -> Load {
    Load::of(&current.attribute)
}

/// Limits on the attributes of one data subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeLimits {
    /// The limit for what one service recorded.
    pub service: Load,
    /// The limit for all attributes. Services leave an eighth of it to the data subject and to stewards.
    pub subject: Load,
}

impl Default for AttributeLimits {
    fn default() -> Self {
        Self {
            service: Load { count: 4_000, bytes: 1 << 20, embedding_bytes: 4 << 20 },
            subject: Load { count: 10_000, bytes: 3 << 20, embedding_bytes: 12 << 20 },
        }
    }
}

/// The limit that a write would exceed. Each variant contains only what the caller may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeLimitReached {
    /// The service has reached the limit of one service.
    OfService {
        /// What the service itself recorded.
        used: Load,
        /// The limit of one service.
        max: Load,
    },
    /// The limit of the data subject is reached. A service gets this variant, because it may learn only its
    /// own share.
    OfSubject {
        /// What the service itself recorded.
        used: Load,
    },
    /// The limit of the data subject is reached. The data subject and stewards get this variant.
    OfSubjectByRecorder {
        /// What all recorders together recorded.
        used: Load,
        /// The limit of the data subject.
        max: Load,
        /// The load of each recorder, the largest first.
        by: Vec<(Recorder, Load)>,
    },
}

impl fmt::Display for AttributeLimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfService { used, max } => write!(
                f,
                "this service recorded {used} about this person, and may record at most {max}; remove some of \
                 them, or replace them under their keys"
            ),
            Self::OfSubject { used } => write!(
                f,
                "the limit for attributes of this person is reached; this service recorded {used}: remove some of \
                 them, or replace them under their keys"
            ),
            Self::OfSubjectByRecorder { used, max, by } => {
                write!(
                    f,
                    "there are {used} about the person, and at most {max} are allowed; remove some of them"
                )?;
                let Some((largest, load)) = by.first() else { return Ok(()) };
                write!(f, ". Most are by {largest}: {load}")
            }
        }
    }
}

impl AttributeLimits {
    /// Whether this additional load fits within the limits, even if it replaces no attribute.
    #[must_use]
    pub fn has_room(&self, recorder: &Recorder, before: &RecorderUsage, more: Load) -> bool {
        let fits = |load: Load, max: Load| {
            let fits_bytes = load.bytes <= max.bytes && load.embedding_bytes <= max.embedding_bytes;
            load.count <= max.count && fits_bytes
        };
        let in_total = fits(before.all.and(more), self.subject_limit_for(recorder));
        in_total && (!is_service(recorder) || fits(before.of(recorder).and(more), self.service))
    }

    /// Checks the usage after a write against the limits. A write that does not increase the usage always
    /// passes.
    ///
    /// # Errors
    /// The usage exceeds the limit of one service or that of the data subject.
    pub fn check(
        &self,
        recorder: &Recorder,
        before: &RecorderUsage,
        after: &RecorderUsage,
    ) -> Result<(), AttributeLimitReached> {
        let own = before.of(recorder);
        if is_service(recorder) && after.of(recorder).outgrows(self.service, own) {
            return Err(AttributeLimitReached::OfService { used: own, max: self.service });
        }
        if !after.all.outgrows(self.subject_limit_for(recorder), before.all) {
            return Ok(());
        }
        if is_service(recorder) {
            return Err(AttributeLimitReached::OfSubject { used: own });
        }
        Err(AttributeLimitReached::OfSubjectByRecorder {
            used: before.all,
            max: self.subject,
            by: before.largest_first(),
        })
    }

    fn subject_limit_for(&self, recorder: &Recorder) -> Load {
        if is_service(recorder) { self.subject.less_reserve() } else { self.subject }
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

    fn load(count: usize, bytes: usize) -> Load {
        Load { count, bytes, embedding_bytes: 0 }
    }

    fn usage(loads: &[(&str, Load)]) -> RecorderUsage {
        let mut usage = RecorderUsage::default();
        for (name, load) in loads {
            let recorder =
                if name.is_empty() { Recorder::Subject } else { Recorder::Service((*name).into()) };
            usage.all = usage.all.and(*load);
            usage.by_recorder.insert(recorder, *load);
        }
        usage
    }

    const LIMITS: AttributeLimits = AttributeLimits {
        service: Load { count: 10, bytes: 100, embedding_bytes: 64 },
        subject: Load { count: 16, bytes: 800, embedding_bytes: 512 },
    };

    fn check(
        by: &Recorder,
        before: &[(&str, Load)],
        after: &[(&str, Load)],
    ) -> Result<(), AttributeLimitReached> {
        let (before, after) = (usage(before), usage(after));
        let more = load(after.all.count - before.all.count, after.all.bytes - before.all.bytes);
        let checked = LIMITS.check(by, &before, &after);
        // If `has_room` says yes, the full check agrees.
        assert!(checked.is_ok() || !LIMITS.has_room(by, &before, more));
        checked
    }

    #[test]
    fn embeddings_have_their_own_limit() {
        let tutor = Recorder::Service("tutor".into());
        let with = |embedding_bytes| Load { embedding_bytes, ..load(1, 10) };
        let (before, full) = (usage(&[("tutor", with(60))]), usage(&[("tutor", with(65))]));
        assert!(
            LIMITS.check(&tutor, &before, &full).is_err() && LIMITS.check(&tutor, &full, &before).is_ok()
        );
        let more = |embedding_bytes| Load { embedding_bytes, ..Load::default() };
        assert!(LIMITS.has_room(&tutor, &before, more(4)) && !LIMITS.has_room(&tutor, &before, more(5)));
        assert_eq!(with(65).to_string(), "1 attribute (10 bytes, and 65 bytes of embeddings)");
    }

    #[test]
    fn a_service_has_its_own_limit_by_count_and_by_bytes() {
        let tutor = Recorder::Service("tutor".into());
        let full = [("tutor", load(10, 50))];
        assert_eq!(check(&tutor, &[("tutor", load(9, 10))], &full), Ok(()));
        let max = Load { embedding_bytes: 64, ..load(10, 100) };
        let reached = AttributeLimitReached::OfService { used: load(10, 50), max };
        assert_eq!(check(&tutor, &full, &[("tutor", load(11, 51))]), Err(reached));
        assert!(check(&tutor, &[("tutor", load(1, 99))], &[("tutor", load(2, 101))]).is_err());
        // The load of another service does not count.
        let coach = Recorder::Service("coach".into());
        assert_eq!(check(&coach, &full, &[("tutor", load(10, 50)), ("coach", load(1, 5))]), Ok(()));
    }

    #[test]
    fn services_leave_room_for_the_data_subject() {
        let filled = [("a", load(10, 10)), ("b", load(4, 10))];
        let coach = Recorder::Service("b".into());
        let more = [("a", load(10, 10)), ("b", load(5, 11))];
        assert_eq!(
            check(&coach, &filled, &more),
            Err(AttributeLimitReached::OfSubject { used: load(4, 10) })
        );
        let own = [("a", load(10, 10)), ("b", load(4, 10)), ("", load(2, 8))];
        assert_eq!(check(&Recorder::Subject, &filled, &own), Ok(()));
        let reached =
            check(&Recorder::Staff, &own, &[("a", load(10, 10)), ("b", load(4, 10)), ("", load(3, 9))]);
        let message = reached.unwrap_err().to_string();
        assert!(
            message.contains("16 attributes (28 bytes)") && message.contains("service `a`: 10 attributes"),
            "{message}"
        );
    }

    #[test]
    fn a_write_that_does_not_grow_the_usage_is_accepted_above_the_limit() {
        let over = usage(&[("tutor", load(50, 5_000))]);
        for recorder in [Recorder::Service("tutor".into()), Recorder::Subject] {
            assert_eq!(LIMITS.check(&recorder, &over, &over), Ok(()));
            assert_eq!(LIMITS.check(&recorder, &over, &usage(&[("tutor", load(50, 4_999))])), Ok(()));
            assert!(LIMITS.check(&recorder, &over, &usage(&[("tutor", load(50, 5_001))])).is_err());
        }
    }

    proptest! {
        #[test]
        fn usage_equals_the_sum_over_current_attributes(history in histories()) {
            let state = SubjectState::fold(&history);
            let mut counted = RecorderUsage::default();
            state.attributes.values().for_each(|current| counted.add(current));
            prop_assert_eq!(state.usage, counted);
        }
    }
}
