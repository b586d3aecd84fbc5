//! `sayso import`

mod line;
mod package;

use super::Connection;
use super::connect::client;
use super::error::CliError;
use super::output::Out;
use super::progress;
use super::serve::interrupted;
use crate::proto::profile_service_client::ProfileServiceClient;
use crate::proto::record_stream_response::Outcome;
use crate::proto::{RecordStreamRequest, RecordStreamResponse};
use clap::Args;
use indicatif::ProgressBar;
use line::Next;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Lines read ahead of the stream; the daemon takes its own number of messages at once, and no more are sent then.
const READ_AHEAD_LINES: usize = 256;
/// Refused lines whose reason is kept; of the others only the number is.
const REASONS_MAX: usize = 1_000;
/// Refused lines that are shown to people.
const SHOWN_MAX: usize = 20;

/// Record attributes in bulk from a JSONL file (`-`: standard input).
///
/// A line: {"subject": "ada", "key": "tone", "value": "brief", "category": "communication-style", "provenance":
/// "declared", "evidence": ["chat-3"], "observed_at": "2026-01-05T09:00:00Z"}; the value may be any JSON; `confidence`
/// and `model` may be added to what is inferred. Lines with what people declared need a credential that is a channel, too (role
/// `service-channel`, or a steward's). Every line is durable before it counts as recorded. Running it again
/// adds nothing twice, also after an interruption. What bounds forbid to record is counted and shown, and is no failure:
/// once they allow it, the same import records it. Ctrl-C stops reading and waits for what is under way.
///
/// With --package the file is what `sayso export-subject` of another ledger wrote: what was declared and observed is
/// taken over, what a model inferred is not. Consents are not: nobody consented to anything here yet. --subject says
/// whose record it goes into: the id in the package is another controller's, and may be anybody's here.
///
/// Example: `sayso import memories.jsonl`, `zcat memories.gz | sayso import -`, or
/// `sayso import ada.zip --package --subject ada`
#[derive(Args)]
pub(super) struct Import {
    /// The file, or `-`.
    file: PathBuf,
    /// Stop at the first line that is refused; without it the others go on.
    #[arg(long)]
    strict: bool,
    /// The file is an access or portability package.
    #[arg(long, conflicts_with = "strict", requires = "subject")]
    package: bool,
    /// With --package: this controller's id of the person.
    #[arg(long, requires = "package")]
    subject: Option<String>,
}

/// Lines that were refused, here or by the daemon.
#[derive(Debug, Default)]
struct Refused {
    count: u64,
    reasons: BTreeMap<u64, String>,
}

impl Refused {
    fn add(&mut self, line: u64, reason: String) {
        self.count = self.count.saturating_add(1);
        if self.reasons.len() < REASONS_MAX {
            self.reasons.insert(line, reason);
        }
    }
}

/// What the reader and the stream both look at.
#[derive(Debug, Default)]
struct Shared {
    refused: Mutex<Refused>,
    /// Messages handed to the stream.
    sent: AtomicU64,
    stopped: AtomicBool,
}

impl Shared {
    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the daemon said.
#[derive(Debug, Default)]
struct Tally {
    recorded: u64,
    already: u64,
    /// Refused by bounds, which did what they are for: no failure.
    by_policy: u64,
    /// Why, by line; the first.
    policies: BTreeMap<u64, String>,
    answered: u64,
}

/// How the stream of answers ended.
enum Ended {
    Whole,
    Broken(CliError),
}

impl Import {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        if let Some(subject) = &self.subject {
            return package::run(&self.file, subject.clone(), at, out).await;
        }
        let (from, length) = open(&self.file)?;
        let mut client = client!(ProfileServiceClient, at.link("service-channel").await?);
        let bar = progress::bytes(length, "importing");
        let shared = Arc::new(Shared::default());
        let (lines, reading) = self.read(from, Arc::clone(&shared), bar.clone());
        let (stop, stopped) = watch::channel(false);
        let answers = client.record_stream(relay(lines, stopped, Arc::clone(&shared))).await;
        let mut answers = answers?.into_inner();
        let mut tally = Tally::default();
        let mut interrupt = Box::pin(interrupted());
        let mut was_interrupted = false;
        let ended = loop {
            tokio::select! {
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => {
                        let taken = tally.add(answer, &mut shared.refused());
                        if self.strict && !taken {
                            stop.send_replace(true);
                        }
                    }
                    Ok(None) => break Ended::Whole,
                    Err(status) => break Ended::Broken(status.into()),
                },
                _ = &mut interrupt => {
                    if was_interrupted {
                        break Ended::Broken(CliError::failed("interrupted"));
                    }
                    was_interrupted = true;
                    stop.send_replace(true);
                    interrupt = Box::pin(interrupted());
                }
            }
        };
        shared.stopped.store(true, Ordering::Relaxed);
        bar.finish_and_clear();
        let printed = tally.print(&shared, out);
        self.verdict(&tally, &shared, ended, reading, was_interrupted)?;
        printed
    }

    /// Reads on a thread of its own: standard input may never end, and must not hold up the end of this program.
    fn read(
        &self,
        from: Box<dyn BufRead + Send>,
        shared: Arc<Shared>,
        bar: ProgressBar,
    ) -> (mpsc::Receiver<RecordStreamRequest>, oneshot::Receiver<io::Result<()>>) {
        let (sender, lines) = mpsc::channel(READ_AHEAD_LINES);
        let (done, reading) = oneshot::channel();
        let strict = self.strict;
        std::thread::spawn(move || {
            let read = read_lines(from, &sender, &shared, &bar, strict);
            // Told before the channel of lines closes: who sees its end can ask why.
            let _nobody_waits = done.send(read);
            drop(sender);
        });
        (lines, reading)
    }

    /// What the exit status stands for: everything in the file was acknowledged, or why not.
    fn verdict(
        &self,
        tally: &Tally,
        shared: &Shared,
        ended: Ended,
        mut reading: oneshot::Receiver<io::Result<()>>,
        was_interrupted: bool,
    ) -> Result<(), CliError> {
        let again = "what counts as recorded is durable; run the same import again, nothing is added twice";
        let sent = shared.sent.load(Ordering::Relaxed);
        let open = sent.saturating_sub(tally.answered);
        if let Ended::Broken(error) = ended {
            return Err(error.next(format!("{} lines were acknowledged: {again}", tally.answered)));
        }
        if open > 0 {
            let error =
                CliError::failed(format!("the daemon ended the stream with {open} lines not acknowledged"));
            return Err(error.next(again));
        }
        if was_interrupted {
            return Err(CliError::failed("interrupted").next(again));
        }
        let refused = shared.refused().count;
        match reading.try_recv() {
            Ok(Err(error)) => {
                return Err(CliError::failed(format!("{}: {error}", self.file.display())).next(again));
            }
            Err(_) if refused == 0 => {
                return Err(CliError::failed("the daemon ended the stream before the file did").next(again));
            }
            _ => {}
        }
        match refused {
            0 => Ok(()),
            1 => Err(CliError::failed("1 line was refused")),
            count => Err(CliError::failed(format!("{count} lines were refused"))),
        }
    }
}

/// What to read, and its length where it is a file that has one.
fn open(path: &Path) -> Result<(Box<dyn BufRead + Send>, Option<u64>), CliError> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let file = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (data, file) = file.map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
    if data.is_dir() {
        return Err(CliError::usage(format!("{}: is a folder", path.display())));
    }
    Ok((Box::new(BufReader::new(file)), Some(data.len()).filter(|_| data.is_file())))
}

/// Hands lines on until the end, waiting while the stream is full.
fn read_lines(
    mut from: Box<dyn BufRead + Send>,
    lines: &mpsc::Sender<RecordStreamRequest>,
    shared: &Shared,
    bar: &ProgressBar,
    strict: bool,
) -> io::Result<()> {
    let mut held = Vec::new();
    for number in 1.. {
        let request = match line::next_line(&mut *from, &mut held)? {
            Next::End => return Ok(()),
            Next::TooLong => Err(format!("is longer than {} bytes", line::LINE_BYTES_MAX)),
            Next::Line if held.trim_ascii().is_empty() => continue,
            Next::Line => line::request(&held),
        };
        bar.inc((held.len() as u64).saturating_add(1));
        match request {
            Ok(record) => {
                let message = RecordStreamRequest { sequence: number, record: Some(record) };
                if shared.stopped.load(Ordering::Relaxed) || lines.blocking_send(message).is_err() {
                    return Ok(());
                }
            }
            Err(problem) => {
                shared.refused().add(number, problem);
                if strict {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

async fn until(stopped: &mut watch::Receiver<bool>) {
    // An error means that nobody can stop it any more: the import is over.
    let _stopped = stopped.wait_for(|stop| *stop).await;
}

/// The lines as a stream that can be ended while the reader still waits for more, and that counts what it gives.
fn relay(
    mut lines: mpsc::Receiver<RecordStreamRequest>,
    mut stopped: watch::Receiver<bool>,
    shared: Arc<Shared>,
) -> impl tokio_stream::Stream<Item = RecordStreamRequest> + Send + 'static {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                biased;
                () = until(&mut stopped) => return,
                message = lines.recv() => message,
            };
            let Some(message) = message else { return };
            if sender.send(message).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver).map(move |message| {
        shared.sent.fetch_add(1, Ordering::Relaxed);
        message
    })
}

impl Tally {
    /// Whether the line was taken.
    fn add(&mut self, answer: RecordStreamResponse, refused: &mut Refused) -> bool {
        self.answered = self.answered.saturating_add(1);
        match answer.outcome {
            Some(Outcome::Receipt(receipt)) if receipt.replayed => {
                self.already = self.already.saturating_add(1)
            }
            Some(Outcome::Receipt(_)) => self.recorded = self.recorded.saturating_add(1),
            Some(Outcome::Error(error)) if error.reason == "RECORDING_REFUSED" => {
                self.by_policy = self.by_policy.saturating_add(1);
                if self.policies.len() < REASONS_MAX {
                    self.policies.insert(answer.sequence, error.message);
                }
            }
            Some(Outcome::Error(error)) => {
                refused.add(answer.sequence, error.message);
                return false;
            }
            None => {
                refused.add(answer.sequence, "the daemon gave no answer".into());
                return false;
            }
        }
        true
    }

    fn print(&self, shared: &Shared, out: Out) -> Result<(), CliError> {
        let unanswered = shared.sent.load(Ordering::Relaxed).saturating_sub(self.answered);
        let refused = shared.refused();
        let reasons = refused.reasons.iter();
        let listed: Vec<_> =
            reasons.map(|(line, message)| serde_json::json!({ "line": line, "message": message })).collect();
        let policies = self.policies.iter();
        let by_policy: Vec<_> =
            policies.map(|(line, message)| serde_json::json!({ "line": line, "message": message })).collect();
        let value = serde_json::json!({
            "recorded": self.recorded,
            "already_there": self.already,
            "refused": listed,
            "refused_count": refused.count,
            "refused_by_policy": by_policy,
            "refused_by_policy_count": self.by_policy,
            "not_acknowledged": unanswered,
        });
        let mut text =
            format!("recorded {}, already there {}, refused {}", self.recorded, self.already, refused.count);
        if self.by_policy > 0 {
            text.push_str(&format!(", refused by bounds {}", self.by_policy));
        }
        for (line, message) in self.policies.iter().take(SHOWN_MAX) {
            text.push_str(&format!("\nline {line}: {message}"));
        }
        for (line, message) in refused.reasons.iter().take(SHOWN_MAX) {
            text.push_str(&format!("\nline {line}: {message}"));
        }
        if refused.count > SHOWN_MAX as u64 {
            text.push_str("\n... and more; --json lists them");
        }
        out.print_value(&value, &text)
    }
}

/// Reads one line, for the fuzzers.
pub(super) fn decode_line(line: &[u8]) {
    let _read = line::request(line);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use crate::proto::{Receipt, StreamError};

    const GOOD: &str = r#"{"subject":"s","key":"k","value":1,"category":"work","provenance":"declared","observed_at":"2022-03-17"}"#;

    fn import(strict: bool) -> Import {
        Import { file: "x.jsonl".into(), strict, package: false, subject: None }
    }

    fn read(text: &'static str, strict: bool) -> (Vec<u64>, Vec<u64>) {
        let shared = Arc::new(Shared::default());
        let from = Box::new(BufReader::new(text.as_bytes()));
        let (mut lines, reading) = import(strict).read(from, Arc::clone(&shared), ProgressBar::hidden());
        let mut sent = Vec::new();
        while let Some(message) = lines.blocking_recv() {
            sent.push(message.sequence);
        }
        reading.blocking_recv().unwrap().unwrap();
        let refused = shared.refused().reasons.keys().copied().collect();
        (sent, refused)
    }

    #[test]
    fn lines_keep_their_numbers() {
        let text: &'static str =
            Box::leak(format!("{GOOD}\n\nnot json\n{GOOD}\n  \n{GOOD}").into_boxed_str());
        assert_eq!(read(text, false), (vec![1, 4, 6], vec![3]));
        assert_eq!(read(text, true), (vec![1], vec![3]));
        assert_eq!(read("", false), (vec![], vec![]));
    }

    fn answer(sequence: u64, outcome: Option<Outcome>) -> RecordStreamResponse {
        RecordStreamResponse { sequence, outcome }
    }

    #[test]
    fn answers_are_told_apart() {
        let (mut tally, mut refused) = (Tally::default(), Refused::default());
        let replayed = Receipt { replayed: true, ..Default::default() };
        assert!(tally.add(answer(1, Some(Outcome::Receipt(Receipt::default()))), &mut refused));
        assert!(tally.add(answer(2, Some(Outcome::Receipt(replayed))), &mut refused));
        let error = StreamError { message: "no".into(), ..Default::default() };
        assert!(!tally.add(answer(3, Some(Outcome::Error(error))), &mut refused));
        assert!(!tally.add(answer(4, None), &mut refused));
        assert_eq!((tally.recorded, tally.already, tally.answered, refused.count), (1, 1, 4, 2));
    }

    fn verdict(sent: u64, answered: u64, ended: Ended, read: Option<io::Result<()>>) -> String {
        let shared = Shared::default();
        shared.sent.store(sent, Ordering::Relaxed);
        let (done, reading) = oneshot::channel();
        if let Some(read) = read {
            done.send(read).unwrap();
        }
        let tally = Tally { recorded: answered, answered, ..Tally::default() };
        let verdict = import(false).verdict(&tally, &shared, ended, reading, false);
        verdict.map_or_else(|error| error.to_string(), |()| "good".to_owned())
    }

    #[test]
    fn success_means_that_every_line_was_acknowledged() {
        assert_eq!(verdict(3, 3, Ended::Whole, Some(Ok(()))), "good");
        assert!(verdict(3, 1, Ended::Whole, Some(Ok(()))).contains("2 lines not acknowledged"));
        assert!(verdict(3, 3, Ended::Whole, None).contains("before the file did"));
        let failed = Some(Err(io::Error::other("disk gone")));
        assert!(verdict(3, 3, Ended::Whole, failed).contains("disk gone"));
        let broken = Ended::Broken(CliError::failed("the connection to the daemon broke"));
        assert!(verdict(3, 2, broken, None).contains("2 lines were acknowledged"));
    }

    #[test]
    fn kept_reasons_are_bounded() {
        let mut refused = Refused::default();
        (0..2_000).for_each(|line| refused.add(line, "no".into()));
        assert_eq!((refused.count, refused.reasons.len()), (2_000, REASONS_MAX));
    }

    #[tokio::test]
    async fn a_stream_ends_while_its_reader_waits() {
        let (sender, lines) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared::default());
        let mut stream = Box::pin(relay(lines, stopped, Arc::clone(&shared)));
        sender.send(RecordStreamRequest::default()).await.unwrap();
        assert!(stream.next().await.is_some());
        stop.send_replace(true);
        assert!(stream.next().await.is_none());
        assert_eq!(shared.sent.load(Ordering::Relaxed), 1);
        drop(sender);
    }
}
