//! The list of those who received data about a data subject (GDPR Art. 15(1)(c), 19). It outlives the record
//! of the disclosures: when that record is erased, a `RecipientsKept` event keeps names, times and a few ids.

use super::event::{Event, GrantIssued, KeptRecipient, RecipientsKept, Recorded, Role};
use super::ids::{EventId, GrantId};
use std::collections::{BTreeMap, BTreeSet};

/// The most ids of grants that are kept for each recipient. The newest are kept.
pub const GRANT_IDS_MAX: usize = 16;
/// The most hashes of keys that are kept for each recipient. If there are more, every key counts as received.
const KEYS_MAX: usize = 256;
/// The most recipients in one event.
const RECIPIENTS_MAX: usize = 256;

/// Recipients by role and name. The role of a service is `Unspecified`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecipientList(BTreeMap<(Role, String), KeptRecipient>);

impl RecipientList {
    /// Adds the recipients of an event.
    pub fn add(&mut self, kept: &RecipientsKept) {
        for recipient in &kept.recipients {
            self.merge(recipient.clone());
        }
    }

    /// Every recipient, by role and name.
    pub fn iter(&self) -> impl Iterator<Item = &KeptRecipient> {
        self.0.values()
    }

    /// The events that keep this list.
    #[must_use]
    pub fn into_events(self) -> Vec<RecipientsKept> {
        let all: Vec<KeptRecipient> = self.0.into_values().collect();
        all.chunks(RECIPIENTS_MAX).map(|part| RecipientsKept { recipients: part.to_vec() }).collect()
    }

    /// The approximate size in memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let size = |of: &KeptRecipient| {
            let ids = of.grant_ids.iter().map(|id| id.len().saturating_add(size_of::<String>()));
            let keys = of.keys.iter().map(|key| key.len().saturating_add(size_of::<Vec<u8>>()));
            ids.chain(keys)
                .fold(size_of::<KeptRecipient>().saturating_add(of.name.len()), usize::saturating_add)
        };
        self.iter().map(size).fold(0, usize::saturating_add)
    }

    fn merge(&mut self, mut more: KeptRecipient) {
        let known = self.0.entry((more.role, more.name.clone())).or_insert_with(|| KeptRecipient {
            name: more.name.clone(),
            role: more.role,
            first_ms: more.first_ms,
            ..KeptRecipient::default()
        });
        known.first_ms = known.first_ms.min(more.first_ms);
        known.last_ms = known.last_ms.max(more.last_ms);
        known.grant_ids.append(&mut more.grant_ids);
        known.grant_ids.sort_by_key(|id| id.parse::<GrantId>().map_or(0, |id| id.position));
        known.grant_ids.dedup();
        known.grant_ids.drain(..known.grant_ids.len().saturating_sub(GRANT_IDS_MAX));
        known.keys.append(&mut more.keys);
        known.keys.sort_unstable();
        known.keys.dedup();
        known.keys_left_out |= more.keys_left_out || known.keys.len() > KEYS_MAX;
        if known.keys_left_out {
            known.keys.clear();
        }
    }
}

/// The recipients of the disclosures that these versions (ascending) record, and the recipients that they
/// list. `hash` hashes a key that a recipient was given.
///
/// # Errors
/// A key can't be hashed.
pub fn disclosed<E>(
    history: &[Recorded],
    versions: &[u64],
    hash: impl Fn(&str, &str) -> Result<Vec<u8>, E>,
) -> Result<RecipientList, E> {
    let mut list = RecipientList::default();
    let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut granted: BTreeSet<EventId> = BTreeSet::new();
    for event in history.iter().filter(|event| versions.binary_search(&event.version).is_ok()) {
        match &event.event {
            Event::GrantIssued(grant) if !grant.allowed.is_empty() => {
                let named = grant.allowed.iter().map(|allowed| allowed.key.as_str());
                keys.entry(&grant.recipient).or_default().extend(named);
                granted.insert(event.event_id);
                list.merge(of_grant(event, grant));
            }
            Event::GrantGivenAgain(again) if granted.contains(&again.grant) => {
                list.merge(disclosure(Role::Unspecified, &again.recipient, again.last_ms));
            }
            Event::RecordViewed(view) if view.role == Role::Auditor => {
                list.merge(disclosure(Role::Auditor, &view.name, event.recorded_at_ms));
            }
            Event::RecipientsKept(kept) => list.add(kept),
            _ => {}
        }
    }
    for (recipient, keys) in keys {
        let Some(kept) = list.0.get(&(Role::Unspecified, recipient.to_owned())).cloned() else { continue };
        let hashes: Result<Vec<_>, E> = match keys.len() > KEYS_MAX {
            true => Ok(Vec::new()),
            false => keys.iter().map(|key| hash(recipient, key)).collect(),
        };
        list.merge(KeptRecipient {
            keys: hashes?,
            keys_left_out: keys.len() > KEYS_MAX,
            grant_ids: Vec::new(),
            ..kept
        });
    }
    Ok(list)
}

fn of_grant(event: &Recorded, grant: &GrantIssued) -> KeptRecipient {
    let grant_ids = vec![GrantId::new(event.position, &event.event_id).to_string()];
    KeptRecipient { grant_ids, ..disclosure(Role::Unspecified, &grant.recipient, event.recorded_at_ms) }
}

fn disclosure(role: Role, name: &str, at_ms: u64) -> KeptRecipient {
    let (name, first_ms, last_ms) = (name.to_owned(), at_ms, at_ms);
    KeptRecipient { name, role, first_ms, last_ms, ..KeptRecipient::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn recipient(name: &str, at_ms: u64, position: u64, keys: u64) -> KeptRecipient {
        KeptRecipient {
            name: name.into(),
            first_ms: at_ms,
            last_ms: at_ms,
            grant_ids: vec![GrantId { position, token: [1; 8] }.to_string()],
            keys: (0..keys).map(|key| key.to_be_bytes().to_vec()).collect(),
            ..KeptRecipient::default()
        }
    }

    fn list(recipients: Vec<KeptRecipient>) -> RecipientList {
        let mut list = RecipientList::default();
        list.add(&RecipientsKept { recipients });
        list
    }

    #[test]
    fn a_list_keeps_the_first_and_the_last_time_and_the_newest_ids() {
        let many = (0..40).rev().map(|number| recipient("tutor", 100 + number, number, 2)).collect();
        let list = list(many);
        let kept: Vec<_> = list.iter().collect();
        assert_eq!((kept[0].first_ms, kept[0].last_ms, kept[0].keys.len()), (100, 139, 2));
        let positions = kept[0].grant_ids.iter().map(|id| id.parse::<GrantId>().map_or(0, |id| id.position));
        assert!(positions.eq(24..40));
    }

    #[test]
    fn too_many_keys_count_as_every_key() {
        let full = list(vec![recipient("tutor", 1, 1, 256)]);
        assert!(full.iter().all(|of| !of.keys_left_out && of.keys.len() == 256));
        let over = list(vec![recipient("tutor", 1, 1, 257)]);
        assert!(over.iter().all(|of| of.keys_left_out && of.keys.is_empty()));
    }

    #[test]
    fn a_list_survives_its_events_and_each_event_is_limited() {
        let many: Vec<_> = (0..600).map(|number| recipient(&format!("s{number}"), 1, 1, 1)).collect();
        let events = list(many.clone()).into_events();
        assert_eq!(events.iter().map(|event| event.recipients.len()).collect::<Vec<_>>(), [256, 256, 88]);
        let mut again = RecipientList::default();
        events.iter().for_each(|event| again.add(event));
        assert_eq!(again, list(many));
    }
}
