//! The types of a request for a grant and of its answer.

use crate::app::grants::evaluate_use::{Allowed, UseCase};
use crate::app::grants::relevance::Relevance;
use crate::app::log::receipt::Receipt;
use crate::domain::event::{Ranking, WithheldClass};
use crate::domain::ids::GrantId;

/// A request for a grant.
#[derive(Clone, Debug, Default)]
pub struct GrantRequest {
    /// Purpose, categories and keys.
    pub asked: UseCase,
    /// The lifetime, milliseconds: 1 second to 24 hours; `None` for 10 minutes.
    pub ttl_ms: Option<u64>,
    /// What the attributes should be relevant to; `None` for every permitted attribute.
    pub relevance: Option<Relevance>,
}

/// A grant.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The attributes that may be used.
    pub allowed: Vec<Allowed>,
    /// What is withheld, by class.
    pub withheld: Vec<WithheldClass>,
    /// Milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// How the attributes were chosen; `None` if every permitted attribute is allowed.
    pub ranking: Option<Ranking>,
    /// Whether this grant was issued for an earlier call with the same request and is no longer valid.
    pub has_ended: bool,
    /// The receipt of the `GrantIssued` event.
    pub receipt: Receipt,
}

/// The answer to a request for a grant.
#[derive(Clone, Debug)]
pub enum Issued {
    /// A grant, which may allow nothing.
    Grant(Box<Grant>),
    /// Nothing is recorded about the data subject, so there is nothing to grant.
    UnknownSubject,
}
