//! After a restore nothing may be used until somebody confirms it: a withdrawal, an objection or a restriction that was
//! given since the backup is lost with the log, and what it stopped must not come back in silence. Recording goes on, so
//! that what is missing can be said again.

use crate::app::error::AppError;
use crate::app::log::append::{Begun, Receipt};
use crate::app::{App, Caller, WriteOptions};
use crate::bounds::Decision;
use crate::domain::event::{Event, RestoreConfirmed};
use crate::domain::profile::SubjectState;
use sayso_proof::event::{Provenance, Reason, Tier, WithheldClass};
use std::collections::BTreeMap;
use std::sync::Arc;

impl App {
    /// Says in the log that what was given since the backup is in it again, as far as it can be found; use goes on.
    ///
    /// # Errors
    /// No restore waits to be confirmed; or the event can't be written.
    pub async fn confirm_restore(
        self: &Arc<Self>,
        caller: &Caller,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        if let Some(Begun::Replayed(receipt, _)) =
            self.replay(&self.request_stamp(caller, options)?, false)?
        {
            return Ok(receipt);
        }
        let restore = self.rules().unconfirmed().map(|restored| restored.restore.clone());
        let restore = restore.ok_or(AppError::Precondition("no restore waits to be confirmed"))?;
        let confirmed = Event::RestoreConfirmed(RestoreConfirmed { restore });
        self.publish(caller, vec![confirmed], options).await
    }

    /// Whether use waits for a restore to be confirmed.
    #[must_use]
    pub fn waits_for_confirmation(&self) -> bool {
        self.rules().unconfirmed().is_some()
    }
}

/// A decision while a restore waits to be confirmed: what would be allowed is withheld for that.
pub(crate) fn withhold_until_confirmed(decision: Decision, state: &SubjectState) -> Decision {
    // It shall be as easy to withdraw as to give consent: once has to be enough.
    withhold(decision, state, (Reason::RestoreUnconfirmed, "built-in/restore", "GDPR Art. 7(3)"))
}

/// What would be allowed is withheld, for a reason that is not the person's: the reason, the policy's name, the article.
pub(crate) fn withhold(
    mut decision: Decision,
    state: &SubjectState,
    (reason, policy, article): (Reason, &str, &str),
) -> Decision {
    let mut classes: BTreeMap<(String, i32), u32> = BTreeMap::new();
    for allowed in std::mem::take(&mut decision.allowed) {
        let held = state.attributes.get(&allowed.key);
        let provenance = held.map_or(Provenance::Unspecified, |held| held.attribute.provenance);
        let count = classes.entry((allowed.category, provenance.into())).or_default();
        *count = count.saturating_add(1);
    }
    decision.withheld.extend(classes.into_iter().map(|((category, provenance), count)| WithheldClass {
        category,
        provenance,
        count,
        reason: reason.into(),
        decided_by: Tier::Provider.into(),
        policy: policy.into(),
        article: article.into(),
        ..WithheldClass::default()
    }));
    decision.withheld.sort_by_key(|class| (class.category.clone(), class.provenance, class.reason));
    decision.ends_ms = None;
    decision
}
