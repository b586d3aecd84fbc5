//! `bench ingest`: one stream a connection, with so many messages under way.

use super::load::{Measured, Plan};
use super::people::People;
use super::{Bench, Clients, Connection};
use crate::cli::error::CliError;
use crate::proto;
use crate::proto::record_stream_response::Outcome;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

/// A message that is under way: when it was due, and its place in the window.
type UnderWay = (Instant, OwnedSemaphorePermit);

/// Runs every stream to its end.
pub(super) async fn measure(bench: &Bench, at: &Connection) -> Result<Measured, CliError> {
    let clients = bench.clients(at).await?;
    let people = bench.people();
    let window = usize::try_from(bench.concurrency.div_ceil(bench.connections)).unwrap_or(usize::MAX);
    let plan = Arc::new(bench.plan(bench.connections));
    let shown = plan.show();
    let mut streams = Vec::new();
    for (number, clients) in (0_u64..).zip(clients) {
        let stream = Stream {
            plan: Arc::clone(&plan),
            people: people.clone(),
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
    all.end(&plan);
    shown.abort();
    Ok(all)
}

struct Stream {
    plan: Arc<Plan>,
    people: People,
    number: u64,
    window: usize,
    events: u64,
}

impl Stream {
    async fn run(self, mut clients: Clients) -> Result<Measured, CliError> {
        let (messages, sent) = mpsc::channel(self.window);
        let (under_way, waiting) = mpsc::channel(self.window);
        let plan = Arc::clone(&self.plan);
        let sending = tokio::spawn(self.send(messages, under_way));
        let answers = clients.profile.record_stream(ReceiverStream::new(sent)).await?.into_inner();
        let measured = receive(&plan, answers, waiting).await;
        // It ends by itself, or because nobody takes its messages any more.
        sending.abort();
        measured
    }

    async fn send(
        self,
        messages: mpsc::Sender<proto::RecordStreamRequest>,
        under_way: mpsc::Sender<UnderWay>,
    ) {
        let window = Arc::new(Semaphore::new(self.window));
        for turn in 0_u64.. {
            let Ok(place) = Arc::clone(&window).acquire_owned().await else { return };
            let Some((turn, due)) = self.plan.next(self.number, turn).await else { return };
            let first = turn.pass.saturating_mul(self.events);
            let record = Some(self.people.events(turn.person, first, self.events));
            let message = proto::RecordStreamRequest { sequence: turn.number, record };
            if under_way.send((due, place)).await.is_err() || messages.send(message).await.is_err() {
                return;
            }
        }
    }
}

/// Answers come in the order of the messages.
async fn receive(
    plan: &Plan,
    mut answers: tonic::Streaming<proto::RecordStreamResponse>,
    mut waiting: mpsc::Receiver<UnderWay>,
) -> Result<Measured, CliError> {
    let mut own = Measured::new()?;
    while let Some(answer) = answers.message().await? {
        let Some((due, _place)) = waiting.recv().await else { break };
        match answer.outcome {
            Some(Outcome::Receipt(_)) => own.note(plan, due, Instant::now()),
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
