//! The entries that a replay did not have, because they were erased or withheld, and what it could not check
//! without them.

use crate::entry::EventId;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

/// The number of entries that are missing from a stream, by what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Attributes, and events about attributes that are all erased.
    pub attributes: u64,
    /// Decisions on which later grants may depend.
    pub decisions: u64,
    /// Entries of any other kind, on which no later grant depends.
    pub others: u64,
    /// Entries that may be of any kind: withheld, or erased without a statement of what they were.
    pub unknown: u64,
}

impl Missing {
    /// Entries about which nothing is known.
    pub fn unknown(count: u64) -> Self {
        Self { unknown: count, ..Self::default() }
    }

    /// Adds further missing entries.
    pub fn add(&mut self, other: Self) {
        self.attributes = self.attributes.saturating_add(other.attributes);
        self.decisions = self.decisions.saturating_add(other.decisions);
        self.others = self.others.saturating_add(other.others);
        self.unknown = self.unknown.saturating_add(other.unknown);
    }

    fn subtract(&mut self, other: Self) {
        self.attributes = self.attributes.saturating_sub(other.attributes);
        self.decisions = self.decisions.saturating_sub(other.decisions);
        self.others = self.others.saturating_sub(other.others);
        self.unknown = self.unknown.saturating_sub(other.unknown);
    }

    /// How many attributes may be missing, at most.
    pub fn attributes_max(&self) -> u64 {
        self.attributes.saturating_add(self.unknown)
    }

    /// How many decisions may be missing, at most.
    pub fn decisions_max(&self) -> u64 {
        self.decisions.saturating_add(self.unknown)
    }

    /// How many attributes and decisions may be missing together, at most.
    pub fn both_max(&self) -> u64 {
        self.attributes.saturating_add(self.decisions_max())
    }

    fn all(&self) -> u64 {
        self.both_max().saturating_add(self.others)
    }
}

/// Entries that are missing from a stream, by the position of the erasure that erased them. What may exist
/// longer, such as what is withheld, has the position [`u64::MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MissingEntries {
    by_erasure: BTreeMap<u64, Missing>,
    total: Missing,
}

impl MissingEntries {
    /// Entries about which nothing is known.
    pub fn unknown(count: u64) -> Self {
        let mut entries = Self::default();
        entries.add(u64::MAX, Missing::unknown(count));
        entries
    }

    /// Adds entries that the erasure at this position erased, or an earlier one.
    pub fn add(&mut self, erasure: u64, missing: Missing) {
        if missing != Missing::default() {
            self.by_erasure.entry(erasure).or_default().add(missing);
            self.total.add(missing);
        }
    }

    /// Adds further missing entries.
    pub fn extend(&mut self, other: &Self) {
        other.by_erasure.iter().for_each(|(erasure, missing)| self.add(*erasure, *missing));
    }

    /// The numbers of all entries.
    pub fn total(&self) -> Missing {
        self.total
    }

    /// Removes the entries that were erased before a position.
    pub fn remove_before(&mut self, position: u64) {
        while let Some(first) = self.by_erasure.first_entry().filter(|first| *first.key() < position) {
            self.total.subtract(first.remove());
        }
    }
}

/// The missing events that one grant cites.
#[derive(Default)]
pub(super) struct CitedByGrant {
    /// The position of the grant.
    position: u64,
    attributes: BTreeSet<Vec<u8>>,
    consents: BTreeSet<Vec<u8>>,
}

impl CitedByGrant {
    /// Adds an attribute that a grant cites. `remaining` are the missing entries that were not erased before
    /// the grant. Returns whether the grant cites no more than these.
    pub fn add_attribute(&mut self, id: &[u8], by: Citing, remaining: Missing) -> bool {
        self.begin(by);
        self.attributes.insert(id.to_vec());
        self.attributes.len() as u64 <= remaining.attributes_max() && self.fits(remaining)
    }

    /// Like [`Self::add_attribute`], for a consent.
    pub fn add_consent(&mut self, id: &[u8], by: Citing, remaining: Missing) -> bool {
        self.begin(by);
        self.consents.insert(id.to_vec());
        self.consents.len() as u64 <= remaining.decisions_max() && self.fits(remaining)
    }

    fn begin(&mut self, by: Citing) {
        if self.position != by.position {
            *self = Self { position: by.position, ..Self::default() };
        }
    }

    fn fits(&self, remaining: Missing) -> bool {
        self.attributes.len().saturating_add(self.consents.len()) as u64 <= remaining.both_max()
    }
}

/// An event that names a missing event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Citing {
    pub position: u64,
    /// Event id of the grant that cites it; [`NO_GRANT`] if another event names it.
    pub grant: EventId,
}

/// What a missing entry must have been, for an event to name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MissingKind {
    Attribute,
    Decision,
    /// A grant or an artifact.
    Use,
    /// The event that recorded a request or a hold, which has an id of its own.
    Request,
    /// An event of any kind.
    Any,
}

/// The missing events that grants and other events name, each with the first event that names it. There are
/// no more of them than missing entries.
#[derive(Default)]
pub(super) struct Cited {
    by_kind: BTreeMap<MissingKind, BTreeMap<EventId, Citing>>,
}

impl Cited {
    fn get(&self, kind: MissingKind, id: &EventId) -> Option<Citing> {
        self.by_kind.get(&kind)?.get(id).copied()
    }

    fn count(&self, kind: MissingKind) -> u64 {
        self.by_kind.get(&kind).map_or(0, |ids| ids.len() as u64)
    }

    /// Adds a missing event that an event names, if it may be one of the missing entries. Returns whether it
    /// may be.
    pub fn add(&mut self, kind: MissingKind, id: &[u8], by: Citing, missing: Missing) -> bool {
        let Ok(id) = EventId::try_from(id) else { return false };
        let known = [MissingKind::Attribute, MissingKind::Decision, MissingKind::Use, MissingKind::Any];
        let found = known.into_iter().find(|kind| self.get(*kind, &id).is_some());
        match (kind, found) {
            // Requests and holds have ids of their own.
            (MissingKind::Request, _) if self.get(kind, &id).is_some() => return true,
            (MissingKind::Request, _) | (_, None) => {}
            (_, Some(found)) if found == kind || kind == MissingKind::Any => return true,
            (_, Some(MissingKind::Any)) => drop(self.remove(MissingKind::Any, &id)),
            // An event is of one kind.
            (_, Some(_)) => return false,
        }
        self.by_kind.entry(kind).or_default().insert(id, by);
        let fits = self.fits(missing);
        if !fits {
            self.remove(kind, &id);
        }
        fits
    }

    fn remove(&mut self, kind: MissingKind, id: &EventId) -> Option<Citing> {
        self.by_kind.get_mut(&kind)?.remove(id)
    }

    /// Whether each named event can be another one of the missing entries.
    fn fits(&self, missing: Missing) -> bool {
        let [attributes, decisions, uses, requests, any] = [
            MissingKind::Attribute,
            MissingKind::Decision,
            MissingKind::Use,
            MissingKind::Request,
            MissingKind::Any,
        ]
        .map(|kind| self.count(kind));
        let others = uses.saturating_add(requests);
        let beyond = attributes.saturating_sub(missing.attributes)
            + decisions.saturating_sub(missing.decisions)
            + others.saturating_sub(missing.others);
        beyond <= missing.unknown && attributes + decisions + others + any <= missing.all()
    }

    /// The first grant that cites this event as an attribute or as a consent, and as which.
    pub fn cited_by_grant(&self, id: &EventId) -> Option<(Citing, MissingKind)> {
        let kinds = [MissingKind::Attribute, MissingKind::Decision].into_iter();
        kinds.filter_map(|kind| Some((self.get(kind, id)?, kind))).find(|(by, _)| by.grant != NO_GRANT)
    }

    /// The position of the first other event that names this event, or this request or hold.
    pub fn named_at(&self, id: &EventId, request: Option<&[u8]>) -> Option<u64> {
        let kinds = [MissingKind::Decision, MissingKind::Use, MissingKind::Any].into_iter();
        let named = kinds.filter_map(|kind| self.get(kind, id)).find(|by| by.grant == NO_GRANT);
        let request = request.and_then(|request| EventId::try_from(request).ok());
        let by = named.or_else(|| self.get(MissingKind::Request, &request?));
        by.map(|by| by.position)
    }
}

/// The id that stands for no grant.
pub(super) const NO_GRANT: EventId = [0; 16];

/// Why a grant could not be checked in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Earlier decisions of the data subject are erased or withheld, or may be. One of them could forbid the
    /// use.
    #[error("earlier decisions of the person are missing")]
    DecisionsMissing,
    /// The entry of the cited consent is erased or withheld.
    #[error("the cited consent is missing")]
    ConsentMissing,
    /// The entry of an allowed attribute is erased or withheld.
    #[error("an allowed attribute is missing")]
    AttributeMissing,
    /// An attribute from which an allowed one was derived is erased or withheld.
    #[error("a source of an allowed attribute is missing")]
    SourceMissing,
    /// Something on which the classes that the grant withholds depend is erased or withheld.
    #[error("what it withholds depends on missing entries")]
    WithheldUnknown,
    /// The grant on which an event reports is erased or withheld.
    #[error("it is missing, so what was reported about it is not known to be right")]
    GrantMissing,
    /// Something that could have contradicted the grant, or its revocation, is erased or withheld.
    #[error("whether it had to be revoked is not known")]
    RevocationUnknown,
    /// The revocation of the grant was announced, and the grant expired before it was recorded. The daemon
    /// was stopped meanwhile, or the operator did not record it.
    #[error("its revocation was announced and never recorded")]
    RevocationNotRecorded,
    /// A use was reported after the expiry of the grant and after new rules, and later decisions hide whether
    /// the rules at the time of the use allowed it.
    #[error("whether the rules that were published since allowed its use is not known")]
    RulesUnknown,
    /// The check would take too many steps.
    #[error("the history of the person takes too long to replay")]
    TooLong,
}

/// A grant that could not be checked in full, or a report on a grant that is missing. What could be checked
/// is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UncheckedGrant {
    /// Position of the grant; of the report, if the grant is missing.
    pub position: u64,
    /// Event id of the grant, in hex.
    pub grant: String,
    /// Why.
    pub doubts: BTreeSet<Doubt>,
}

impl Display for UncheckedGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {}, grant `{}`: not fully checked: ", self.position, self.grant)?;
        for (number, doubt) in self.doubts.iter().enumerate() {
            if number > 0 {
                f.write_str(", ")?;
            }
            doubt.fmt(f)?;
        }
        Ok(())
    }
}
