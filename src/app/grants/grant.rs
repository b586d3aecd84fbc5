//! A request for a grant, and the answer.

use crate::app::grants::evaluate_use::{Allowed, UseCase};
use crate::app::log::receipt::Receipt;
use crate::domain::ids::GrantId;
use sayso_proof::event::WithheldClass;

/// What a service asks for.
#[derive(Clone, Debug, Default)]
pub struct GrantRequest {
    /// Purpose, categories, keys.
    pub asked: UseCase,
    /// How long, milliseconds: 1 second to 24 hours; none: 10 minutes.
    pub ttl_ms: Option<u64>,
}

/// A grant.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// What may be used.
    pub allowed: Vec<Allowed>,
    /// What may not.
    pub withheld: Vec<WithheldClass>,
    /// Milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// The same request was made before, and what it was granted does not stand any more.
    pub has_ended: bool,
    /// The `GrantIssued` event.
    pub receipt: Receipt,
}

/// What asking gave.
#[derive(Clone, Debug)]
pub enum Issued {
    /// A grant, perhaps with nothing in it.
    Grant(Box<Grant>),
    /// Nothing is held about the person: there is nothing to grant.
    UnknownSubject,
}
