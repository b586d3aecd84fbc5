//! One check of a log: reads its checkpoint, keys and counts, and compares them with those in the state
//! file.

use super::alert::{Alert, AlertKind};
use super::counts::{Newest, compare_counts, show_counts};
use super::findings::{Check, Limits};
use super::state::Kept;
use super::tiles::{Get, Unproven, compare};
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use sayso_proof::context::{self, Options};
use sayso_proof::keys::KeyChain;
use sayso_proof::witness::Cosigned;

/// Follows one log.
pub struct Follower {
    /// The log's key.
    pub key: VerifierKey,
    /// The witnesses that must cosign. `since` is not used.
    pub options: Options,
    /// What the user allows.
    pub limits: Limits,
    /// Reads the log.
    pub get: Box<Get>,
}

/// What the log showed.
struct Shown {
    note: String,
    checkpoint: Checkpoint,
    keys: String,
    chain: KeyChain,
    cosigned: Vec<Cosigned>,
    counts: Option<String>,
}

impl Follower {
    /// Looks at the log once. Updates `kept` to the newest checkpoint and counts, unless the log contradicts
    /// the kept ones.
    pub async fn check(&self, kept: &mut Option<Kept>, now_ms: u64) -> Check {
        let mut check = Check { origin: self.key.name.clone(), at_ms: now_ms, ..Check::default() };
        if let Err(alert) = self.compare(kept, now_ms, &mut check).await {
            check.alerts.push(alert);
        }
        if let Some(kept) = kept {
            self.judge_age(kept, now_ms, &mut check);
            show_counts(kept, &mut check);
        }
        check
    }

    async fn compare(&self, kept: &mut Option<Kept>, now_ms: u64, check: &mut Check) -> Result<(), Alert> {
        let mut shown = self.read(kept.as_ref(), check).await?;
        let (counts, note, checkpoint, chain) =
            (shown.counts.take(), shown.note.clone(), shown.checkpoint.clone(), shown.chain.clone());
        self.compare_with_kept(kept, shown, now_ms, check).await?;
        let Some(kept) = kept else { return Ok(()) };
        let newest = Newest { keys: &chain, checkpoint: &checkpoint, note: &note };
        compare_counts(&self.get, &self.limits, kept, &newest, counts, check).await
    }

    async fn compare_with_kept(
        &self,
        kept: &mut Option<Kept>,
        shown: Shown,
        now_ms: u64,
        check: &mut Check,
    ) -> Result<(), Alert> {
        check.witnesses.clone_from(&shown.cosigned);
        let cosigned_at_s = shown.cosigned.iter().map(|one| one.at_s).max();
        let size = shown.checkpoint.size;
        let Some(before) = kept else {
            *kept = Some(Kept {
                checkpoint: shown.note,
                keys: shown.keys,
                first_seen_ms: now_ms,
                cosigned_at_s,
                counts: None,
                notified: Vec::new(),
            });
            return Ok(());
        };
        let old = before.checkpoint().map_err(|error| Alert::new(AlertKind::Unsigned, error))?;
        let proven = if size == 0 && old.size > 0 {
            // The empty tree is the beginning of every tree, so tiles would show nothing.
            Err(Unproven::WrongTiles)
        } else if size < old.size {
            compare(&self.get, &shown.checkpoint, &old).await
        } else {
            compare(&self.get, &old, &shown.checkpoint).await
        };
        if let Err(unproven) = proven {
            return Err(self.judge(unproven, &old, &before.checkpoint, shown, check));
        }
        check.grown_by = Some(size.saturating_sub(old.size));
        // A smaller tree than before is harmless if the log still serves the larger one: a witnessed
        // checkpoint can be older than one that was shown without cosignatures.
        if size < old.size {
            return Ok(());
        }
        if size > old.size {
            before.first_seen_ms = now_ms;
            before.cosigned_at_s = None;
        }
        before.cosigned_at_s = before.cosigned_at_s.max(cosigned_at_s);
        before.checkpoint = shown.note;
        before.keys = shown.keys;
        let grown_by = size.saturating_sub(old.size);
        if let Some(most) = self.limits.growth_max.filter(|most| grown_by > *most) {
            let message = format!(
                "the log grew by {grown_by} entries since the last check; at most {most} are allowed"
            );
            check.alerts.push(Alert::new(AlertKind::Growth, message));
        }
        Ok(())
    }

    /// Reads and verifies what the log shows now.
    async fn read(&self, kept: Option<&Kept>, check: &mut Check) -> Result<Shown, Alert> {
        let note = self.text("checkpoint").await?;
        let note = note.ok_or_else(|| Alert::new(AlertKind::Unreachable, "the log has no checkpoint"))?;
        // The keys are read last, so they have every key that signed the others.
        let counts = self.text("counts").await?;
        // A log that never changed its key need not serve a list of keys.
        let keys = self.text("keys").await?.unwrap_or_default();
        let chain = match keys.as_str() {
            "" => KeyChain::from(&self.key),
            text => KeyChain::parse(text, &self.key).map_err(|error| Alert::new(AlertKind::Keys, error))?,
        };
        if kept.is_some_and(|kept| !keys.starts_with(&kept.keys)) {
            let message = "the log's list of keys does not continue the list that was kept";
            return Err(Alert::new(AlertKind::Keys, message));
        }
        let checkpoint = chain.open(&note).map_err(|error| Alert::new(AlertKind::Unsigned, error))?;
        let cosigned = context::cosigned(&note, &self.options).unwrap_or_else(|error| {
            check.alerts.push(Alert::new(AlertKind::Uncosigned, error));
            Vec::new()
        });
        Ok(Shown { note, checkpoint, keys, chain, cosigned, counts })
    }

    /// The text of a document; none if the log does not have it.
    async fn text(&self, path: &str) -> Result<Option<String>, Alert> {
        let unreachable = |message: String| Alert::new(AlertKind::Unreachable, message);
        match (self.get)(path.to_owned()).await.map_err(unreachable)? {
            (200, bytes) => {
                let text =
                    String::from_utf8(bytes).map_err(|_| unreachable(format!("`{path}` is not text")))?;
                Ok(Some(text))
            }
            (404, _) => Ok(None),
            (status, _) => Err(unreachable(format!("HTTP status {status} for `{path}`"))),
        }
    }

    /// The alert for a comparison that failed.
    fn judge(
        &self,
        unproven: Unproven,
        old: &Checkpoint,
        note: &str,
        shown: Shown,
        check: &mut Check,
    ) -> Alert {
        let (kept, size) = (old.size, shown.checkpoint.size);
        let trees = format!("the checkpoint of {size} entries and the kept one of {kept} entries");
        let is_older = size < kept;
        let (kind, message) = match unproven {
            Unproven::Contradiction => (
                AlertKind::Fork,
                format!("the log forked: its key signed {trees}, and neither continues the other"),
            ),
            // The tiles are those of a tree that is shorter than, or differs from, the kept one.
            Unproven::Missing(_) | Unproven::WrongTiles if is_older => (
                AlertKind::RolledBack,
                format!(
                    "the log was rolled back to {size} entries: it no longer serves the {kept} entries of the kept checkpoint"
                ),
            ),
            Unproven::Missing(path) => {
                (AlertKind::WrongTiles, format!("the log does not serve `{path}`, which compares {trees}"))
            }
            Unproven::WrongTiles => (
                AlertKind::WrongTiles,
                format!("the tiles of the log do not fit its own checkpoint of {size} entries"),
            ),
            Unproven::Unreachable(reason) => (AlertKind::Unreachable, reason),
        };
        if kind.is_contradiction() {
            check.evidence = Some((note.to_owned(), shown.note));
        }
        Alert::new(kind, message)
    }

    fn judge_age(&self, kept: &Kept, now_ms: u64, check: &mut Check) {
        check.entries = kept.checkpoint().map_or(0, |checkpoint| checkpoint.size);
        let (newest_ms, what) = match kept.cosigned_at_s {
            Some(at_s) => (at_s.saturating_mul(1_000), "was cosigned"),
            None => (kept.first_seen_ms, "was first seen"),
        };
        check.age_ms = now_ms.saturating_sub(newest_ms);
        if let Some(most) = self.limits.age_max_ms.filter(|most| check.age_ms > *most) {
            let (age, most) = (check.age_ms / 1_000, most / 1_000);
            let message = format!("the newest checkpoint {what} {age} s ago; at most {most} s are allowed");
            check.alerts.push(Alert::new(AlertKind::Stale, message));
        }
    }
}
