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
mod backup;
mod bad_input;
mod bounds;
mod controllers;
mod crash;
mod credentials;
mod erasure;
mod erasure_crash;
mod forensic_tool;
mod forensics;
mod gate;
mod harness;
mod hostile;
mod isolation;
mod limits;
mod outside_note;
mod package;
mod packs;
mod public_log;
mod readme;
mod real_facts;
mod rights;
mod silence;
mod sim;
mod tidy;
mod token;
mod transparency;
