//! The sources that attributes get when a reply is reported late. The special attributes that shaped the
//! reply become sources of every attribute that was inferred from the reply. They also become sources of
//! attributes that were inferred from those, through any number of replies.

use super::current_attribute::CurrentAttribute;
use super::event::Role;
use super::ids::EventId;
use super::profile::SubjectState;
use super::special_sources::{History, Node, Sources};
use std::collections::{BTreeMap, BTreeSet};

/// The most attributes that one report completes. With the report and the revocations that follow from it,
/// they fit into one frame.
pub const COMPLETED_MAX: usize = 700;
/// The most links between attributes and replies that are followed.
const STEPS_MAX: usize = 1 << 21;
/// The most sources that are passed on. An attribute with more is removed anyway; one of them may be the
/// attribute itself.
const SOURCES_MAX: usize = super::attribute::LINKS_MAX + 2;

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
            let sources = spread.reached.get(&Node::Attribute(id))?.iter().filter(is_missing);
            let sources: BTreeSet<EventId> = sources.copied().collect();
            (!sources.is_empty()).then_some((id, sources))
        });
        let missing: BTreeMap<_, _> = missing.collect();
        if missing.len() > COMPLETED_MAX { Err(TooMany) } else { Ok(missing) }
    }

    /// The steps from each attribute to what was inferred from it.
    fn links(&self, state: &SubjectState, history: &History) -> Result<Links, TooMany> {
        let sources = Sources::new(state, history);
        let (mut links, mut steps) = (Links::new(), 0_usize);
        let mut step = |from: Node, to: Node| {
            steps = steps.saturating_add(1);
            let from = match from {
                Node::Attribute(id) => Node::Attribute(sources.today(id)),
                other => other,
            };
            links.entry(from).or_default().push(to);
            steps <= STEPS_MAX
        };
        let current = || state.attributes.values().map(|of| (of.event_id, &of.attribute, &of.actor));
        let naming = current()
            .flat_map(|(id, of, actor)| of.from_replies.iter().map(move |reply| (reply.as_str(), id, actor)));
        let mut goes_on = history.steps(naming, &mut step);
        for (id, of, _) in current() {
            let to = Node::Attribute(id);
            goes_on = goes_on && of.derived_from.iter().all(|source| step(Node::Attribute(*source), to));
        }
        for of in self.naming(state) {
            let to = Node::Attribute(of.event_id);
            goes_on = goes_on && self.shaped_by.iter().all(|shaper| step(Node::Attribute(*shaper), to));
        }
        if goes_on { Ok(links) } else { Err(TooMany) }
    }
}

type Links = BTreeMap<Node, Vec<Node>>;

/// Passes sources on along links.
struct Spread {
    links: Links,
    /// The sources that reached each node.
    reached: BTreeMap<Node, BTreeSet<EventId>>,
    steps: usize,
}

impl Spread {
    /// Adds a source to an attribute and to everything that was inferred from it.
    fn add(&mut self, attribute: EventId, source: EventId) -> Result<(), TooMany> {
        let mut open = vec![Node::Attribute(attribute)];
        while let Some(next) = open.pop() {
            self.steps = self.steps.saturating_add(1);
            if self.steps > STEPS_MAX {
                return Err(TooMany);
            }
            let sources = self.reached.entry(next).or_default();
            if next == Node::Attribute(source) || sources.len() >= SOURCES_MAX || !sources.insert(source) {
                continue;
            }
            open.extend(self.links.get(&next).into_iter().flatten());
        }
        Ok(())
    }
}
