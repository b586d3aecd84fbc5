//! `sayso bench`: measures the throughput and latency of a daemon that runs in another process, over the same
//! API that every caller uses.

mod clients;
mod echo;
mod ingest;
mod load;
mod options;
mod report;
mod revoke;
mod subjects;
mod unary;
mod verify;

use super::connect::Connection;
use super::error::CliError;
use super::output::Out;
use clients::{Clients, issuer};
use load::Measured;
pub(super) use options::Bench;
use options::Mode;
use std::sync::Arc;
use subjects::Subjects;
use unary::UnaryCaller;

impl Bench {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        if self.duration.is_zero() {
            return Err(CliError::usage("--duration must be longer than zero"));
        }
        if self.prepared && matches!(self.mode, Mode::Check | Mode::Revoke) {
            return Err(CliError::usage(
                "--prepared can't be used with `check` or `revoke`: only the run that prepares grants knows their IDs",
            ));
        }
        match self.mode {
            Mode::EchoServer => echo::serve().await,
            Mode::Verify => verify::run(&self, at, out).await,
            _ => self.load(at, out).await,
        }
    }

    async fn load(&self, at: &Connection, out: Out) -> Result<(), CliError> {
        let before = self.ceiling().await?;
        let measured = match self.mode {
            Mode::Echo => echo::measure(self).await?,
            Mode::Revoke => revoke::measure(self, at).await?,
            Mode::Ingest => ingest::measure(self, at).await?,
            _ => self.measure_unary(at).await?,
        };
        let after = self.ceiling().await?;
        let ceiling = before.zip(after).map(|(before, after)| f64::midpoint(before, after));
        let printed = report::print(self, &measured, ceiling, out);
        match measured.failed {
            Some(error) => Err(error),
            None => printed,
        }
    }

    /// Measures the ceiling, that is, the calls per second of a server that only echoes. `None` without
    /// --with-echo, and in the mode `echo`, which is the ceiling itself.
    async fn ceiling(&self) -> Result<Option<f64>, CliError> {
        if !self.with_echo || self.mode == Mode::Echo {
            return Ok(None);
        }
        let echo = Self { calls: None, rate: None, ..self.clone() };
        Ok(Some(echo::measure(&echo).await?.calls_per_s()))
    }

    async fn measure_unary(&self, at: &Connection) -> Result<Measured, CliError> {
        let clients = Clients::connect_all(self, at).await?;
        let subjects = Subjects::of(self);
        let grants = Arc::new(subjects::prepare(self, at, &clients, &subjects).await?);
        let issuer = Arc::new(issuer(at)?);
        let tokens = unary::Tokens::default();
        let caller = |clients| {
            let (grants, issuer, tokens) = (Arc::clone(&grants), Arc::clone(&issuer), Arc::clone(&tokens));
            UnaryCaller::new(self.mode, subjects.clone(), clients, grants, issuer, tokens)
        };
        load::run(self.plan(self.concurrency), clients.into_iter().map(caller).collect()).await
    }
}
