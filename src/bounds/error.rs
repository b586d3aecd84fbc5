//! The reasons why bounds cannot be compiled, and the denial of a use or of a recording.

use crate::domain::event::{Reason, Tier};

/// Why bounds cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum BoundsError {
    /// The shipped schema, or the entities made from the vocabulary, are not valid.
    #[error("schema: {0}")]
    Schema(String),
    /// A pack does not parse or does not validate.
    #[error("pack `{pack}`: {problem}")]
    Pack {
        /// The name of the pack.
        pack: String,
        /// Each problem on a line of its own, with its line and column.
        problem: String,
    },
    /// A pack of the public tier permits; public bounds may only forbid.
    #[error("pack `{0}`: public bounds may only forbid")]
    PermitInPublic(String),
    /// A pack does not belong to any of the three tiers, so it would never be evaluated.
    #[error("pack `{0}`: its tier must be public, provider or individual")]
    Tier(String),
    /// Policies of other callers are being compiled; the caller may retry.
    #[error("other policies are being compiled; retry later")]
    Busy,
    /// The engine panicked while it read the policies.
    #[error("the policies cannot be compiled, because the policy engine failed")]
    Unreadable,
}

/// Why a use or a recording is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The tier that decided.
    pub tier: Tier,
    /// The policy that decided, as `pack/id`.
    pub policy: String,
    /// The article of law that the policy implements; empty if it names none.
    pub article: String,
    /// The reason; `None` if it follows from the data subject's own consent decisions.
    pub reason: Option<Reason>,
}

impl Denial {
    /// Approximate bytes of memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>().saturating_add(self.policy.len()).saturating_add(self.article.len())
    }
}

pub(crate) fn error(tier: Tier, policy: &str) -> Denial {
    Denial { tier, policy: policy.to_owned(), article: String::new(), reason: Some(Reason::PolicyError) }
}

pub(crate) fn schema_error(error: impl std::fmt::Display) -> BoundsError {
    BoundsError::Schema(error.to_string())
}
