//! `bench revoke`: the time from the acknowledgment of a withdrawal until every watch has received the
//! revocation.

use super::clients::Clients;
use super::load::{Measured, micros};
use super::options::Bench;
use super::subjects::{Subjects, publish_notice};
use crate::cli::connect::Connection;
use crate::cli::error::CliError;
use crate::cli::progress;
use crate::proto;
use crate::proto::ConsentDecision;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Number of watches on one connection. It is below the daemon's limit, to leave room for other calls.
const WATCHES_PER_CONNECTION: u64 = 500;
/// Time limit for a revocation to reach every watch.
const DELIVERY_MAX: Duration = Duration::from_secs(30);

/// A revocation that a watch received: the grant's ID and the time of arrival.
type Received = (String, Instant);

/// Makes one withdrawal after another, and measures how long each takes until its revocation has reached
/// the last watch.
pub(super) async fn measure(bench: &Bench, at: &Connection) -> Result<Measured, CliError> {
    publish_notice(at).await?;
    let mut clients = Clients::connect(at).await?;
    let subjects = Subjects::of(bench);
    let (sender, mut received) = mpsc::unbounded_channel();
    let watches = watch(bench, at, &sender).await?;
    let mut measured = Measured::new()?;
    let (start, mut number) = (Instant::now(), 0_u64);
    let (measuring_from, end) = (start + bench.warm_up, start + bench.warm_up + bench.duration);
    let bar = progress::entries(bench.duration.as_secs(), "measuring");
    while Instant::now() < end {
        let subject = number % bench.subjects;
        let grant = obtain_grant(&mut clients, &subjects, subject, number).await?;
        clients.consent.record_consent(subjects.consent(subject, ConsentDecision::Withdrawn)).await?;
        let acknowledged = Instant::now();
        let last = wait_for_all(&mut received, &grant, bench.watchers).await?;
        if acknowledged >= measuring_from {
            // A revocation can reach the watches before the acknowledgment arrives. It counts as 1
            // microsecond.
            measured.latencies.saturating_record(micros(last.saturating_duration_since(acknowledged)).max(1));
            measured.answered = measured.answered.saturating_add(1);
        }
        number = number.saturating_add(1);
        bar.set_position(start.elapsed().as_secs());
    }
    bar.finish_and_clear();
    watches.into_iter().for_each(|watch| watch.abort());
    measured.took = measuring_from.elapsed();
    Ok(measured)
}

/// Opens every watch and waits until each of them is active.
async fn watch(
    bench: &Bench,
    at: &Connection,
    received: &mpsc::UnboundedSender<Received>,
) -> Result<Vec<JoinHandle<()>>, CliError> {
    let mut watches = Vec::new();
    let mut clients = Clients::connect(at).await?;
    for number in 0..bench.watchers {
        if number > 0 && number % WATCHES_PER_CONNECTION == 0 {
            clients = Clients::connect(at).await?;
        }
        let request = proto::WatchRevocationsRequest { after_cursor: None };
        let mut revocations = clients.grant.watch_revocations(request).await?.into_inner();
        // The first message only says that the watch is active.
        revocations.message().await?;
        let received = received.clone();
        watches.push(tokio::spawn(async move {
            while let Ok(Some(revoked)) = revocations.message().await {
                let now = Instant::now();
                for grant in revoked.grant_ids {
                    if received.send((grant, now)).is_err() {
                        return;
                    }
                }
            }
        }));
    }
    Ok(watches)
}

/// Records a subject's consent and returns the ID of a grant that relies on it.
async fn obtain_grant(
    clients: &mut Clients,
    subjects: &Subjects,
    subject: u64,
    number: u64,
) -> Result<String, CliError> {
    clients.profile.record_attributes(subjects.events(subject, number, 1)).await?;
    clients.consent.record_consent(subjects.consent(subject, ConsentDecision::Given)).await?;
    let request = subjects.longest_grant(subject, &subjects.new_conversation(number));
    Ok(clients.grant.request_grant(request).await?.into_inner().grant_id)
}

/// Waits until every watch has received the revocation of a grant. Returns the moment at which the last
/// one received it.
async fn wait_for_all(
    received: &mut mpsc::UnboundedReceiver<Received>,
    grant: &str,
    watchers: u64,
) -> Result<Instant, CliError> {
    let mut last = Instant::now();
    let mut count = 0_u64;
    let counting = async {
        while count < watchers {
            let Some((which, when)) = received.recv().await else { break };
            if which == grant {
                count = count.saturating_add(1);
                last = when;
            }
        }
    };
    let ended = tokio::time::timeout(DELIVERY_MAX, counting).await;
    if ended.is_err() || count < watchers {
        return Err(CliError::failed(format!(
            "only {count} of {watchers} watches received a revocation within 30 seconds"
        )));
    }
    Ok(last)
}
