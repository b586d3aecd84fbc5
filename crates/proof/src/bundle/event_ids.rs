//! Finds event ids that more than one entry has, which the verifier reports. Ids are kept in a spool (a
//! temporary store on disk, see `spool.rs`), so memory does not grow with the entries.

use super::spool::Spool;
use std::collections::HashSet;
use std::io;

/// The event id of one entry.
#[derive(prost::Message)]
struct IdAt {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    position: u64,
}

/// The event ids of the entries so far.
pub(super) struct EventIds {
    spool: Spool<IdAt>,
}

impl EventIds {
    /// The state before the first entry of a log with this number of entries.
    pub fn new(entries: u64) -> Self {
        Self { spool: Spool::new(entries) }
    }

    /// Adds the id of the next entry.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    pub fn add(&mut self, position: u64, id: &[u8; 16]) -> io::Result<()> {
        self.spool.push(id, &IdAt { id: id.to_vec(), position })
    }

    /// Calls `found` with the position of each entry whose id an earlier entry has, in no particular order.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn for_each_repeated(&self, found: &mut dyn FnMut(u64)) -> io::Result<()> {
        for group in 0..self.spool.groups() {
            let mut seen = HashSet::new();
            self.spool.for_each(group, &mut |IdAt { id, position }| {
                let id: [u8; 16] = id.try_into().map_err(|_| io::Error::other("an event id has 16 bytes"))?;
                if !seen.insert(id) {
                    found(position);
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
