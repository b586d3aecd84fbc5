//! `sayso accept-clock`

use super::Connection;
use super::connect::{Link, client, parse_time};
use super::error::CliError;
use super::output::{self, Out};
use crate::proto;
use crate::proto::operator_service_client::OperatorServiceClient;
use clap::Args;

/// Accept the clock of the daemon's machine as it is, after it jumped. Use goes on; until then no grant stands.
///
/// Set the clock first if it is wrong: once it is right, use goes on by itself. `sayso stats` shows what the clock says and
/// what the ledger's time is. The ledger's time never goes back: where it is ahead of the clock, it stays ahead, and runs
/// slower by one part in 128 until they meet. What ends, ends by the ledger's time, so years ahead are better undone by a
/// backup from before.
///
/// Example: `sayso accept-clock --now 2026-01-31T12:00:00Z`
#[derive(Args)]
pub(super) struct AcceptClock {
    /// What time it is by another clock; the machine's must agree within a minute.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    now: prost_types::Timestamp,
    /// Does the same only once, however often it is sent.
    #[arg(long, default_value = "")]
    idempotency_key: String,
}

impl AcceptClock {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client: OperatorServiceClient<Link> =
            client!(OperatorServiceClient, at.link("operator").await?);
        let options =
            proto::WriteOptions { idempotency_key: self.idempotency_key, ..proto::WriteOptions::default() };
        let request = proto::AcceptClockRequest { clock: Some(self.now), options: Some(options) };
        let answer = client.accept_clock(request).await?.into_inner();
        out.print("AcceptClockResponse", &answer, |answer| {
            format!("accepted; the ledger's time goes on from {}", output::time(answer.ledger_time.as_ref()))
        })
    }
}
