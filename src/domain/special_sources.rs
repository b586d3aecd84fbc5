//! Attributes that were derived from an attribute of a special category (GDPR Art. 9(1)). To conclude
//! something from special data is to process it, so they count as inferred from it, whatever provenance their
//! recorder claims.

use super::attribute::Attribute;
use super::event::{Actor, Event, Provenance, Recorded, Role};
use super::ids::EventId;
use super::profile::SubjectState;
use super::vocabulary::Vocabulary;
use std::collections::{BTreeMap, BTreeSet};

/// The provenance that an attribute counts with. `sources` are the categories of all its direct and indirect
/// sources. What a data subject records with their own credential is their own statement, whatever it was
/// derived from. An inference stays an inference even if they confirm it.
pub fn effective_provenance<'a>(
    claimed: Provenance,
    recorder: Role,
    sources: impl IntoIterator<Item = &'a str>,
    vocabulary: &Vocabulary,
) -> Provenance {
    let is_conclusion = recorder != Role::Subject
        && claimed != Provenance::Inferred
        && sources.into_iter().any(|category| vocabulary.is_special(category));
    if is_conclusion { Provenance::Inferred } else { claimed }
}

/// The categories of all direct and indirect sources of an attribute that are in the profile.
#[must_use]
pub fn source_categories<'a>(state: &'a SubjectState, attribute: &Attribute) -> BTreeSet<&'a str> {
    if attribute.derived_from.is_empty() {
        return BTreeSet::new();
    }
    let current: BTreeMap<EventId, &Attribute> =
        state.attributes.values().map(|current| (current.event_id, &current.attribute)).collect();
    let (mut all, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut open: Vec<EventId> = attribute.derived_from.clone();
    while let Some(next) = open.pop() {
        if let Some(source) = current.get(&next).filter(|_| seen.insert(next)) {
            all.insert(source.category.as_str());
            open.extend(&source.derived_from);
        }
    }
    all
}

/// Finds the special attributes that shaped replies, from a data subject's events.
#[derive(Debug, Default)]
pub struct ShapedReplies {
    /// The category and the sources of every attribute that was recorded.
    attributes: BTreeMap<EventId, (String, Vec<EventId>)>,
    /// The attributes that each grant allows.
    grants: BTreeMap<EventId, Vec<EventId>>,
    /// The attributes that shaped each reply, by the reply's name and the recipient that reported it.
    shaped: BTreeMap<(String, String), BTreeSet<EventId>>,
}

impl ShapedReplies {
    /// Notes the next event. Only replies with these names are noted.
    pub fn note(&mut self, event: &Recorded, replies: &BTreeSet<String>) {
        match &event.event {
            Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } => {
                let sources = attribute.derived_from.clone();
                self.attributes.insert(event.event_id, (attribute.category.clone(), sources));
            }
            Event::GrantIssued(issued) => {
                let allowed = issued.allowed.iter().map(|cited| cited.attribute).collect();
                self.grants.insert(event.event_id, allowed);
            }
            Event::GrantUsed(used) if replies.contains(&used.reply) => {
                // A report that names no attributes leaves open which of them shaped the reply.
                let allowed = self.grants.get(&used.grant).map_or(&[][..], Vec::as_slice);
                let by = if used.shaped_by.is_empty() { allowed } else { &used.shaped_by };
                let key = (used.reply.clone(), event.actor.name.clone());
                self.shaped.entry(key).or_default().extend(by);
            }
            _ => {}
        }
    }

    /// The attributes that shaped these replies and are of a special category, or were derived from one. If a
    /// service names a reply, only that service's own reply is meant. If another caller names it, the replies
    /// of every recipient are meant.
    #[must_use]
    pub fn special(
        &self,
        replies: &[String],
        recorder: &Actor,
        vocabulary: &Vocabulary,
    ) -> BTreeSet<EventId> {
        let is_meant = |(reply, recipient): &(String, String)| {
            replies.contains(reply) && (recorder.role != Role::Service || *recipient == recorder.name)
        };
        let shaped = self.shaped.iter().filter(|(key, _)| is_meant(key)).flat_map(|(_, by)| by);
        shaped.copied().filter(|id| self.leads_to_special(*id, vocabulary)).collect()
    }

    fn leads_to_special(&self, attribute: EventId, vocabulary: &Vocabulary) -> bool {
        let (mut open, mut seen) = (vec![attribute], BTreeSet::new());
        while let Some(next) = open.pop() {
            let Some((category, sources)) = self.attributes.get(&next).filter(|_| seen.insert(next)) else {
                continue;
            };
            if vocabulary.is_special(category) {
                return true;
            }
            open.extend(sources);
        }
        false
    }
}
