//! The standing of a grant: whether it is valid, until when, and, if it is not valid, why.

use crate::domain::event::{ErasureScope, Reason};

/// The standing of a grant: whether it is valid, until when, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether the grant may be used.
    pub is_valid: bool,
    /// When the grant expires, milliseconds since the Unix epoch; 0 if the grant was erased.
    pub expires_at_ms: u64,
    /// Why the grant is not valid.
    pub reason: Option<Reason>,
}

/// The standing of a grant. If a part of the data was erased, also which part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedGrant {
    /// Whether the grant is valid.
    pub standing: Standing,
    /// What was erased, if the grant's record was erased.
    pub erased_scope: ErasureScope,
    /// Those of the caller's keys that were erased.
    pub erased_keys: Vec<String>,
}

impl From<Standing> for CheckedGrant {
    fn from(standing: Standing) -> Self {
        Self { standing, erased_scope: ErasureScope::Unspecified, erased_keys: Vec::new() }
    }
}
