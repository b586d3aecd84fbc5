//! What must be there, said as plainly as possible; and the comparison with what is.

use super::act::{Act, CATEGORIES, takes};
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

/// A grant as it was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Key to category.
    pub cites: BTreeMap<String, &'static str>,
    /// Categories of which something was withheld.
    pub withheld: BTreeSet<&'static str>,
    pub expires_at_ms: u64,
    pub fallen: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// Key to category and value.
    pub attributes: BTreeMap<String, (&'static str, String)>,
    /// Decisions, oldest first: category, and whether it was a yes.
    pub decisions: Vec<(&'static str, bool)>,
    /// Restriction, objection, pause: each stops every use.
    pub signals: BTreeSet<SignalKind>,
    pub grants: BTreeMap<GrantId, Granted>,
    /// Whether anything was ever recorded since the last erasure.
    pub known: bool,
}

impl Person {
    /// Whether the newest decision about a category is a yes, and nothing stops its use.
    pub fn allows(&self, category: &str) -> bool {
        let newest = self.decisions.iter().rev().find(|(about, _)| *about == category);
        self.signals.is_empty() && newest.is_some_and(|(_, yes)| *yes)
    }

    pub fn fall(&mut self, contradicted: impl Fn(&Granted) -> bool) {
        self.grants.values_mut().filter(|grant| contradicted(grant)).for_each(|grant| grant.fallen = true);
    }

    /// Whether the same is held, grants apart.
    pub fn is_as(&self, other: &Self) -> bool {
        let grants = BTreeMap::new;
        Self { grants: grants(), ..self.clone() } == Self { grants: grants(), ..other.clone() }
    }
}

/// What an acknowledged event says, as far as erasures of a part ask.
#[derive(Clone, Debug)]
pub enum Said {
    Fact(String, &'static str),
    /// That it was issued, or that it fell.
    OfGrant(GrantId),
    Word,
}

/// What an erasure took, or would have taken, at some moment.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Of what was acknowledged.
    pub positions: BTreeSet<u64>,
    grants: BTreeSet<GrantId>,
}

/// Everything that the world outside was told.
#[derive(Clone, Default)]
pub struct Model {
    pub people: BTreeMap<u8, Person>,
    /// By position.
    acknowledged: BTreeMap<u64, EventReceipt>,
    owner: BTreeMap<u64, (u8, Said)>,
    handles: BTreeMap<u8, Handle>,
    /// Handles of whoever was erased, positions of what was, and grants that went with them.
    erased: BTreeSet<Handle>,
    gone: BTreeSet<u64>,
    gone_grants: BTreeSet<GrantId>,
    checkpoints: BTreeMap<u64, Hash>,
    /// The log went back to a backup, and use waits until that is confirmed.
    pub waits: bool,
    /// Grants that were said to have expired.
    ended: BTreeSet<GrantId>,
}

pub fn name(person: u8) -> SubjectId {
    SubjectId::new(&format!("person-{person}")).unwrap()
}

impl Model {
    pub fn person(&mut self, person: u8) -> &mut Person {
        self.people.entry(person).or_default()
    }

    /// A receipt that was handed out, and what its events say, in order; those behind say nothing.
    pub fn receipt(&mut self, world: &World, person: u8, receipt: &Receipt, says: Vec<Said>) {
        let (mut last, mut says) = (None, says.into_iter());
        for event in &receipt.events {
            assert!(last < Some(event.position), "in order");
            last = Some(event.position);
            let before = self.acknowledged.insert(event.position, event.clone());
            if let Some(before) = before {
                assert!(receipt.replayed && before.leaf_hash == event.leaf_hash, "one place, one event");
            }
            self.owner.insert(event.position, (person, says.next().unwrap_or(Said::Word)));
            if let Some(bytes) = world.app().reports.raw_entry(event.position).unwrap().bytes {
                self.handles.insert(person, entry::parse_header(&bytes).unwrap().handle);
            }
        }
        self.checkpoint(&receipt.checkpoint, &world.app().ledger().verifier_key());
    }

    /// A checkpoint that was handed out: no second one of the same size says otherwise.
    pub fn checkpoint(&mut self, note: &str, key: &VerifierKey) {
        let checkpoint = Checkpoint::open(note, key).unwrap();
        let before = self.checkpoints.insert(checkpoint.size, checkpoint.root);
        assert!(before.is_none_or(|root| root == checkpoint.root), "two checkpoints of one size disagree");
    }

    /// The log went back to when `then` was known, and all but these erasures are undone.
    pub fn go_back(&mut self, then: &Self, erasures: &[Act]) {
        let size = then.checkpoints.last_key_value().map_or(0, |(size, _)| *size);
        let lost = std::mem::replace(self, then.clone());
        let grants = lost.people.values().flat_map(|person| person.grants.keys());
        let issued_since =
            |id: &&GrantId| !then.people.values().any(|person| person.grants.contains_key(*id));
        self.gone_grants.extend(grants.filter(issued_since));
        self.gone_grants.extend(lost.gone_grants.iter());
        self.erased.extend(lost.erased.iter());
        self.gone.extend(lost.gone.range(..size));
        self.waits = true;
        for act in erasures {
            self.done(act);
        }
        let gone = &self.gone;
        self.owner.retain(|position, _| !gone.contains(position));
        for person in lost.people.into_keys() {
            self.person(person);
        }
    }

    /// What an act makes of its person, once it is known to be done.
    pub fn done(&mut self, act: &Act) {
        self.waits &= !matches!(act, Act::Confirm);
        let Some(person) = act.person() else { return };
        let before = self.person(person).clone();
        let after = act.on(&before);
        self.gone.extend(self.going(act));
        self.owner.retain(|position, _| !self.gone.contains(position));
        let gone = before.grants.keys().filter(|id| !after.grants.contains_key(id));
        self.gone_grants.extend(gone);
        if matches!(act, Act::Erase(_, Scope::All)) {
            self.erased.extend(self.handles.remove(&person));
        }
        *self.person(person) = after;
    }

    /// Positions of what was acknowledged and goes with an erasure.
    pub fn going(&self, act: &Act) -> BTreeSet<u64> {
        let Act::Erase(person, scope) = act else { return BTreeSet::new() };
        let before = self.people.get(person).cloned().unwrap_or_default();
        let after = act.on(&before);
        let is_gone = |said: &Said| match said {
            _ if *scope == Scope::All => true,
            Said::Fact(key, category) => takes(scope, key, category),
            Said::OfGrant(id) => before.grants.contains_key(id) && !after.grants.contains_key(id),
            Said::Word => false,
        };
        let going = self.owner.iter().filter(|(_, (owner, said))| owner == person && is_gone(said));
        going.map(|(position, _)| *position).collect()
    }

    /// Key to category of what may be used of a person.
    pub fn allowed(&self, person: &Person) -> BTreeMap<String, &'static str> {
        let held = person.attributes.iter();
        let allowed = held.filter(|(_, (category, _))| !self.waits && person.allows(category));
        allowed.map(|(key, (category, _))| (key.clone(), *category)).collect()
    }

    /// What an erasure takes now.
    pub fn taking(&self, act: &Act) -> Taken {
        let person = act.person().and_then(|person| self.people.get(&person)).cloned().unwrap_or_default();
        let after = act.on(&person);
        let grants = person.grants.into_keys().filter(|id| !after.grants.contains_key(id));
        Taken { positions: self.going(act), grants: grants.collect() }
    }

    /// What is left of a person where an erasure took this, and nothing that was said since.
    pub fn without(&self, person: u8, taken: &Taken) -> Person {
        let mut after = self.people.get(&person).cloned().unwrap_or_default();
        let says = |said: &Said, key: &str| matches!(said, Said::Fact(about, _) if about == key);
        let newest = |key: &str| {
            let mut told = self.owner.iter().rev();
            told.find(|(_, (owner, said))| *owner == person && says(said, key)).map(|(position, _)| *position)
        };
        after.attributes.retain(|key, _| newest(key).is_none_or(|at| !taken.positions.contains(&at)));
        after.grants.retain(|id, _| !taken.grants.contains(id));
        after
    }

    /// An erasure turns out to have taken this, before whatever else was said.
    pub fn took(&mut self, person: u8, taken: &Taken) {
        let after = self.without(person, taken);
        self.gone.extend(&taken.positions);
        self.owner.retain(|position, _| !taken.positions.contains(position));
        self.gone_grants.extend(&taken.grants);
        *self.person(person) = after;
    }

    /// Compares everything.
    pub async fn check(&mut self, world: &World) {
        self.check_log(world);
        let mut ended = BTreeSet::new();
        for (number, person) in &self.people {
            let found = observe(world, *number).await;
            assert!(found.is_as(person), "person {number} is {found:?} and not {person:?}");
            ended.extend(self.check_grants(world, person).await);
        }
        self.ended.extend(ended);
        for grant in &self.gone_grants {
            let standing = world.app().grants.check_grant(&super::service(), grant).await;
            assert!(!standing.is_ok_and(|standing| standing.is_valid), "a grant outlives the erasure");
        }
    }

    async fn check_grants(&self, world: &World, person: &Person) -> BTreeSet<GrantId> {
        let mut ended = BTreeSet::new();
        let ClockReading { ledger_ms: now_ms, state: clock, .. } = world.app().clock_reading();
        for (grant, granted) in &person.grants {
            let standing = world.app().grants.check_grant(&super::service(), grant).await.unwrap();
            let is_open = !granted.fallen && now_ms < granted.expires_at_ms;
            let may = is_open && !self.waits && !clock.is_skewed();
            assert!(
                !standing.is_valid || !self.ended.contains(grant),
                "a grant that had expired stands again"
            );
            if standing.reason == Some(Reason::GrantExpired) {
                ended.insert(*grant);
            }
            assert!(may || !standing.is_valid, "a grant stands that the model denies");
            assert!(!may || standing.is_valid, "a grant fell that nothing contradicts");
        }
        ended
    }

    /// Frames, chains, leaves, checkpoints: the log alone, recomputed from its entries.
    fn check_log(&mut self, world: &World) {
        let app = world.app();
        let newest = app.ledger().checkpoint();
        self.checkpoint(&newest.note, &app.ledger().verifier_key());
        let (mut tree, mut ids) = (Frontier::new(), BTreeSet::new());
        let mut chains: BTreeMap<Handle, (u64, Hash)> = BTreeMap::new();
        let mut discarded = BTreeSet::new();
        for stored in app.ledger().store().read_entries(0, usize::MAX).unwrap() {
            tree.push(stored.leaf_hash);
            if let Some(root) = self.checkpoints.get(&tree.size()) {
                assert_eq!(*root, tree.root(), "a checkpoint that was handed out is of another log");
            }
            let acknowledged = self.acknowledged.get(&stored.position);
            assert!(acknowledged.is_none_or(|event| event.leaf_hash == stored.leaf_hash), "another event");
            let Some(bytes) = &stored.bytes else {
                assert!(!self.owner.contains_key(&stored.position), "an acknowledged event is gone");
                discarded.insert(stored.leaf_hash);
                continue;
            };
            assert_eq!(leaf_hash(bytes), stored.leaf_hash);
            let header = entry::parse_header(bytes).unwrap();
            let is_erased = self.erased.contains(&header.handle) || self.gone.contains(&stored.position);
            assert!(!is_erased, "something of the erased is left at {}", stored.position);
            assert!(ids.insert(header.event_id), "an event is there twice");
            let chain = chains.insert(header.handle, (header.version, stored.leaf_hash));
            let next = chain.map_or((0, None), |(version, leaf)| (version + 1, Some(leaf)));
            // Over what was erased of a part, the chain leads to a leaf that is still known.
            let bridges =
                header.version > next.0 && header.previous.is_some_and(|leaf| discarded.contains(&leaf));
            assert!((header.version, header.previous) == next || bridges, "a chain has a gap");
        }
        assert_eq!((tree.size(), tree.root()), (newest.size, newest.root));
        let last = self.checkpoints.keys().chain(self.acknowledged.keys()).max();
        assert!(last.is_none_or(|last| *last <= tree.size()), "the log is behind what was handed out");
    }
}

fn known(category: &str) -> &'static str {
    CATEGORIES.into_iter().find(|known| *known == category).unwrap()
}

/// What a grant gives and withholds.
pub fn granted(grant: &sayso::app::Grant) -> Granted {
    let cited = |allowed: &sayso::app::Allowed| {
        (allowed.current.attribute.key.clone(), known(&allowed.current.attribute.category))
    };
    Granted {
        cites: grant.allowed.iter().map(cited).collect(),
        withheld: grant.withheld.iter().map(|class| known(&class.category)).collect(),
        expires_at_ms: grant.expires_at_ms,
        fallen: false,
    }
}

/// What the application says of a person, past its caches.
pub async fn observe(world: &World, number: u8) -> Person {
    let Ok(profile) = world.app().profile.get_profile(&name(number), Moment::Now, true).await else {
        return Person::default();
    };
    let cached = world.app().profile.get_profile(&name(number), Moment::Now, false).await.unwrap();
    assert_eq!(cached.state.version, profile.state.version, "the cache is behind");
    let attribute = |held: &sayso::domain::current_attribute::CurrentAttribute| {
        (known(&held.attribute.category), held.attribute.value.expose().to_owned())
    };
    let decision = |record: &sayso::domain::consent::ConsentRecord| {
        let category = CATEGORIES.iter().find(|id| record.terms.categories == [**id]).unwrap();
        (*category, record.decision.is_yes())
    };
    let state = &profile.state;
    Person {
        attributes: state.attributes.iter().map(|(key, held)| (key.clone(), attribute(held))).collect(),
        decisions: state.consents.records().iter().map(decision).collect(),
        signals: state.signals.iter().map(|signal| signal.kind).collect(),
        grants: BTreeMap::new(),
        known: state.version > 0,
    }
}
