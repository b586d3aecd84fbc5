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
mod authorization;
mod backup;
mod bad_input;
mod bench;
mod bounds;
mod cli;
mod clock;
mod controllers;
mod crash;
mod credentials;
mod disk;
mod documents;
mod erasure;
mod erasure_crash;
mod expired_credentials;
mod flood;
mod forensic_tool;
mod forensics;
mod fuzzing;
mod harness;
mod import;
mod isolation;
mod limits;
mod memory_floods;
mod package;
mod packs;
mod policy_limits;
mod public_log;
mod readme;
mod real_facts;
mod refused;
mod reuse_grant;
mod revocations;
mod rights;
mod rot;
mod rotation;
mod rule_changes;
mod same_work;
mod service_views;
mod shutdown;
mod signed_notes;
mod silence;
mod sim;
mod soak;
mod special_categories;
mod spoken;
mod tidy;
mod token;
mod traces;
mod transparency;
mod witness;
