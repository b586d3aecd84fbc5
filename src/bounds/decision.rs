//! The decision about one case: which attributes are allowed, and which are withheld and why. A case is a
//! use of a data subject's attributes by one recipient, for one purpose, at one time.

use crate::bounds::error::Denial;
use crate::bounds::thresholds::Thresholds;
use crate::domain::DAY_MS;
use crate::domain::consent::{ConsentRecord, Cover};
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::WithheldClass;
use crate::domain::ids::EventId;
use crate::domain::legal_basis::Basis;
use std::sync::Arc;

/// An attribute that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Its key.
    pub key: String,
    /// The event that recorded it.
    pub event_id: EventId,
    /// Its category.
    pub category: String,
    /// What the use rests on.
    pub basis: Basis,
    /// When the consent or the attribute ends, whichever is first, milliseconds since the Unix epoch.
    pub ends_ms: Option<u64>,
}

/// The decision about a case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The allowed attributes, sorted by key.
    pub allowed: Vec<Allowed>,
    /// The withheld classes, sorted by category, provenance and reason.
    pub withheld: Vec<WithheldClass>,
    /// The earliest end of an allowed attribute, milliseconds since the Unix epoch.
    pub ends_ms: Option<u64>,
    /// Positions of the bounds that the decision was made under.
    pub bounds: Vec<u64>,
}

/// What policies may know about a consent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ConsentTraits<'a> {
    pub(crate) explicit: bool,
    pub(crate) guardian: bool,
    /// Whether the consent names the conversation.
    pub(crate) asked: bool,
    /// Whether the consent names the purpose itself and the notice that the data subject saw.
    pub(crate) noticed: bool,
    /// Whole days since the data subject gave the consent, rounded to what the bounds distinguish.
    pub(crate) days: u64,
    /// The id of the notice; empty if there is none, or if the bounds do not distinguish notices.
    pub(crate) notice: &'a str,
    /// The version of the notice; empty as above.
    pub(crate) notice_version: &'a str,
}

impl<'a> ConsentTraits<'a> {
    pub(super) fn of(
        consent: &'a ConsentRecord,
        purpose: &str,
        thresholds: &Thresholds,
        now_ms: u64,
    ) -> Self {
        let terms = &consent.terms;
        let names_purpose = terms.purposes.iter().any(|named| named == purpose);
        let notice = terms.notice.as_ref().filter(|_| thresholds.distinguish_notices());
        Self {
            explicit: terms.explicit,
            guardian: terms.guardian,
            asked: !terms.interactions.is_empty(),
            noticed: names_purpose && terms.notice.is_some(),
            days: thresholds.round_consent(now_ms.saturating_sub(consent.said_ms()) / DAY_MS),
            notice: notice.map_or("", |notice| &notice.id),
            notice_version: notice.map_or("", |notice| &notice.version),
        }
    }
}

/// Attributes that are withheld for the same reason.
pub(crate) struct Withheld<'a> {
    /// The first of these attributes.
    pub first: &'a CurrentAttribute,
    pub denial: Arc<Denial>,
    pub cover: Cover,
    pub count: u32,
}
