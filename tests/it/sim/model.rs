//! What must be there, said as plainly as possible; and the comparison with what is.

use super::world::World;
use sayso::app::{EventReceipt, Moment, Receipt};
use sayso::domain::ids::{GrantId, SubjectId};
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use sayso_proof::entry::{self, Handle};
use sayso_proof::merkle::{Frontier, Hash, leaf_hash};
use std::collections::{BTreeMap, BTreeSet};

/// A grant as it was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    pub categories: BTreeSet<&'static str>,
    pub expires_at_ms: u64,
    pub fallen: bool,
}

/// A person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// Key to category and value.
    pub attributes: BTreeMap<String, (&'static str, String)>,
    /// Decisions, oldest first: category, and whether it was a yes.
    pub decisions: Vec<(&'static str, bool)>,
    pub grants: BTreeMap<GrantId, Granted>,
    /// Whether anything was ever recorded since the last erasure.
    pub known: bool,
}

impl Person {
    /// Whether the newest decision about a category is a yes.
    pub fn allows(&self, category: &str) -> bool {
        self.decisions.iter().rev().find(|(about, _)| *about == category).is_some_and(|(_, yes)| *yes)
    }
}

/// Everything that the world outside was told.
#[derive(Default)]
pub struct Model {
    pub people: BTreeMap<u8, Person>,
    /// By position.
    acknowledged: BTreeMap<u64, EventReceipt>,
    owner: BTreeMap<u64, u8>,
    /// Handles of whoever was erased, and grants that went with them.
    erased: BTreeSet<Handle>,
    gone_grants: BTreeSet<GrantId>,
    checkpoints: BTreeMap<u64, Hash>,
}

pub fn name(person: u8) -> SubjectId {
    SubjectId::new(&format!("person-{person}")).unwrap()
}

impl Model {
    pub fn person(&mut self, person: u8) -> &mut Person {
        self.people.entry(person).or_default()
    }

    /// A receipt that was handed out.
    pub fn receipt(&mut self, person: u8, receipt: &Receipt, key: &VerifierKey) {
        let mut last = None;
        for event in &receipt.events {
            assert!(last < Some(event.position), "in order");
            last = Some(event.position);
            let before = self.acknowledged.insert(event.position, event.clone());
            if let Some(before) = before {
                assert!(receipt.replayed && before.leaf_hash == event.leaf_hash, "one place, one event");
            }
            self.owner.insert(event.position, person);
        }
        self.checkpoint(&receipt.checkpoint, key);
    }

    /// A checkpoint that was handed out: no second one of the same size says otherwise.
    pub fn checkpoint(&mut self, note: &str, key: &VerifierKey) {
        let checkpoint = Checkpoint::open(note, key).unwrap();
        let before = self.checkpoints.insert(checkpoint.size, checkpoint.root);
        assert!(before.is_none_or(|root| root == checkpoint.root), "two checkpoints of one size disagree");
    }

    /// Whose word it was that they are gone.
    pub fn erase(&mut self, person: u8, handle: Option<Handle>) {
        self.erased.extend(handle);
        let gone = std::mem::take(self.person(person));
        self.gone_grants.extend(gone.grants.into_keys());
        self.owner.retain(|_, owner| *owner != person);
    }

    /// The handle of a person, from any entry of theirs that was acknowledged.
    pub fn handle(&self, world: &World, person: u8) -> Option<Handle> {
        let (position, _) = self.owner.iter().find(|(_, owner)| **owner == person)?;
        let bytes = world.app().raw_entry(*position).unwrap().bytes?;
        Some(entry::parse_header(&bytes).unwrap().handle)
    }

    /// Compares everything; `except` leaves out a person of whom nobody knows yet.
    pub async fn check(&mut self, world: &World, except: Option<u8>) {
        self.check_log(world);
        for (number, person) in &self.people {
            if except != Some(*number) {
                let found = observe(world, *number).await;
                assert_eq!(found.attributes, person.attributes, "attributes of person {number}");
                assert_eq!(found.decisions, person.decisions, "decisions of person {number}");
                assert_eq!(found.known, person.known, "person {number}");
            }
            self.check_grants(world, person, except == Some(*number)).await;
        }
        for grant in &self.gone_grants {
            let standing = world.app().check_grant(&super::service(), grant).await;
            assert!(!standing.is_ok_and(|standing| standing.stands), "a grant outlives the erasure");
        }
    }

    async fn check_grants(&self, world: &World, person: &Person, unknown: bool) {
        let now_ms = world.app().now_ms();
        for (grant, granted) in &person.grants {
            let standing = world.app().check_grant(&super::service(), grant).await.unwrap();
            let may = !granted.fallen && now_ms < granted.expires_at_ms;
            assert!(may || !standing.stands, "a grant stands that the model denies");
            assert!(unknown || !may || standing.stands, "a grant fell that nothing contradicts");
        }
    }

    /// Frames, chains, leaves, checkpoints: the log alone, recomputed from its entries.
    fn check_log(&mut self, world: &World) {
        let app = world.app();
        let newest = app.ledger().checkpoint();
        self.checkpoint(&newest.note, &app.ledger().verifier_key());
        let (mut tree, mut ids) = (Frontier::new(), BTreeSet::new());
        let mut chains: BTreeMap<Handle, (u64, Hash)> = BTreeMap::new();
        for stored in app.ledger().store().read_entries(0, usize::MAX).unwrap() {
            tree.push(stored.leaf_hash);
            if let Some(root) = self.checkpoints.get(&tree.size()) {
                assert_eq!(*root, tree.root(), "a checkpoint that was handed out is of another log");
            }
            let acknowledged = self.acknowledged.get(&stored.position);
            assert!(acknowledged.is_none_or(|event| event.leaf_hash == stored.leaf_hash), "another event");
            let Some(bytes) = &stored.bytes else {
                assert!(!self.owner.contains_key(&stored.position), "an acknowledged event is gone");
                continue;
            };
            assert_eq!(leaf_hash(bytes), stored.leaf_hash);
            let header = entry::parse_header(bytes).unwrap();
            assert!(
                !self.erased.contains(&header.handle),
                "something of the erased is left at {}",
                stored.position
            );
            assert!(ids.insert(header.event_id), "an event is there twice");
            let chain = chains.get(&header.handle).copied();
            let next = chain.map_or((0, None), |(version, leaf)| (version + 1, Some(leaf)));
            assert_eq!((header.version, header.previous), next, "a chain has a gap");
            chains.insert(header.handle, (header.version, stored.leaf_hash));
        }
        assert_eq!((tree.size(), tree.root()), (newest.size, newest.root));
        let last = self.checkpoints.keys().chain(self.acknowledged.keys()).max();
        assert!(last.is_none_or(|last| *last <= tree.size()), "the log is behind what was handed out");
    }
}

/// What the application says of a person, past its caches.
pub async fn observe(world: &World, number: u8) -> Person {
    let Ok(profile) = world.app().get_profile(&name(number), Moment::Now, true).await else {
        return Person::default();
    };
    let cached = world.app().get_profile(&name(number), Moment::Now, false).await.unwrap();
    assert_eq!(cached.state.version, profile.state.version, "the cache is behind");
    let attribute = |held: &sayso::domain::profile::HeldAttribute| {
        let category = super::CATEGORIES.iter().find(|id| **id == held.attribute.category).unwrap();
        (*category, held.attribute.value.expose().to_owned())
    };
    let decision = |record: &sayso::domain::consent::ConsentRecord| {
        let category = super::CATEGORIES.iter().find(|id| record.terms.categories == [**id]).unwrap();
        (*category, record.decision.is_yes())
    };
    Person {
        attributes: profile
            .state
            .attributes
            .iter()
            .map(|(key, held)| (key.clone(), attribute(held)))
            .collect(),
        decisions: profile.state.consents.records().iter().map(decision).collect(),
        grants: BTreeMap::new(),
        known: profile.state.version > 0,
    }
}
