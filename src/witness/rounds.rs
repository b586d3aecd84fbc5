//! Asks witnesses in rounds. In each round, every witness gets the newest checkpoint. The cosignatures are
//! added to the checkpoint's signed note.
//!
//! Writes never wait for witnesses. Health and metrics report if too few of them cosign in time. If a witness
//! refuses, it claims that this log does not continue the checkpoint that the witness cosigned last. The
//! claim is believed only if the witness shows that checkpoint with this log's signature, because only this
//! log's own key can have made that signature.

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
/// How long the other witnesses may still take after enough have cosigned.
const PATIENCE: Duration = Duration::from_millis(500);
/// The largest number of lines that are read of one answer.
const LINES_MAX: usize = 64;

/// How to reach a witness, and how to verify it.
#[derive(Clone, Debug)]
pub struct WitnessEndpoint {
    /// Name of the witness.
    pub name: String,
    /// Keys that verify its cosignatures. Each of them must cosign.
    pub keys: Vec<WitnessKey>,
    /// Its submission prefix, a URL.
    pub url: String,
    /// PEM file with the certificate authorities to check the witness's certificate against. Without this
    /// file, the system's authorities are used.
    pub ca: Option<PathBuf>,
}

/// How many witnesses must cosign, and how often they are asked.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Number of witnesses that must cosign.
    pub enough: usize,
    /// Time within which they must cosign, milliseconds.
    pub within_ms: u64,
    /// Minimum time between two rounds, milliseconds.
    pub interval_ms: u64,
}

/// The HTTP status and body of an answer, or why there is none.
pub type Answer = Result<(u16, String), String>;

/// A request to a witness.
#[derive(Clone, Debug)]
pub enum Question {
    /// Asks the witness to cosign. The value is the body of `add-checkpoint`.
    AddCheckpoint(String),
    /// Asks for the last checkpoint of a log that the witness cosigned. The value is the log's
    /// [`super::name_of_log`].
    LastCheckpoint(String),
}

/// Sends a request to a witness.
pub type Ask =
    dyn Fn(WitnessEndpoint, Question) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

/// The outcome of asking a witness about a checkpoint.
enum Outcome {
    /// The lines of its cosignatures, one for each of its keys.
    Cosigned(String),
    /// The witness claims without proof that this log does not continue what it cosigned.
    Refused,
    /// The witness showed a checkpoint that this log signed and that contradicts this log.
    Conflict(Checkpoint),
    /// The witness did not answer, or did not follow the protocol. The value is the reason, for metrics.
    NoAnswer(&'static str),
}

/// Asks the witnesses of one ledger, round by round.
pub struct Rounds<L> {
    ledger: L,
    witnesses: Vec<WitnessEndpoint>,
    /// The size that each witness is believed to have cosigned last.
    sizes: Vec<u64>,
    policy: Policy,
    clock: SharedClock,
    ask: Arc<Ask>,
    last_round_ms: u64,
}

impl<L: AsRef<Ledger> + Send + Sync> Rounds<L> {
    /// Prepares rounds of these witnesses.
    pub fn new(
        ledger: L,
        witnesses: Vec<WitnessEndpoint>,
        policy: Policy,
        clock: SharedClock,
        ask: Arc<Ask>,
    ) -> Self {
        let sizes = vec![0; witnesses.len()];
        ledger.as_ref().cosigning().expect(policy.within_ms, clock.now_ms());
        Self { ledger, witnesses, sizes, policy, clock, ask, last_round_ms: 0 }
    }

    /// Runs rounds until `stopped`.
    pub async fn run(mut self, stopped: impl Future<Output = ()>) {
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                () = &mut stopped => return,
                () = self.wait_until_due() => {}
            }
            tokio::select! {
                () = &mut stopped => return,
                () = self.round() => {}
            }
        }
    }

    /// Waits until the next round is due: until the log has grown, or a third of the allowed time has passed.
    /// It never returns sooner than the interval allows.
    async fn wait_until_due(&self) {
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
            let outcome = match answer {
                Ok(outcome) => outcome,
                Err(cosigned_size) => self.ask_again(at, cosigned_size, &target).await,
            };
            let outcome = match outcome {
                Outcome::Refused => self.ask_for_proof(at).await,
                outcome => outcome,
            };
            if let Some(line) = self.record(at, outcome, &target) {
                lines.push(line);
                if lines.len() >= self.policy.enough {
                    self.publish(&target, &lines);
                    limit = limit.min(watch.elapsed().saturating_add(PATIENCE));
                }
            }
        }
        self.report();
    }

    /// The request to cosign `target`, starting from the size that a witness is believed to have cosigned
    /// last.
    fn requests(&self, old_size: u64, target: &SignedCheckpoint) -> Option<String> {
        let old_size = if old_size > target.size { 0 } else { old_size };
        let proof = self.ledger.as_ref().consistency_proof(old_size, target.size).ok()?;
        Some(AddCheckpoint { old_size, proof, checkpoint: target.note.clone() }.to_string())
    }

    /// Asks again, starting from the size that the witness says it cosigned last.
    async fn ask_again(&mut self, at: usize, cosigned_size: u64, target: &Arc<SignedCheckpoint>) -> Outcome {
        if cosigned_size > target.size {
            // Another round may have sent the witness a larger checkpoint than this one.
            let grown = self.ledger.as_ref().checkpoint().size;
            if let Some(size) = self.sizes.get_mut(at).filter(|_| cosigned_size <= grown) {
                *size = cosigned_size;
                return Outcome::NoAnswer("ahead");
            }
            return Outcome::Refused;
        }
        let Some((witness, request)) = self.witnesses.get(at).zip(self.requests(cosigned_size, target))
        else {
            return Outcome::NoAnswer("failed");
        };
        let answer = first_answer(witness, &*self.ask, target, request);
        let answer = tokio::time::timeout(ANSWER_MAX, answer).await;
        match answer {
            Ok(Ok(outcome)) => outcome,
            // The witness refuses even a request that starts from its own size. So it cosigned another tree
            // of this size.
            Ok(Err(_)) => Outcome::Refused,
            Err(_) => Outcome::NoAnswer("unreachable"),
        }
    }

    /// Asks the witness for the checkpoint that proves its refusal.
    async fn ask_for_proof(&self, at: usize) -> Outcome {
        let Some(witness) = self.witnesses.get(at) else { return Outcome::Refused };
        let question = Question::LastCheckpoint(name_of_log(self.ledger.as_ref().origin()));
        match tokio::time::timeout(ANSWER_MAX, (self.ask)(witness.clone(), question)).await {
            Ok(Ok((200, note))) => match self.ledger.as_ref().contradicted_by(&note) {
                Some(checkpoint) => Outcome::Conflict(checkpoint),
                None => Outcome::Refused,
            },
            _ => Outcome::Refused,
        }
    }

    /// Counts and logs the outcome for one witness. Returns its name and the line of its cosignature if it
    /// cosigned.
    fn record(&mut self, at: usize, outcome: Outcome, target: &SignedCheckpoint) -> Option<(String, String)> {
        let name = self.witnesses.get(at)?.name.clone();
        let label = match &outcome {
            Outcome::Cosigned(_) => "cosigned",
            Outcome::Refused => "refused",
            Outcome::Conflict(_) => "conflict",
            Outcome::NoAnswer(reason) => reason,
        };
        metrics().witness_answered(self.ledger.as_ref().origin(), &name, label);
        match outcome {
            Outcome::Cosigned(line) => {
                if let Some(size) = self.sizes.get_mut(at) {
                    *size = target.size;
                }
                Some((name, line))
            }
            Outcome::Refused => {
                tracing::warn!(
                    witness = name,
                    "the witness refuses to cosign because this log does not continue its last checkpoint, but shows no proof; asking again"
                );
                None
            }
            Outcome::Conflict(checkpoint) => {
                tracing::error!(
                    witness = name,
                    size = checkpoint.size,
                    root = hex::encode(checkpoint.root),
                    "the witness cosigned a tree that this log does not continue: the log was forked or lost entries; see docs/operations.md"
                );
                None
            }
            Outcome::NoAnswer(reason) => {
                tracing::warn!(witness = name, reason, "the witness did not cosign; asking again");
                None
            }
        }
    }

    /// Publishes the checkpoint with the cosignatures so far.
    fn publish(&self, target: &SignedCheckpoint, lines: &[(String, String)]) {
        let note = lines.iter().fold(target.note.clone(), |note, (_, line)| note + line);
        let witnesses = lines.iter().map(|(name, _)| name.clone()).collect();
        let checkpoint = SignedCheckpoint { note, size: target.size, root: target.root };
        let at_ms = self.clock.now_ms();
        self.ledger.as_ref().cosigning().publish(CosignedCheckpoint { checkpoint, witnesses, at_ms });
    }

    /// Reports the state of cosigning to the metrics.
    fn report(&self) {
        let cosigning = self.ledger.as_ref().cosigning();
        let size = cosigning.newest().map_or(0, |newest| newest.checkpoint.size);
        let is_enough = cosigning.is_enough(self.clock.now_ms()) == Some(true);
        let log = self.ledger.as_ref().origin();
        metrics().witness_round(log, self.witnesses.len(), self.policy.enough, size, is_enough);
    }
}

/// Sends a request and reads the answer. `Err` is the size that the witness says it cosigned last.
async fn first_answer(
    witness: &WitnessEndpoint,
    ask: &Ask,
    target: &SignedCheckpoint,
    request: String,
) -> Result<Outcome, u64> {
    let text = target.note.split_once("\n\n").map(|(text, _)| format!("{text}\n")).unwrap_or_default();
    Ok(match ask(witness.clone(), Question::AddCheckpoint(request)).await {
        Ok((200, body)) => {
            let own = witness.keys.iter().map(|key| own_line(key, &text, &body));
            own.collect::<Option<String>>().map_or(Outcome::NoAnswer("unsigned"), Outcome::Cosigned)
        }
        Ok((409, body)) => match body.trim_end().parse() {
            Ok(size) => return Err(size),
            Err(_) => Outcome::Refused,
        },
        Ok((422, _)) => Outcome::Refused,
        Ok((403 | 404, _)) => Outcome::NoAnswer("unknown_here"),
        Ok(_) => Outcome::NoAnswer("failed"),
        Err(error) => {
            tracing::debug!(witness = witness.name, error, "the witness could not be reached");
            Outcome::NoAnswer("unreachable")
        }
    })
}

/// The line of an answer that this key signed.
fn own_line(key: &WitnessKey, text: &str, answer: &str) -> Option<String> {
    let mut lines = answer.lines().take(LINES_MAX);
    let own = lines.find(|line| matches!(key.check(text, line), Ok(Some(_))));
    own.map(|line| format!("{line}\n"))
}
