//! Requires a version of a notice: from a stated time on, consents to earlier versions no longer allow uses,
//! so people have to be asked again.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::Begun;
use crate::app::log::receipt::WriteOptions;
use crate::app::log::system_stream::SystemEvent;
use crate::app::rules::RuleChanges;
use crate::app::rules::define_vocabulary::invalid;
use crate::app::rules::publish_bounds::{EFFECTIVE_AHEAD_MS_MAX, Published, unrecorded};
use crate::app::rules::rule_signatures::STEWARD;
use crate::domain::event::{Event, NoticeRequired};
use sayso_proof::event::WriterSignature;
use std::sync::Arc;

impl RuleChanges {
    /// Requires a version of a notice: consents to earlier versions stop counting, now or at a stated time.
    /// Returns when every grant that rests on one is revoked. If the time is yet to come, grants are revoked
    /// then. `signature` is the provider's signature over the event to be recorded.
    ///
    /// # Errors
    /// No key of the provider is configured; the signature is by another key, for another log or not for the
    /// next version; the version is not published, is the notice's first, or is not later than one that is
    /// required already; the time is not within ten years from now; or the store fails.
    pub async fn require_notice(
        self: &Arc<Self>,
        caller: &Caller,
        notice: NoticeRequired,
        signature: Option<WriterSignature>,
        options: &WriteOptions,
    ) -> Result<Published, AppError> {
        let key = self.tier_keys.steward.ok_or(AppError::Precondition(
            "no key of the provider is configured; set `steward_key` in `[bounds]`",
        ))?;
        let from = notice.effective_from_ms;
        let event = Event::NoticeRequired(notice);
        let why = "a required notice must be signed by the provider's key, for this log and this version";
        let refusal = AppError::Denied { why, allowed: STEWARD };
        let signature = self.signed_by(&key, &event, signature, refusal)?;
        let about_ms = self.core.event_time(options)?;
        let request_stamp = self.core.request_stamp(caller, options)?;
        let exclusive = self.core.rules.begin_change().await;
        if let Some(Begun::Replayed(receipt, _)) = self.core.replay(&request_stamp, options.proofs)? {
            return Ok(Published { receipt, grants_revoked: 0 });
        }
        let now_ms = self.core.now_ms();
        if from != 0 && !(now_ms..=now_ms.saturating_add(EFFECTIVE_AHEAD_MS_MAX)).contains(&from) {
            let problem = "must be unset, or from now to ten years ahead";
            return Err(AppError::invalid("notice.effective_from", problem));
        }
        let candidate = unrecorded(caller, event.clone(), now_ms);
        self.core
            .rules
            .history()
            .check_definitions(&[candidate], now_ms)
            .map_err(|problem| invalid("notice", &problem))?;
        self.check_binding(&event, &signature)?;
        let event = SystemEvent { signature: Some(signature), ..SystemEvent::new(event) };
        self.publish_rule(exclusive, caller, about_ms, event, request_stamp, options.proofs).await
    }
}
