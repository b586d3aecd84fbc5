//! Finds who is notified of an erasure (GDPR Art. 19). They are the recipients of erased grants and
//! artifacts, and the auditors that exported the log or viewed the subject's record. Recipients whose
//! grants had already been erased are notified, too. Such grants were erased by an earlier partial erasure
//! or at the end of retention.

use crate::app::erasure::Erasures;
use crate::app::error::AppError;
use crate::app::log::key_hashes::recipient_key_hash;
use crate::domain::erasure::{Scope, Selection};
use crate::domain::event::{Event, KeptRecipient, PriorRecipient, RecipientsKept, Recorded, Role};
use crate::domain::recipients::{RecipientList, disclosed};
use crate::vault::SubjectKeys;
use std::collections::{BTreeMap, BTreeSet};

impl Erasures {
    /// Adds to a selection the recipients that received erased data and have no erased grant.
    pub(crate) fn add_notified(
        &self,
        selection: &mut Selection,
        history: &[Recorded],
        scope: &Scope,
        keys: &SubjectKeys,
    ) -> Result<(), AppError> {
        // An erasure at the end of retention has no request.
        if matches!(scope, Scope::Versions(_)) || selection.positions.is_empty() {
            return Ok(());
        }
        let recipients = std::mem::take(&mut selection.recipients);
        let named = |of: PriorRecipient| ((of.role, of.name.clone()), of);
        let mut all: BTreeMap<(Role, String), PriorRecipient> = recipients.into_iter().map(named).collect();
        let is_part = matches!(scope, Scope::Key(_) | Scope::Category(_));
        for kept in listed(history).iter() {
            let had = match is_part && kept.role != Role::Auditor {
                true => had_keys(kept, &selection.keys, keys)?,
                false => selection.keys.clone(),
            };
            if is_part && had.is_empty() {
                continue;
            }
            let prior = all.entry((kept.role, kept.name.clone())).or_default();
            (prior.name, prior.role) = (kept.name.clone(), kept.role);
            let known: BTreeSet<String> = prior.grant_ids.iter().cloned().collect();
            let ids = kept.grant_ids.iter().filter(|id| !known.contains(*id));
            prior.grant_ids.splice(..0, ids.cloned());
            if kept.role != Role::Auditor {
                selection.recipient_keys.entry(kept.name.clone()).or_default().extend(had);
            }
        }
        let looked = history.iter().filter_map(|event| match &event.event {
            Event::RecordViewed(view) if view.role == Role::Auditor => Some(view.name.clone()),
            _ => None,
        });
        let first = selection.positions.first().copied().unwrap_or_default();
        let exported = self
            .core
            .projections
            .disclosures
            .audit_exports
            .holders_of(first)
            .into_iter()
            .map(|holder| holder.name);
        for name in looked.chain(exported) {
            let prior = all.entry((Role::Auditor, name.clone())).or_default();
            (prior.name, prior.role) = (name, Role::Auditor);
        }
        selection.recipients = all.into_values().collect();
        Ok(())
    }

    /// The events that keep the list of recipients when these versions (ascending) are erased.
    pub(crate) fn kept_recipients(
        &self,
        history: &[Recorded],
        versions: &[u64],
        keys: &SubjectKeys,
    ) -> Result<Vec<RecipientsKept>, AppError> {
        let hash = |recipient: &str, key: &str| recipient_key_hash(keys, recipient, key);
        Ok(disclosed(history, versions, hash)?.into_events())
    }
}

/// The recipients that the events of a history list.
fn listed(history: &[Recorded]) -> RecipientList {
    let mut list = RecipientList::default();
    for event in history {
        if let Event::RecipientsKept(kept) = &event.event {
            list.add(kept);
        }
    }
    list
}

/// The erased keys that a recipient had been given.
fn had_keys(
    kept: &KeptRecipient,
    erased: &BTreeSet<String>,
    keys: &SubjectKeys,
) -> Result<BTreeSet<String>, AppError> {
    if kept.keys_left_out {
        return Ok(erased.clone());
    }
    let mut had = BTreeSet::new();
    for key in erased {
        if kept.keys.binary_search(&recipient_key_hash(keys, &kept.name, key)?).is_ok() {
            had.insert(key.clone());
        }
    }
    Ok(had)
}

/// The versions of the events that list recipients. One list takes the place of earlier ones.
pub(crate) fn list_versions(history: &[Recorded]) -> impl Iterator<Item = u64> {
    let lists = history.iter().filter(|event| matches!(event.event, Event::RecipientsKept(_)));
    lists.map(|event| event.version)
}

/// Whether a disclosure is recorded in one of these versions (ascending).
pub(crate) fn records_disclosure(history: &[Recorded], versions: &[u64]) -> bool {
    let selected = history.iter().filter(|event| versions.binary_search(&event.version).is_ok());
    selected.into_iter().any(|event| match &event.event {
        Event::GrantIssued(grant) => !grant.allowed.is_empty(),
        Event::RecordViewed(view) => view.role == Role::Auditor,
        _ => false,
    })
}
