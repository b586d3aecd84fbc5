//! Publishes bounds. Each of the tiers public and provider has its own role, which publishes, and its own
//! signing key. A version of a pack is published once, and is in force from the time that it states.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::Begun;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::system_stream::SystemEvent;
use crate::app::rules::RuleChanges;
use crate::app::rules::rule_signatures::{AUTHORITY, STEWARD};
use crate::bounds::engine::{UNRECORDED, check_offered};
use crate::bounds::error::BoundsError;
use crate::bounds::rulebook::Version;
use crate::bounds::shipped_packs::schema_digest;
use crate::domain::DAY_MS;
use crate::domain::attribute::is_text;
use crate::domain::checks::Checks;
use crate::domain::event::{BoundsPublished, Event, Recorded, RequestKey, Tier};
use crate::domain::ids::EventId;
use crate::domain::names;
use crate::domain::{Violation, Violations};
use sayso_proof::event::WriterSignature;
use std::sync::Arc;

const NAME_BYTES_MAX: usize = 64;
/// How far in the future a version may come into force: ten years.
pub(crate) const EFFECTIVE_AHEAD_MS_MAX: u64 = 3_652 * DAY_MS;

/// The result of publishing bounds.
#[derive(Clone, Debug)]
pub struct Published {
    /// The `BoundsPublished` event.
    pub receipt: Receipt,
    /// The number of open grants that the version revoked.
    pub grants_revoked: u64,
}

/// A version of bounds, as it is shown.
#[derive(Clone, Debug)]
pub struct ShownVersion {
    /// The version.
    pub version: Version,
    /// Whether it is in force at the requested time.
    pub in_force: bool,
    /// The public key that signed it; empty for the versions that a log begins with.
    pub signed_by: Vec<u8>,
}

impl RuleChanges {
    /// The versions in force now, or at `as_of_ms` (milliseconds since the Unix epoch). With `history`,
    /// returns every version that had been published by then.
    ///
    /// # Errors
    /// The store fails.
    pub fn list_bounds(&self, as_of_ms: Option<u64>, history: bool) -> Result<Vec<ShownVersion>, AppError> {
        let rules = match as_of_ms {
            None => self.core.rules(),
            Some(time_ms) => self.core.rules.history().at(time_ms)?,
        };
        let mut shown = Vec::new();
        for version in rules.versions() {
            let in_force = rules.packs().iter().any(|(position, _)| *position == version.position);
            if in_force || history {
                let signature = self.signature_at(version.position)?;
                let signed_by = signature.map(|signature| signature.public_key).unwrap_or_default();
                shown.push(ShownVersion { version: version.clone(), in_force, signed_by });
            }
        }
        Ok(shown)
    }

    /// Publishes a version of a pack. Returns when every grant that the version contradicts is revoked. If
    /// the version comes into force later, grants are revoked then. `signature` is the writer's signature
    /// over the event to be recorded.
    ///
    /// # Errors
    /// The caller does not have the role of the tier; no key is configured for the tier, or the signature is
    /// by another key, for another log or not for the next version; a field is invalid; a policy does not
    /// validate (with line and column); the version was published already; or the store fails.
    pub async fn publish_bounds(
        self: &Arc<Self>,
        caller: &Caller,
        bounds: BoundsPublished,
        signature: Option<WriterSignature>,
        options: &WriteOptions,
    ) -> Result<Published, AppError> {
        let signature = self.signed_by_tier(caller, &bounds, signature)?;
        check_fields(&bounds)?;
        validate_policies(vec![bounds.clone()]).await?;
        let about_ms = self.core.event_time(options)?;
        let request_stamp = self.core.request_stamp(caller, options)?;
        let exclusive = self.core.rules.begin_change().await;
        if let Some(Begun::Replayed(receipt, _)) = self.core.replay(&request_stamp, options.proofs)? {
            return Ok(Published { receipt, grants_revoked: 0 });
        }
        let now_ms = self.core.now_ms();
        self.check_version(caller, &bounds, now_ms)?;
        let event = Event::BoundsPublished(bounds);
        self.check_binding(&event, &signature)?;
        let event = SystemEvent { signature: Some(signature), ..SystemEvent::new(event) };
        self.publish_rule(exclusive, caller, about_ms, event, request_stamp, options.proofs).await
    }

    /// Verifies the signature and returns it, if it is by the key of the tier and the caller has the role of
    /// the tier.
    fn signed_by_tier(
        &self,
        caller: &Caller,
        bounds: &BoundsPublished,
        signature: Option<WriterSignature>,
    ) -> Result<WriterSignature, AppError> {
        let (publishers, key) = match bounds.tier {
            Tier::Public => (AUTHORITY, self.tier_keys.authority),
            Tier::Provider => (STEWARD, self.tier_keys.steward),
            Tier::Individual => {
                return Err(AppError::invalid(
                    "bounds.tier",
                    "must be public (1) or provider (2); personal bounds are set with SetPersonalBounds",
                ));
            }
            Tier::Unspecified => {
                return Err(AppError::invalid("bounds.tier", "must be public (1) or provider (2)"));
            }
        };
        if !publishers.contains(&caller.role) {
            return Err(AppError::Denied {
                why: "public bounds must be published by an authority, and provider bounds by a steward",
                allowed: publishers,
            });
        }
        let key = key.ok_or(AppError::Precondition(
            "no key is configured for this tier of bounds; set it in `[bounds]`",
        ))?;
        let why = "bounds must be signed by the key of their tier, for this log and this version";
        let refusal = AppError::Denied { why, allowed: publishers };
        self.signed_by(&key, &Event::BoundsPublished(bounds.clone()), signature, refusal)
    }

    /// Checks what depends on other versions: that this one is new, not in the past, and compiles together
    /// with them.
    fn check_version(&self, caller: &Caller, bounds: &BoundsPublished, now_ms: u64) -> Result<(), AppError> {
        let rules = self.core.rules_at(now_ms);
        let is_same_pack = |other: &BoundsPublished| (other.tier, &other.pack) == (bounds.tier, &bounds.pack);
        let is_public_namesake =
            |other: &BoundsPublished| other.tier == Tier::Public && other.pack == bounds.pack;
        if bounds.tier != Tier::Public
            && rules.versions().iter().any(|version| is_public_namesake(&version.pack))
        {
            // Answers name rules as `pack/id`, so a provider's rule must not look like one of public bounds.
            return Err(AppError::invalid("bounds.pack", "must not be the name of a pack of public bounds"));
        }
        let mut published =
            rules.versions().iter().map(|version| &version.pack).filter(|pack| is_same_pack(pack));
        if published.any(|pack| pack.version == bounds.version) {
            return Err(AppError::Precondition("this version of the pack was already published"));
        }
        if bounds.policies.is_empty() && !rules.packs().iter().any(|(_, pack)| is_same_pack(pack)) {
            return Err(AppError::invalid(
                "bounds.policies",
                "must not be empty, because no version of this pack is in force",
            ));
        }
        let from = bounds.effective_from_ms;
        if from != 0 && !(now_ms..=now_ms.saturating_add(EFFECTIVE_AHEAD_MS_MAX)).contains(&from) {
            let problem = "must be unset, or from now to ten years ahead";
            return Err(AppError::invalid("bounds.effective_from", problem));
        }
        let history = self.core.rules.history();
        history
            .check_with(&unrecorded(caller, Event::BoundsPublished(bounds.clone()), now_ms), now_ms)
            .map_err(|error| policy_violations(error.into()))
    }
}

/// An event as it would be recorded now.
pub(crate) fn unrecorded(caller: &Caller, event: Event, now_ms: u64) -> Recorded {
    Recorded {
        event_id: EventId::default(),
        position: UNRECORDED,
        version: UNRECORDED,
        recorded_at_ms: now_ms,
        sealed_at_ms: now_ms,
        about_ms: now_ms,
        actor: caller.actor(),
        request_digest: Vec::new(),
        request_key: RequestKey::None,
        event,
    }
}

fn check_fields(bounds: &BoundsPublished) -> Result<(), AppError> {
    let mut checks = Checks::below("bounds");
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    let pack = (1..=NAME_BYTES_MAX).contains(&bounds.pack.len()) && bounds.pack.chars().all(is_allowed);
    checks.need(pack, "pack", "must have 1 to 64 of a-z, 0-9, `-`, `_`");
    let is_reserved = bounds.pack == "built-in" || bounds.pack == "personal";
    checks.need(!is_reserved, "pack", "must not be `built-in` or `personal`, which are reserved");
    checks.need(is_text(&bounds.version, 1, NAME_BYTES_MAX), "version", "must have 1 to 64 bytes");
    checks.need_name(names::problem(&bounds.version), "version");
    let schema = bounds.schema_digest == schema_digest();
    checks.need(
        schema,
        "schema_digest",
        "must be the SHA-256 of the schema in force; `ListBounds` returns it",
    );
    Ok(checks.finish()?)
}

/// Parses and validates a caller's policies on a blocking thread, before any lock is taken. Compiling them
/// later reuses the result.
///
/// # Errors
/// Policies exceed a limit, do not validate (with line and column) or take too long; or other policies are
/// being parsed.
async fn validate_policies(packs: Vec<BoundsPublished>) -> Result<(), AppError> {
    let reading = tokio::task::spawn_blocking(move || check_offered(&packs));
    let read = reading.await.map_err(|_| AppError::Internal(Cause::Task))?;
    read.map_err(|error| policy_violations(error.into()))
}

/// Turns errors in policies into violations for their author, one for each problem, with line and column.
pub(crate) fn policy_violations(error: AppError) -> AppError {
    let AppError::Internal(Cause::Bounds(problem)) = error else { return error };
    match problem {
        BoundsError::Pack { problem, .. } => {
            let lines = problem.lines().map(|line| Violation::new("bounds.policies", line));
            AppError::Invalid(Violations(lines.collect()))
        }
        BoundsError::PermitInPublic(_) => {
            AppError::invalid("bounds.policies", "must only forbid: public bounds can't permit anything")
        }
        BoundsError::Busy => AppError::Overloaded,
        problem => AppError::Internal(Cause::Bounds(problem)),
    }
}
