//! An exact model of what the store must contain, and its comparison with the application and the log.

use super::action::{Action, CATEGORIES, is_in_scope};
use super::world::World;
use sayso::app::{EventReceipt, Moment, Receipt};
use sayso::clock::ClockReading;
use sayso::domain::erasure::Scope;
use sayso::domain::event::SignalKind;
use sayso::domain::ids::{GrantId, SubjectId};
use sayso::proto::Reason;
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use sayso_proof::entry::{self, Handle};
use sayso_proof::merkle::{Frontier, Hash, leaf_hash};
use std::collections::{BTreeMap, BTreeSet};

/// A grant as it was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The category of each allowed attribute, by key.
    pub cites: BTreeMap<String, &'static str>,
    /// Categories of which attributes were withheld.
    pub withheld: BTreeSet<&'static str>,
    pub expires_at_ms: u64,
    pub revoked: bool,
}

/// A data subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The category and value of each attribute, by key.
    pub attributes: BTreeMap<String, (&'static str, String)>,
    /// Decisions, oldest first: category, and whether consent was given.
    pub decisions: Vec<(&'static str, bool)>,
    /// The signals in force. Each of them forbids every use.
    pub signals: BTreeSet<SignalKind>,
    pub grants: BTreeMap<GrantId, Granted>,
    /// Whether anything was recorded since the last full erasure.
    pub exists: bool,
}

impl Subject {
    /// Whether the newest decision about a category gives consent, and no signal forbids use.
    pub fn allows(&self, category: &str) -> bool {
        let newest = self.decisions.iter().rev().find(|(about, _)| *about == category);
        self.signals.is_empty() && newest.is_some_and(|(_, is_given)| *is_given)
    }

    /// Revokes the grants that an event contradicts.
    pub fn revoke(&mut self, contradicted: impl Fn(&Granted) -> bool) {
        self.grants.values_mut().filter(|grant| contradicted(grant)).for_each(|grant| grant.revoked = true);
    }

    /// Whether both subjects are equal, except for their grants.
    pub fn equals_except_grants(&self, other: &Self) -> bool {
        let grants = BTreeMap::new;
        Self { grants: grants(), ..self.clone() } == Self { grants: grants(), ..other.clone() }
    }
}

/// The content of an acknowledged event that decides whether a partial erasure erases it.
#[derive(Clone, Debug)]
pub enum Content {
    /// An attribute: key and category.
    Attribute(String, &'static str),
    /// A grant was issued or revoked.
    Grant(GrantId),
    Other,
}

/// What an erasure erased, or would have erased, at some time.
#[derive(Clone, Debug, Default)]
pub struct ErasedPart {
    /// Positions of acknowledged events.
    pub positions: BTreeSet<u64>,
    grants: BTreeSet<GrantId>,
}

/// Everything that the answers to callers stated.
#[derive(Clone, Default)]
pub struct Model {
    pub subjects: BTreeMap<u8, Subject>,
    /// Receipts of acknowledged events, by position.
    acknowledged: BTreeMap<u64, EventReceipt>,
    /// Data subject and content of events that are not erased, by position.
    contents: BTreeMap<u64, (u8, Content)>,
    handles: BTreeMap<u8, Handle>,
    /// Handles of erased subjects.
    erased_handles: BTreeSet<Handle>,
    erased_positions: BTreeSet<u64>,
    erased_grants: BTreeSet<GrantId>,
    /// Roots by tree size.
    checkpoints: BTreeMap<u64, Hash>,
    /// The log was restored from a backup, and use is forbidden until that is confirmed.
    pub awaits_confirmation: bool,
    /// Grants that the application reported as expired.
    expired_grants: BTreeSet<GrantId>,
}

pub fn name(subject: u8) -> SubjectId {
    SubjectId::new(&format!("person-{subject}")).unwrap()
}

impl Model {
    pub fn subject(&mut self, subject: u8) -> &mut Subject {
        self.subjects.entry(subject).or_default()
    }

    /// Notes a receipt that a caller got, and the contents of the receipt's first events, in order. All other
    /// events of the receipt have the content `Other`.
    pub fn add_receipt(&mut self, world: &World, subject: u8, receipt: &Receipt, contents: Vec<Content>) {
        let (mut last, mut contents) = (None, contents.into_iter());
        for event in &receipt.events {
            assert!(last < Some(event.position), "positions in a receipt ascend");
            last = Some(event.position);
            let before = self.acknowledged.insert(event.position, event.clone());
            if let Some(before) = before {
                assert!(
                    receipt.replayed && before.leaf_hash == event.leaf_hash,
                    "an event of a receipt changed"
                );
            }
            self.contents.insert(event.position, (subject, contents.next().unwrap_or(Content::Other)));
            if let Some(bytes) = world.app().reports.raw_entry(event.position).unwrap().bytes {
                self.handles.insert(subject, entry::parse_header(&bytes).unwrap().handle);
            }
        }
        self.add_checkpoint(&receipt.checkpoint, &world.app().ledger().verifier_key());
    }

    /// Notes a checkpoint that a caller got. Two checkpoints of one size must have the same root.
    pub fn add_checkpoint(&mut self, note: &str, key: &VerifierKey) {
        let checkpoint = Checkpoint::open(note, key).unwrap();
        let before = self.checkpoints.insert(checkpoint.size, checkpoint.root);
        assert!(before.is_none_or(|root| root == checkpoint.root), "two checkpoints of one size disagree");
    }

    /// Restores the model as of a backup. Of everything since then, only the given erasures remain in effect.
    pub fn restore(&mut self, at_backup: &Self, erasures: &[Action]) {
        let size = at_backup.checkpoints.last_key_value().map_or(0, |(size, _)| *size);
        let lost = std::mem::replace(self, at_backup.clone());
        let grants = lost.subjects.values().flat_map(|subject| subject.grants.keys());
        let issued_since =
            |id: &&GrantId| !at_backup.subjects.values().any(|subject| subject.grants.contains_key(*id));
        self.erased_grants.extend(grants.filter(issued_since));
        self.erased_grants.extend(lost.erased_grants.iter());
        self.erased_handles.extend(lost.erased_handles.iter());
        self.erased_positions.extend(lost.erased_positions.range(..size));
        self.awaits_confirmation = true;
        for action in erasures {
            self.apply(action);
        }
        let erased = &self.erased_positions;
        self.contents.retain(|position, _| !erased.contains(position));
        for subject in lost.subjects.into_keys() {
            self.subject(subject);
        }
    }

    /// Applies an action to its data subject, once it is known to be done.
    pub fn apply(&mut self, action: &Action) {
        self.awaits_confirmation &= !matches!(action, Action::Confirm);
        let Some(subject) = action.subject() else { return };
        let before = self.subject(subject).clone();
        let after = action.apply_to(&before);
        self.erased_positions.extend(self.erased_by(action));
        self.contents.retain(|position, _| !self.erased_positions.contains(position));
        let grants = before.grants.keys().filter(|id| !after.grants.contains_key(id));
        self.erased_grants.extend(grants);
        if matches!(action, Action::Erase(_, Scope::All)) {
            self.erased_handles.extend(self.handles.remove(&subject));
        }
        *self.subject(subject) = after;
    }

    /// The positions of acknowledged events that an erasure erases now.
    pub fn erased_by(&self, action: &Action) -> BTreeSet<u64> {
        let Action::Erase(subject, scope) = action else { return BTreeSet::new() };
        let before = self.subjects.get(subject).cloned().unwrap_or_default();
        let after = action.apply_to(&before);
        let is_erased = |content: &Content| match content {
            _ if *scope == Scope::All => true,
            Content::Attribute(key, category) => is_in_scope(scope, key, category),
            Content::Grant(id) => before.grants.contains_key(id) && !after.grants.contains_key(id),
            Content::Other => false,
        };
        let erased =
            self.contents.iter().filter(|(_, (owner, content))| owner == subject && is_erased(content));
        erased.map(|(position, _)| *position).collect()
    }

    /// The category of each attribute of a subject that may be used, by key.
    pub fn allowed(&self, subject: &Subject) -> BTreeMap<String, &'static str> {
        let attributes = subject.attributes.iter();
        let allowed =
            attributes.filter(|(_, (category, _))| !self.awaits_confirmation && subject.allows(category));
        allowed.map(|(key, (category, _))| (key.clone(), *category)).collect()
    }

    /// What an erasure erases now.
    pub fn erased_part(&self, action: &Action) -> ErasedPart {
        let subject =
            action.subject().and_then(|subject| self.subjects.get(&subject)).cloned().unwrap_or_default();
        let after = action.apply_to(&subject);
        let grants = subject.grants.into_keys().filter(|id| !after.grants.contains_key(id));
        ErasedPart { positions: self.erased_by(action), grants: grants.collect() }
    }

    /// The subject after an erasure that erased this part, but nothing that was recorded later.
    pub fn without(&self, subject: u8, erased: &ErasedPart) -> Subject {
        let mut after = self.subjects.get(&subject).cloned().unwrap_or_default();
        let is_about =
            |content: &Content, key: &str| matches!(content, Content::Attribute(about, _) if about == key);
        let newest = |key: &str| {
            let mut newest_first = self.contents.iter().rev();
            newest_first
                .find(|(_, (owner, content))| *owner == subject && is_about(content, key))
                .map(|(position, _)| *position)
        };
        after.attributes.retain(|key, _| newest(key).is_none_or(|at| !erased.positions.contains(&at)));
        after.grants.retain(|id, _| !erased.grants.contains(id));
        after
    }

    /// Applies an erasure that, as it turns out, erased this part at an earlier time.
    pub fn apply_earlier_erasure(&mut self, subject: u8, erased: &ErasedPart) {
        let after = self.without(subject, erased);
        self.erased_positions.extend(&erased.positions);
        self.contents.retain(|position, _| !erased.positions.contains(position));
        self.erased_grants.extend(&erased.grants);
        *self.subject(subject) = after;
    }

    /// Compares the model with the log and with every subject and grant.
    pub async fn check(&mut self, world: &World) {
        self.check_log(world);
        let mut expired = BTreeSet::new();
        for (number, subject) in &self.subjects {
            let found = observe(world, *number).await;
            assert!(
                found.equals_except_grants(subject),
                "subject {number} is {found:?} and should be {subject:?}"
            );
            expired.extend(self.check_grants(world, subject).await);
        }
        self.expired_grants.extend(expired);
        for grant in &self.erased_grants {
            let standing = world.app().grants.check_grant(&super::service(), grant, &[]).await;
            assert!(
                !standing.is_ok_and(|checked| checked.standing.is_valid),
                "a grant is valid after its erasure"
            );
        }
    }

    async fn check_grants(&self, world: &World, subject: &Subject) -> BTreeSet<GrantId> {
        let mut expired = BTreeSet::new();
        let ClockReading { ledger_ms: now_ms, state: clock, .. } = world.app().clock_reading();
        for (grant, granted) in &subject.grants {
            let standing =
                world.app().grants.check_grant(&super::service(), grant, &[]).await.unwrap().standing;
            let is_open = !granted.revoked && now_ms < granted.expires_at_ms;
            let must_be_valid = is_open && !self.awaits_confirmation && !clock.is_skewed();
            assert!(
                !standing.is_valid || !self.expired_grants.contains(grant),
                "an expired grant became valid again"
            );
            if standing.reason == Some(Reason::GrantExpired) {
                expired.insert(*grant);
            }
            assert!(must_be_valid || !standing.is_valid, "a grant is valid that the model denies");
            assert!(!must_be_valid || standing.is_valid, "a grant is invalid that nothing contradicts");
        }
        expired
    }

    /// Recomputes leaves, checkpoints and the chain of each subject's entries from the log alone.
    fn check_log(&mut self, world: &World) {
        let app = world.app();
        let newest = app.ledger().checkpoint();
        self.add_checkpoint(&newest.note, &app.ledger().verifier_key());
        let (mut tree, mut ids) = (Frontier::new(), BTreeSet::new());
        let mut chains: BTreeMap<Handle, (u64, Hash)> = BTreeMap::new();
        let mut discarded = BTreeSet::new();
        for stored in app.ledger().store().read_entries(0, usize::MAX).unwrap() {
            tree.push(stored.leaf_hash);
            if let Some(root) = self.checkpoints.get(&tree.size()) {
                assert_eq!(*root, tree.root(), "an issued checkpoint is of another log");
            }
            let acknowledged = self.acknowledged.get(&stored.position);
            assert!(
                acknowledged.is_none_or(|event| event.leaf_hash == stored.leaf_hash),
                "an acknowledged event changed"
            );
            let Some(bytes) = &stored.bytes else {
                assert!(!self.contents.contains_key(&stored.position), "an acknowledged event is lost");
                discarded.insert(stored.leaf_hash);
                continue;
            };
            assert_eq!(leaf_hash(bytes), stored.leaf_hash);
            let header = entry::parse_header(bytes).unwrap();
            let is_erased = self.erased_handles.contains(&header.handle)
                || self.erased_positions.contains(&stored.position);
            assert!(!is_erased, "an erased entry is left at {}", stored.position);
            assert!(ids.insert(header.event_id), "an event is there twice");
            let chain = chains.insert(header.handle, (header.version, stored.leaf_hash));
            let next = chain.map_or((0, None), |(version, leaf)| (version + 1, Some(leaf)));
            // A chain may skip entries that a partial erasure discarded. Then its next entry refers to a
            // discarded leaf.
            let bridges =
                header.version > next.0 && header.previous.is_some_and(|leaf| discarded.contains(&leaf));
            assert!((header.version, header.previous) == next || bridges, "a chain has a gap");
        }
        assert_eq!((tree.size(), tree.root()), (newest.size, newest.root));
        let last = self.checkpoints.keys().chain(self.acknowledged.keys()).max();
        assert!(last.is_none_or(|last| *last <= tree.size()), "the log is behind a receipt or checkpoint");
    }
}

fn known_category(category: &str) -> &'static str {
    CATEGORIES.into_iter().find(|known| *known == category).unwrap()
}

/// The model's form of a grant.
pub fn granted(grant: &sayso::app::Grant) -> Granted {
    let cited = |allowed: &sayso::app::Allowed| {
        (allowed.current.attribute.key.clone(), known_category(&allowed.current.attribute.category))
    };
    Granted {
        cites: grant.allowed.iter().map(cited).collect(),
        withheld: grant.withheld.iter().map(|class| known_category(&class.category)).collect(),
        expires_at_ms: grant.expires_at_ms,
        revoked: false,
    }
}

/// The application's answer about a subject, rebuilt from the log. The cache must have the same version.
pub async fn observe(world: &World, number: u8) -> Subject {
    let Ok(profile) = world.app().profile.get_profile(&name(number), Moment::Now, true).await else {
        return Subject::default();
    };
    let cached = world.app().profile.get_profile(&name(number), Moment::Now, false).await.unwrap();
    assert_eq!(cached.state.version, profile.state.version, "the cache is behind");
    let attribute = |current: &sayso::domain::current_attribute::CurrentAttribute| {
        (known_category(&current.attribute.category), current.attribute.value.expose().to_owned())
    };
    let decision = |record: &sayso::domain::consent::ConsentRecord| {
        let category = CATEGORIES.iter().find(|id| record.terms.categories == [**id]).unwrap();
        (*category, record.decision.is_yes())
    };
    let state = &profile.state;
    Subject {
        attributes: state.attributes.iter().map(|(key, current)| (key.clone(), attribute(current))).collect(),
        decisions: state.consents.records().iter().map(decision).collect(),
        signals: state.signals.iter().map(|signal| signal.kind).collect(),
        grants: BTreeMap::new(),
        exists: state.version > 0,
    }
}
