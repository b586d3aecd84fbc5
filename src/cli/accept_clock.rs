//! The command `sayso accept-clock`.

use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out};
use super::times;
use crate::proto;
use crate::proto::operator_service_client::OperatorServiceClient;
use clap::Args;

/// Accept the clock of the daemon's machine as right, after the clock jumped.
///
/// After a jump, no grant is valid and no use is allowed, because the clock may be wrong. If the
/// clock is right, accept it with this command, and use is allowed again. If it is wrong, set it:
/// as soon as it is right, use is allowed again without this command.
///
/// The ledger keeps its own time, which follows the clock but never goes back. While use is denied
/// because of the clock, `sayso stats` shows the clock and the ledger's time. If the ledger's time
/// is ahead of an accepted clock, it runs slower by one part in 128 until it agrees with the clock.
/// Consents, attributes and grants expire by the ledger's time. So if a jump left the ledger's time
/// years ahead, restore a backup from before the jump instead of accepting the clock.
///
/// Example: `sayso accept-clock --now 2026-01-31T12:00:00Z`
#[derive(Args)]
pub(super) struct AcceptClock {
    /// The current time according to another clock, such as your watch. The command fails unless
    /// the machine's clock agrees with it within a minute.
    #[arg(long, value_parser = times::exact, value_name = "TIME")]
    now: prost_types::Timestamp,
    /// Idempotency key: a repeated request with the same key has no further effect.
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
            format!(
                "clock accepted; the ledger's time continues from {}",
                output::time(answer.ledger_time.as_ref())
            )
        })
    }
}
