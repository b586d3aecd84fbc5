//! `bench revoke`: from the moment that a withdrawal is acknowledged until everybody who watches was told.

use super::load::{Measured, micros};
use super::people::{People, publish_notice};
use super::{Bench, Clients, Connection};
use crate::cli::error::CliError;
use crate::cli::progress;
use crate::proto;
use crate::proto::ConsentDecision;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Watches of one connection: below what a daemon takes at once of one, with room for calls.
const WATCHES_PER_CONNECTION: u64 = 500;
/// Who was not told by then was not told.
const TOLD_MAX: Duration = Duration::from_secs(30);

/// Which grant fell, told when.
type Told = (String, Instant);

/// One withdrawal after the other. Of each: how long until the last watch had been told of it.
pub(super) async fn measure(bench: &Bench, at: &Connection) -> Result<Measured, CliError> {
    publish_notice(at).await?;
    let mut clients = Clients::connect(at).await?;
    let people = bench.people();
    let (sender, mut told) = mpsc::unbounded_channel();
    let watches = watch(bench, at, &sender).await?;
    let mut measured = Measured::new()?;
    let (begun, mut number) = (Instant::now(), 0_u64);
    let (warm, end) = (begun + bench.warm_up, begun + bench.warm_up + bench.duration);
    let bar = progress::entries(bench.duration.as_secs(), "measuring");
    while Instant::now() < end {
        let person = number % bench.subjects;
        let grant = stand(&mut clients, &people, person, number).await?;
        clients.consent.record_consent(people.say(person, ConsentDecision::Withdrawn)).await?;
        let acknowledged = Instant::now();
        let last = all_told(&mut told, &grant, bench.watchers).await?;
        if acknowledged >= warm {
            // Some are told before the acknowledgement arrives; then nobody waited.
            measured.latencies.saturating_record(micros(last.saturating_duration_since(acknowledged)).max(1));
            measured.answered = measured.answered.saturating_add(1);
        }
        number = number.saturating_add(1);
        bar.set_position(begun.elapsed().as_secs());
    }
    bar.finish_and_clear();
    watches.into_iter().for_each(|watch| watch.abort());
    measured.took = warm.elapsed();
    Ok(measured)
}

/// Opens every watch, and waits until each of them stands.
async fn watch(
    bench: &Bench,
    at: &Connection,
    told: &mpsc::UnboundedSender<Told>,
) -> Result<Vec<JoinHandle<()>>, CliError> {
    let mut watches = Vec::new();
    let mut clients = Clients::connect(at).await?;
    for number in 0..bench.watchers {
        if number > 0 && number % WATCHES_PER_CONNECTION == 0 {
            clients = Clients::connect(at).await?;
        }
        let request = proto::WatchRevocationsRequest { after_cursor: None };
        let mut falls = clients.grant.watch_revocations(request).await?.into_inner();
        // The first message only says that the watch stands.
        falls.message().await?;
        let told = told.clone();
        watches.push(tokio::spawn(async move {
            while let Ok(Some(fall)) = falls.message().await {
                let now = Instant::now();
                for grant in fall.grant_ids {
                    if told.send((grant, now)).is_err() {
                        return;
                    }
                }
            }
        }));
    }
    Ok(watches)
}

/// A person who consented, and a grant that stands on it.
async fn stand(clients: &mut Clients, people: &People, person: u64, number: u64) -> Result<String, CliError> {
    clients.profile.record_attributes(people.events(person, number, 1)).await?;
    clients.consent.record_consent(people.say(person, ConsentDecision::Given)).await?;
    let request = people.lasting_grant(person, &people.new_conversation(number));
    Ok(clients.grant.request_grant(request).await?.into_inner().grant_id)
}

/// When the last of them was told of this grant.
async fn all_told(
    told: &mut mpsc::UnboundedReceiver<Told>,
    grant: &str,
    watchers: u64,
) -> Result<Instant, CliError> {
    let mut last = Instant::now();
    let mut count = 0_u64;
    let counting = async {
        while count < watchers {
            let Some((which, when)) = told.recv().await else { break };
            if which == grant {
                count = count.saturating_add(1);
                last = when;
            }
        }
    };
    let ended = tokio::time::timeout(TOLD_MAX, counting).await;
    if ended.is_err() || count < watchers {
        return Err(CliError::failed(format!(
            "only {count} of {watchers} watches were told of a withdrawal"
        )));
    }
    Ok(last)
}
