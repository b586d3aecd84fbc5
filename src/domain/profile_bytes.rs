//! Estimates the memory that the folded state of a data subject takes, so that caches can be limited by
//! bytes.

use super::attribute::Attribute;
use super::consent::ConsentRecord;
use super::current_attribute::CurrentAttribute;
use super::event::{GrantedAttribute, WithheldClass};
use super::profile::{GrantState, Issued, SubjectState};
use std::collections::BTreeSet;
use std::mem::size_of;
use std::sync::Arc;

/// Approximate overhead of an allocation, including its share of a map node.
const ALLOCATION_BYTES: usize = 24;
/// Estimate for each request, hold, fence (partial erasure) and artifact, which are few and short.
const RIGHT_BYTES: usize = 1_024;

/// Approximate overhead of an embedding, or of the words of an attribute.
const RANKED_BYTES: usize = 4 * ALLOCATION_BYTES;

fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> usize {
    texts.into_iter().map(|text| text.len() + size_of::<String>() + ALLOCATION_BYTES).sum()
}

impl SubjectState {
    /// Approximate bytes of memory. To count them, this method visits every part of the state.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let attributes: usize = self.attributes.values().map(|current| attribute(current)).sum();
        let consents: usize = self.consents.records().iter().map(ConsentRecord::bytes).sum();
        let mut lists = BTreeSet::new();
        let grants = self.grants.values();
        let grants: usize =
            grants.map(|grant| size_of::<GrantState>() + issued(&grant.issued, &mut lists)).sum();
        let rights = &self.rights;
        let recipients = rights.recipients.bytes();
        let held = rights.holds.len() + rights.kept.len() + rights.fences.len();
        let rights = rights.requests.len() + held + rights.artifacts.len();
        let statements = texts(self.statement_times.keys());
        size_of::<Self>() + attributes + consents + grants + rights * RIGHT_BYTES + recipients + statements
    }
}

fn attribute(current: &CurrentAttribute) -> usize {
    let Attribute { key, value, category, evidence, derived_from, model, from_replies, .. } =
        &current.attribute;
    // The map holds a second copy of the key.
    let short = [key, key, category, model, &current.actor.name];
    let lists = texts(short) + texts(evidence) + texts(from_replies) + derived_from.len() * 16;
    let for_ranking = ranked(current.words.bytes()) + ranked(current.attribute.embedding_bytes());
    size_of::<CurrentAttribute>() + value.expose().len() + 2 * ALLOCATION_BYTES + lists + for_ranking
}

/// Bytes of something that few attributes have.
fn ranked(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes + RANKED_BYTES }
}

impl ConsentRecord {
    /// Approximate bytes of memory; never fewer than the record takes in an answer.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let terms = &self.terms;
        let lists = [&terms.purposes, &terms.categories, &terms.recipients, &terms.interactions];
        let notice = terms.notice.iter().flat_map(|notice| [&notice.id, &notice.version, &notice.language]);
        let short = texts(notice) + texts([&terms.channel, &self.actor.name]);
        size_of::<Self>() + lists.into_iter().map(texts).sum::<usize>() + short + ALLOCATION_BYTES
    }
}

/// Bytes of one grant. `lists` holds the shared lists that are already counted with another grant.
fn issued<'a>(grant: &'a Issued, lists: &mut BTreeSet<*const ()>) -> usize {
    let mut count = |list: *const (), bytes: &dyn Fn() -> usize| if lists.insert(list) { bytes() } else { 0 };
    let allowed = count(Arc::as_ptr(&grant.allowed).cast(), &|| {
        let one = |allowed: &'a GrantedAttribute| {
            size_of_val(allowed) + texts([&allowed.key, &allowed.category]) + 2 * (16 + ALLOCATION_BYTES)
        };
        grant.allowed.iter().map(one).sum()
    });
    let withheld = count(Arc::as_ptr(&grant.withheld).cast(), &|| {
        let one =
            |class: &'a WithheldClass| size_of_val(class) + texts([&class.category]) + 2 * ALLOCATION_BYTES;
        grant.withheld.iter().map(one).sum()
    });
    let bounds = count(Arc::as_ptr(&grant.bounds).cast(), &|| size_of_val(&*grant.bounds));
    let short = [&grant.purpose, &grant.recipient, &grant.interaction];
    allowed + withheld + bounds + texts(short) + texts(&grant.categories) + texts(&grant.keys)
}

#[cfg(test)]
mod tests {
    use super::super::histories::histories;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_estimate_is_never_less_than_the_values(history in histories()) {
            let state = SubjectState::fold(&history);
            let values: usize = state.attributes.values().map(|current| current.attribute.value.expose().len()).sum();
            prop_assert!(state.memory_bytes() >= size_of::<SubjectState>() + values);
        }
    }
}
