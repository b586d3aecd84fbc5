//! Data subject requests: their status and the deadlines for answering them.

use super::event::{Actor, RequestDecided, RequestSubmitted};
use super::ids::EventId;
pub use crate::domain::event::{Ground, Jurisdiction, RequestKind, RequestOutcome, Role};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

/// Bytes of the details that the data subject writes.
pub const DETAILS_BYTES_MAX: usize = 2_048;
/// Bytes of a reason.
pub const REASON_BYTES_MAX: usize = 512;
/// Attribute keys that a request may name.
pub const KEYS_MAX: usize = 128;
/// Changes that the completion of a rectification may list.
pub const CHANGES_MAX: usize = 128;

/// A request and its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestRecord {
    /// Its id.
    pub id: EventId,
    /// What the request asks for.
    pub kind: RequestKind,
    /// The request as submitted; `None` if that event was erased.
    pub submitted: Option<RequestSubmitted>,
    /// Version of the event that submitted it, within the subject's stream.
    pub version: u64,
    /// When it was submitted, milliseconds since the Unix epoch.
    pub submitted_at_ms: u64,
    /// The deadline for the answer, milliseconds since the Unix epoch.
    pub due_at_ms: u64,
    /// Why the deadline was extended, if it was.
    pub extended_because: Option<String>,
    /// The newest decision about it, if there is one.
    pub decided: Option<Decided>,
    /// The role of the caller that submitted it; unspecified if that event was erased.
    pub submitted_by: Role,
    /// When the person withdrew it, milliseconds since the Unix epoch.
    pub withdrawn_at_ms: Option<u64>,
}

/// The newest decision about a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The decision as recorded.
    pub event: RequestDecided,
    /// Who decided. If the ledger only completed an accepted request, this is who accepted it.
    pub by: Actor,
    /// When they decided, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl RequestRecord {
    /// Whether the request is undecided, or accepted but not yet completed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        if self.withdrawn_at_ms.is_some() {
            return false;
        }
        match &self.decided {
            None => true,
            Some(decided) => decided.event.outcome == RequestOutcome::Accepted,
        }
    }

    /// Whether the request was carried out except for what is kept on a legal ground.
    #[must_use]
    pub fn is_partly_completed(&self) -> bool {
        let outcome = self.decided.as_ref().map(|decided| decided.event.outcome);
        self.withdrawn_at_ms.is_none() && outcome == Some(RequestOutcome::Partly)
    }

    /// Whether the request was refused and still stands: it was not withdrawn or opened again.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        let outcome = self.decided.as_ref().map(|decided| decided.event.outcome);
        self.withdrawn_at_ms.is_none() && outcome == Some(RequestOutcome::Refused)
    }
}

/// The deadline for a request, milliseconds since the Unix epoch: one month (GDPR Art. 12(3)), or 45 days
/// (California: Cal. Civ. Code s. 1798.130(a)(2)(A)). If the last month lacks the day, the period ends on the
/// last day of that month (Regulation 1182/71 Art. 3(2)(c)).
#[must_use]
pub fn due_at_ms(jurisdiction: Jurisdiction, submitted_at_ms: u64) -> u64 {
    match jurisdiction {
        Jurisdiction::California => later(submitted_at_ms, 45.days()),
        Jurisdiction::Gdpr | Jurisdiction::Unspecified => later(submitted_at_ms, 1.month()),
    }
}

/// Like [`due_at_ms`], but after the one possible extension: two further months, or 45 further days. The
/// whole period counts from when the request was submitted.
#[must_use]
pub fn extended_due_at_ms(jurisdiction: Jurisdiction, submitted_at_ms: u64) -> u64 {
    match jurisdiction {
        Jurisdiction::California => later(submitted_at_ms, 90.days()),
        Jurisdiction::Gdpr | Jurisdiction::Unspecified => later(submitted_at_ms, 3.months()),
    }
}

/// Adds a span on the UTC calendar, at the same time of day; clamped to the end of the calendar.
fn later(from_ms: u64, span: Span) -> u64 {
    let later = i64::try_from(from_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .and_then(|from| from.to_zoned_datetime(TimeZone::UTC).checked_add(span).ok())
        .map_or(Timestamp::MAX, |later| later.timestamp());
    u64::try_from(later.as_millisecond()).unwrap_or(from_ms)
}

/// Whether a ground is one of those in GDPR Art. 17(3). On these grounds, data may be kept although its
/// erasure was requested.
#[must_use]
pub fn keeps_data(ground: Ground) -> bool {
    matches!(
        ground,
        Ground::Expression
            | Ground::LegalObligation
            | Ground::PublicHealth
            | Ground::ArchivingResearch
            | Ground::LegalClaims
    )
}

/// The article that a ground comes from.
#[must_use]
pub fn article(ground: Ground) -> &'static str {
    match ground {
        Ground::Expression => "GDPR Art. 17(3)(a)",
        Ground::LegalObligation => "GDPR Art. 17(3)(b)",
        Ground::PublicHealth => "GDPR Art. 17(3)(c)",
        Ground::ArchivingResearch => "GDPR Art. 17(3)(d)",
        Ground::LegalClaims => "GDPR Art. 17(3)(e)",
        Ground::NotIdentified => "GDPR Art. 12(2)",
        Ground::Excessive => "GDPR Art. 12(5)(b)",
        Ground::Compelling => "GDPR Art. 21(1)",
        Ground::NotMet | Ground::Unspecified => "",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::domain::test_times::ms;
    use proptest::prelude::*;

    #[test]
    fn a_deadline_of_a_month_is_a_calendar_month() {
        let due = |at| due_at_ms(Jurisdiction::Gdpr, ms(at));
        assert_eq!(due("2026-11-23T10:00:00Z"), ms("2026-12-23T10:00:00Z"));
        assert_eq!(due("2026-01-31T10:00:00Z"), ms("2026-02-28T10:00:00Z"));
        assert_eq!(due("2028-01-31T10:00:00Z"), ms("2028-02-29T10:00:00Z"));
        assert_eq!(due("2026-12-31T23:59:59Z"), ms("2027-01-31T23:59:59Z"));
        let extended = extended_due_at_ms(Jurisdiction::Gdpr, ms("2026-11-30T10:00:00Z"));
        assert_eq!(extended, ms("2027-02-28T10:00:00Z"));
        let california = due_at_ms(Jurisdiction::California, ms("2026-11-23T10:00:00Z"));
        assert_eq!(california, ms("2027-01-07T10:00:00Z"));
        assert_eq!(
            due("2026-01-29T20:00:00Z"),
            ms("2026-02-28T20:00:00Z"),
            "several dates have the same due date; each keeps its time of day"
        );
    }

    proptest! {
        #[test]
        fn due_dates_keep_their_order_and_their_limits(at in 0_u64..4_000_000_000_000, later in 0_u64..10_000_000_000) {
            let day = super::super::DAY_MS;
            for jurisdiction in [Jurisdiction::Gdpr, Jurisdiction::California] {
                let (due, extended) = (due_at_ms(jurisdiction, at), extended_due_at_ms(jurisdiction, at));
                // Compare dates only. If a month lacks the day, several dates have the same due date, and
                // their times of day are in no particular order.
                prop_assert!(due / day <= due_at_ms(jurisdiction, at + later) / day);
                prop_assert!(due < extended);
                let (days, most) = if jurisdiction == Jurisdiction::Gdpr { (28..=31, 92) } else { (45..=45, 90) };
                prop_assert!(days.contains(&((due - at) / day)));
                prop_assert!((extended - at) / day <= most);
                prop_assert_eq!((due - at) % day, 0);
            }
        }
    }
}
