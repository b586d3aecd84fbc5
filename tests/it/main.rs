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
mod flood;
mod forensic_tool;
mod forensics;
mod gate;
mod given_again;
mod grammar;
mod harness;
mod hostile;
mod import;
mod isolation;
mod lapsed;
mod limits;
mod looks;
mod memory_floods;
mod new_rules;
mod noes;
mod outside_note;
mod package;
mod packs;
mod public_log;
mod readme;
mod real_facts;
mod refused;
mod rights;
mod rot;
mod rotation;
mod same_work;
mod shutdown;
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
