//! Attributes that were derived from an attribute of a special category (GDPR Art. 9(1)). To conclude
//! something from special data is to process this data. So such an attribute counts as inferred, regardless
//! of the provenance that its recorder claims, unless the data subject recorded it with their own credential.

use super::attribute::Attribute;
use super::event::{Actor, Event, Provenance, Recorded, Role};
use super::ids::EventId;
use super::profile::SubjectState;
use super::vocabulary::Vocabulary;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The provenance that an attribute counts with. `sources` are the categories of all its direct and indirect
/// sources. What a data subject records with their own credential is their own statement, regardless of its
/// sources. An inference stays an inference even if they confirm it.
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

/// Where an attribute came from.
#[derive(Debug)]
struct Origin {
    key: String,
    category: String,
    /// In order, each once.
    sources: Vec<EventId>,
    /// The sources with which it was recorded, if others were added later.
    recorded: Option<Vec<EventId>>,
    /// A hash of value and category.
    content: Digest,
}

impl Origin {
    fn of(attribute: &Attribute) -> Self {
        let mut content = Sha256::new();
        for text in [attribute.value.expose(), &attribute.category] {
            content.update(text.len().to_be_bytes());
            content.update(text);
        }
        Self {
            key: attribute.key.clone(),
            category: attribute.category.clone(),
            sources: in_order(attribute.derived_from.clone()),
            recorded: None,
            content: first_half(&content.finalize()),
        }
    }

    fn add_sources(&mut self, added: &[EventId]) {
        self.recorded.get_or_insert_with(|| self.sources.clone());
        let mut sources = std::mem::take(&mut self.sources);
        sources.extend(added);
        self.sources = in_order(sources);
    }

    /// Whether another attribute has the same value, category and sources: those of now, or those with which
    /// it was recorded.
    fn is_same(&self, other: &Self) -> bool {
        let others = || std::iter::once(&other.sources).chain(&other.recorded);
        let mut own = std::iter::once(&self.sources).chain(&self.recorded);
        self.content == other.content && own.any(|own| others().any(|other| own == other))
    }
}

fn in_order(mut sources: Vec<EventId>) -> Vec<EventId> {
    sources.sort_unstable();
    sources.dedup();
    sources
}

/// The first half of a SHA-256 hash.
type Digest = [u8; 16];

fn first_half(hash: &[u8]) -> Digest {
    hash.first_chunk().copied().unwrap_or_default()
}

/// What may have shaped a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ShapedBy {
    Attribute(EventId),
    /// The report names no attributes, which leaves open which of the grant's attributes shaped the reply.
    Grant(EventId),
}

/// The names of a reply and of the recipient that reported it, hashed.
type ReplyName = (Digest, Digest);

/// What lies on the way from an attribute to what was inferred from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Attribute(EventId),
    /// The number of a list of attributes that grants allow.
    List(usize),
    Reply(ReplyName),
}

/// The sources of every attribute that was recorded about a data subject, current or not, and what shaped
/// each reply that was reported. Built from the data subject's events, oldest first.
#[derive(Debug, Default)]
pub struct History {
    origins: BTreeMap<EventId, Origin>,
    /// The attributes that each grant allows.
    grants: BTreeMap<EventId, Arc<[EventId]>>,
    shaped: BTreeMap<ReplyName, BTreeSet<ShapedBy>>,
    /// The number of links in all lists.
    links: usize,
    /// The version of the first event that may be in this history.
    first: u64,
    /// The version after the newest event that was noted.
    next: u64,
    /// How often the history was reset.
    resets: u64,
}

/// Approximate bytes of memory for an attribute, grant or reply, without its links.
const ENTRY_BYTES: usize = 192;

impl History {
    /// An empty history for the events that follow those of this history.
    #[must_use]
    pub fn following(&self) -> Self {
        Self { first: self.next, next: self.next, resets: self.resets, ..Self::default() }
    }

    /// Adds a history that [`History::following`] began. Does nothing if this history has other events by
    /// now: it got them in the meantime, or it was reset, for example because some of them were erased.
    pub fn append(&mut self, later: Self) {
        if (later.first, later.resets) != (self.next, self.resets) {
            return;
        }
        self.next = later.next;
        self.origins.extend(later.origins);
        self.grants.extend(later.grants);
        for (name, shaped_by) in later.shaped {
            self.shaped.entry(name).or_default().extend(shaped_by);
        }
        self.links = self.links.saturating_add(later.links);
    }

    /// Drops everything. What was read before is no longer added.
    pub fn reset(&mut self) {
        *self = Self { resets: self.resets.wrapping_add(1), ..Self::default() };
    }

    /// The version of the first event that was not noted yet.
    #[must_use]
    pub fn next_version(&self) -> u64 {
        self.next
    }

    /// Approximate bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let entries = self.origins.len().saturating_add(self.grants.len()).saturating_add(self.shaped.len());
        let links = self.links.saturating_mul(2 * size_of::<ShapedBy>());
        entries.saturating_mul(ENTRY_BYTES).saturating_add(links)
    }

    /// Notes the next event.
    pub fn note(&mut self, event: &Recorded) {
        self.next = event.version.saturating_add(1);
        match &event.event {
            Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } => {
                self.links = self.links.saturating_add(attribute.derived_from.len());
                self.origins.insert(event.event_id, Origin::of(attribute));
            }
            Event::AttributeSourcesAdded { attribute, sources } => {
                if let Some(origin) = self.origins.get_mut(attribute) {
                    let before = origin.sources.len();
                    origin.add_sources(sources);
                    self.links = self.links.saturating_add(before.saturating_add(sources.len()));
                }
            }
            Event::GrantIssued(issued) => {
                let allowed: Vec<EventId> = issued.allowed.iter().map(|cited| cited.attribute).collect();
                // Most grants of one data subject allow the same attributes.
                let newest = self.grants.values().next_back().filter(|newest| ***newest == *allowed);
                let allowed = newest.cloned().unwrap_or_else(|| {
                    self.links = self.links.saturating_add(allowed.len());
                    allowed.into()
                });
                self.grants.insert(event.event_id, allowed);
            }
            Event::GrantUsed(used) => {
                let name = (name(&used.reply), name(&event.actor.name));
                let shaped = self.shaped.entry(name).or_default();
                let before = shaped.len();
                match used.shaped_by.is_empty() {
                    true => shaped.extend([ShapedBy::Grant(used.grant)]),
                    false => shaped.extend(used.shaped_by.iter().copied().map(ShapedBy::Attribute)),
                }
                self.links = self.links.saturating_add(shaped.len().saturating_sub(before));
            }
            _ => {}
        }
    }

    /// The attributes that shaped these replies. If a service names a reply, only that service's own reply is
    /// meant. If another caller names it, the replies of every recipient are meant.
    fn shaped(&self, replies: &[String], recorder: &Actor) -> BTreeSet<EventId> {
        let own = name(&recorder.name);
        let is_meant = |recipient: &Digest| recorder.role != Role::Service || *recipient == own;
        let mut shaped = BTreeSet::new();
        for reply in replies.iter().map(|reply| name(reply)) {
            let reported = self.shaped.range((reply, [0; 16])..=(reply, [u8::MAX; 16]));
            for by in reported.filter(|((_, recipient), _)| is_meant(recipient)).flat_map(|(_, by)| by) {
                match by {
                    ShapedBy::Attribute(id) => shaped.extend([*id]),
                    ShapedBy::Grant(grant) => {
                        shaped.extend(self.grants.get(grant).iter().flat_map(|ids| ids.iter()))
                    }
                }
            }
        }
        shaped
    }

    /// The attributes that shaped the replies that `naming` names, as steps: from an attribute to a reply
    /// that it shaped, or to a list of attributes that a grant allows, and from there to a reply; and from a
    /// reply to each attribute that names it. Takes time linear in this history and in `naming`. `naming` has
    /// each name of a reply with the attribute that names it, and who recorded that attribute.
    pub(super) fn steps<'a>(
        &self,
        naming: impl Iterator<Item = (&'a str, EventId, &'a Actor)>,
        mut step: impl FnMut(Node, Node) -> bool,
    ) -> bool {
        let mut named: BTreeMap<Digest, Vec<(EventId, Option<Digest>)>> = BTreeMap::new();
        for (reply, attribute, recorder) in naming {
            let own = (recorder.role == Role::Service).then(|| name(&recorder.name));
            named.entry(name(reply)).or_default().push((attribute, own));
        }
        let mut lists: BTreeMap<*const EventId, usize> = BTreeMap::new();
        for (reply, naming) in &named {
            for (by_recipient, shaped) in self.shaped.range((*reply, [0; 16])..=(*reply, [u8::MAX; 16])) {
                let node = Node::Reply(*by_recipient);
                for by in shaped {
                    let goes_on = match by {
                        ShapedBy::Attribute(id) => step(Node::Attribute(*id), node),
                        ShapedBy::Grant(grant) => self.grants.get(grant).is_none_or(|allowed| {
                            let next = lists.len();
                            let list = *lists.entry(allowed.as_ptr()).or_insert(next);
                            let is_new = list == next;
                            step(Node::List(list), node)
                                && (!is_new
                                    || allowed.iter().all(|id| step(Node::Attribute(*id), Node::List(list))))
                        }),
                    };
                    if !goes_on {
                        return false;
                    }
                }
            }
            for (attribute, own) in naming {
                let recipients = match own {
                    Some(own) => vec![(*reply, *own)],
                    None => {
                        let all = self.shaped.range((*reply, [0; 16])..=(*reply, [u8::MAX; 16]));
                        all.map(|(by_recipient, _)| *by_recipient).collect()
                    }
                };
                if !recipients.into_iter().all(|reply| step(Node::Reply(reply), Node::Attribute(*attribute)))
                {
                    return false;
                }
            }
        }
        true
    }

    /// The current attribute that has the same key and content as this one, if this one is not current.
    fn same_today(&self, id: EventId, state: &SubjectState) -> Option<EventId> {
        let origin = self.origins.get(&id)?;
        let current = state.attributes.get(&origin.key)?.event_id;
        let same = self.origins.get(&current).is_some_and(|other| other.is_same(origin));
        same.then_some(current)
    }
}

fn name(text: &str) -> Digest {
    first_half(&Sha256::digest(text))
}

/// Looks up the sources of attributes. Build it once for a request: this takes time for each attribute of the
/// profile.
pub struct Sources<'a> {
    state: &'a SubjectState,
    history: &'a History,
    current: BTreeMap<EventId, &'a Attribute>,
}

impl<'a> Sources<'a> {
    /// The sources of attributes in this state. Without a history, only current attributes are known.
    #[must_use]
    pub fn new(state: &'a SubjectState, history: &'a History) -> Self {
        let current = state.attributes.values().map(|current| (current.event_id, &current.attribute));
        Self { state, history, current: current.collect() }
    }

    /// The category and the direct sources of an attribute.
    fn origin(&self, id: EventId) -> Option<(&'a str, &'a [EventId])> {
        match self.current.get(&id) {
            Some(attribute) => Some((&attribute.category, &attribute.derived_from)),
            None => self.history.origins.get(&id).map(|of| (of.category.as_str(), of.sources.as_slice())),
        }
    }

    /// The categories of these attributes and of all their direct and indirect sources.
    #[must_use]
    pub fn categories(&self, attributes: &[EventId]) -> BTreeSet<&'a str> {
        self.walk(attributes).filter_map(|(_, origin)| Some(origin?.0)).collect()
    }

    /// Whether these attributes and all their direct and indirect sources are known.
    #[must_use]
    pub fn are_known(&self, attributes: &[EventId]) -> bool {
        self.walk(attributes).all(|(_, origin)| origin.is_some())
    }

    /// Each of these attributes and of their direct and indirect sources, once, with its category and direct
    /// sources if it is known.
    fn walk(
        &self,
        attributes: &[EventId],
    ) -> impl Iterator<Item = (EventId, Option<(&'a str, &'a [EventId])>)> {
        let (mut open, mut seen) = (attributes.to_vec(), BTreeSet::new());
        std::iter::from_fn(move || {
            let next = std::iter::from_fn(|| open.pop()).find(|id| seen.insert(*id))?;
            let origin = self.origin(next);
            open.extend(origin.iter().flat_map(|(_, sources)| *sources));
            Some((next, origin))
        })
    }

    /// The attributes that shaped these replies and are of a special category, or were derived from one. An
    /// attribute that was recorded again since, with the same content, is named as it is current.
    #[must_use]
    pub fn special(
        &self,
        replies: &[String],
        recorder: &Actor,
        vocabulary: &Vocabulary,
    ) -> BTreeSet<EventId> {
        let shaped: Vec<EventId> = self.history.shaped(replies, recorder).into_iter().collect();
        self.special_among(&shaped, vocabulary)
    }

    /// Those of these attributes that are of a special category, or were derived from one. An attribute that
    /// was recorded again since, with the same content, is named as it is current.
    #[must_use]
    pub fn special_among(&self, attributes: &[EventId], vocabulary: &Vocabulary) -> BTreeSet<EventId> {
        let (mut special, mut derived) = (Vec::new(), BTreeMap::<EventId, Vec<EventId>>::new());
        // An attribute that was recorded again unchanged may have got sources since then.
        let again: Vec<(EventId, EventId)> = attributes.iter().map(|id| (*id, self.today(*id))).collect();
        again.iter().for_each(|(id, today)| derived.entry(*today).or_default().push(*id));
        let all: Vec<EventId> = again.iter().flat_map(|(id, today)| [*id, *today]).collect();
        for (id, origin) in self.walk(&all) {
            let Some((category, sources)) = origin else { continue };
            sources.iter().for_each(|source| derived.entry(*source).or_default().push(id));
            special.extend(Some(id).filter(|_| vocabulary.is_special(category)));
        }
        let mut from_special = BTreeSet::new();
        while let Some(id) = special.pop() {
            if from_special.insert(id) {
                special.extend(derived.get(&id).into_iter().flatten());
            }
        }
        again.into_iter().filter(|(id, _)| from_special.contains(id)).map(|(_, today)| today).collect()
    }

    /// The attribute as it is current: itself, or the one that has its key and content now.
    pub(super) fn today(&self, id: EventId) -> EventId {
        match self.current.contains_key(&id) {
            true => id,
            false => self.history.same_today(id, self.state).unwrap_or(id),
        }
    }
}
