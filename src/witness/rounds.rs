//! Asking witnesses: round by round, the newest checkpoint is shown to each of them, and what they sign is put beneath it.
//!
//! Nobody waits for a witness: writes go on whether they answer or not. What their silence means is said in health and in
//! metrics: so many of them, within so long. A witness that refuses says that this log does not continue what it cosigned; that
//! is believed once it shows the checkpoint, which only this log's own key can have signed.

use super::cosigner::name_of_log;
use crate::clock::{SharedClock, Stopwatch};
use crate::ledger::{CosignedCheckpoint, Ledger, SignedCheckpoint};
use crate::telemetry::metrics;
use sayso_proof::checkpoint::Checkpoint;
use sayso_proof::witness::{AddCheckpoint, WitnessKey};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a witness may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long the others are waited for once enough have answered.
const PATIENCE: Duration = Duration::from_millis(500);
/// Lines of one answer that are looked at.
const LINES_MAX: usize = 64;

/// A witness that is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What verifies its cosignatures.
    pub key: WitnessKey,
    /// Its submission prefix.
    pub url: String,
    /// Whom to trust there (PEM) instead of whom the system trusts.
    pub ca: Option<PathBuf>,
}

/// When there are enough.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// So many witnesses.
    pub enough: usize,
    /// Within so long, milliseconds.
    pub within_ms: u64,
    /// At most one round in so long, milliseconds.
    pub interval_ms: u64,
}

/// What a witness answered: status and body.
pub type Answer = Result<(u16, String), String>;

/// What a witness is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// To cosign: the body of `add-checkpoint`.
    AddCheckpoint(String),
    /// For the checkpoint that it cosigned last of a log, by [`super::name_of_log`].
    LastCheckpoint(String),
}

/// Asks a witness.
pub type Ask = dyn Fn(Asked, Question) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

/// How a witness stands to a checkpoint.
enum Said {
    /// Its line.
    Cosigned(String),
    /// It says that this log does not continue what it cosigned, and has not shown that.
    Refused,
    /// It has shown a checkpoint of this log that contradicts this log.
    Conflict(Checkpoint),
    /// It does not answer, or not in the form of the protocol.
    Nothing(&'static str),
}

/// Rounds of asking.
pub struct Rounds<L> {
    ledger: L,
    witnesses: Vec<Asked>,
    /// The size that each is believed to have cosigned last.
    sizes: Vec<u64>,
    policy: Policy,
    clock: SharedClock,
    ask: Arc<Ask>,
    last_round_ms: u64,
}

impl<L: AsRef<Ledger> + Send + Sync> Rounds<L> {
    /// Of these witnesses.
    pub fn new(ledger: L, witnesses: Vec<Asked>, policy: Policy, clock: SharedClock, ask: Arc<Ask>) -> Self {
        let sizes = vec![0; witnesses.len()];
        ledger.as_ref().cosigning().expect(policy.within_ms, clock.now_ms());
        Self { ledger, witnesses, sizes, policy, clock, ask, last_round_ms: 0 }
    }

    /// Asks, until `stopped`.
    pub async fn run(mut self, stopped: impl Future<Output = ()>) {
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                () = &mut stopped => return,
                () = self.due() => {}
            }
            tokio::select! {
                () = &mut stopped => return,
                () = self.round() => {}
            }
        }
    }

    /// Until the next round: when the log has grown, or somebody waits for it, or the last cosignatures grow old; never
    /// sooner than the interval allows.
    async fn due(&self) {
        let ledger = self.ledger.as_ref();
        let since_ms = self.clock.now_ms().saturating_sub(self.last_round_ms);
        tokio::time::sleep(Duration::from_millis(self.policy.interval_ms.saturating_sub(since_ms))).await;
        let mut newest = ledger.watch();
        newest.mark_unchanged();
        let cosigned = ledger.cosigning().newest();
        let has_grown = cosigned.is_none_or(|cosigned| cosigned.checkpoint.size < ledger.checkpoint().size);
        if has_grown {
            return;
        }
        tokio::select! {
            _ = newest.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(self.policy.within_ms / 3)) => {}
        }
    }

    async fn round(&mut self) {
        self.last_round_ms = self.clock.now_ms();
        let target = self.ledger.as_ref().checkpoint();
        let mut asked = JoinSet::new();
        for (at, witness) in self.witnesses.iter().enumerate() {
            let size = self.sizes.get(at).copied().unwrap_or_default();
            let Some(requests) = self.requests(size, &target) else { continue };
            let (witness, ask, target) = (witness.clone(), Arc::clone(&self.ask), Arc::clone(&target));
            asked.spawn(async move { (at, first_answer(&witness, &*ask, &target, requests).await) });
        }
        let mut lines: Vec<(String, String)> = Vec::new();
        let watch = Stopwatch::start();
        let mut limit = ANSWER_MAX;
        loop {
            let left = limit.saturating_sub(watch.elapsed());
            let Ok(Some(answered)) = tokio::time::timeout(left, asked.join_next()).await else { break };
            let Ok((at, answer)) = answered else { continue };
            let said = match answer {
                Ok(said) => said,
                Err(stands_at) => self.again(at, stands_at, &target).await,
            };
            let said = match said {
                Said::Refused => self.why(at).await,
                said => said,
            };
            if let Some(line) = self.take(at, said, &target) {
                lines.push(line);
                if lines.len() >= self.policy.enough {
                    self.publish(&target, &lines);
                    limit = limit.min(watch.elapsed().saturating_add(PATIENCE));
                }
            }
        }
        self.report();
    }

    /// The request from the size that a witness is believed to stand at.
    fn requests(&self, old_size: u64, target: &SignedCheckpoint) -> Option<String> {
        let old_size = if old_size > target.size { 0 } else { old_size };
        let proof = self.ledger.as_ref().consistency_proof(old_size, target.size).ok()?;
        Some(AddCheckpoint { old_size, proof, checkpoint: target.note.clone() }.to_string())
    }

    /// Asks once more, from where the witness says that it stands.
    async fn again(&mut self, at: usize, stands_at: u64, target: &Arc<SignedCheckpoint>) -> Said {
        if stands_at > target.size {
            // It may have been shown more than this round's checkpoint by the round before.
            let grown = self.ledger.as_ref().checkpoint().size;
            if let Some(size) = self.sizes.get_mut(at).filter(|_| stands_at <= grown) {
                *size = stands_at;
                return Said::Nothing("ahead");
            }
            return Said::Refused;
        }
        let Some((witness, request)) = self.witnesses.get(at).zip(self.requests(stands_at, target)) else {
            return Said::Nothing("failed");
        };
        let answer = first_answer(witness, &*self.ask, target, request);
        let answer = tokio::time::timeout(ANSWER_MAX, answer).await;
        match answer {
            Ok(Ok(said)) => said,
            // From where it says that it stands, it says it again: what it has is another tree of this size.
            Ok(Err(_)) => Said::Refused,
            Err(_) => Said::Nothing("unreachable"),
        }
    }

    /// What a refusal rests on, as the witness shows it.
    async fn why(&self, at: usize) -> Said {
        let Some(witness) = self.witnesses.get(at) else { return Said::Refused };
        let question = Question::LastCheckpoint(name_of_log(self.ledger.as_ref().origin()));
        match tokio::time::timeout(ANSWER_MAX, (self.ask)(witness.clone(), question)).await {
            Ok(Ok((200, note))) => match self.ledger.as_ref().contradicted_by(&note) {
                Some(checkpoint) => Said::Conflict(checkpoint),
                None => Said::Refused,
            },
            _ => Said::Refused,
        }
    }

    fn take(&mut self, at: usize, said: Said, target: &SignedCheckpoint) -> Option<(String, String)> {
        let name = self.witnesses.get(at)?.key.name.clone();
        let outcome = match &said {
            Said::Cosigned(_) => "cosigned",
            Said::Refused => "refused",
            Said::Conflict(_) => "conflict",
            Said::Nothing(why) => why,
        };
        metrics().witness_answered(self.ledger.as_ref().origin(), &name, outcome);
        match said {
            Said::Cosigned(line) => {
                if let Some(size) = self.sizes.get_mut(at) {
                    *size = target.size;
                }
                Some((name, line))
            }
            Said::Refused => {
                tracing::warn!(
                    witness = name,
                    "says that this log does not continue what it cosigned, and shows no checkpoint that proves it; it is asked again"
                );
                None
            }
            Said::Conflict(checkpoint) => {
                tracing::error!(
                    witness = name,
                    size = checkpoint.size,
                    root = hex::encode(checkpoint.root),
                    "has cosigned a tree that this log does not continue: the log was forked, or went back; see docs/operations.md"
                );
                None
            }
            Said::Nothing(why) => {
                tracing::warn!(witness = name, why, "did not cosign; it is asked again");
                None
            }
        }
    }

    fn publish(&self, target: &SignedCheckpoint, lines: &[(String, String)]) {
        let note = lines.iter().fold(target.note.clone(), |note, (_, line)| note + line);
        let witnesses = lines.iter().map(|(name, _)| name.clone()).collect();
        let checkpoint = SignedCheckpoint { note, size: target.size, root: target.root };
        let at_ms = self.clock.now_ms();
        self.ledger.as_ref().cosigning().publish(CosignedCheckpoint { checkpoint, witnesses, at_ms });
    }

    fn report(&self) {
        let cosigning = self.ledger.as_ref().cosigning();
        let size = cosigning.newest().map_or(0, |newest| newest.checkpoint.size);
        let is_enough = cosigning.is_enough(self.clock.now_ms()) == Some(true);
        let log = self.ledger.as_ref().origin();
        metrics().witness_round(log, self.witnesses.len(), self.policy.enough, size, is_enough);
    }
}

/// What a witness says to a request; or the size at which it says that it stands.
async fn first_answer(
    witness: &Asked,
    ask: &Ask,
    target: &SignedCheckpoint,
    request: String,
) -> Result<Said, u64> {
    let text = target.note.split_once("\n\n").map(|(text, _)| format!("{text}\n")).unwrap_or_default();
    Ok(match ask(witness.clone(), Question::AddCheckpoint(request)).await {
        Ok((200, body)) => {
            let mut lines = body.lines().take(LINES_MAX);
            let own = lines.find(|line| matches!(witness.key.check(&text, line), Ok(Some(_))));
            own.map_or(Said::Nothing("unsigned"), |line| Said::Cosigned(format!("{line}\n")))
        }
        Ok((409, body)) => match body.trim_end().parse() {
            Ok(size) => return Err(size),
            Err(_) => Said::Refused,
        },
        Ok((422, _)) => Said::Refused,
        Ok((403 | 404, _)) => Said::Nothing("unknown_here"),
        Ok(_) => Said::Nothing("failed"),
        Err(error) => {
            tracing::debug!(witness = witness.key.name, error, "no answer");
            Said::Nothing("unreachable")
        }
    })
}
