//! The command `sayso import`.

mod jsonl;
mod package;
mod tally;

use super::connect::Connection;
use super::connect::client;
use super::error::CliError;
use super::interrupt::interrupted;
use super::output::{Out, count};
use super::progress;
use crate::proto::RecordStreamRequest;
use crate::proto::profile_service_client::ProfileServiceClient;
use clap::Args;
use indicatif::ProgressBar;
use jsonl::NextLine;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tally::{Shared, Tally};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Largest number of lines that are read but not yet sent to the daemon. The daemon's flow control limits
/// how many sent lines may wait for its answer.
const READ_AHEAD_LINES: usize = 256;

/// Import attributes from a JSONL file, or from a package of another ledger.
///
/// Each line is one attribute: {"subject": "ada", "key": "tone", "value": "brief", "category":
/// "communication-style", "provenance": "declared", "evidence": ["chat-3"], "observed_at":
/// "2026-01-05T09:00:00Z"}. A date without a time means the beginning of that day: in UTC, or in
/// the time zone that follows the date ("2026-01-05+01:00"). The value can be any JSON. An inferred
/// attribute can have `confidence` and `model`. Declared attributes need a credential with the role
/// `channel`, `service-channel` or `steward`. Other attributes need the role `service`,
/// `service-channel` or `steward`.
///
/// A line counts as recorded once its event is durable. Importing a file again adds nothing twice,
/// even after an interruption. Lines that the bounds forbid are counted and shown, but are not a
/// failure: once the bounds allow these lines, importing the same file again records them. After
/// Ctrl-C, the command reads no more lines, waits for the answers to the lines that were sent, and
/// ends.
///
/// With --package, the file is a package of another ledger, from which `sayso export-subject` exported it.
/// Declared and observed attributes are imported, except expired ones and those that were derived from an
/// attribute that is not imported. Inferences are not imported. Consents are not imported either, because
/// the person has not consented to anything in this ledger yet. --subject names the person in this ledger.
/// The person's ID in the package is not used: it comes from another controller, and could be the ID of
/// another person here.
///
/// Example: `sayso import memories.jsonl`, `zcat memories.gz | sayso import -`, or
/// `sayso import ada.zip --package --subject ada`
#[derive(Args)]
pub(super) struct Import {
    /// File to import, or `-` for standard input.
    file: PathBuf,
    /// Stop at the first refused line. Default: continue with the next line, and report the failure
    /// at the end.
    #[arg(long)]
    strict: bool,
    /// The file is an access or portability package of another ledger.
    #[arg(long, conflicts_with = "strict", requires = "subject")]
    package: bool,
    /// With --package: this controller's ID for the person.
    #[arg(long, requires = "package")]
    subject: Option<String>,
}

/// How the stream of answers ended.
enum Ended {
    Normally,
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
                        let is_accepted = tally.add(answer, &mut shared.refused());
                        if self.strict && !is_accepted {
                            stop.send_replace(true);
                        }
                    }
                    Ok(None) => break Ended::Normally,
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

    /// Reads the lines of the input on a separate thread, because reading standard input can block forever.
    /// The process exits without waiting for this thread to finish.
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
            // The result is sent before the channel of lines closes, so that the receiver of lines can find
            // out why the channel closed.
            let _ignored = done.send(read);
            drop(sender);
        });
        (lines, reading)
    }

    /// Returns an error unless every line of the file was acknowledged and none was refused. A line that the
    /// bounds forbid does not count as refused.
    fn verdict(
        &self,
        tally: &Tally,
        shared: &Shared,
        ended: Ended,
        mut reading: oneshot::Receiver<io::Result<()>>,
        was_interrupted: bool,
    ) -> Result<(), CliError> {
        let again = "recorded lines are durable; run the same import again, it adds nothing twice";
        let sent = shared.sent.load(Ordering::Relaxed);
        let open = sent.saturating_sub(tally.answered);
        if let Ended::Broken(error) = ended {
            return Err(error.next(format!("{} acknowledged; {again}", count(tally.answered, "line"))));
        }
        if open > 0 {
            let error = CliError::failed(format!(
                "the daemon ended the stream with {} not acknowledged",
                count(open, "line")
            ));
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
            number => Err(CliError::failed(format!("{} refused", count(number, "line")))),
        }
    }
}

/// Opens the input for reading. Also returns its length in bytes if it is a regular file.
fn open(path: &Path) -> Result<(Box<dyn BufRead + Send>, Option<u64>), CliError> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let file = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (data, file) = file.map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
    if data.is_dir() {
        return Err(CliError::usage(format!("{}: is a folder, not a file", path.display())));
    }
    Ok((Box::new(BufReader::new(file)), Some(data.len()).filter(|_| data.is_file())))
}

/// Reads the lines of the input, converts each to a message for the daemon, and puts the messages
/// into the channel `lines`. Waits while the channel is full.
fn read_lines(
    mut from: Box<dyn BufRead + Send>,
    lines: &mpsc::Sender<RecordStreamRequest>,
    shared: &Shared,
    bar: &ProgressBar,
    strict: bool,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    for number in 1.. {
        let request = match jsonl::next_line(&mut *from, &mut buffer)? {
            NextLine::End => return Ok(()),
            NextLine::TooLong => Err(format!("longer than {} bytes", jsonl::LINE_BYTES_MAX)),
            NextLine::Line if buffer.trim_ascii().is_empty() => continue,
            NextLine::Line => jsonl::request(&buffer),
        };
        bar.inc((buffer.len() as u64).saturating_add(1));
        match request {
            Ok(line) => {
                let record = line.request;
                if let Some(note) = line.date_note {
                    shared.dates().add(number, note);
                }
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

async fn wait_until_stopped(stopped: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, so the import is over.
    let _stopped = stopped.wait_for(|stop| *stop).await;
}

/// Makes the stream of messages that is sent to the daemon, and counts these messages. The stream
/// can be ended while the thread that reads the lines still waits for input.
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
                () = wait_until_stopped(&mut stopped) => return,
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

/// Decodes one line, for the fuzzers.
pub(super) fn decode_line(line: &[u8]) {
    let _ignored = jsonl::request(line);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

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

    fn verdict(sent: u64, answered: u64, ended: Ended, read: Option<io::Result<()>>) -> String {
        let shared = Shared::default();
        shared.sent.store(sent, Ordering::Relaxed);
        let (done, reading) = oneshot::channel();
        if let Some(read) = read {
            done.send(read).unwrap();
        }
        let tally = Tally { recorded: answered, answered, ..Tally::default() };
        let verdict = import(false).verdict(&tally, &shared, ended, reading, false);
        verdict.map_or_else(|error| error.to_string(), |()| "success".to_owned())
    }

    #[test]
    fn an_import_succeeds_only_if_every_line_was_acknowledged() {
        assert_eq!(verdict(3, 3, Ended::Normally, Some(Ok(()))), "success");
        assert!(verdict(3, 1, Ended::Normally, Some(Ok(()))).contains("2 lines not acknowledged"));
        assert!(verdict(3, 3, Ended::Normally, None).contains("before the file did"));
        let failed = Some(Err(io::Error::other("disk gone")));
        assert!(verdict(3, 3, Ended::Normally, failed).contains("disk gone"));
        let broken = Ended::Broken(CliError::failed("lost the connection to the daemon"));
        assert!(verdict(3, 2, broken, None).contains("2 lines acknowledged"));
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
