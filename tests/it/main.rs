//! The one integration binary: the daemon through its front door.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod access;
mod bad_input;
mod crash;
mod credentials;
mod gate;
mod harness;
mod hostile;
mod outside_note;
mod public_log;
mod readme;
mod real_facts;
mod silence;
mod tidy;
