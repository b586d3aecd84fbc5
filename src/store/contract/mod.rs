//! A suite of tests of the storage contracts. Every engine must pass the suite. Each test takes a function
//! that opens a new, empty engine.
//!
//! Tests of an engine can also compare a whole log with the model log in `memory`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs, reason = "tests")]

mod discards;
mod engine;
mod keys;
mod log;
mod source;

pub use discards::*;
pub use engine::*;
pub use keys::*;
pub use log::*;
pub use source::*;

/// Makes a test of each function of the suite, for one engine.
macro_rules! suite {
    ($open:expr; $($test:path as $name:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            $test(&$open);
        })+
    };
}
pub(crate) use suite;

macro_rules! log_suite {
    ($open:expr) => {
        $crate::store::contract::suite! { $open;
            $crate::store::contract::a_new_log_is_empty as a_new_log_is_empty,
            $crate::store::contract::committed_entries_can_be_read as committed_entries_can_be_read,
            $crate::store::contract::a_conflict_writes_nothing as a_conflict_writes_nothing,
            $crate::store::contract::an_empty_frame_is_rejected as an_empty_frame_is_rejected,
            $crate::store::contract::entries_are_found_by_subject as entries_are_found_by_subject,
            $crate::store::contract::entries_are_found_by_request as entries_are_found_by_request,
            $crate::store::contract::complete_merkle_nodes_can_be_read as complete_merkle_nodes_can_be_read,
            $crate::store::contract::custom_records_are_found as custom_records_are_found,
            $crate::store::contract::a_discard_removes_its_entries_and_nothing_else
                as a_discard_removes_its_entries_and_nothing_else,
            $crate::store::contract::a_request_can_be_discarded_in_part as a_request_can_be_discarded_in_part,
            $crate::store::contract::no_records_are_restored_for_a_discarded_entry
                as no_records_are_restored_for_a_discarded_entry,
            $crate::store::contract::progress_is_replaced_as_a_whole as progress_is_replaced_as_a_whole,
            $crate::store::contract::restored_records_are_added_to_those_that_are_there
                as restored_records_are_added_to_those_that_are_there,
            $crate::store::contract::a_closed_log_is_read_only as a_closed_log_is_read_only,
            $crate::store::contract::a_found_entry_can_be_read_during_commits
                as a_found_entry_can_be_read_during_commits,
        }
    };
}
pub(crate) use log_suite;

macro_rules! keys_suite {
    ($open:expr) => {
        $crate::store::contract::suite! { $open;
            $crate::store::contract::written_pages_can_be_read as written_pages_can_be_read,
            $crate::store::contract::pages_are_listed_by_prefix as pages_are_listed_by_prefix,
        }
    };
}
pub(crate) use keys_suite;
