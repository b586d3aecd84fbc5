//! What a late report of a reply adds to attributes. The special attributes that shaped the reply become
//! sources of every attribute that was inferred from the reply, and of every attribute that was inferred from
//! those, through as many replies as lie between.

use super::current_attribute::CurrentAttribute;
use super::event::Role;
use super::ids::EventId;
use super::profile::SubjectState;
use super::special_sources::{History, Sources};
use std::collections::{BTreeMap, BTreeSet};

/// The most attributes that one report completes.
pub const COMPLETED_MAX: usize = 1_024;
/// The most links between attributes and replies that are followed.
const STEPS_MAX: usize = 1 << 22;
/// The most sources that are passed on. An attribute with more is removed anyway.
const SOURCES_MAX: usize = super::attribute::LINKS_MAX + 1;

/// More attributes than [`COMPLETED_MAX`] would get sources, or there are too many links to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// A report that is about to be recorded.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The recipient that made the reply.
    pub recipient: &'a str,
    /// The id of the reply.
    pub reply: &'a str,
    /// The attributes that may have shaped it.
    pub shaped_by: &'a [EventId],
}

impl Report<'_> {
    /// The current attributes that name the reply. A service names its own replies. Other callers may mean
    /// those of any recipient.
    pub fn naming<'a>(&'a self, state: &'a SubjectState) -> impl Iterator<Item = &'a CurrentAttribute> {
        let attributes = state.attributes.values().map(AsRef::as_ref);
        attributes.filter(|current| {
            let is_meant = current.actor.role != Role::Service || current.actor.name == self.recipient;
            is_meant && current.attribute.from_replies.iter().any(|named| named == self.reply)
        })
    }

    /// The sources that each current attribute lacks once the report is recorded. `special` are those of the
    /// attributes that shaped the reply that are special, or were derived from a special one.
    ///
    /// # Errors
    /// There are too many.
    pub fn missing_sources(
        &self,
        state: &SubjectState,
        history: &History,
        special: &BTreeSet<EventId>,
    ) -> Result<BTreeMap<EventId, BTreeSet<EventId>>, TooMany> {
        let mut spread = Spread { links: self.links(state, history)?, reached: BTreeMap::new(), steps: 0 };
        for attribute in self.naming(state) {
            special.iter().try_for_each(|source| spread.add(attribute.event_id, *source))?;
        }
        let missing = state.attributes.values().filter_map(|current| {
            let (id, known) = (current.event_id, &current.attribute.derived_from);
            let is_missing = |source: &&EventId| **source != id && !known.contains(source);
            let sources = spread.reached.get(&id)?.iter().filter(is_missing);
            let sources: BTreeSet<EventId> = sources.copied().collect();
            (!sources.is_empty()).then_some((id, sources))
        });
        let missing: BTreeMap<_, _> = missing.collect();
        if missing.len() > COMPLETED_MAX { Err(TooMany) } else { Ok(missing) }
    }

    /// For each attribute, the current attributes that were derived from it, or inferred from a reply that it
    /// shaped.
    fn links(&self, state: &SubjectState, history: &History) -> Result<Links, TooMany> {
        let sources = Sources::new(state, history);
        let (mut links, mut steps) = (Links::new(), 0_usize);
        let mut link = |from: EventId, to: EventId| {
            steps = steps.saturating_add(1);
            links.entry(sources.today(from)).or_default().insert(to);
            if steps > STEPS_MAX { Err(TooMany) } else { Ok(()) }
        };
        for current in state.attributes.values() {
            let (id, attribute) = (current.event_id, &current.attribute);
            attribute.derived_from.iter().try_for_each(|source| link(*source, id))?;
            for shaper in history.shaped(&attribute.from_replies, &current.actor) {
                link(shaper, id)?;
            }
        }
        for current in self.naming(state) {
            self.shaped_by.iter().try_for_each(|shaper| link(*shaper, current.event_id))?;
        }
        Ok(links)
    }
}

type Links = BTreeMap<EventId, BTreeSet<EventId>>;

/// Passes sources on along links.
struct Spread {
    links: Links,
    /// The sources that reached each attribute.
    reached: BTreeMap<EventId, BTreeSet<EventId>>,
    steps: usize,
}

impl Spread {
    /// Adds a source to an attribute and to everything that was inferred from it.
    fn add(&mut self, attribute: EventId, source: EventId) -> Result<(), TooMany> {
        let mut open = vec![attribute];
        while let Some(next) = open.pop() {
            self.steps = self.steps.saturating_add(1);
            if self.steps > STEPS_MAX {
                return Err(TooMany);
            }
            let sources = self.reached.entry(next).or_default();
            if next == source || sources.len() >= SOURCES_MAX || !sources.insert(source) {
                continue;
            }
            open.extend(self.links.get(&next).into_iter().flatten());
        }
        Ok(())
    }
}
