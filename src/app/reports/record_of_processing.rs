//! Makes the record of processing activities (GDPR Art. 30(1)) from the purposes and categories in force,
//! the controller's configuration, the grants and the current attributes.

use crate::app::error::{AppError, Cause};
use crate::app::reports::Reports;
use crate::audit::transparency::{self, Processing, Recipients};
use crate::domain::event::Event;
use crate::domain::profile::SubjectState;
use std::sync::Arc;

impl Reports {
    /// The record of processing, and its HTML page if `html` is set (otherwise empty). It names purposes,
    /// categories and recipients, but no data subject.
    ///
    /// # Errors
    /// The store fails.
    pub async fn record_of_processing(
        self: &Arc<Self>,
        html: bool,
    ) -> Result<(Processing, String), AppError> {
        let reports = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let record = reports.make_record()?;
            let page = if html {
                transparency::record_page(reports.core.ledger.origin(), &record)
            } else {
                String::new()
            };
            Ok((record, page))
        });
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }

    fn make_record(&self) -> Result<Processing, AppError> {
        let tree_size = self.core.ledger.checkpoint().size;
        let mut found = Recipients::default();
        self.for_each_subject(|_, keys| {
            let mut state = SubjectState::default();
            self.for_each_entry(keys, |event, _| {
                state.apply(event);
                match &event.event {
                    Event::GrantIssued(issued) => found.add(issued, event.recorded_at_ms),
                    Event::RecipientsKept(kept) => found.add_kept(kept),
                    _ => {}
                }
            })?;
            found
                .stored
                .extend(state.attributes.into_values().map(|current| current.attribute.category.clone()));
            Ok(true)
        })?;
        let declared = self.settings.processing.clone();
        let rules = self.core.rules();
        Ok(transparency::record(&rules.vocabulary, &found, declared, self.core.now_ms(), tree_size))
    }
}
