//! Records objection, restriction, opt-out and pause, and their lifting.

use crate::app::caller::Caller;
use crate::app::consent::Consent;
use crate::app::consent::record_consent::ConsentChanged;
use crate::app::error::AppError;
use crate::app::log::append::{Begun, Timestamping};
use crate::app::log::receipt::WriteOptions;
use crate::app::log::revocation::revoked_ids;
use crate::app::statement_rules;
use crate::domain::attribute::is_text;
use crate::domain::event::{Event, SignalKind};
use crate::domain::ids::SubjectId;
use crate::domain::vocabulary;
use std::sync::Arc;

const INTERACTION_BYTES_MAX: usize = 128;

/// A signal by a person.
#[derive(Clone, Debug)]
pub struct NewSignal {
    /// What.
    pub kind: SignalKind,
    /// For which purposes; none: all.
    pub purposes: Vec<String>,
    /// Takes an earlier one back.
    pub lift: bool,
    /// Only of a pause: the one conversation that it is for; empty: everywhere. At most 128 bytes.
    pub interaction: String,
}

impl Consent {
    /// Records a signal and revokes the grants that it contradicts. A signal other than a pause that names a conversation is
    /// recorded for all: a no is not refused for saying too much.
    ///
    /// # Errors
    /// Out of bounds, a lifting that is not the caller's, erased, stale; or the store.
    pub async fn record_signal(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        mut signal: NewSignal,
        options: &WriteOptions,
    ) -> Result<ConsentChanged, AppError> {
        if signal.kind == SignalKind::Unspecified {
            return Err(AppError::invalid("kind", "must say which signal"));
        }
        statement_rules::check_signal(caller, &signal)?;
        if signal.kind != SignalKind::Pause && !signal.lift {
            signal.interaction.clear();
        }
        if !is_text(&signal.interaction, 0, INTERACTION_BYTES_MAX) {
            return Err(AppError::invalid("interaction", "must have at most 128 bytes"));
        }
        if !signal.interaction.is_empty() && signal.kind != SignalKind::Pause {
            return Err(AppError::invalid("interaction", "is for a pause only"));
        }
        let rules = self.core.rules();
        if let Some(purpose) = signal.purposes.iter().find(|id| !rules.vocabulary.has_purpose(id)) {
            let near = rules.vocabulary.near_purposes(purpose);
            return Err(AppError::invalid("purposes", vocabulary::unknown("purpose", &near)));
        }
        let append = match self.core.begin(caller, subject, options, None, Timestamping::Distinct).await? {
            Begun::Replayed(receipt, events) => {
                return Ok(ConsentChanged {
                    receipt,
                    revoked_grants: revoked_ids(caller, events.iter().map(|event| &event.event)),
                });
            }
            Begun::Append(append) => append,
        };
        statement_rules::check_signal_lift(caller, &append.stream.read().state, &signal)?;
        let NewSignal { kind, purposes, lift: lifted, interaction } = signal;
        let event = Event::Signal { kind, purposes, lifted, interaction };
        let pending_events = self.core.with_revocations(&append, vec![self.core.plan(event)]);
        let written = self.core.commit(append, pending_events).await?;
        Ok(ConsentChanged { revoked_grants: written.revoked, receipt: written.receipt })
    }
}
