//! How the suite of contract tests opens the engine that it tests.

use crate::store::{KeyStore, LogStore};
use std::ops::Deref;
use std::sync::Arc;
use tempfile::TempDir;

/// An engine, and its folder if it has one. Dropping this value removes the folder.
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

/// Opens a new, empty log.
pub type OpenLog<'a> = &'a dyn Fn() -> Opened<dyn LogStore>;

/// Opens a new, empty key store.
pub type OpenKeys<'a> = &'a dyn Fn() -> Opened<dyn KeyStore>;
