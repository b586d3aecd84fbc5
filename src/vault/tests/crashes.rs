//! The power goes at every durable step, on a seed: what was acknowledged holds, what was under way is whole or not
//! there, and nobody else is touched.

use super::machine::{Machine, Seeded};
use super::{key, subject};
use crate::clock::SharedClock;
use crate::store::KeyStore;
use crate::vault::pages::TREE;
use crate::vault::{RootCustody, SubjectKeys, Vault, recover};
use sayso_proof::entry::Handle;
use std::collections::BTreeMap;
use std::sync::Arc;

const VERSIONS: u64 = 6;

/// What a person's keys open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    handle: Handle,
    keys: Vec<Option<[u8; 32]>>,
}

impl Held {
    fn of(keys: &SubjectKeys) -> Self {
        Self { handle: keys.handle, keys: (0..VERSIONS).map(|version| key(keys, version)).collect() }
    }

    fn without(mut self, versions: &[u64]) -> Self {
        for version in versions {
            self.keys[*version as usize] = None;
        }
        self
    }
}

/// What is known of each person; and what may be so instead, where the power went while it was changed.
type Known = BTreeMap<u64, Option<Held>>;

struct Round {
    machine: Arc<Machine>,
    clock: SharedClock,
    dice: Seeded,
    known: Known,
}

fn name(person: u64) -> crate::domain::ids::SubjectId {
    subject(&format!("person-{person}"))
}

impl Round {
    fn new(seed: u64) -> Self {
        let clock: SharedClock = Arc::new(Seeded::new(seed ^ 0xc10c));
        let machine = Arc::new(Machine::new(seed ^ 0x0ff));
        Self { machine, clock, dice: Seeded::new(seed), known: Known::new() }
    }

    /// Starts until it holds: recovery is cut off by the power as well.
    fn open(&self) -> Arc<Vault> {
        for attempt in 0.. {
            if attempt < 3 && self.dice.below(3) == 0 {
                self.machine.light_fuse(self.dice.below(4));
            }
            let store: Arc<dyn KeyStore> = Arc::clone(&self.machine) as _;
            let custody: Arc<dyn RootCustody> = Arc::clone(&self.machine) as _;
            let opened = Vault::open(store, custody, Arc::clone(&self.clock));
            if self.machine.is_off() {
                drop(opened);
                self.machine.power_on();
                continue;
            }
            self.machine.light_fuse(u64::MAX);
            return Arc::new(opened.expect("a machine with power opens"));
        }
        unreachable!()
    }

    fn check(&self, vault: &Vault, person: u64) -> Option<Held> {
        let found = vault.subject(&name(person)).unwrap();
        if let Some(keys) = &found {
            // Past the cache.
            assert_eq!(vault.shelf.subject_of(keys.handle).unwrap(), Some(keys.subject), "both tries agree");
        }
        found.map(|keys| Held::of(&keys))
    }

    /// Several changes at once, of several people, and the power that may go meanwhile. Gives what may be so now.
    async fn change(&mut self, vault: &Arc<Vault>) -> Vec<(u64, Option<Held>, bool)> {
        let mut tasks = Vec::new();
        let mut people = std::collections::BTreeSet::new();
        for _ in 0..=self.dice.below(6) {
            people.insert(self.dice.below(60));
        }
        // Found before any of it begins, and the power goes.
        let people: Vec<_> =
            people.into_iter().map(|person| (person, vault.subject(&name(person)).unwrap())).collect();
        for (person, keys) in people {
            let (vault, request) = (Arc::clone(vault), self.dice.next());
            let before = self.known.get(&person).cloned().flatten();
            let what = self.dice.below(3);
            let versions = [self.dice.below(VERSIONS), self.dice.below(VERSIONS)];
            tasks.push(tokio::spawn(async move {
                match (keys, what) {
                    (Some(keys), 0) => {
                        let mut id = [0; 16];
                        id[..8].copy_from_slice(&request.to_be_bytes());
                        (person, None, vault.erase(&keys, 7, id, b"intent").await.is_ok())
                    }
                    (Some(keys), 1) => {
                        let after = before.map(|held| held.without(&versions));
                        (person, after, vault.puncture(keys.handle, &versions, None).await.is_ok())
                    }
                    _ => {
                        let made = vault.subject_or_create(&name(person)).await;
                        (person, made.as_ref().ok().map(|keys| Held::of(keys)), made.is_ok())
                    }
                }
            }));
        }
        let mut done = Vec::new();
        for task in tasks {
            done.push(task.await.unwrap());
        }
        done
    }

    async fn run(mut self) -> usize {
        let mut cuts = 0;
        for _ in 0..6 {
            let vault = self.open();
            for (person, held) in &self.known {
                assert_eq!(self.check(&vault, *person), *held, "person {person} after a start");
            }
            self.is_tidy(&vault);
            for _ in 0..self.dice.below(5) {
                let done = self.change(&vault).await;
                assert!(done.iter().all(|(.., is_done)| *is_done));
                self.known.extend(done.into_iter().map(|(person, held, _)| (person, held)));
            }
            self.machine.light_fuse(self.dice.below(9));
            let done = self.change(&vault).await;
            cuts += usize::from(self.machine.is_off());
            drop(vault);
            self.machine.power_on();
            let vault = self.open();
            for (person, after, is_done) in done {
                let before = self.known.get(&person).cloned().flatten();
                let found = self.check(&vault, person);
                let is_new = before.is_none() && after.is_none() && !is_done;
                assert!(
                    is_new || found == after || !is_done && found == before,
                    "person {person} is in between"
                );
                self.known.insert(person, found);
            }
            for (person, held) in &self.known {
                assert_eq!(self.check(&vault, *person), *held, "person {person} was touched");
            }
            self.is_tidy(&vault);
        }
        cuts
    }

    /// One root key, no page that nothing leads to, and everything counted right.
    fn is_tidy(&self, vault: &Vault) {
        assert_eq!(RootCustody::generations(self.machine.as_ref()).unwrap(), [vault.key_epoch()]);
        let reached = recover::reach(&vault.shelf).unwrap();
        for id in &reached {
            let name = crate::vault::node::name(id);
            let is_top = vault.shelf.paths.trunk().link.id == *id;
            assert!(self.machine.read_page(&name).unwrap().is_some(), "a page is missing; top: {is_top}");
        }
        assert_eq!(self.machine.count_pages(&[TREE]).unwrap(), reached.len() as u64);
        let people = self.known.values().flatten().count();
        assert_eq!(vault.handles(None, usize::MAX).unwrap().len(), people);
        assert_eq!(vault.subject_count(), people as u64);
    }
}

/// Rounds of seeded crashes: few by default, as many as `SAYSO_ROUNDS` says where that is set.
pub fn rounds() -> u64 {
    std::env::var("SAYSO_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(40)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_power_goes_at_every_step() {
    let mut cuts = 0;
    for seed in 0..rounds() {
        println!("seed {seed}");
        cuts += Round::new(seed).run().await;
    }
    assert!(cuts as u64 > rounds(), "the power went {cuts} times while something was changed");
}
