//! The scope of an erasure, as requests, events and refusals name it.

use crate::domain::attribute::Secret;
use crate::domain::event::{ErasureRefused, ErasureScope, RequestSubmitted};
use crate::domain::ids::EventId;
use crate::domain::request::RequestRecord;
use std::collections::BTreeSet;

/// The scope of an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// The classes `Profile` and `Uses`, and requests that contain details or keys.
    Profile,
    /// One attribute key.
    Key(String),
    /// One category and the categories below it.
    Category(String),
    /// Every event whose text holds this text, or nearly so ([`crate::domain::text_search`]).
    Content(Secret),
    /// Exactly these versions and what depends on them; used by retention.
    Versions(BTreeSet<u64>),
}

impl Scope {
    /// Whether it is a text. No event that stays may have it, or a hash by which a guess of it is confirmed.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Content(_))
    }

    /// The scope as the log records it.
    #[must_use]
    pub fn kind(&self) -> ErasureScope {
        match self {
            Self::All => ErasureScope::All,
            Self::Profile => ErasureScope::Profile,
            Self::Key(_) => ErasureScope::Key,
            Self::Category(_) => ErasureScope::Category,
            Self::Content(_) => ErasureScope::Content,
            Self::Versions(_) => ErasureScope::Retention,
        }
    }

    /// The scope that a request for erasure names; `None` if the request's event was erased or has only the
    /// hash of a key.
    #[must_use]
    pub fn of_request(record: &RequestRecord) -> Option<Self> {
        let submitted = record.submitted.as_ref()?;
        match submitted.scope {
            ErasureScope::All => Some(Self::All),
            ErasureScope::Profile => Some(Self::Profile),
            ErasureScope::Key => submitted.keys.first().cloned().map(Self::Key),
            ErasureScope::Category => Some(Self::Category(submitted.category.clone())),
            ErasureScope::Content => Some(Self::Content(Secret::new(submitted.details.clone()))),
            ErasureScope::Retention | ErasureScope::Unspecified => None,
        }
    }

    /// A request for the erasure of this scope. Only the fields of the scope are set.
    #[must_use]
    pub fn submission(&self) -> RequestSubmitted {
        let mut submitted = RequestSubmitted { scope: self.kind(), ..RequestSubmitted::default() };
        match self {
            Self::Category(category) => submitted.category.clone_from(category),
            Self::Key(key) => submitted.keys.push(key.clone()),
            Self::Content(text) => text.expose().clone_into(&mut submitted.details),
            Self::All | Self::Profile | Self::Versions(_) => {}
        }
        submitted
    }

    /// The refusal of a request for the erasure of this scope, of which nothing is erased. The legal ground
    /// of the refusal is not set.
    #[must_use]
    pub fn refusal(&self, request: EventId) -> ErasureRefused {
        let mut refused =
            ErasureRefused { request, scope: self.kind(), whole: true, ..ErasureRefused::default() };
        match self {
            Self::Category(category) => refused.category.clone_from(category),
            Self::Key(key) => refused.key.clone_from(key),
            // The event never has the text. It keeps everything from use that the text may be in.
            Self::All | Self::Profile | Self::Content(_) | Self::Versions(_) => {}
        }
        refused
    }
}
