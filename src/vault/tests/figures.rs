//! Measures how long erasures take, one at a time and concurrently, by number of subjects.
//!
//! Not run by default: see `docs/erasure.md`.

use crate::clock::{Clock, SystemClock};
use crate::secret::SecretBytes;
use crate::store::KeyStore;
use crate::store::embedded::EmbeddedKeys;
use crate::vault::MapLink;
use crate::vault::batch::{Batch, Creation, Work};
use crate::vault::{FileCustody, SubjectKeys, Vault};
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use sayso_proof::subject_map::Label;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ALONE: usize = 200;
const TOGETHER: usize = 1_000;

fn numbered(vault: &Vault, number: usize) -> Hash {
    vault.keyed_hash("figures", &[&number.to_be_bytes()])
}

fn keys_of(vault: &Vault, number: usize) -> Arc<SubjectKeys> {
    vault.key_tree.by_subject(&numbered(vault, number)).unwrap().unwrap()
}

fn request(number: usize) -> [u8; 16] {
    u128::try_from(number).unwrap().to_be_bytes()
}

fn fill(vault: &Vault, from: usize, to: usize) {
    let numbers: Vec<usize> = (from..to).collect();
    for part in numbers.chunks(512) {
        let mut batch = Batch::new(&vault.key_tree);
        for number in part {
            let (mut handle, key) = (Handle([0; 16]), SecretBytes::random(&SystemClock));
            SystemClock.fill(&mut handle.0);
            let link = MapLink::new(&Label(*key), key.clone());
            let creation = Creation { subject: numbered(vault, *number), handle, key, link };
            batch.apply(&Work::Create(Box::new(creation))).unwrap();
        }
        batch.commit().unwrap();
    }
}

async fn alone(vault: &Vault, from: usize) -> Duration {
    let begun = Instant::now();
    for number in from..from + ALONE {
        vault
            .erase(&keys_of(vault, number), 1, request(number), b"an intent of some length", b"")
            .await
            .unwrap();
    }
    begun.elapsed() / u32::try_from(ALONE).unwrap()
}

async fn together(vault: &Arc<Vault>, from: usize) -> Duration {
    let all: Vec<_> = (from..from + TOGETHER).map(|number| (number, keys_of(vault, number))).collect();
    let begun = Instant::now();
    let tasks: Vec<_> = all
        .into_iter()
        .map(|(number, keys)| {
            let vault = Arc::clone(vault);
            tokio::spawn(async move { vault.erase(&keys, 1, request(number), b"intent", b"").await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    begun.elapsed()
}

/// Measures with 1,000 subjects, then ten times as many each time, up to `SAYSO_SUBJECTS_MAX` (default:
/// 100,000).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures for minutes; run it in a release build"]
async fn erasure_costs_by_number_of_subjects() {
    let most = std::env::var("SAYSO_SUBJECTS_MAX").map_or(100_000, |most| most.parse().unwrap());
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store: Arc<dyn KeyStore> = Arc::new(EmbeddedKeys::open(&dir.path().join("keys")).unwrap());
    let custody = Arc::new(FileCustody::open(&dir.path().join("root.key")).unwrap());
    let vault = Arc::new(Vault::open(store, custody, Arc::new(SystemClock)).unwrap());
    println!("subjects | one erasure | 1,000 concurrent erasures | erasures a second | one uncached lookup");
    let (mut made, mut subjects) = (0_usize, 1_000_usize);
    while subjects <= most {
        // This replaces the subjects that the last round erased.
        let existing = usize::try_from(vault.subject_count()).unwrap();
        fill(&vault, made, made + subjects.saturating_sub(existing) + ALONE + TOGETHER);
        made += subjects.saturating_sub(existing) + ALONE + TOGETHER;
        let one = alone(&vault, made - ALONE).await;
        let batch = together(&vault, made - ALONE - TOGETHER).await;
        let begun = Instant::now();
        for number in 0..ALONE {
            vault.key_tree.stored(&numbered(&vault, number * 3)).unwrap();
        }
        let cold = begun.elapsed() / u32::try_from(ALONE).unwrap();
        let rate = TOGETHER as f64 / batch.as_secs_f64();
        println!("{subjects} | {one:?} | {batch:?} | {rate:.0} | {cold:?}");
        subjects *= 10;
    }
    drop(vault);
}
