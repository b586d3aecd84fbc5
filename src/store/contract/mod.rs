//! One suite for every engine: what the contracts promise, as tests over whatever opens an engine. The whole of a log
//! can be compared with the plain model in `memory`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs, reason = "tests")]

mod discards;
mod keys;
mod log;
mod source;

pub use discards::*;
pub use keys::*;
pub use log::*;
pub use source::*;

use super::{KeyStore, LogStore};
use std::ops::Deref;
use std::sync::Arc;
use tempfile::TempDir;

/// An engine, and the folder that goes when it does.
pub struct Opened<T: ?Sized> {
    pub engine: Arc<T>,
    pub _folder: Option<TempDir>,
}

impl<T: ?Sized> Deref for Opened<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.engine
    }
}

pub type OpenLog<'a> = &'a dyn Fn() -> Opened<dyn LogStore>;
pub type OpenKeys<'a> = &'a dyn Fn() -> Opened<dyn KeyStore>;

/// Runs each contract test against one engine, as a test of its own.
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
            $crate::store::contract::an_empty_log as an_empty_log,
            $crate::store::contract::what_is_committed_is_read as what_is_committed_is_read,
            $crate::store::contract::a_conflict_writes_nothing as a_conflict_writes_nothing,
            $crate::store::contract::an_empty_frame_is_rejected as an_empty_frame_is_rejected,
            $crate::store::contract::subjects_are_found as subjects_are_found,
            $crate::store::contract::requests_are_found as requests_are_found,
            $crate::store::contract::nodes_are_kept as nodes_are_kept,
            $crate::store::contract::further_records_are_found as further_records_are_found,
            $crate::store::contract::what_is_discarded_is_gone as what_is_discarded_is_gone,
            $crate::store::contract::a_request_is_discarded_in_part as a_request_is_discarded_in_part,
            $crate::store::contract::nothing_is_given_back_for_a_discarded_entry
                as nothing_is_given_back_for_a_discarded_entry,
            $crate::store::contract::a_closed_log_is_read_only as a_closed_log_is_read_only,
            $crate::store::contract::what_is_found_can_be_read as what_is_found_can_be_read,
        }
    };
}
pub(crate) use log_suite;

macro_rules! keys_suite {
    ($open:expr) => {
        $crate::store::contract::suite! { $open;
            $crate::store::contract::pages_are_kept as pages_are_kept,
            $crate::store::contract::pages_are_listed as pages_are_listed,
        }
    };
}
pub(crate) use keys_suite;
