//! Tests of the ledger: chains, batches, proofs, restarts, and a store whose writes are lost or persisted
//! when they fail.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod batches;
mod bench;
mod chains;
mod faults;
mod kept_checkpoint;
mod proofs;
