//! Publishes bounds: each tier by its own role, signed by its own key, in force from a time, each version once.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::Begun;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::system_stream::SystemEvent;
use crate::app::rules::RuleChanges;
use crate::app::rules::revoke_contradicted::under;
use crate::bounds::engine::{UNRECORDED, check_offered};
use crate::bounds::error::BoundsError;
use crate::bounds::rulebook::{RulesHistory, Version};
use crate::bounds::shipped_packs::schema_digest;
use crate::domain::DAY_MS;
use crate::domain::attribute::is_text;
use crate::domain::event::{BoundsPublished, Event, Recorded, Role};
use crate::domain::ids::EventId;
use crate::domain::{Violation, Violations};
use sayso_proof::entry::Entry;
use sayso_proof::event::event_body::Event as Body;
use sayso_proof::event::{Tier, WriterSignature};
use sayso_proof::writer;
use std::sync::{Arc, PoisonError};

const NAME_BYTES_MAX: usize = 64;
/// How far ahead a version may come into force: ten years.
const EFFECTIVE_AHEAD_MS_MAX: u64 = 3_652 * DAY_MS;

/// Public keys (Ed25519, raw) that bounds must be signed with; a tier without one takes no bounds.
#[derive(Clone, Copy, Debug, Default)]
pub struct TierKeys {
    /// Of tier 1.
    pub authority: Option<[u8; 32]>,
    /// Of tier 2.
    pub steward: Option<[u8; 32]>,
}

/// What publishing did.
#[derive(Clone, Debug)]
pub struct Published {
    /// The `BoundsPublished` event.
    pub receipt: Receipt,
    /// Open grants that fell with it.
    pub grants_revoked: u64,
}

/// A version, as it is shown.
#[derive(Clone, Debug)]
pub struct ShownVersion {
    /// The version.
    pub version: Version,
    /// Whether it is in force at the moment asked about.
    pub in_force: bool,
    /// The key that signed it; empty for what a log begins with.
    pub signed_by: Vec<u8>,
}

impl RuleChanges {
    /// Versions in force now or at an earlier recorded time; with `history`, every version that had been published.
    ///
    /// # Errors
    /// The store.
    pub fn get_bounds(&self, as_of_ms: Option<u64>, history: bool) -> Result<Vec<ShownVersion>, AppError> {
        let rules = match as_of_ms {
            None => self.core.rules(),
            Some(time_ms) => self.core.rules.read().unwrap_or_else(PoisonError::into_inner).at(time_ms)?,
        };
        let mut shown = Vec::new();
        for version in rules.versions() {
            let in_force = rules.packs().iter().any(|(position, _)| *position == version.position);
            if in_force || history {
                let signed_by = self.signer_of(version.position)?;
                shown.push(ShownVersion { version: version.clone(), in_force, signed_by });
            }
        }
        Ok(shown)
    }

    fn signer_of(&self, position: u64) -> Result<Vec<u8>, AppError> {
        let bytes = self.core.store().read_entry(position)?.bytes.ok_or(AppError::Erased)?;
        let body = Entry::parse(&bytes)?.plain_body()?;
        let signature = body.and_then(|body| body.writer_signature);
        Ok(signature.map(|signature| signature.public_key).unwrap_or_default())
    }

    /// Publishes a version of a pack, and revokes what it contradicts before it answers; what comes into force later does
    /// so then. `signature` is the writer's, over the event as it is to be recorded.
    ///
    /// # Errors
    /// Another role than the tier's; no key is configured for the tier, or the signature is not by it; a field out of
    /// bounds, policies that do not validate (with line and column), a version that was published before; or the store.
    pub async fn publish_bounds(
        self: &Arc<Self>,
        caller: &Caller,
        bounds: BoundsPublished,
        signature: Option<WriterSignature>,
        options: &WriteOptions,
    ) -> Result<Published, AppError> {
        let signature = self.signed_by_tier(caller, &bounds, signature)?;
        check_fields(&bounds)?;
        read_offered(vec![bounds.clone()]).await?;
        let about_ms = self.core.event_time(options)?;
        let request_stamp = self.core.request_stamp(caller, options)?;
        let alone = self.core.rules_lock.write().await;
        if let Some(Begun::Replayed(receipt, _)) = self.core.replay(&request_stamp, options.proofs)? {
            return Ok(Published { receipt, grants_revoked: 0 });
        }
        let now_ms = self.core.now_ms();
        self.check_version(caller, &bounds, now_ms)?;
        let before = under(&self.core.rules());
        let event = Event::BoundsPublished(bounds);
        let plain = vec![SystemEvent { signature: Some(signature), ..SystemEvent::new(event) }];
        let (mut receipt, _) = self.core.publish_as(caller.actor(), about_ms, plain, request_stamp).await?;
        // Decisions see it from here on; those that did not are durable, and found by the sweep.
        drop(alone);
        receipt.events = self.core.attach_proofs(receipt.events, options.proofs)?;
        // What comes into force later makes nothing fall yet.
        let grants_revoked =
            if under(&self.core.rules()) == before { 0 } else { self.revoke_contradicted().await? };
        Ok(Published { receipt, grants_revoked })
    }

    /// The signature, if it is by the key of the tier and the caller of the tier's role.
    fn signed_by_tier(
        &self,
        caller: &Caller,
        bounds: &BoundsPublished,
        signature: Option<WriterSignature>,
    ) -> Result<WriterSignature, AppError> {
        let (role, key) = match Tier::try_from(bounds.tier) {
            Ok(Tier::Public) => (Role::Authority, self.tier_keys.authority),
            Ok(Tier::Provider) => (Role::Steward, self.tier_keys.steward),
            Ok(Tier::Individual) => {
                return Err(AppError::invalid("bounds.tier", "personal bounds are set, not published"));
            }
            _ => return Err(AppError::invalid("bounds.tier", "must be public (1) or provider (2)")),
        };
        if caller.role != role {
            return Err(AppError::Denied(
                "public bounds are published by an authority, provider bounds by a steward",
            ));
        }
        let key = key.ok_or(AppError::Precondition("no key is configured for this tier of bounds"))?;
        let named = signature.map(|signature| match signature.public_key.is_empty() {
            true => WriterSignature { public_key: key.to_vec(), ..signature },
            false => signature,
        });
        let by = writer::verify(&Body::BoundsPublished(bounds.clone()), named.as_ref());
        match (by, named) {
            (Ok(by), Some(signature)) if by.to_bytes() == key => Ok(signature),
            _ => Err(AppError::Denied("bounds must be signed by the key of their tier")),
        }
    }

    /// What only the log can tell: published before, in the past, or not compiling with the others.
    fn check_version(&self, caller: &Caller, bounds: &BoundsPublished, now_ms: u64) -> Result<(), AppError> {
        let rules = self.core.rules_at(now_ms);
        let same = |there: &BoundsPublished| (there.tier, &there.pack) == (bounds.tier, &bounds.pack);
        let tier_of_law = |there: &BoundsPublished| there.tier() == Tier::Public && there.pack == bounds.pack;
        if bounds.tier() != Tier::Public && rules.versions().iter().any(|there| tier_of_law(&there.pack)) {
            // Answers name rules as `pack/id`: nobody's rule is to be taken for one of the law.
            return Err(AppError::invalid("bounds.pack", "is the name of a pack of public bounds"));
        }
        let mut before = rules.versions().iter().map(|version| &version.pack).filter(|there| same(there));
        if before.any(|there| there.version == bounds.version) {
            return Err(AppError::Precondition("this version of the pack was already published"));
        }
        if bounds.policies.is_empty() && !rules.packs().iter().any(|(_, there)| same(there)) {
            return Err(AppError::invalid("bounds.policies", "must not be empty: no such pack is in force"));
        }
        let from = bounds.effective_from_ms;
        if from != 0 && !(now_ms..=now_ms.saturating_add(EFFECTIVE_AHEAD_MS_MAX)).contains(&from) {
            let problem = "must be 0, or not in the past and at most ten years ahead";
            return Err(AppError::invalid("bounds.effective_from_ms", problem));
        }
        let history = self.core.rules.read().unwrap_or_else(PoisonError::into_inner);
        history
            .with(&unrecorded_version(caller, bounds, now_ms), now_ms)
            .map_err(|error| of_bounds(error.into()))
    }
}

/// The version as it would be recorded.
fn unrecorded_version(caller: &Caller, bounds: &BoundsPublished, now_ms: u64) -> Recorded {
    Recorded {
        event_id: EventId::default(),
        position: UNRECORDED,
        version: UNRECORDED,
        recorded_at_ms: now_ms,
        sealed_at_ms: now_ms,
        about_ms: now_ms,
        actor: caller.actor(),
        request_digest: Vec::new(),
        event: Event::BoundsPublished(bounds.clone()),
    }
}

fn check_fields(bounds: &BoundsPublished) -> Result<(), AppError> {
    let mut found = Vec::new();
    let mut need = |holds: bool, field: &str, problem: &str| {
        if !holds {
            found.push(Violation::new(format!("bounds.{field}"), problem));
        }
    };
    let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    let pack = (1..=NAME_BYTES_MAX).contains(&bounds.pack.len()) && bounds.pack.chars().all(named);
    need(pack, "pack", "must have 1 to 64 of a-z, 0-9, `-`, `_`");
    need(bounds.pack != "built-in" && bounds.pack != "personal", "pack", "is a name of the ledger's own");
    need(is_text(&bounds.version, 1, NAME_BYTES_MAX), "version", "must have 1 to 64 bytes");
    let schema = bounds.schema_digest == schema_digest();
    need(schema, "schema_digest", "must be the SHA-256 of the schema in force; `GetBounds` gives it");
    if found.is_empty() { Ok(()) } else { Err(AppError::Invalid(Violations(found))) }
}

/// Reads policies of a caller where it holds up nobody else, before any lock is taken; what compiles them then finds them known.
///
/// # Errors
/// Policies are beyond a limit or do not validate (with line and column), take too long, or others are being read.
async fn read_offered(packs: Vec<BoundsPublished>) -> Result<(), AppError> {
    let reading = tokio::task::spawn_blocking(move || check_offered(&packs));
    let read = reading.await.map_err(|_| AppError::Internal(crate::app::Cause::Task))?;
    read.map_err(|error| of_bounds(error.into()))
}

/// What is wrong with policies is for whoever wrote them, each problem a violation with its line and column.
pub(crate) fn of_bounds(error: AppError) -> AppError {
    let AppError::Internal(crate::app::Cause::Bounds(problem)) = error else { return error };
    match problem {
        BoundsError::Pack { problem, .. } => {
            let lines = problem.lines().map(|line| Violation::new("bounds.policies", line));
            AppError::Invalid(Violations(lines.collect()))
        }
        BoundsError::PermitInPublic(_) => {
            AppError::invalid("bounds.policies", "public bounds may only forbid")
        }
        BoundsError::Busy => AppError::Overloaded,
        problem => AppError::Internal(crate::app::Cause::Bounds(problem)),
    }
}

impl RulesHistory {
    /// The rules with other versions of packs in place of those in force, and those in force: for previews.
    pub fn replacing(
        &self,
        caller: &Caller,
        bounds: &[BoundsPublished],
        now_ms: u64,
    ) -> Result<Arc<crate::bounds::rulebook::Rules>, AppError> {
        let now = |bounds: &BoundsPublished| BoundsPublished { effective_from_ms: 0, ..bounds.clone() };
        let others: Vec<Recorded> =
            bounds.iter().map(|bounds| unrecorded_version(caller, &now(bounds), now_ms)).collect();
        self.with_now(&others, now_ms).map_err(|error| of_bounds(error.into()))
    }
}
