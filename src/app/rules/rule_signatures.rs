//! Checks the signatures of rules. A signature covers not only the event but also this log, the tier, the
//! number of the version and the time of signing. So it can't be used for another log or version.

use crate::app::error::AppError;
use crate::app::rules::RuleChanges;
use crate::domain::event::{Event, Role, codec};
use crate::domain::wording;
use sayso_proof::entry::Entry;
use sayso_proof::event::WriterSignature;
use sayso_proof::rule::{Rule, RuleTier};
use sayso_proof::writer::{self, SIGNATURE_AGE_MS_MAX, SIGNATURE_AHEAD_MS_MAX};

/// The roles that publish public rules.
pub(super) const AUTHORITY: &[Role] = &[Role::Authority];
/// The roles that publish the provider's rules.
pub(super) const STEWARD: &[Role] = &[Role::Steward];

/// What the signature of the next version of a rule is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextVersion {
    /// The origin of the log.
    pub origin: String,
    /// The tier that signs.
    pub tier: RuleTier,
    /// The number of the next version, from 1.
    pub sequence: u64,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

impl RuleChanges {
    /// What the signature of the next version of a rule is bound to.
    #[must_use]
    pub fn next_version(&self, rule: &Rule) -> NextVersion {
        let origin = self.core.ledger.origin().to_owned();
        let sequence = self.versions_of(rule).saturating_add(1);
        NextVersion { origin, tier: rule.tier, sequence, now_ms: self.core.now_ms() }
    }

    /// The number of versions of a rule.
    fn versions_of(&self, rule: &Rule) -> u64 {
        self.core.rules.history().versions_of(rule)
    }

    /// The signature over an event for this log, if it is valid and by this key. A signature that names
    /// no public key counts as a signature by this key.
    ///
    /// # Errors
    /// The signature is missing, invalid or by another key, for which `refusal` is the error. Or it has the
    /// first form, which covers only the event: not the log, the tier, the number of the version or a time.
    pub(super) fn signed_by(
        &self,
        key: &[u8; 32],
        event: &Event,
        signature: Option<WriterSignature>,
        refusal: AppError,
    ) -> Result<WriterSignature, AppError> {
        let Some(signature) = signature else { return Err(refusal) };
        let signature = match signature {
            unnamed if unnamed.public_key.is_empty() => {
                WriterSignature { public_key: key.to_vec(), ..unnamed }
            }
            named => named,
        };
        if !writer::is_bound(&signature) {
            let problem = "must be the number of this version, which the signature covers; `GetNextVersion` \
                           returns it";
            return Err(AppError::invalid("signature.sequence", problem));
        }
        let by = writer::verify(&codec::encode_event(event), self.core.ledger.origin(), Some(&signature));
        let is_by_key = by.is_ok_and(|by| by.to_bytes() == *key);
        if is_by_key { Ok(signature) } else { Err(refusal) }
    }

    /// Checks that a valid signature is for the next version of its rule, and was made in time. The caller
    /// has the lock on the rules.
    ///
    /// # Errors
    /// It is for another version, or its time is not within 30 days before the ledger's.
    pub(super) fn check_binding(&self, event: &Event, signature: &WriterSignature) -> Result<(), AppError> {
        let Some(rule) = Rule::of(&codec::encode_event(event)) else { return Ok(()) };
        let next = self.versions_of(&rule).saturating_add(1);
        if signature.sequence != next {
            let problem = format!("must be {next}, the number of the next version of {rule}; sign it again");
            return Err(AppError::invalid("signature.sequence", problem));
        }
        let (signed_at_ms, now_ms) = (signature.signed_at_ms, self.core.now_ms());
        let is_late = signed_at_ms > now_ms.saturating_add(SIGNATURE_AHEAD_MS_MAX);
        let is_old = now_ms > signed_at_ms.saturating_add(SIGNATURE_AGE_MS_MAX);
        if is_late || is_old {
            let now = wording::time(now_ms);
            let problem = format!("must be at most 30 days before the ledger's time, {now}; sign it again");
            return Err(AppError::invalid("signature.signed_at", problem));
        }
        Ok(())
    }

    /// The signature of the system event at a position, if it has one.
    pub(super) fn signature_at(&self, position: u64) -> Result<Option<WriterSignature>, AppError> {
        let bytes = self.core.stored_entry(position)?.bytes.ok_or(AppError::Erased)?;
        Ok(Entry::parse(&bytes)?.plain_body()?.and_then(|body| body.writer_signature))
    }
}
