//! Makes the proof that the log has a certain number of events about one data subject, or none. It proves
//! what the log committed to, and discloses no event (docs/completeness.md).

use crate::app::error::AppError;
use crate::app::reports::Reports;
use crate::domain::ids::SubjectId;

impl Reports {
    /// Proves what the log has under an id: the number of events and the newest one, or nothing. The proof
    /// contains no event. It is for a commitment that is at least as new as the call.
    ///
    /// # Errors
    /// The store fails.
    pub async fn prove_subject(&self, subject: &SubjectId) -> Result<String, AppError> {
        self.core.prove_subject(subject).await?.to_text()
    }
}
