//! Why bounds could not be compiled, and why a policy denied.

use sayso_proof::event::{Reason, Tier};

/// Why bounds can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BoundsError {
    /// The shipped schema, or entities made from the vocabulary, are not valid.
    #[error("schema: {0}")]
    Schema(String),
    /// A pack does not parse or does not validate; says where.
    #[error("pack `{pack}`: {problem}")]
    Pack {
        /// Which pack.
        pack: String,
        /// Line, column and what is wrong, each on a line of its own.
        problem: String,
    },
    /// Public bounds only forbid.
    #[error("pack `{0}`: public bounds may only forbid")]
    PermitInPublic(String),
    /// Of none of the three tiers, so that nothing would ever read it.
    #[error("pack `{0}`: its tier must be public, provider or individual")]
    Tier(String),
    /// Policies of other callers are being read; it may be tried again.
    #[error("other policies are being read")]
    Busy,
    /// The engine failed over them.
    #[error("the policies can't be read")]
    Unreadable,
}

/// What stands against a use or a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Who decided.
    pub tier: Tier,
    /// `pack/id`.
    pub policy: String,
    /// The article that the policy comes from; empty where it names none.
    pub article: String,
    /// None: the person's own decisions say it.
    pub reason: Option<Reason>,
}

impl Denial {
    /// What it takes of memory, about.
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
