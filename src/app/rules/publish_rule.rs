//! Records an event that changes a rule, such as a version of bounds or the definition of a purpose, and
//! revokes the grants that the changed rule contradicts.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::receipt::RequestStamp;
use crate::app::log::system_stream::SystemEvent;
use crate::app::rules::RuleChanges;
use crate::app::rules::publish_bounds::Published;
use crate::app::rules::revocation_task::RulesVersion;
use std::sync::Arc;
use tokio::sync::RwLockWriteGuard;

impl RuleChanges {
    /// Records a checked event. `exclusive` is the lock on the rules, held since the check. Returns when
    /// every grant that the event contradicts is revoked. `about_ms` is the time that the caller states,
    /// milliseconds since the Unix epoch; `proofs` asks for inclusion proofs. If the event comes into
    /// force later, it revokes nothing yet.
    ///
    /// # Errors
    /// The store fails.
    pub(super) async fn publish_rule(
        self: &Arc<Self>,
        exclusive: RwLockWriteGuard<'_, ()>,
        caller: &Caller,
        about_ms: u64,
        event: SystemEvent,
        request_stamp: RequestStamp,
        proofs: bool,
    ) -> Result<Published, AppError> {
        let before = RulesVersion::of(&self.core.rules());
        let (mut receipt, _) =
            self.core.publish_as(caller.actor(), about_ms, vec![event], request_stamp).await?;
        // Later decisions see the new rules. The grants of earlier decisions are durable, so the revocation
        // pass finds them.
        drop(exclusive);
        receipt.events = self.core.attach_proofs(receipt.events, proofs)?;
        let is_unchanged = RulesVersion::of(&self.core.rules()) == before;
        let grants_revoked = if is_unchanged { 0 } else { self.revoke_contradicted().await? };
        Ok(Published { receipt, grants_revoked })
    }
}
