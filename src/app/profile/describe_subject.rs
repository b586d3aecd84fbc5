//! Records the description of a data subject, that is, their age and jurisdiction, on which bounds may
//! depend.

use crate::app::caller::Caller;
use crate::app::consent::choice::ConsentChanged;
use crate::app::error::AppError;
use crate::app::log::append::{Begun, Timestamping};
use crate::app::log::receipt::WriteOptions;
use crate::app::log::revocation::revoked_ids;
use crate::app::profile::Profiles;
use crate::app::statement_rules;
use crate::domain::description;
use crate::domain::event::{Event, SubjectDescribed};
use crate::domain::ids::SubjectId;
use crate::domain::unmatched::Unmatched;
use std::sync::Arc;

impl Profiles {
    /// Records a description and revokes the grants that it contradicts: someone described as a child keeps
    /// no grant that a child may not have.
    ///
    /// # Errors
    /// The description is invalid, the caller may not record it, the subject is being erased, the expected
    /// version is stale, or the store failed.
    pub async fn describe_subject(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        description: SubjectDescribed,
        options: &WriteOptions,
    ) -> Result<ConsentChanged, AppError> {
        description::check(&description, self.core.now_ms()).map_err(AppError::Invalid)?;
        statement_rules::check_description(caller, &description)?;
        if description::takes_back(&description)
            && let Some(receipt) = self.core.receipt_if_unknown(caller, subject, options).await?
        {
            return Ok(ConsentChanged {
                revoked_grants: Vec::new(),
                receipt,
                unmatched: vec![Unmatched::Subject],
                effect: None,
                remaining_uses: Vec::new(),
            });
        }
        let append = match self.core.begin(caller, subject, options, None, Timestamping::Shared).await? {
            Begun::Replayed(receipt, events) => {
                return Ok(ConsentChanged {
                    remaining_uses: Vec::new(),
                    receipt,
                    revoked_grants: revoked_ids(caller, events.iter().map(|event| &event.event)),
                    unmatched: Vec::new(),
                    effect: None,
                });
            }
            Begun::Append(append) => append,
        };
        let now_ms = append.now_ms;
        let stated_ms = options.about_ms;
        if stated_ms
            .is_some_and(|ms| append.stream.read().state.description.is_later(&description, ms, now_ms))
        {
            let wrong =
                "must be after the current description was recorded, unless the new one protects more";
            return Err(AppError::invalid("options.about", wrong));
        }
        statement_rules::check_staff_override(caller, &append.stream.read().state, &description, now_ms)?;
        let frame =
            self.core.with_revocations(&append, vec![self.core.plan(Event::SubjectDescribed(description))]);
        let written = self.core.commit(append, frame).await?;
        Ok(ConsentChanged {
            revoked_grants: written.revoked,
            receipt: written.receipt,
            unmatched: Vec::new(),
            effect: None,
            remaining_uses: Vec::new(),
        })
    }
}
