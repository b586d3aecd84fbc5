//! The power goes, and of what was not synced each sector is there or not, in no order: of the last commit in the
//! segment, of everything since the last mark in whatever can be rebuilt, of the last write in both copies of the keys.
//!
//! `SAYSO_ROUNDS` sets how many seeds.

use super::{killed, open, scratch, unmarked};
use crate::store::contract::{Source, assert_holds, commit, restore_further};
use crate::store::embedded::EmbeddedKeys;
use crate::store::embedded::frame::ALIGN;
use crate::store::faulty::{Power, sectors};
use crate::store::{Frame, KeyStore, LogStore, Page};
use std::fs;
use std::path::{Path, PathBuf};

fn rounds(few: u64) -> u64 {
    std::env::var("SAYSO_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(few)
}

fn files(dir: &Path, under: &Path, found: &mut Vec<PathBuf>) {
    for item in fs::read_dir(dir.join(under)).unwrap() {
        let item = item.unwrap();
        let name = under.join(item.file_name());
        if item.file_type().unwrap().is_dir() { files(dir, &name, found) } else { found.push(name) }
    }
    // The seed, and not the file system, says what becomes of each.
    found.sort();
}

/// What a power cut leaves of `new`: each file mixed with its state in the folder that was synced last.
fn cut(new: &Path, dice: &Power, synced: impl Fn(&Path) -> PathBuf) -> tempfile::TempDir {
    let (copy, mut names) = (killed(new), Vec::new());
    files(new, Path::new(""), &mut names);
    for name in names {
        let is = fs::read(new.join(&name)).unwrap();
        let mut old = fs::read(synced(&name).join(&name)).unwrap_or_default();
        if old.is_empty() && name.starts_with("segments") {
            // A new segment is made durable with its title before anything is written into it.
            old.clone_from(&is);
            old[ALIGN..].fill(0);
        }
        let bytes = sectors(&old, &is, dice);
        fs::write(copy.path().join(&name), bytes).unwrap();
    }
    copy
}

#[test]
fn whatever_sectors_a_power_cut_leaves_the_log_has_what_was_acknowledged() {
    let seeds = rounds(25);
    let (mut cuts, mut kept) = (0, 0);
    for seed in 0..seeds {
        let dice = Power::new(seed);
        let (dir, mut source) = (scratch(), Source::default());
        let log = open(dir.path(), &unmarked());
        // The last mark; everything beside the segments is unsynced since.
        let marked = killed(dir.path());
        let mut frames: Vec<Frame> = Vec::new();
        for _ in 0..2 + dice.below(4) {
            let before = killed(dir.path());
            let durable = log.head().size;
            let batch: Vec<Frame> = (0..1 + dice.below(4))
                .map(|_| {
                    (0..1 + dice.below(3))
                        .map(|_| source.entry(dice.below(3) as u8 + 1, None, dice.below(900) as usize))
                        .collect()
                })
                .collect();
            commit(&log, &batch);
            frames.extend(batch);
            let is_segment = |name: &Path| name.starts_with("segments");
            let copy = cut(dir.path(), &dice, |name| {
                if is_segment(name) { before.path().to_owned() } else { marked.path().to_owned() }
            });
            cuts += 1;
            for _ in 0..2 {
                let after = open(copy.path(), &unmarked());
                let size = after.head().size;
                assert!(size >= durable, "seed {seed}: {size} of {durable}");
                let whole: Vec<Frame> = frames
                    .iter()
                    .scan(0, |end, frame| {
                        *end += frame.len() as u64;
                        (*end <= size).then(|| frame.clone())
                    })
                    .collect();
                assert_eq!(
                    whole.iter().map(Vec::len).sum::<usize>() as u64,
                    size,
                    "seed {seed}: half a frame"
                );
                restore_further(&after, &whole);
                assert_holds(&after, 0, &whole);
                kept += size - durable;
            }
        }
    }
    println!(
        "{cuts} power cuts of the log, {seeds} seeds, {} unacknowledged events kept, none lost",
        kept / 2
    );
}

#[test]
fn whatever_sectors_a_power_cut_leaves_the_keys_have_what_was_acknowledged() {
    let seeds = rounds(60);
    let mut cuts = 0;
    let all = |keys: &EmbeddedKeys| -> Vec<Page> { keys.scan_pages(b"", None, usize::MAX).unwrap() };
    for seed in 0..seeds {
        let dice = Power::new(seed);
        let dir = scratch();
        let keys = EmbeddedKeys::open(dir.path()).unwrap();
        for _ in 0..12 {
            let (before, was) = (killed(dir.path()), all(&keys));
            let change = |_| {
                let id = vec![b's', dice.below(9) as u8];
                (id, (dice.below(4) > 0).then(|| vec![dice.below(250) as u8; dice.below(1_500) as usize]))
            };
            let staged: Vec<_> = (0..dice.below(3)).map(change).collect();
            let written: Vec<_> = (0..1 + dice.below(4)).map(change).collect();
            keys.stage_pages(&staged).unwrap();
            let between = all(&keys);
            keys.write_pages(&written).unwrap();
            let title = |dir: &Path| fs::read(dir.join("pages-1")).unwrap()[..64].to_vec();
            if title(before.path()) != title(dir.path()) {
                // Written anew meanwhile: what was synced last is no longer what is mixed here.
                continue;
            }
            let (is, copy) = (all(&keys), cut(dir.path(), &dice, |_| before.path().to_owned()));
            // The count beside the copies is written after both flushes.
            fs::copy(before.path().join("writes"), copy.path().join("writes")).unwrap();
            let found = all(&EmbeddedKeys::open(copy.path()).unwrap());
            assert!([&was, &between, &is].contains(&&found), "seed {seed}: half a write");
            assert_eq!(all(&EmbeddedKeys::open(copy.path()).unwrap()), found, "seed {seed}: and it stays so");
            cuts += 1;
        }
    }
    println!("{cuts} power cuts of the keys, {seeds} seeds, none lost");
}
