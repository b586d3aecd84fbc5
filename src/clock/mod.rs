//! [`Clock`], the trait for sources of time and randomness. Tests and simulations use their own
//! implementations. This module also keeps the ledger's time, which never goes back.

mod credential_clock;
mod event_ids;
mod ledger_clock;
mod source;
mod state;
mod stopwatch;
#[cfg(test)]
mod tests;
mod watermark;

pub use credential_clock::CredentialClock;
pub use event_ids::EventIds;
pub use ledger_clock::LedgerClock;
pub use source::{Clock, SharedClock, SystemClock};
pub use state::{Accepted, ClockLimits, ClockReading, ClockState};
pub use stopwatch::Stopwatch;
