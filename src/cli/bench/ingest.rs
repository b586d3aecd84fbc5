//! `bench ingest`: measures recording over streams (`RecordStream`), one for each connection. Each message
//! has several events. The number of messages of a stream that wait for their answers is limited.

use super::clients::Clients;
use super::load::{Measured, Plan};
use super::options::Bench;
use super::subjects::Subjects;
use crate::cli::connect::Connection;
use crate::cli::error::CliError;
use crate::proto;
use crate::proto::record_stream_response::Outcome;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

/// A message that waits for its answer: when it was due, and its permit. A stream has one permit for each
/// message that may wait at the same time.
type Pending = (Instant, OwnedSemaphorePermit);

/// Runs every stream to its end.
pub(super) async fn measure(bench: &Bench, at: &Connection) -> Result<Measured, CliError> {
    let clients = Clients::connect_all(bench, at).await?;
    let subjects = Subjects::of(bench);
    let window = usize::try_from(bench.concurrency.div_ceil(bench.connections)).unwrap_or(usize::MAX);
    let plan = Arc::new(bench.plan(bench.connections));
    let shown = plan.show();
    let mut streams = Vec::new();
    for (number, clients) in (0_u64..).zip(clients) {
        let stream = Stream {
            plan: Arc::clone(&plan),
            subjects: subjects.clone(),
            number,
            window,
            events: bench.events_per_call,
        };
        streams.push(tokio::spawn(stream.run(clients)));
    }
    let mut all = Measured::new()?;
    for stream in streams {
        all.add(stream.await.map_err(CliError::failed)??)?;
    }
    all.finish(&plan);
    shown.abort();
    Ok(all)
}

struct Stream {
    plan: Arc<Plan>,
    subjects: Subjects,
    number: u64,
    window: usize,
    events: u64,
}

impl Stream {
    async fn run(self, mut clients: Clients) -> Result<Measured, CliError> {
        let (messages, sent) = mpsc::channel(self.window);
        let (pending, waiting) = mpsc::channel(self.window);
        let plan = Arc::clone(&self.plan);
        let sending = tokio::spawn(self.send(messages, pending));
        let answers = clients.profile.record_stream(ReceiverStream::new(sent)).await?.into_inner();
        let measured = receive(&plan, answers, waiting).await;
        // The sender may still wait for a place in the window.
        sending.abort();
        measured
    }

    async fn send(self, messages: mpsc::Sender<proto::RecordStreamRequest>, pending: mpsc::Sender<Pending>) {
        let window = Arc::new(Semaphore::new(self.window));
        for turn in 0_u64.. {
            let Ok(place) = Arc::clone(&window).acquire_owned().await else { return };
            let Some((call, due)) = self.plan.next(self.number, turn).await else { return };
            let first = call.pass.saturating_mul(self.events);
            let record = Some(self.subjects.events(call.subject, first, self.events));
            let message = proto::RecordStreamRequest { sequence: call.number, record };
            if pending.send((due, place)).await.is_err() || messages.send(message).await.is_err() {
                return;
            }
        }
    }
}

/// Receives the answers of a stream, which come in the order of its messages, and measures the
/// latency of each.
async fn receive(
    plan: &Plan,
    mut answers: tonic::Streaming<proto::RecordStreamResponse>,
    mut waiting: mpsc::Receiver<Pending>,
) -> Result<Measured, CliError> {
    let mut own = Measured::new()?;
    while let Some(answer) = answers.message().await? {
        let Some((due, _place)) = waiting.recv().await else { break };
        match answer.outcome {
            Some(Outcome::Receipt(_)) => own.record(plan, due, Instant::now()),
            Some(Outcome::Error(error)) if error.code == Code::ResourceExhausted as i32 => {
                own.overloaded = own.overloaded.saturating_add(1);
            }
            Some(Outcome::Error(error)) => {
                own.failed = Some(CliError::failed(error.message));
                break;
            }
            None => {}
        }
    }
    Ok(own)
}
