//! Tests power failures at every durable step (a step that makes a change durable), with changes that a seed
//! determines. Acknowledged changes survive, a change in progress is applied as a whole or not at all, and
//! the keys of other subjects do not change.

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

/// Handle and version keys of one subject; `None` for destroyed keys.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Keys {
    handle: Handle,
    keys: Vec<Option<[u8; 32]>>,
}

impl Keys {
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

/// The expected keys of each subject.
type Known = BTreeMap<u64, Option<Keys>>;

struct Round {
    machine: Arc<Machine>,
    clock: SharedClock,
    dice: Seeded,
    known: Known,
    /// Every key that any subject ever had.
    all_keys: BTreeSet<[u8; 32]>,
}

/// A log that was restored from a backup.
struct RestoredLog {
    /// The next version of each handle.
    ends: BTreeMap<Handle, u64>,
    /// Handles of subjects with a key that was destroyed since the backup. The restored log still has the
    /// versions of these keys.
    punctured: BTreeSet<Handle>,
}

/// Times of fences: an erasure sets a fence at the first time, and a renewal at the second. So the time of a
/// fence says what set it.
const ERASED_AT_MS: u64 = 7;
const RENEWED_AT_MS: u64 = 9;

fn name(person: u64) -> crate::domain::ids::SubjectId {
    subject(&format!("person-{person}"))
}

impl Round {
    fn new(seed: u64) -> Self {
        let clock: SharedClock = Arc::new(Seeded::new(seed ^ 0xc10c));
        let machine = Arc::new(Machine::new(seed ^ 0x0ff));
        Self { machine, clock, dice: Seeded::new(seed), known: Known::new(), all_keys: BTreeSet::new() }
    }

    /// Opens the vault. The power may fail during recovery too; then this tries again.
    fn open(&self) -> Arc<Vault> {
        for attempt in 0.. {
            if attempt < 3 && self.dice.below(3) == 0 {
                self.machine.fail_after(self.dice.below(4));
            }
            let store: Arc<dyn KeyStore> = Arc::clone(&self.machine) as _;
            let custody: Arc<dyn RootCustody> = Arc::clone(&self.machine) as _;
            let opened = Vault::open(store, custody, Arc::clone(&self.clock));
            if self.machine.is_off() {
                drop(opened);
                self.machine.power_on();
                continue;
            }
            self.machine.fail_after(u64::MAX);
            return Arc::new(opened.expect("a machine with power opens"));
        }
        unreachable!()
    }

    fn check(&self, vault: &Vault, person: u64) -> Option<Keys> {
        let found = vault.subject(&name(person)).unwrap();
        if let Some(keys) = &found {
            // This reads the tree, not the cache.
            assert_eq!(
                vault.key_tree.subject_of(keys.handle).unwrap(),
                Some(keys.subject),
                "both tries agree"
            );
        }
        found.map(|keys| Keys::of(&keys))
    }

    /// Changes several subjects concurrently; the power may fail meanwhile. Returns each subject's expected
    /// keys after its change, and whether the change was acknowledged.
    async fn change(&mut self, vault: &Arc<Vault>) -> Vec<(u64, Option<Keys>, bool)> {
        let mut tasks = Vec::new();
        let mut people = BTreeSet::new();
        for _ in 0..=self.dice.below(6) {
            people.insert(self.dice.below(60));
        }
        // People are looked up before the first change begins, because the power may fail during the change.
        let people: Vec<_> =
            people.into_iter().map(|person| (person, vault.subject(&name(person)).unwrap())).collect();
        for (person, keys) in people {
            let (vault, request) = (Arc::clone(vault), self.dice.next());
            let before = self.known.get(&person).cloned().flatten();
            let choice = self.dice.below(3);
            let versions = [self.dice.below(VERSIONS), self.dice.below(VERSIONS)];
            tasks.push(tokio::spawn(async move {
                match (keys, choice) {
                    (Some(keys), 0) => {
                        let mut id = [0; 16];
                        id[..8].copy_from_slice(&request.to_be_bytes());
                        (person, None, vault.erase(&keys, ERASED_AT_MS, id, b"intent", b"").await.is_ok())
                    }
                    (Some(keys), 1) => {
                        let after = before.map(|keys| keys.without(&versions));
                        (person, after, vault.puncture(keys.handle, &versions, None).await.is_ok())
                    }
                    _ => {
                        let made = vault.subject_or_create(&name(person)).await;
                        (person, made.as_ref().ok().map(|keys| Keys::of(keys)), made.is_ok())
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
            for (person, keys) in &self.known {
                assert_eq!(self.check(&vault, *person), *keys, "person {person} after a start");
            }
            self.check_tidiness(&vault);
            for _ in 0..self.dice.below(5) {
                let done = self.change(&vault).await;
                assert!(done.iter().all(|(.., is_done)| *is_done));
                self.known.extend(done.into_iter().map(|(person, keys, _)| (person, keys)));
                self.record_keys();
            }
            self.machine.fail_after(self.dice.below(9));
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
                    "person {person} is half changed"
                );
                self.known.insert(person, found);
            }
            for (person, keys) in &self.known {
                assert_eq!(self.check(&vault, *person), *keys, "person {person} was changed");
            }
            self.check_tidiness(&vault);
            self.record_keys();
            drop(vault);
            if self.dice.below(2) == 0 {
                cuts += self.restore_log().await;
            }
        }
        cuts
    }

    fn record_keys(&mut self) {
        self.all_keys.extend(self.known.values().flatten().flat_map(|subject| subject.keys.iter().flatten()));
    }

    /// Restores the log, and renews every subject's keys from the end of its log on, some subjects in each
    /// write. The power fails meanwhile, and the renewal is repeated until it succeeds. At every moment each
    /// subject's keys beyond the end of its log are either all old or all fresh.
    async fn restore_log(&mut self) -> usize {
        let handles: Vec<Handle> = self.known.values().flatten().map(|subject| subject.handle).collect();
        let ends = handles.iter().map(|handle| (*handle, self.dice.below(VERSIONS + 1))).collect();
        let punctured = handles.into_iter().filter(|_| self.dice.below(4) == 0).collect();
        let (restored, mut cuts) = (RestoredLog { ends, punctured }, 0);
        for attempt in 0.. {
            let vault = self.open();
            self.known.keys().for_each(|person| self.check_renewal(&vault, *person, &restored, false));
            self.machine.fail_after(if attempt < 3 { self.dice.below(7) } else { u64::MAX });
            let next = |handle| Ok::<_, VaultError>(restored.ends[&handle]);
            let done = vault.renew(&restored.punctured, RENEWED_AT_MS, next).await;
            self.machine.fail_after(u64::MAX);
            if done.is_ok() {
                self.known.keys().for_each(|person| self.check_renewal(&vault, *person, &restored, true));
                break;
            }
            assert!(self.machine.is_off(), "only a power failure may stop it: {done:?}");
            cuts += 1;
            drop(vault);
            self.machine.power_on();
        }
        let vault = self.open();
        for person in self.known.keys().copied().collect::<Vec<_>>() {
            self.check_renewal(&vault, person, &restored, true);
            let found = self.check(&vault, person);
            self.known.insert(person, found);
        }
        self.check_tidiness(&vault);
        self.record_keys();
        cuts
    }

    /// Checks a subject's keys after a restore. The keys of the versions that the restored log has are
    /// unchanged. The later keys are all fresh or, while the renewal is not done, all unchanged. A
    /// renewed subject must have a fence if one of its keys was destroyed and the restored log does not
    /// record that.
    fn check_renewal(&self, vault: &Vault, person: u64, restored: &RestoredLog, is_done: bool) {
        let found = self.check(vault, person);
        let (Some(before), Some(found)) = (&self.known[&person], &found) else {
            assert_eq!(found, self.known[&person], "person {person} appeared or disappeared");
            return;
        };
        assert_eq!(found.handle, before.handle, "person {person}");
        let end = restored.ends[&found.handle] as usize;
        let ((kept, lost), (was_kept, was_lost)) = (found.keys.split_at(end), before.keys.split_at(end));
        assert_eq!(kept, was_kept, "person {person}: versions that the log has");
        let is_fresh = lost.iter().all(|key| key.is_some_and(|key| !self.all_keys.contains(&key)));
        assert!(is_fresh || !is_done && lost == was_lost, "person {person} is half renewed");
        let needs_fence = restored.punctured.contains(&found.handle) || was_lost.contains(&None);
        let is_renewed = is_done || is_fresh && !lost.is_empty();
        let fence = vault.fenced_at(&name(person)).unwrap();
        assert!(!(is_renewed && needs_fence) || fence == Some(RENEWED_AT_MS), "person {person} has no fence");
    }

    /// Checks that there is one root key and no unreachable page, and that the counts are right.
    fn check_tidiness(&self, vault: &Vault) {
        assert_eq!(RootCustody::key_epochs(self.machine.as_ref()).unwrap(), [vault.key_epoch()]);
        let reachable = recover::reachable_pages(&vault.key_tree).unwrap();
        for id in &reachable {
            let name = crate::vault::pages::tree_page(id);
            let is_top = vault.key_tree.paths.root().link.id == *id;
            assert!(
                self.machine.read_page(&name).unwrap().is_some(),
                "a page is missing; is it the top page: {is_top}"
            );
        }
        assert_eq!(self.machine.count_pages(&[TREE]).unwrap(), reachable.len() as u64);
        let people = self.known.values().flatten().count();
        assert_eq!(vault.handles(None, usize::MAX).unwrap().len(), people);
        assert_eq!(vault.subject_count(), people as u64);
    }
}

/// Number of seeds: the value of `SAYSO_ROUNDS`, or 40.
pub fn rounds() -> u64 {
    std::env::var("SAYSO_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(40)
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_applied_completely_or_not_at_all_when_the_power_fails() {
    let mut cuts = 0;
    for seed in 0..rounds() {
        println!("seed {seed}");
        cuts += Round::new(seed).run().await;
    }
    println!(
        "{} seeds, {cuts} power failures during changes of the key tree, each change applied completely or not at all",
        rounds()
    );
    assert!(cuts as u64 > rounds(), "the power failed only {cuts} times during changes");
}
