//! A decision about one case: what is allowed, and what is withheld and why.

use crate::bounds::error::Denial;
use crate::domain::consent::Cover;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::ids::EventId;
use sayso_proof::event::WithheldClass;
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
    /// The consent event that allows it.
    pub consent: EventId,
    /// When consent or attribute end, whichever is first; milliseconds since the Unix epoch.
    pub ends_ms: Option<u64>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// By key.
    pub allowed: Vec<Allowed>,
    /// Sorted by category, provenance, reason.
    pub withheld: Vec<WithheldClass>,
    /// The earliest end of anything allowed.
    pub ends_ms: Option<u64>,
    /// Positions of the bounds that it stands on.
    pub bounds: Vec<u64>,
}

/// One ground that a use could stand on, and what more than a yes it is.
#[derive(Clone, Copy)]
pub(crate) struct Ground {
    pub(crate) cover: Cover,
    pub(crate) explicit: bool,
    pub(crate) guardian: bool,
    /// It names the conversation.
    pub(crate) asked: bool,
}

/// Attributes that are withheld alike.
pub(crate) struct Withheld<'a> {
    /// One of them.
    pub held: &'a CurrentAttribute,
    pub denial: Arc<Denial>,
    pub cover: Cover,
    pub count: u32,
}
