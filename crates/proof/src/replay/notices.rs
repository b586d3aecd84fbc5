//! The published versions of notices, and the required ones. A consent allows nothing if it names a version
//! that was published before a required version of the same notice.

use super::fault::Fault;
use super::staircase::Staircase;
use crate::event::{NoticePublished, NoticeRef, NoticeRequired};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Notices {
    /// The position at which each version was published, and the digest of its text, by id and version.
    published: BTreeMap<(String, String), (u64, Vec<u8>)>,
    /// By the id of the notice, the positions at which the required versions were published, by the time from
    /// which they are required.
    required: BTreeMap<String, Staircase<u64>>,
}

impl Notices {
    /// Adds a version that was published at a position.
    pub fn publish(&mut self, position: u64, published: &NoticePublished) {
        if let Some(NoticeRef { id, version, digest, .. }) = &published.notice {
            let version = self.published.entry((id.clone(), version.clone()));
            version.or_insert_with(|| (position, digest.clone()));
        }
    }

    /// Adds a required version. An unknown one counts as published by the event that requires it.
    pub fn require(&mut self, position: u64, sealed_at_ms: u64, required: &NoticeRequired) {
        let version = (required.id.clone(), required.version.clone());
        let published = self.published.get(&version).map_or(position, |(published, _)| *published);
        let from_ms = required.effective_from_ms.max(sealed_at_ms);
        self.required.entry(version.0).or_default().add(from_ms, published);
    }

    /// Whether no later version than this one is required at a time. Every version is later than an unknown
    /// one.
    pub fn counts(&self, notice: &NoticeRef, now_ms: u64) -> bool {
        let published = self.published(notice).map(|(position, _)| position);
        let required = self.required.get(&notice.id).and_then(|required| required.highest(now_ms));
        required.is_none_or(|required| published >= Some(&required))
    }

    fn published(&self, notice: &NoticeRef) -> Option<&(u64, Vec<u8>)> {
        self.published.get(&(notice.id.clone(), notice.version.clone()))
    }

    /// Why a decision must not cite this notice.
    pub fn citation_fault(&self, notice: &NoticeRef) -> Option<Fault> {
        match self.published(notice) {
            None => Some(Fault::UnknownNotice),
            Some((_, digest)) => (*digest != notice.digest).then_some(Fault::NoticeText),
        }
    }
}
