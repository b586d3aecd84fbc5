//! Tests of power cuts: each sector that was not synced is old or new, in any combination.
//!
//! In these tests, the power cut happens before these changes are synced:
//! - in the segment: the last commit,
//! - in the flat files and the index: all changes since the last watermark,
//! - in each of the two copies of the key pages: the last call of `stage_pages`, and the next call of
//!   `write_pages`, which would make the changes of both calls durable.
//!
//! `SAYSO_ROUNDS` sets the number of seeds.

use super::{after_kill, open, scratch, without_watermarks};
use crate::store::contract::{Source, assert_holds, commit, restore_custom_records};
use crate::store::embedded::EmbeddedKeys;
use crate::store::embedded::frame::ALIGN;
use crate::store::faulty::{Power, sectors};
use crate::store::{Frame, KeyStore, LogStore, Page};
use std::fs;
use std::path::{Path, PathBuf};

/// The number of seeds; `default` if `SAYSO_ROUNDS` is not set.
fn rounds(default: u64) -> u64 {
    std::env::var("SAYSO_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(default)
}

fn files(dir: &Path, under: &Path, found: &mut Vec<PathBuf>) {
    for item in fs::read_dir(dir.join(under)).unwrap() {
        let item = item.unwrap();
        let name = under.join(item.file_name());
        if item.file_type().unwrap().is_dir() { files(dir, &name, found) } else { found.push(name) }
    }
    // In a fixed order, so that only the seed decides what happens to each file.
    found.sort();
}

/// A copy of `new` as a power cut leaves it: each file is mixed with its last synced version. `synced` names
/// the folder of that version.
fn power_cut(new: &Path, power: &Power, synced: impl Fn(&Path) -> PathBuf) -> tempfile::TempDir {
    let (copy, mut names) = (after_kill(new), Vec::new());
    files(new, Path::new(""), &mut names);
    for name in names {
        let current = fs::read(new.join(&name)).unwrap();
        let mut old = fs::read(synced(&name).join(&name)).unwrap_or_default();
        if old.is_empty() && name.starts_with("segments") {
            // A new segment is durable with its header before any frame is written to it.
            old.clone_from(&current);
            old[ALIGN..].fill(0);
        }
        let bytes = sectors(&old, &current, power);
        fs::write(copy.path().join(&name), bytes).unwrap();
    }
    copy
}

#[test]
fn after_a_power_cut_the_log_has_every_acknowledged_entry() {
    let seeds = rounds(25);
    let (mut cuts, mut kept) = (0, 0);
    for seed in 0..seeds {
        let power = Power::new(seed);
        let (dir, mut source) = (scratch(), Source::default());
        let log = open(dir.path(), &without_watermarks());
        // The state at the last watermark: since then only the segments have been synced.
        let at_watermark = after_kill(dir.path());
        let mut frames: Vec<Frame> = Vec::new();
        for _ in 0..2 + power.below(4) {
            let before = after_kill(dir.path());
            let durable = log.head().size;
            let batch: Vec<Frame> = (0..1 + power.below(4))
                .map(|_| {
                    (0..1 + power.below(3))
                        .map(|_| source.entry(power.below(3) as u8 + 1, None, power.below(900) as usize))
                        .collect()
                })
                .collect();
            commit(&log, &batch);
            frames.extend(batch);
            let is_segment = |name: &Path| name.starts_with("segments");
            let copy = power_cut(dir.path(), &power, |name| {
                if is_segment(name) { before.path().to_owned() } else { at_watermark.path().to_owned() }
            });
            cuts += 1;
            for _ in 0..2 {
                let after = open(copy.path(), &without_watermarks());
                let size = after.head().size;
                assert!(size >= durable, "seed {seed}: {size} of {durable}");
                let complete: Vec<Frame> = frames
                    .iter()
                    .scan(0, |end, frame| {
                        *end += frame.len() as u64;
                        (*end <= size).then(|| frame.clone())
                    })
                    .collect();
                assert_eq!(
                    complete.iter().map(Vec::len).sum::<usize>() as u64,
                    size,
                    "seed {seed}: only a part of a frame is there"
                );
                restore_custom_records(&after, &complete);
                assert_holds(&after, 0, &complete);
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
fn after_a_power_cut_the_key_store_has_every_acknowledged_write() {
    let seeds = rounds(60);
    let mut cuts = 0;
    let all = |keys: &EmbeddedKeys| -> Vec<Page> { keys.scan_pages(b"", None, usize::MAX).unwrap() };
    for seed in 0..seeds {
        let power = Power::new(seed);
        let dir = scratch();
        let keys = EmbeddedKeys::open(dir.path()).unwrap();
        for _ in 0..12 {
            let (before, old) = (after_kill(dir.path()), all(&keys));
            let change = |_| {
                let id = vec![b's', power.below(9) as u8];
                (id, (power.below(4) > 0).then(|| vec![power.below(250) as u8; power.below(1_500) as usize]))
            };
            let staged: Vec<_> = (0..power.below(3)).map(change).collect();
            let written: Vec<_> = (0..1 + power.below(4)).map(change).collect();
            keys.stage_pages(&staged).unwrap();
            let staged_only = all(&keys);
            keys.write_pages(&written).unwrap();
            let header = |dir: &Path| fs::read(dir.join("pages-1")).unwrap()[..64].to_vec();
            if header(before.path()) != header(dir.path()) {
                // The store was compacted, so these files are not the next version of the synced ones.
                continue;
            }
            let (new, copy) = (all(&keys), power_cut(dir.path(), &power, |_| before.path().to_owned()));
            // The write count is written after both copies were flushed.
            fs::copy(before.path().join("writes"), copy.path().join("writes")).unwrap();
            let found = all(&EmbeddedKeys::open(copy.path()).unwrap());
            assert!(
                [&old, &staged_only, &new].contains(&&found),
                "seed {seed}: only a part of a write is there"
            );
            assert_eq!(all(&EmbeddedKeys::open(copy.path()).unwrap()), found, "seed {seed}: opened again");
            cuts += 1;
        }
    }
    println!("{cuts} power cuts of the keys, {seeds} seeds, none lost");
}
