//! The power goes at every durable step, on a seed: what was acknowledged holds, what was under way is whole or not
//! there, and nobody else is touched.

use super::machine::{Machine, Seeded};
use super::{key, subject};
use crate::clock::SharedClock;
use crate::store::KeyStore;
use crate::vault::pages::TREE;
use crate::vault::{RootCustody, SubjectKeys, Vault, VaultError, recover};
use sayso_proof::entry::Handle;
use std::collections::{BTreeMap, BTreeSet};
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
    /// Every key that anybody ever had.
    ever: BTreeSet<[u8; 32]>,
}

/// A log that went back to a backup.
struct Back {
    /// From which version on it goes on for somebody.
    ends: BTreeMap<Handle, u64>,
    /// Of whom it holds something that was destroyed since.
    in_part: BTreeSet<Handle>,
}

/// What fences of erasures and of renewals are told apart by.
const ERASED_AT_MS: u64 = 7;
const RENEWED_AT_MS: u64 = 9;

fn name(person: u64) -> crate::domain::ids::SubjectId {
    subject(&format!("person-{person}"))
}

impl Round {
    fn new(seed: u64) -> Self {
        let clock: SharedClock = Arc::new(Seeded::new(seed ^ 0xc10c));
        let machine = Arc::new(Machine::new(seed ^ 0x0ff));
        Self { machine, clock, dice: Seeded::new(seed), known: Known::new(), ever: BTreeSet::new() }
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
            assert_eq!(
                vault.key_tree.subject_of(keys.handle).unwrap(),
                Some(keys.subject),
                "both tries agree"
            );
        }
        found.map(|keys| Held::of(&keys))
    }

    /// Several changes at once, of several people, and the power that may go meanwhile. Gives what may be so now.
    async fn change(&mut self, vault: &Arc<Vault>) -> Vec<(u64, Option<Held>, bool)> {
        let mut tasks = Vec::new();
        let mut people = BTreeSet::new();
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
                        (person, None, vault.erase(&keys, ERASED_AT_MS, id, b"intent").await.is_ok())
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
                self.remember();
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
            self.remember();
            drop(vault);
            if self.dice.below(2) == 0 {
                cuts += self.go_back().await;
            }
        }
        cuts
    }

    fn remember(&mut self) {
        self.ever.extend(self.known.values().flatten().flat_map(|held| held.keys.iter().flatten()));
    }

    /// The log goes back, and everybody gets fresh keys from where it ends for them, some in each write. The power goes
    /// meanwhile, and it is done again until it is done: what the log does not know of yet is whole for each person, old
    /// or fresh.
    async fn go_back(&mut self) -> usize {
        let handles: Vec<Handle> = self.known.values().flatten().map(|held| held.handle).collect();
        let ends = handles.iter().map(|handle| (*handle, self.dice.below(VERSIONS + 1))).collect();
        let in_part = handles.into_iter().filter(|_| self.dice.below(4) == 0).collect();
        let (back, mut cuts) = (Back { ends, in_part }, 0);
        for attempt in 0.. {
            let vault = self.open();
            self.known.keys().for_each(|person| self.is_whole(&vault, *person, &back, false));
            self.machine.light_fuse(if attempt < 3 { self.dice.below(7) } else { u64::MAX });
            let next = |handle| Ok::<_, VaultError>(back.ends[&handle]);
            let done = vault.renew(&back.in_part, RENEWED_AT_MS, next).await;
            self.machine.light_fuse(u64::MAX);
            if done.is_ok() {
                self.known.keys().for_each(|person| self.is_whole(&vault, *person, &back, true));
                break;
            }
            assert!(self.machine.is_off(), "nothing but the power stops it: {done:?}");
            cuts += 1;
            drop(vault);
            self.machine.power_on();
        }
        let vault = self.open();
        for person in self.known.keys().copied().collect::<Vec<_>>() {
            self.is_whole(&vault, person, &back, true);
            let found = self.check(&vault, person);
            self.known.insert(person, found);
        }
        self.is_tidy(&vault);
        self.remember();
        cuts
    }

    /// Somebody whose keys are as they were before the log went back, or fresh from where it ends for them; and fenced
    /// in the same moment, where something was destroyed that the log holds or does not know of.
    fn is_whole(&self, vault: &Vault, person: u64, back: &Back, is_done: bool) {
        let found = self.check(vault, person);
        let (Some(before), Some(found)) = (&self.known[&person], &found) else {
            assert_eq!(found, self.known[&person], "person {person} came or went");
            return;
        };
        assert_eq!(found.handle, before.handle, "person {person}");
        let end = back.ends[&found.handle] as usize;
        let ((kept, behind), (was_kept, was_behind)) = (found.keys.split_at(end), before.keys.split_at(end));
        assert_eq!(kept, was_kept, "person {person}: what the log holds");
        let is_fresh = behind.iter().all(|key| key.is_some_and(|key| !self.ever.contains(&key)));
        assert!(is_fresh || !is_done && behind == was_behind, "person {person} is in between");
        let needs_fence = back.in_part.contains(&found.handle) || was_behind.contains(&None);
        let is_renewed = is_done || is_fresh && !behind.is_empty();
        let fence = vault.fenced_at(&name(person)).unwrap();
        assert!(!(is_renewed && needs_fence) || fence == Some(RENEWED_AT_MS), "person {person} has no fence");
    }

    /// One root key, no page that nothing leads to, and everything counted right.
    fn is_tidy(&self, vault: &Vault) {
        assert_eq!(RootCustody::generations(self.machine.as_ref()).unwrap(), [vault.key_epoch()]);
        let reached = recover::reach(&vault.key_tree).unwrap();
        for id in &reached {
            let name = crate::vault::pages::tree_page(id);
            let is_top = vault.key_tree.paths.root().link.id == *id;
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
    println!(
        "{} seeds, the power cut {cuts} times in the key tree, each change whole or not there",
        rounds()
    );
    assert!(cuts as u64 > rounds(), "the power went {cuts} times while something was changed");
}
