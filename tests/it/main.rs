//! The integration test binary: tests of the daemon through its public interfaces.
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
mod completeness;
mod connection_buffers;
mod consent_decisions;
mod controllers;
mod counts;
mod crash;
mod credentials;
mod demo;
mod dev_daemon;
mod disk;
mod disk_corruption;
mod documents;
mod earlier_values;
mod end_to_end;
mod ends_over_restarts;
mod erased_copies;
mod erasure;
mod erasure_crash;
mod expired_credentials;
mod flood;
mod forensic_tool;
mod forensics;
mod forged_documents;
mod fuzzing;
mod guardians;
mod guessed_ids;
mod guesses;
mod harness;
mod held_data;
mod import;
mod isolation;
mod key_epoch;
mod late_observations;
mod late_refusals;
mod late_reports;
mod late_statements;
mod leak_canaries;
mod legal_bases;
mod limits;
mod lost_ids;
mod lost_parts;
mod memory_floods;
mod monitor;
mod names;
mod notices;
mod outstanding;
mod package;
mod package_page;
mod packs;
mod partial_erasure;
mod pkcs11;
mod policy_limits;
mod public_log;
mod readme;
mod recipients;
mod recording_permissions;
mod redefined_words;
mod references;
mod rejected_writes;
mod relevance;
mod requests;
mod reuse_grant;
mod revocations;
mod reused_keys;
mod rights;
mod rotation;
mod rule_changes;
mod service_views;
mod shutdown;
mod side_channel;
mod signed_notes;
mod signed_rules;
mod sim;
mod soak;
mod special_categories;
mod special_sources;
mod stopped_uses;
mod temporary_folder;
mod terminal;
mod tidy;
mod times;
mod timestamps;
mod traces;
mod transparency;
mod unchecked_grants;
mod unmatched;
mod uses;
mod verification_report;
mod verified_documents;
mod witness;
