//! The dependencies between the events of a data subject. With them, an erasure finds everything that depends
//! on what it erases, in time that is linear in the length of the history.

use super::event::{Event, Recorded, Role};
use super::event_references::{named_by, subject_of};
use super::ids::EventId;
use std::collections::BTreeMap;

/// Something that an event can depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node<'a> {
    Event(EventId),
    /// An attribute under this key.
    Key(&'a str),
    /// An attribute that this grant allows.
    Allowed(EventId),
    /// A reply, with the recipient that reported it. Without one: a reply of this name of any recipient.
    Reply(&'a str, Option<&'a str>),
}

/// The dependents of every event.
#[derive(Default)]
pub(super) struct Dependents<'a> {
    links: usize,
    followed: usize,
    dependents: BTreeMap<Node<'a>, Vec<Node<'a>>>,
    events: BTreeMap<EventId, &'a Recorded>,
}

impl<'a> Dependents<'a> {
    /// Reads a history. At the end of retention, uses, requests and the records of expiries depend on less,
    /// because they have retention periods of their own, and inferences do not depend on replies. Stops
    /// reading when there are more than `links_max` links.
    pub(super) fn of(history: &'a [Recorded], is_retention: bool, links_max: usize) -> Self {
        let mut dependents = Self::default();
        for event in history {
            if dependents.links > links_max {
                break;
            }
            dependents.events.insert(event.event_id, event);
            dependents.add(event, is_retention);
            if !is_retention {
                dependents.add_replies(event);
            }
        }
        dependents
    }

    /// The number of links.
    pub(super) fn links(&self) -> usize {
        self.links
    }

    /// The number of links that were followed. Each is followed at most once.
    pub(super) fn followed(&self) -> usize {
        self.followed
    }

    fn link(&mut self, from: Node<'a>, to: Node<'a>) {
        self.links = self.links.saturating_add(1);
        self.dependents.entry(from).or_default().push(to);
    }

    fn add(&mut self, event: &'a Recorded, is_retention: bool) {
        let own = Node::Event(event.event_id);
        match &event.event {
            Event::AttributeRecorded(attribute) | Event::EarlierAttributeRecorded(attribute) => {
                self.link(own, Node::Key(&attribute.key));
            }
            Event::AttributeCorrected { corrects, attribute } => {
                self.link(own, Node::Key(&attribute.key));
                // A wrong attribute and its correction are erased together.
                self.link(own, Node::Event(*corrects));
            }
            // The event that records an attribute's expiry is kept, because it names no data.
            Event::AttributeExpired { .. } if is_retention => return,
            Event::GrantIssued(_)
            | Event::ArtifactRegistered(_)
            | Event::RequestSubmitted(_)
            | Event::ErasureRefused(_)
                if is_retention =>
            {
                return;
            }
            Event::GrantUsed(used) if is_retention => return self.link(Node::Event(used.grant), own),
            Event::GrantRevoked { .. } | Event::ArtifactInvalidated(_) => {
                return self.add_end(event, is_retention);
            }
            // An attribute is erased with the sources that its replies gave it.
            Event::AttributeSourcesAdded { attribute, sources } => {
                sources.iter().for_each(|source| self.link(Node::Event(*source), Node::Event(*attribute)));
            }
            Event::RequestSubmitted(request) => {
                request.keys.iter().for_each(|key| self.link(Node::Key(key), own));
            }
            Event::ErasureRefused(refused) => self.link(Node::Key(&refused.key), own),
            _ => {}
        }
        for named in named_by(&event.event) {
            self.link(Node::Event(named), own);
        }
    }

    /// What ended a grant or an artifact is never erased alone: without it, the grant would be valid again.
    fn add_end(&mut self, event: &'a Recorded, is_retention: bool) {
        let Some(ended) = subject_of(&event.event) else { return };
        self.link(Node::Event(ended), Node::Event(event.event_id));
        if !is_retention {
            for named in named_by(&event.event).into_iter().filter(|named| *named != ended) {
                self.link(Node::Event(named), Node::Event(ended));
                // The grant may have been erased before.
                self.link(Node::Event(named), Node::Event(event.event_id));
            }
        }
    }

    /// An attribute that shaped a reply shaped what was inferred from the reply. A reply may be reported
    /// after what was inferred from it.
    fn add_replies(&mut self, event: &'a Recorded) {
        let own = event.event_id;
        match &event.event {
            Event::AttributeRecorded(attribute)
            | Event::EarlierAttributeRecorded(attribute)
            | Event::AttributeCorrected { attribute, .. } => {
                // A service names its own replies. Another caller may mean those of any recipient.
                let by = (event.actor.role == Role::Service).then_some(event.actor.name.as_str());
                let replies = attribute.from_replies.iter();
                replies.for_each(|reply| self.link(Node::Reply(reply, by), Node::Event(own)));
            }
            Event::GrantIssued(grant) => {
                let allowed = grant.allowed.iter().map(|cited| Node::Event(cited.attribute));
                allowed.for_each(|attribute| self.link(attribute, Node::Allowed(own)));
            }
            Event::GrantUsed(used) => {
                // A report that names no attributes leaves open which of the grant's shaped the reply.
                let of_grant = used.shaped_by.is_empty().then_some(Node::Allowed(used.grant));
                for by in used.shaped_by.iter().copied().map(Node::Event).chain(of_grant) {
                    self.link(by, Node::Reply(&used.reply, Some(&event.actor.name)));
                    self.link(by, Node::Reply(&used.reply, None));
                }
            }
            _ => {}
        }
    }

    /// Visits everything that depends on `first`, each event once. `take` says whether an event goes. What
    /// depends on an event that stays is not visited because of it.
    pub(super) fn visit(&mut self, first: EventId, mut take: impl FnMut(&'a Recorded) -> bool) {
        let mut open = vec![Node::Event(first)];
        while let Some(node) = open.pop() {
            // The links of a node are followed once, so all visits together take linear time.
            for next in self.dependents.remove(&node).unwrap_or_default() {
                self.followed = self.followed.saturating_add(1);
                let goes = match next {
                    Node::Event(id) => self.events.get(&id).is_some_and(|event| take(event)),
                    Node::Key(_) | Node::Allowed(_) | Node::Reply(..) => true,
                };
                if goes {
                    open.push(next);
                }
            }
        }
    }
}
