//! The part of an access package that lists who received data before it was erased.

use crate::app::error::AppError;
use crate::app::rights::export_subject::export::Export;
use crate::domain::event::ErasureScope;
use crate::domain::wording;
use crate::package::PriorRecipient;

impl Export {
    /// The recipients of each partial erasure, in the order of the requests.
    pub(crate) fn prior_recipients(&self) -> Result<Vec<PriorRecipient>, AppError> {
        let found = self.rights.core.prior_recipients(&self.state.rights)?;
        let record = |of: crate::app::PriorRecipient| PriorRecipient {
            name: of.name,
            erased_at: wording::time(of.erased_at_ms),
            scope: match of.scope {
                ErasureScope::Profile => "profile",
                ErasureScope::Category => "category",
                ErasureScope::Key => "key",
                ErasureScope::Content => "content",
                ErasureScope::All | ErasureScope::Retention | ErasureScope::Unspecified => "all",
            },
            category: (!of.category.is_empty()).then(|| self.category(&of.category).title),
            grants: of.grants,
            artifacts: of.artifacts,
            acknowledged: of.acknowledged,
            request: of.request.to_string(),
        };
        Ok(found.into_iter().map(record).collect())
    }
}
