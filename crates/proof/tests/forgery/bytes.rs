//! Forges bundles whose bytes are not those that the format prescribes, and signs them with the log's own
//! key.

use super::*;
use crate::log::forge::{BLOCK, set_checksum, tar_of};
use prost::Message;

/// Files of a bundle, before its manifest.
type Files = Vec<(String, Vec<u8>)>;

/// A body that a lenient reader reads as another one.
pub fn in_another_encoding(world: &mut World) -> Vec<u8> {
    let honest = body(recorded(attribute("new", "food"))).encode_to_vec();
    let bytes = match world.dice.roll(6) {
        0 => [honest, vec![0x9a, 0x06, 0x01, 0x78]].concat(),
        1 => [vec![0x08, 0x09], honest].concat(),
        2 => [honest[2..].to_vec(), honest[..2].to_vec()].concat(),
        3 => [vec![0x88, 0x00], honest[1..].to_vec()].concat(),
        4 => [vec![0x08, 0x87, 0x00], honest[2..].to_vec()].concat(),
        _ => [honest, vec![0x1a, 0x00]].concat(),
    };
    match world.dice.roll(2) {
        0 => world.log.append_raw(World::ada(), &bytes),
        _ => world.log.append_raw_system_event(&bytes),
    }
    world.log.forged_bundle(world.log.forged_files())
}

fn with_files(world: &mut World, change: impl FnOnce(&mut Dice, &mut Files)) -> Vec<u8> {
    let mut files = world.log.forged_files();
    change(&mut world.dice, &mut files);
    world.log.forged_bundle(files)
}

/// The position of the file with the entries.
fn entries_of(files: &Files) -> usize {
    files.iter().position(|(name, _)| name.starts_with("entries/")).unwrap()
}

pub fn with_other_entries(world: &mut World) -> Vec<u8> {
    with_files(world, |dice, files| {
        let at = entries_of(files);
        let text = String::from_utf8(files[at].1.clone()).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let line = 1 + dice.roll(lines.len() - 2);
        match dice.roll(5) {
            0 => drop(lines.remove(line)),
            1 => lines.swap(line, line + 1),
            2 => lines[line] = lines[line].replace("present", "erased"),
            3 => lines[line].insert(1, ' '),
            _ => lines.insert(line, lines[line].clone()),
        }
        files[at].1 = (lines.join("\n") + "\n").into_bytes();
    })
}

/// The file says in clear something else than the entry.
pub fn with_another_text_of_an_entry(world: &mut World) -> Vec<u8> {
    with_files(world, |dice, files| {
        let at = entries_of(files);
        let text = String::from_utf8(files[at].1.clone()).unwrap();
        let (from, to) = dice.of(&[
            ("personalization", "advertising"),
            ("\"sealed_at_ms\":\"1", "\"sealed_at_ms\":\"2"),
            ("food", "work"),
            ("\"recorded_at_ms\":1", "\"recorded_at_ms\":2"),
            ("bot", "bit"),
        ]);
        let changed = text.replacen(from, to, 1);
        let changed = if changed == text { text.replacen("bot", "bit", 1) } else { changed };
        files[at].1 = changed.into_bytes();
    })
}

pub fn with_other_files(world: &mut World) -> Vec<u8> {
    with_files(world, |dice, files| {
        let at = |files: &Files, name: &str| files.iter().position(|(other, _)| other == name).unwrap();
        match dice.roll(5) {
            0 => {
                let leaves = at(files, "leaf-hashes.bin");
                let byte = dice.roll(files[leaves].1.len());
                files[leaves].1[byte] ^= 1;
            }
            1 => files.push(("entries/outside".into(), b"x".to_vec())),
            2 => files.push(("report.exe".into(), b"x".to_vec())),
            3 => {
                let keys = at(files, "keys.jsonl");
                files[keys].1.push(b'\n');
            }
            _ => {
                let bounds = files.iter().position(|(name, _)| name.starts_with("bounds/")).unwrap();
                files[bounds].1.push(b'\n');
            }
        }
    })
}

/// Headers of the archive that some program would read differently.
pub fn with_other_tar_headers(world: &mut World) -> Vec<u8> {
    let mut tar = tar_of(&world.log.signed_files(world.log.forged_files()));
    let header = &mut tar[..BLOCK];
    match world.dice.roll(7) {
        0 => header[..10].copy_from_slice(b"/etc/sayso"),
        1 => header[345..347].copy_from_slice(b".."),
        2 => header[156] = b'2',
        3 => header[257..265].copy_from_slice(b"ustar  \0"),
        4 => header[500] = 1,
        5 => header[265] = b'r',
        _ => header[100..107].copy_from_slice(b"0104755"),
    }
    set_checksum(header);
    world.log.archive(&tar)
}
