//! Tests of the ledger: chains, batches, proofs, restarts, and a store whose writes fail. A failed write may
//! be lost, or it may be persisted although it was reported as failed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod batches;
mod bench;
mod chains;
mod faults;
mod kept_checkpoint;
mod proofs;
