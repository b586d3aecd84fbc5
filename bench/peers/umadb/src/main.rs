//! Puts load on a running UmaDB (an event store) with UmaDB's own client, and reports the results as
//! `sayso bench --json` does.

use clap::{Parser, ValueEnum};
use futures::StreamExt;
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::time::{Duration, Instant};
use umadb_client::{AsyncUmaDbClient, UmaDbClient};
use umadb_dcb::{DcbError, DcbEvent, DcbEventStoreAsync, DcbQuery, DcbQueryItem};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// One event in each call.
    Append,
    /// Several events in each call.
    Ingest,
    /// Reads the ten events of a subject by its tag.
    Read,
}

#[derive(Clone, Debug, Parser)]
struct Load {
    mode: Mode,
    #[arg(long, default_value = "http://127.0.0.1:50051")]
    addr: String,
    #[arg(long, default_value_t = 4)]
    connections: u64,
    #[arg(long, default_value_t = 64)]
    concurrency: u64,
    #[arg(long, default_value_t = 5.0)]
    duration_s: f64,
    #[arg(long, default_value_t = 1.0)]
    warm_up_s: f64,
    #[arg(long, default_value_t = 1_000)]
    subjects: u64,
    #[arg(long, default_value_t = 450)]
    value_bytes: usize,
    #[arg(long, default_value_t = 64)]
    events_per_call: u64,
}

const EVENTS_PER_SUBJECT: u64 = 10;

impl Load {
    /// Returns event `number` about a subject. Its payload is as long as that of an event of `sayso bench`.
    fn event(&self, subject: &str, number: u64) -> DcbEvent {
        let width = self.value_bytes;
        DcbEvent::default()
            .event_type("AttributeRecorded")
            .tags([subject])
            .data(format!("{number:0>width$}").into_bytes())
            .uuid(Uuid::new_v4())
    }

    fn events(&self, subject: &str, first: u64, count: u64) -> Vec<DcbEvent> {
        (first..first + count).map(|number| self.event(subject, number)).collect()
    }

    async fn call(&self, client: &AsyncUmaDbClient, subject: &str, number: u64) -> Result<(), DcbError> {
        match self.mode {
            Mode::Append => client.append(self.events(subject, number, 1), None, None).await.map(|_| ()),
            Mode::Ingest => {
                let events = self.events(subject, number * self.events_per_call, self.events_per_call);
                client.append(events, None, None).await.map(|_| ())
            }
            Mode::Read => {
                let query = DcbQuery::new().item(DcbQueryItem::new().tags([subject]));
                let mut events = client.read(Some(query), None, false, None).await?;
                let mut count = 0;
                while let Some(event) = events.next().await {
                    event?;
                    count += 1;
                }
                assert_eq!(count, EVENTS_PER_SUBJECT, "events of {subject}");
                Ok(())
            }
        }
    }
}

/// When the measurement begins and ends.
#[derive(Clone, Copy)]
struct Times {
    from: Instant,
    until: Instant,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let load = Load::parse();
    let run = Uuid::new_v4().simple().to_string();
    let mut clients = Vec::new();
    for _ in 0..load.connections {
        clients.push(Arc::new(UmaDbClient::new(load.addr.clone()).connect_async().await?));
    }
    if load.mode == Mode::Read {
        for number in 0..load.subjects {
            let subject = format!("bench-{run}-{number}");
            clients[0].append(load.events(&subject, 0, EVENTS_PER_SUBJECT), None, None).await?;
        }
    }
    let from = Instant::now() + Duration::from_secs_f64(load.warm_up_s);
    let times = Times { from, until: from + Duration::from_secs_f64(load.duration_s) };
    let mut workers = Vec::new();
    for worker in 0..load.concurrency {
        let client = Arc::clone(&clients[usize::try_from(worker % load.connections)?]);
        workers.push(tokio::spawn(work(load.clone(), client, run.clone(), worker, times)));
    }
    let mut all = Histogram::<u64>::new_with_bounds(1, 600_000_000, 3)?;
    let mut responses = 0;
    for worker in workers {
        let (latencies, count) = worker.await??;
        all.add(latencies)?;
        responses += count;
    }
    let per_call = if load.mode == Mode::Ingest { load.events_per_call } else { 1 };
    let calls_per_s = responses as f64 / load.duration_s;
    let object = serde_json::json!({
        "mode": format!("{:?}", load.mode).to_lowercase(),
        "concurrency": load.concurrency,
        "calls": responses,
        "calls_per_s": calls_per_s.round(),
        "events_per_s": (calls_per_s * per_call as f64).round(),
        "p50_us": all.value_at_quantile(0.5),
        "p90_us": all.value_at_quantile(0.9),
        "p99_us": all.value_at_quantile(0.99),
        "p999_us": all.value_at_quantile(0.999),
        "max_us": all.max(),
    });
    println!("{object}");
    Ok(())
}

/// Makes one call after the other, about subjects that no other worker uses. Returns the latencies and the
/// number of responses within the measurement.
async fn work(
    load: Load,
    client: Arc<AsyncUmaDbClient>,
    run: String,
    worker: u64,
    times: Times,
) -> Result<(Histogram<u64>, u64), DcbError> {
    let mut latencies = Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are in order");
    let mut responses = 0;
    let own = load.subjects.saturating_sub(worker).div_ceil(load.concurrency).max(1);
    for call in 0.. {
        let begun = Instant::now();
        if begun >= times.until {
            break;
        }
        let subject = (call * 2_654_435_761 % own) * load.concurrency + worker;
        load.call(&client, &format!("bench-{run}-{subject}"), call).await?;
        let ended = Instant::now();
        if begun >= times.from {
            latencies.saturating_record(u64::try_from((ended - begun).as_micros()).unwrap_or(u64::MAX));
        }
        if ended >= times.from && ended < times.until {
            responses += 1;
        }
    }
    Ok((latencies, responses))
}
