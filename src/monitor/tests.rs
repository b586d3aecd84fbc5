//! Tests of a monitor that follows a log in memory.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use super::tiles::{Answer, Get, Unproven, compare};
use super::{AlertKind, Follower, Kept, Limits, StateFile, metrics_of};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use sayso_proof::bundle::Options;
use sayso_proof::checkpoint::{Checkpoint, VerifierKey, sign_note};
use sayso_proof::counts::{Counts, EventCounts};
use sayso_proof::merkle::{self, Frontier, Hash};
use sayso_proof::witness::WitnessSigner;
use std::sync::{Arc, Mutex};

const ORIGIN: &str = "log.example/one";

/// Leaf hashes of a log. Leaves below `fork` are those of every log.
fn leaves(seed: u8, fork: u64, count: u64) -> Vec<Hash> {
    let seed_of = |leaf| if leaf < fork { 0 } else { seed };
    (0..count).map(|leaf| merkle::leaf_hash(&[&[seed_of(leaf)][..], &leaf.to_be_bytes()].concat())).collect()
}

fn root(leaves: &[Hash]) -> Hash {
    let mut tree = Frontier::new();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree.root()
}

fn checkpoint(leaves: &[Hash]) -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size: leaves.len() as u64, root: root(leaves) }
}

fn log_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// The tile at a path of a log with these leaves, without partial tiles that a full tile replaces.
fn tile(leaves: &[Hash], path: &str) -> Option<Vec<u8>> {
    let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let (number, width) = rest.split_once(".p/").unwrap_or((rest, "256"));
    let index: usize = number
        .split('/')
        .fold(0, |sum, group| sum * 1000 + group.trim_start_matches('x').parse::<usize>().unwrap());
    let span = 256_usize.pow(level.parse().unwrap());
    let width: usize = width.parse().unwrap();
    let nodes: Vec<Hash> = leaves.chunks_exact(span).map(root).skip(index * 256).take(256).collect();
    let is_dropped = nodes.len() == 256 && width < 256;
    (nodes.len() >= width && !is_dropped).then(|| nodes[..width].concat())
}

/// What a log serves: its leaves, and its checkpoint.
#[derive(Clone)]
struct Served {
    leaves: Vec<Hash>,
    note: String,
    counts: Option<String>,
    is_down: bool,
}

impl Served {
    fn new(leaves: Vec<Hash>) -> Self {
        let note = checkpoint(&leaves).sign(&log_key());
        Self { leaves, note, counts: None, is_down: false }
    }
}

fn getting(served: &Arc<Mutex<Served>>) -> Box<Get> {
    let served = Arc::clone(served);
    Box::new(move |path| {
        let log = served.lock().unwrap().clone();
        let answer: Answer = match path.as_str() {
            _ if log.is_down => Err("down".into()),
            "checkpoint" => Ok((200, log.note.into_bytes())),
            "counts" => Ok(log.counts.map_or((404, Vec::new()), |note| (200, note.into_bytes()))),
            path => Ok(tile(&log.leaves, path).map_or((404, Vec::new()), |bytes| (200, bytes))),
        };
        Box::pin(std::future::ready(answer))
    })
}

/// A monitor of a log whose content the test sets.
struct Monitored {
    served: Arc<Mutex<Served>>,
    follower: Follower,
    kept: Option<Kept>,
}

impl Monitored {
    fn new(leaves: Vec<Hash>) -> Self {
        let served = Arc::new(Mutex::new(Served::new(leaves)));
        let key = VerifierKey { name: ORIGIN.into(), key: log_key().verifying_key() };
        let get = getting(&served);
        let follower = Follower { key, options: Options::default(), limits: Limits::default(), get };
        Self { served, follower, kept: None }
    }

    fn serve(&self, served: Served) {
        *self.served.lock().unwrap() = served;
    }

    /// Looks, and returns the kinds of alerts.
    async fn check(&mut self, now_ms: u64) -> Vec<AlertKind> {
        let check = self.follower.check(&mut self.kept, now_ms).await;
        assert!(metrics_of(&check).contains("sayso_monitor_alert{log=\"log.example/one\",kind=\"FORK\"}"));
        let kinds: Vec<AlertKind> = check.alerts.iter().map(|alert| alert.kind).collect();
        assert_eq!(
            check.evidence.is_some(),
            kinds.contains(&AlertKind::Fork)
                || kinds.contains(&AlertKind::Counts)
                || kinds.contains(&AlertKind::RolledBack)
                || kinds.contains(&AlertKind::WrongTiles)
        );
        kinds
    }

    fn kept_size(&self) -> u64 {
        self.kept.as_ref().unwrap().checkpoint().unwrap().size
    }
}

#[tokio::test]
async fn a_log_that_only_grows_raises_no_alert() {
    let mut log = Monitored::new(Vec::new());
    for size in [0, 1, 2, 255, 256, 257, 700, 700] {
        log.serve(Served::new(leaves(0, 0, size)));
        assert_eq!(log.check(1).await, [], "{size}");
        assert_eq!(log.kept_size(), size);
    }
    // An older checkpoint, while the larger tree is still served, is not a rollback.
    let older = checkpoint(&leaves(0, 0, 300)).sign(&log_key());
    log.serve(Served { note: older, ..Served::new(leaves(0, 0, 700)) });
    assert_eq!(log.check(1).await, []);
    assert_eq!(log.kept_size(), 700);
}

#[tokio::test]
async fn a_fork_and_a_rollback_raise_alerts_and_the_kept_checkpoint_stays() {
    let mut log = Monitored::new(leaves(0, 0, 600));
    assert_eq!(log.check(1).await, []);
    for (served, kind) in [
        (leaves(1, 599, 600), AlertKind::Fork),
        (leaves(1, 300, 900), AlertKind::Fork),
        (leaves(0, 0, 400), AlertKind::RolledBack),
        (leaves(1, 300, 400), AlertKind::RolledBack),
        (Vec::new(), AlertKind::RolledBack),
    ] {
        log.serve(Served::new(served));
        assert_eq!(log.check(2).await, [kind]);
        assert_eq!(log.kept_size(), 600);
    }
    // Tiles that do not belong to the signed checkpoint prove no fork.
    log.serve(Served { leaves: leaves(1, 300, 900), ..Served::new(leaves(0, 0, 900)) });
    assert_eq!(log.check(3).await, [AlertKind::WrongTiles]);
    log.serve(Served { leaves: leaves(0, 0, 700), ..Served::new(leaves(0, 0, 900)) });
    assert_eq!(log.check(3).await, [AlertKind::WrongTiles]);
    log.serve(Served::new(leaves(0, 0, 900)));
    assert_eq!(log.check(4).await, []);
}

#[tokio::test]
async fn a_checkpoint_that_is_unsigned_uncosigned_or_old_raises_an_alert() {
    let mut log = Monitored::new(leaves(0, 0, 9));
    let stranger = SigningKey::from_bytes(&[2; 32]);
    let note = checkpoint(&leaves(0, 0, 9)).sign(&stranger);
    log.serve(Served { note, ..Served::new(leaves(0, 0, 9)) });
    assert_eq!(log.check(1).await, [AlertKind::Unsigned]);
    assert!(log.kept.is_none());
    log.serve(Served { is_down: true, ..Served::new(leaves(0, 0, 9)) });
    assert_eq!(log.check(1).await, [AlertKind::Unreachable]);
    log.follower.limits = Limits { age_max_ms: Some(1_000), growth_max: Some(5), ..Limits::default() };
    log.serve(Served::new(leaves(0, 0, 9)));
    assert_eq!(log.check(10_000).await, []);
    assert_eq!(log.check(11_001).await, [AlertKind::Stale]);
    log.serve(Served::new(leaves(0, 0, 15)));
    assert_eq!(log.check(12_000).await, [AlertKind::Growth]);
    assert_eq!(log.kept_size(), 15);
    // With a witness, the time of the cosignature counts.
    let signer = WitnessSigner::ml_dsa_44(&[7; 32]);
    log.follower.options.witnesses = vec![signer.verifier_key("witness.example/w")];
    assert_eq!(log.check(12_500).await, [AlertKind::Uncosigned]);
    let plain = Served::new(leaves(0, 0, 15));
    let line = signer.cosign(&checkpoint(&plain.leaves).to_text(), "witness.example/w", 20).unwrap();
    log.serve(Served { note: format!("{}{line}", plain.note), ..plain });
    assert_eq!(log.check(20_500).await, []);
    assert_eq!(log.check(21_001).await, [AlertKind::Stale]);
}

/// A log whose counts are of the first `size` of its leaves.
fn with_counts(leaves: Vec<Hash>, size: usize, rules: u64, erasures: u64) -> Served {
    let tree = checkpoint(&leaves[..size]);
    let text = Counts { tree, events: EventCounts { rules, erasures } }.to_text();
    Served { counts: Some(sign_note(&text, ORIGIN, &log_key())), ..Served::new(leaves) }
}

#[tokio::test]
async fn counts_are_compared_with_the_tree_and_with_earlier_counts() {
    let mut log = Monitored::new(leaves(0, 0, 20));
    assert_eq!(log.check(1).await, [], "a log without counts");
    // Counts may be about an older or a newer tree than the checkpoint.
    let older = checkpoint(&leaves(0, 0, 300)).sign(&log_key());
    log.serve(Served { note: older, ..with_counts(leaves(0, 0, 400), 350, 5, 0) });
    assert_eq!(log.check(2).await, []);
    log.serve(with_counts(leaves(0, 0, 400), 320, 5, 0));
    assert_eq!(log.check(3).await, []);
    let kept = log.kept.as_ref().unwrap().counts().unwrap().unwrap();
    assert_eq!(kept.tree.size, 350);
    for (served, kind) in [
        (with_counts(leaves(0, 0, 400), 400, 4, 0), AlertKind::Counts),
        (with_counts(leaves(0, 0, 400), 350, 6, 0), AlertKind::Counts),
        (with_counts(leaves(0, 0, 400), 320, 6, 0), AlertKind::Counts),
        (with_counts(leaves(0, 0, 400), 400, 5, 51), AlertKind::Counts),
        (Served { counts: None, ..Served::new(leaves(0, 0, 400)) }, AlertKind::Unreachable),
        (
            Served { counts: Some("sayso counts v1\n".into()), ..Served::new(leaves(0, 0, 400)) },
            AlertKind::Unsigned,
        ),
    ] {
        log.serve(served);
        assert_eq!(log.check(4).await, [kind]);
    }
    // The tree of the counts is another one.
    let forked = with_counts(leaves(1, 300, 400), 400, 5, 0).counts;
    log.serve(Served { counts: forked, ..Served::new(leaves(0, 0, 400)) });
    assert_eq!(log.check(5).await, [AlertKind::Fork]);
    let stranger = with_counts(leaves(0, 0, 400), 400, 5, 0).counts.unwrap();
    let text = stranger.split_once("\n\n").unwrap().0.to_owned() + "\n";
    let counts = Some(sign_note(&text, ORIGIN, &SigningKey::from_bytes(&[2; 32])));
    log.serve(Served { counts, ..Served::new(leaves(0, 0, 400)) });
    assert_eq!(log.check(6).await, [AlertKind::Unsigned]);
    log.follower.limits =
        Limits { rules_growth_max: Some(2), erasures_growth_max: Some(0), ..Limits::default() };
    log.serve(with_counts(leaves(0, 0, 400), 400, 7, 0));
    assert_eq!(log.check(7).await, []);
    log.serve(with_counts(leaves(0, 0, 450), 450, 10, 1));
    assert_eq!(log.check(8).await, [AlertKind::RulesGrowth, AlertKind::ErasuresGrowth]);
    log.serve(with_counts(leaves(0, 0, 450), 450, 10, 1));
    assert_eq!(log.check(9).await, []);
}

#[tokio::test]
async fn the_state_survives_a_restart_and_a_damaged_or_shared_state_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    let mut log = Monitored::new(leaves(0, 0, 9));
    log.check(1).await;
    let kept = log.kept.clone().unwrap();
    let (file, before) = StateFile::open(&path, ORIGIN).unwrap();
    assert!(before.is_none());
    file.write(&kept).unwrap();
    assert!(StateFile::open(&path, ORIGIN).is_err(), "two monitors with one file");
    for number in 0..20 {
        file.keep_evidence(&kept.checkpoint, &format!("shown {number}")).unwrap();
    }
    let is_evidence = |name: &str| name.starts_with("state.json.evidence-");
    let files = std::fs::read_dir(folder.path()).unwrap().flatten();
    assert_eq!(files.filter(|file| is_evidence(&file.file_name().to_string_lossy())).count(), 16);
    drop(file);
    assert_eq!(StateFile::open(&path, ORIGIN).unwrap().1, Some(kept));
    assert!(StateFile::open(&path, "log.example/other").is_err());
    std::fs::write(&path, "{}").unwrap();
    assert!(StateFile::open(&path, ORIGIN).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn two_trees_compare_as_their_leaves_do(small in 1_u64..70_000, more in 0_u64..2_000, fork in 0_u64..70_000) {
        let large = leaves(0, 0, small + more);
        let served = Arc::new(Mutex::new(Served { note: String::new(), ..Served::new(large.clone()) }));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let get = getting(&served);
        let newer = checkpoint(&large);
        let older = checkpoint(&large[..usize::try_from(small).unwrap()]);
        prop_assert_eq!(runtime.block_on(compare(&get, &older, &newer)), Ok(()));
        let forked = checkpoint(&leaves(1, fork % small, small));
        prop_assert_eq!(runtime.block_on(compare(&get, &forked, &newer)), Err(Unproven::Contradiction));
    }
}
