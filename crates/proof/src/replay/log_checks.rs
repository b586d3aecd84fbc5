//! Checks of single events that need no history of a data subject. An event must be recorded where its
//! kind belongs: in the stream of a data subject, or as a system event. System events must agree with
//! earlier ones.

use super::fault::Fault;
use super::parties::about;
use crate::entry::{Handle, Header};
use crate::event::event_body::Event;
use crate::event::{EventBody, NoticePublished};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// What later system events are compared with.
#[derive(Default)]
pub(crate) struct LogChecks {
    /// The ids of the restores from backups.
    restores: BTreeSet<Vec<u8>>,
}

impl LogChecks {
    /// Checks the next entry, whose body must not be minimized, and returns its faults.
    pub fn check_next(&mut self, position: u64, header: &Header, body: &EventBody) -> Vec<Fault> {
        let Some(event) = &body.event else { return Vec::new() };
        if !about(event).may_be_recorded(header.handle == Handle::SYSTEM) {
            return vec![Fault::WrongParty];
        }
        match event {
            Event::NoticePublished(published) => notice_fault(published).into_iter().collect(),
            Event::BackupRestored(restored) => {
                self.restores.insert(restored.restore.clone());
                Vec::new()
            }
            Event::RestoreConfirmed(confirmed) if !self.restores.contains(&confirmed.restore) => {
                vec![Fault::UnknownReference]
            }
            Event::RecipientAcknowledged(acknowledged) if acknowledged.position >= position => {
                vec![Fault::UnknownReference]
            }
            Event::RecipientReminded(reminded) if reminded.position.max(reminded.named_at) >= position => {
                vec![Fault::UnknownReference]
            }
            Event::RecipientReported(report) if report.positions.iter().any(|named| *named >= position) => {
                vec![Fault::UnknownReference]
            }
            _ => Vec::new(),
        }
    }
}

/// The digest of a notice must be that of its text.
fn notice_fault(published: &NoticePublished) -> Option<Fault> {
    let digest = published.notice.as_ref().map(|notice| notice.digest.as_slice());
    (digest != Some(Sha256::digest(&published.text).as_slice())).then_some(Fault::NoticeText)
}
