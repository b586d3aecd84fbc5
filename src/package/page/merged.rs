//! Merges consecutive disclosures that differ only in their time, conversation and grant. They share a line
//! of the page, so that a page about years of use stays short.

use crate::package::record::Disclosure;

/// Equal disclosures in a row.
#[derive(Debug)]
pub(super) struct Merged {
    /// The first of them.
    pub first: Disclosure,
    /// The time of the last of them.
    pub last_at: String,
    /// How many there are.
    pub count: u64,
}

impl Merged {
    pub fn new(first: &Disclosure) -> Self {
        Self { first: first.clone(), last_at: first.at.clone(), count: 1 }
    }

    /// Adds the next disclosure if it is equal; returns whether it is.
    pub fn add(&mut self, next: &Disclosure) -> bool {
        let first = &self.first;
        let is_equal = first.recipient == next.recipient
            && first.purpose == next.purpose
            && first.attributes == next.attributes
            && first.consents == next.consents;
        if is_equal {
            self.last_at.clone_from(&next.at);
            self.count = self.count.saturating_add(1);
        }
        is_equal
    }
}
