//! Records the signals of data subjects (objection, restriction, opt-outs, limit on sensitive data, pause),
//! and that a signal is lifted.

use crate::app::caller::Caller;
use crate::app::consent::Consent;
use crate::app::consent::choice::ConsentChanged;
use crate::app::consent::opt_out_effect::{OptOutEffect, opt_out_effect};
use crate::app::consent::remaining_uses::{RemainingUse, remaining_uses};
use crate::app::consent::signal::NewSignal;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun, PendingEvent, Timestamping};
use crate::app::log::idempotency::KeyUse;
use crate::app::log::receipt::WriteOptions;
use crate::app::statement_rules;
use crate::domain::INTERACTION_BYTES_MAX;
use crate::domain::attribute::is_text;
use crate::domain::checks::Checks;
use crate::domain::event::{Event, SignalKind};
use crate::domain::ids::SubjectId;
use crate::domain::profile::SubjectState;
use crate::domain::vocabulary::Vocabulary;
use std::sync::Arc;

impl Consent {
    /// Records a signal and revokes the grants that it contradicts. If a signal other than a pause names a
    /// conversation, it is recorded for all conversations: a refusal by the subject must not fail because of
    /// an extra field. Lifting a signal of a person of whom nothing is recorded leaves nothing in the log. If
    /// the idempotency key was used for another request, the signal is recorded, and the call fails all the
    /// same.
    ///
    /// # Errors
    /// A field is invalid, the caller may not lift this signal, the subject was erased, the expected version
    /// is stale, or the store fails.
    pub async fn record_signal(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        signal: NewSignal,
        options: &WriteOptions,
    ) -> Result<ConsentChanged, AppError> {
        let signal = self.checked(caller, signal)?;
        if signal.lift
            && let Some(answer) = self.lift_for_unknown(caller, subject, options).await?
        {
            return Ok(answer);
        }
        let (begun, key_use) = match signal.lift {
            false => self.core.begin_no(caller, subject, options).await?,
            true => {
                let begun = self.core.begin(caller, subject, options, None, Timestamping::Distinct).await?;
                (begun, KeyUse::Own)
            }
        };
        let append = match begun {
            Begun::Replayed(receipt, events) => {
                let before = self.before(subject, &events).await?;
                let (state, vocabulary) = (&before.state, &before.rules.vocabulary);
                let effect = effect(caller, state, vocabulary, &signal, before.now_ms);
                let remaining_uses = remaining_after(state, vocabulary, &signal, before.now_ms);
                let changed = self.replayed_change(caller, &before, receipt, &events)?;
                return Ok(ConsentChanged { effect, remaining_uses, ..changed });
            }
            Begun::Append(append) => append,
        };
        let mut checks = Checks::new();
        checks.need_name(append.stream.read().state.interaction_problem(&signal.interaction), "interaction");
        checks.finish()?;
        let (effect, remaining_uses) = {
            let (state, vocabulary) = (&append.stream.read().state, &append.rules.vocabulary);
            statement_rules::check_signal_lift(caller, state, vocabulary, &signal)?;
            let effect = effect(caller, state, vocabulary, &signal, append.now_ms);
            (effect, remaining_after(state, vocabulary, &signal, append.now_ms))
        };
        let NewSignal { kind, purposes, lift: lifted, interaction } = signal;
        let events = vec![self.core.plan(Event::Signal { kind, purposes, lifted, interaction })];
        if key_use == KeyUse::Reused {
            return Err(self.record_under_reused_key(append, events).await?);
        }
        let unmatched = self.unmatched(&append, &events)?;
        let frame = self.core.with_revocations(&append, events);
        let written = self.core.commit(append, frame).await?;
        Ok(ConsentChanged {
            revoked_grants: written.revoked,
            receipt: written.receipt,
            unmatched,
            effect,
            remaining_uses,
        })
    }

    /// Records a signal whose idempotency key was used for another request, and returns the error for the
    /// caller. If the same request is repeated, nothing more is recorded.
    async fn record_under_reused_key(
        self: &Arc<Self>,
        append: Append,
        events: Vec<PendingEvent>,
    ) -> Result<AppError, AppError> {
        let append = self.core.as_attempt(append);
        if !self.core.is_already_recorded(&append)? {
            let frame = self.core.with_revocations(&append, events);
            self.core.commit(append, frame).await?;
        }
        Ok(AppError::RefusalsRecorded(Box::new(AppError::KeyReused)))
    }

    /// Checks the fields of a signal, and drops a conversation that the signal can't name.
    fn checked(&self, caller: &Caller, mut signal: NewSignal) -> Result<NewSignal, AppError> {
        if signal.kind == SignalKind::Unspecified {
            return Err(AppError::invalid("kind", "must name a signal"));
        }
        statement_rules::check_signal(caller, &signal)?;
        if signal.kind != SignalKind::Pause && !signal.lift {
            signal.interaction.clear();
        }
        if !is_text(&signal.interaction, 0, INTERACTION_BYTES_MAX) {
            return Err(AppError::invalid("interaction", "must have at most 128 bytes"));
        }
        if !signal.interaction.is_empty() && signal.kind != SignalKind::Pause {
            return Err(AppError::invalid(
                "interaction",
                "must be empty: only a pause can name a conversation",
            ));
        }
        let rules = self.core.rules();
        let unknown = signal.purposes.iter().find(|id| !rules.vocabulary.has_purpose(id));
        let mut checks = Checks::new();
        checks.need_purposes(&rules.vocabulary, unknown, "purposes");
        checks.finish()?;
        Ok(signal)
    }
}

/// The purposes for which data may still be used after an objection. An objection ends no use on the basis of
/// a contract or a legal obligation (GDPR Art. 21(1)).
fn remaining_after(
    state: &SubjectState,
    vocabulary: &Vocabulary,
    signal: &NewSignal,
    now_ms: u64,
) -> Vec<RemainingUse> {
    let is_objection = signal.kind == SignalKind::Objection && !signal.lift;
    if is_objection { remaining_uses(state, vocabulary, now_ms, &signal.purposes) } else { Vec::new() }
}

/// What a signal does in this state, if it is an opt-out.
fn effect(
    caller: &Caller,
    state: &SubjectState,
    vocabulary: &Vocabulary,
    signal: &NewSignal,
    now_ms: u64,
) -> Option<OptOutEffect> {
    let is_opt_out = signal.kind == SignalKind::OptOut && !signal.lift;
    is_opt_out.then(|| opt_out_effect(caller, state, vocabulary, &signal.purposes, now_ms))
}
