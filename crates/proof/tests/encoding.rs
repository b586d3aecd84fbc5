//! Tests that every byte of a bundle is prescribed. Somebody who has the log's key can sign a bundle with
//! other bytes, but the verifier rejects this bundle.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use log::forge::{BLOCK, compressed, compressed_far, set_checksum, tar_of};
use log::*;
use prost::Message;
use prost::encoding::encode_varint;
use sayso_proof::bundle::{self, EDITION_MAX, FailureKind, Options, Report, Source, VerifyFailure};
use sayso_proof::checkpoint::Checkpoint;
use sayso_proof::entry::{Entry, EntryError, EventKey, Handle};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sayso_proof::merkle::{Frontier, Hash};
use std::io::Read;

fn check(bytes: &[u8], log: &Log) -> Result<Report, VerifyFailure> {
    bundle::verify(Source::Archive(Box::new(bytes)), &log.verifier(), &Options::default(), &mut |_| ())
}

fn check_forged(log: &Log) -> Result<Report, VerifyFailure> {
    check(&log.forged_bundle(log.forged_files()), log)
}

/// A field with a length.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    encode_varint(number << 3 | 2, &mut field);
    encode_varint(bytes.len() as u64, &mut field);
    field.extend_from_slice(bytes);
    field
}

fn varint(number: u64, value: u64) -> Vec<u8> {
    let mut field = Vec::new();
    encode_varint(number << 3, &mut field);
    encode_varint(value, &mut field);
    field
}

#[test]
fn the_forger_of_these_tests_makes_bundles_that_verify() {
    let mut log = Log::with_vocabulary();
    log.publish_documents();
    log.append(subject(1), recorded(attribute("tea", "food")));
    log.append_raw(subject(1), &body(recorded(attribute("milk", "food"))).encode_to_vec());
    log.append_raw_system_event(&body(Event::NoticePublished(NoticePublished::default())).encode_to_vec());
    check_forged(&log).unwrap();
    assert_eq!(check(&log.bundle(), &log).unwrap().opened, 2);
}

/// Every way to write one body differently. Each has the same content for a lenient reader, or hides more.
fn other_encodings() -> Vec<(&'static str, Vec<u8>)> {
    let event = body(recorded(attribute("tea", "food")));
    let honest = event.encode_to_vec();
    let inner = match &event.event {
        Some(Event::AttributeRecorded(recorded)) => recorded.encode_to_vec(),
        _ => panic!(),
    };
    let attribute_bytes = attribute("tea", "food").encode_to_vec();
    let erased = |entries: &[Vec<u8>]| {
        let map: Vec<u8> = entries.iter().flat_map(|entry| field(6, entry)).collect();
        let map = [varint(1, 7), field(60, &map)].concat();
        assert!(matches!(EventBody::decode(map.as_slice()).unwrap().event, Some(Event::ErasureCompleted(_))));
        map
    };
    let pair = |key: &str, value: u64| [field(1, key.as_bytes()), varint(2, value)].concat();
    let bounds = |bytes: Vec<u8>| [varint(1, 7), field(40, &bytes)].concat();
    let with = |more: Vec<u8>| [honest.clone(), more].concat();
    let confidence = |bits: u64| {
        let bytes = [field(1, b"k"), vec![7 << 3 | 1], bits.to_le_bytes().to_vec()].concat();
        [varint(1, 7), field(10, &field(1, &bytes))].concat()
    };
    vec![
        ("an unknown field", with(field(536, b"x"))),
        ("an unknown field in front", [field(536, b"x"), honest.clone()].concat()),
        (
            "an unknown field inside",
            [varint(1, 7), field(10, &[inner.clone(), varint(99, 1)].concat())].concat(),
        ),
        ("an unknown group", with(vec![0xc3, 0x3e, 0xc4, 0x3e])),
        (
            "an unknown value of an enum",
            [varint(1, 7), field(2, &varint(1, 4000)), honest[2..].to_vec()].concat(),
        ),
        ("a field twice", [varint(1, 7), honest.clone()].concat()),
        ("a field twice, with another value first", [varint(1, 9), honest.clone()].concat()),
        ("fields in another order", [honest[2..].to_vec(), honest[..2].to_vec()].concat()),
        ("two events", [varint(1, 7), field(13, b""), honest[2..].to_vec()].concat()),
        ("an event in two parts", [varint(1, 7), field(10, b""), field(10, &inner)].concat()),
        ("a tag of two bytes", [vec![0x88, 0x00], honest[1..].to_vec()].concat()),
        ("a long varint", [vec![0x08, 0x87, 0x00], honest[2..].to_vec()].concat()),
        ("a long length", [varint(1, 7), vec![82, inner.len() as u8 | 0x80, 0], inner.clone()].concat()),
        ("a default that is written", [field(3, b""), honest.clone()].concat()),
        ("a zero that is written", [varint(1, 0), honest[2..].to_vec()].concat()),
        (
            "a default inside",
            [varint(1, 7), field(10, &field(1, &[attribute_bytes, varint(9, 0)].concat()))].concat(),
        ),
        ("numbers that are not packed", bounds([varint(8, 1), varint(8, 2)].concat())),
        ("packed numbers in two parts", bounds([field(8, &[1]), field(8, &[2])].concat())),
        ("packed numbers of none", bounds(field(8, b""))),
        ("a long packed number", bounds(field(8, &[0x81, 0x00]))),
        ("a map out of order", erased(&[pair("b", 1), pair("a", 1)])),
        ("a map with a key twice", erased(&[pair("a", 2), pair("a", 1)])),
        ("a map with a value in front", erased(&[[varint(2, 1), field(1, b"a")].concat()])),
        ("a map with a default key", erased(&[[field(1, b""), varint(2, 1)].concat()])),
        ("a map with a default value", erased(&[pair("a", 0)])),
        ("a map with an unknown field", erased(&[[pair("a", 1), varint(3, 1)].concat()])),
        ("a number of 32 bits with more", erased(&[pair("a", (1 << 32) + 1)])),
        ("a truth that is 2", [varint(1, 7), field(63, &[field(1, b"p"), varint(5, 2)].concat())].concat()),
        ("a confidence that is no number", confidence(f64::NAN.to_bits())),
        ("a confidence that is infinite", confidence(f64::INFINITY.to_bits())),
        ("no event", varint(1, 7)),
        ("nothing", Vec::new()),
        ("a cut event", honest[..honest.len() - 1].to_vec()),
        ("text that is not UTF-8", [varint(1, 7), field(10, &field(1, &field(1, &[0xff])))].concat()),
    ]
}

#[test]
fn a_body_has_one_encoding() {
    for (what, bytes) in other_encodings() {
        for handle in [Handle::SYSTEM, subject(1)] {
            let mut log = Log::new();
            match handle {
                Handle::SYSTEM => log.append_raw_system_event(&bytes),
                _ => log.append_raw(handle, &bytes),
            }
            let entry = Entry::parse(&log.entries[1]).unwrap();
            let read = match &log.keys[1] {
                Some(key) => entry.open(key).map(Some),
                None => entry.plain_body(),
            };
            assert!(read.is_err(), "{what}: {read:?}");
            if EventBody::decode(bytes.as_slice()).is_err() {
                continue;
            }
            let failure = check_forged(&log).expect_err(what);
            assert_eq!((failure.position, failure.kind), (Some(1), FailureKind::Broken), "{what}: {failure}");
        }
    }
}

#[test]
fn an_unknown_field_is_a_fault_in_a_log_that_states_no_newer_rules() {
    let bytes = [body(recorded(attribute("tea", "food"))).encode_to_vec(), field(536, b"x")].concat();
    let mut log = Log::new();
    let edition = EDITION_MAX;
    log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
    log.append_raw(subject(1), &bytes);
    let entry = Entry::parse(&log.entries[2]).unwrap();
    assert_eq!(entry.open(log.keys[2].as_ref().unwrap()), Err(EntryError::UnknownField(536)));
    let failure = check_forged(&log).unwrap_err();
    assert!(failure.reason.contains("unknown field 536"), "{failure}");
    assert_eq!((failure.position, failure.kind), (Some(2), FailureKind::Broken));
}

#[test]
fn a_log_that_states_newer_rules_is_too_new_from_there_on() {
    let newer = EDITION_MAX + 1;
    let adopted = Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: newer });
    let odd = [body(recorded(attribute("tea", "food"))).encode_to_vec(), field(536, b"x")].concat();
    let mut log = Log::new();
    log.append(subject(1), recorded(attribute("tea", "food")));
    log.append_system_event(adopted.clone());
    for _ in 0..2 {
        let failure = check_forged(&log).unwrap_err();
        log.append_raw(subject(1), &odd);
        assert_eq!(
            (failure.position, failure.kind),
            (Some(2), FailureKind::TooNew { edition: newer }),
            "{failure}"
        );
        assert!(failure.reason.contains(&format!("edition {newer}")), "{failure}");
    }
    // The statement itself may have fields that this version does not know.
    let mut log = Log::new();
    log.append_raw_system_event(&[body(adopted.clone()).encode_to_vec(), field(536, b"x")].concat());
    assert_eq!(check_forged(&log).unwrap_err().kind, FailureKind::TooNew { edition: newer });
    // A statement that the log's key did not sign says nothing.
    let at = log.entries[1].len() - 1;
    log.entries[1][at] ^= 1;
    log.leaves[1] = sayso_proof::merkle::leaf_hash(&log.entries[1]);
    assert_eq!(check_forged(&log).unwrap_err().kind, FailureKind::Broken);
    // Neither does one after an unknown field.
    let mut log = Log::new();
    log.append_raw(subject(1), &odd);
    log.append_system_event(adopted);
    let failure = check_forged(&log).unwrap_err();
    assert_eq!((failure.position, failure.kind), (Some(1), FailureKind::Broken), "{failure}");
}

/// The tar stream of a small bundle.
fn small_tar() -> (Log, Vec<u8>) {
    let mut log = Log::new();
    log.publish_documents();
    log.append(subject(1), recorded(attribute("tea", "food")));
    let tar = tar_of(&log.signed_files(log.forged_files()));
    check(&log.archive(&tar), &log).unwrap();
    (log, tar)
}

/// The ranges of each header, and of each padding.
fn blocks_of(tar: &[u8]) -> (Vec<usize>, Vec<std::ops::Range<usize>>) {
    let (mut headers, mut paddings, mut at) = (Vec::new(), Vec::new(), 0);
    while tar[at] != 0 {
        headers.push(at);
        let size = usize::from_str_radix(std::str::from_utf8(&tar[at + 124..at + 135]).unwrap(), 8).unwrap();
        let end = at + BLOCK + size;
        at = end.next_multiple_of(BLOCK);
        paddings.push(end..at);
    }
    (headers, paddings)
}

#[test]
fn every_byte_of_a_tar_header_is_prescribed() {
    let (log, tar) = small_tar();
    let (headers, _) = blocks_of(&tar);
    let header = headers[3];
    for at in 0..BLOCK {
        for value in [0, b'/', 0x80, tar[header + at] ^ 1] {
            let mut forged = tar.clone();
            forged[header + at] = value;
            for with_checksum in [false, true] {
                if with_checksum {
                    set_checksum(&mut forged[header..header + BLOCK]);
                }
                if forged != tar {
                    let failure =
                        check(&log.archive(&forged), &log).expect_err(&format!("byte {at}: {value}"));
                    // Another name or length may be one of another bundle, whose content is not here.
                    let is_content = at < 100 || (124..136).contains(&at);
                    assert!(failure.place == "archive" || is_content, "byte {at}: {failure}");
                }
            }
        }
    }
}

#[test]
fn a_prefix_in_any_dialect_of_tar_is_refused() {
    let (log, tar) = small_tar();
    let (headers, _) = blocks_of(&tar);
    for header in headers {
        for magic in [b"ustar\x0000", b"ustar  \0", b"ustar\0  ", b"\0\0\0\0\0\0\0\0"] {
            for prefix in ["../../evil", "/", "..", "a"] {
                let mut forged = tar.clone();
                forged[header + 257..header + 265].copy_from_slice(magic);
                forged[header + 345..header + 345 + prefix.len()].copy_from_slice(prefix.as_bytes());
                set_checksum(&mut forged[header..header + BLOCK]);
                assert_eq!(check(&log.archive(&forged), &log).unwrap_err().place, "archive");
            }
        }
    }
}

#[test]
fn padding_and_the_end_of_the_tar_stream_are_prescribed() {
    let (log, tar) = small_tar();
    let (_, paddings) = blocks_of(&tar);
    let rejected = |forged: &[u8], what: &str| {
        assert_eq!(check(&log.archive(forged), &log).expect_err(what).place, "archive", "{what}");
    };
    for padding in paddings.iter().filter(|padding| !padding.is_empty()) {
        for at in [padding.start, padding.end - 1] {
            let mut forged = tar.clone();
            forged[at] = 1;
            rejected(&forged, "padding");
        }
    }
    let end = tar.len() - 2 * BLOCK;
    for at in end..tar.len() {
        let mut forged = tar.clone();
        forged[at] = 1;
        rejected(&forged, "end");
    }
    for length in [end, end + 1, end + BLOCK, tar.len() - 1] {
        rejected(&tar[..length], "a short end");
    }
    for more in [vec![0], vec![0; BLOCK], tar.clone()] {
        rejected(&[tar.clone(), more].concat(), "a long end");
    }
}

#[test]
fn the_zstd_frame_has_a_checksum_and_nothing_follows_it() {
    let (log, tar) = small_tar();
    let plain = zstd::encode_all(tar.as_slice(), 1).unwrap();
    assert_eq!(check(&log.with_trailer(plain), &log).unwrap_err().place, "archive");
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9];
    let before = [skippable.to_vec(), compressed(&tar)].concat();
    assert_eq!(check(&log.with_trailer(before), &log).unwrap_err().place, "archive");
    for more in [skippable.to_vec(), compressed(b""), compressed(&tar)] {
        let after = [compressed(&tar), more].concat();
        assert_eq!(check(&log.with_trailer(after), &log).unwrap_err().place, "trailer");
    }
}

#[test]
fn a_page_of_the_operator_is_named_as_not_verified() {
    let (log, _) = small_tar();
    let mut files = log.forged_files();
    assert!(check(&log.forged_bundle(files.clone()), &log).unwrap().stated_only.is_empty());
    files.push(("report.html".to_owned(), b"all is well".to_vec()));
    let report = check(&log.forged_bundle(files), &log).unwrap();
    assert_eq!(report.stated_only, ["report.html"]);
}

/// A bundle whose checkpoint is over leaf hashes that are all the same.
fn equal_leaves(count: u64, has_root: bool) -> (Log, Vec<u8>) {
    let log = Log::new();
    let leaf: Hash = [0; 32];
    let mut tree = Frontier::new();
    (0..count).for_each(|_| tree.push(leaf));
    let root = if has_root { tree.root() } else { [1; 32] };
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: count, root }.sign(&log.key);
    let mut files = log.forged_files();
    files[0].1 = checkpoint.into_bytes();
    files[2].1 = vec![0; count as usize * 32];
    let bytes = log.forged_bundle(files);
    (log, bytes)
}

#[test]
fn leaf_hashes_that_compress_are_refused_before_they_are_kept() {
    for has_root in [true, false] {
        let (log, bytes) = equal_leaves(1 << 20, has_root);
        assert!(bytes.len() < 20_000, "{}", bytes.len());
        let failure = check(&bytes, &log).unwrap_err();
        assert_eq!(failure.place, "leaf-hashes.bin");
        assert!(failure.reason.contains("compressed"), "{failure}");
        let folder = std::env::temp_dir().join(format!("sayso-bomb-{}-{has_root}", std::process::id()));
        let unpacked = bundle::unpack(Box::new(bytes.as_slice()), &log.verifier(), &folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(unpacked.is_ok(), "32 MiB may be unpacked");
    }
    let (log, bytes) = equal_leaves(4 << 20, false);
    let folder = std::env::temp_dir().join(format!("sayso-bomb-{}", std::process::id()));
    let unpacked = bundle::unpack(Box::new(bytes.as_slice()), &log.verifier(), &folder);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(unpacked.unwrap_err().reason.contains("100 times"));
    // Fewer leaf hashes than the checkpoint has entries are refused at once.
    let log = Log::new();
    let mut files = log.forged_files();
    files[2].1.clear();
    assert_eq!(check(&log.forged_bundle(files), &log).unwrap_err().place, "leaf-hashes.bin");
}

/// Anyone who has the keys of the events can make sealed entries that compress: the same key seals the same
/// body to the same bytes.
#[test]
fn what_is_put_aside_is_limited_by_what_was_read() {
    let mut log = Log::with_vocabulary();
    let derived_from: Vec<Vec<u8>> = (0..60_000_u32).map(|number| number.to_be_bytes().repeat(4)).collect();
    let event = recorded(Attribute { derived_from, ..attribute("tea", "food") });
    let bytes = body(event).encode_to_vec();
    let key = EventKey::from_bytes([6; 32]);
    for _ in 0..70 {
        log.append_raw_with_key(subject(1), &bytes, key.clone());
    }
    let files: Vec<u64> = (0..log.size()).collect();
    let mut parts = log.forged_files();
    let lines = String::from_utf8(parts.remove(3).1).unwrap();
    let lines: Vec<&str> = lines.split_inclusive('\n').collect();
    assert_eq!(lines.len(), files.len());
    for (number, chunk) in lines.chunks(5).enumerate() {
        parts.insert(3 + number, (format!("entries/{number:06}.jsonl"), chunk.concat().into_bytes()));
    }
    let bundle = log.with_trailer(compressed_far(&tar_of(&log.signed_files(parts))));
    assert!(bundle.len() < 4 << 20, "{}", bundle.len());
    let failure = check(&bundle, &log).unwrap_err();
    assert!(failure.reason.contains("too large for the size of the bundle"), "{failure}");
}

/// A file of newlines takes no more memory than one of entries.
#[test]
fn a_file_of_empty_lines_is_refused_at_its_first_line() {
    let log = Log::new();
    let mut files = log.forged_files();
    files[3].1.extend(vec![b'\n'; 8 << 20]);
    let failure = check(&log.forged_bundle(files), &log).unwrap_err();
    assert_eq!((failure.position, failure.reason.as_str()), (Some(1), "the line is not an entry line"));
}

/// Bundles of others, which this project does not contain.
#[test]
fn the_shared_bundles_with_another_encoding_do_not_verify() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/bundles");
    let Ok(key) = std::fs::read_to_string(folder.join("log.vkey")) else {
        eprintln!("skipped: the shared bundles are not here");
        return;
    };
    let key = key.trim().parse().unwrap();
    for (name, reason) in [
        ("09-unknown-field-in-a-body.tar.zst", "unknown field"),
        ("11-tar-traversal.tar.zst", "the tar header of"),
    ] {
        let source = Source::open(&folder.join(name)).unwrap();
        let failure = bundle::verify(source, &key, &Options::default(), &mut |_| ()).expect_err(name);
        assert!(failure.reason.contains(reason), "{name}: {failure}");
    }
}

/// Logs that early daemons wrote have only bodies in their one encoding, except where a forger added one.
#[test]
fn bodies_of_early_daemons_are_in_their_one_encoding() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/bundles");
    let Ok(files) = std::fs::read_dir(folder) else {
        eprintln!("skipped: the shared bundles are not here");
        return;
    };
    let paths = files.map(|file| file.unwrap().path());
    for path in paths.filter(|path| path.extension().is_some_and(|end| end == "zst")) {
        let frame = zstd::Decoder::new(std::fs::File::open(&path).unwrap()).unwrap().single_frame();
        let mut tar = tar::Archive::new(frame);
        let mut bodies = 0;
        for file in tar.entries().unwrap() {
            let mut file = file.unwrap();
            if !file.path().unwrap().starts_with("entries") {
                continue;
            }
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            for line in text.lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                let Some(entry) = line["entry"].as_str() else { continue };
                let entry = Entry::parse(&STANDARD.decode(entry).unwrap()).unwrap();
                let body = match line["key"].as_str() {
                    Some(key) => {
                        let key: [u8; 32] = STANDARD.decode(key).unwrap().try_into().unwrap();
                        entry.open(&EventKey::from_bytes(key)).map(Some)
                    }
                    None => entry.plain_body(),
                };
                let is_forged = matches!(body, Err(EntryError::UnknownField(_)))
                    && path.to_string_lossy().contains("unknown-field");
                assert!(body.is_ok() || is_forged, "{}: {body:?}", path.display());
                bodies += 1;
            }
        }
        assert!(bodies > 80, "{}: {bodies}", path.display());
    }
}
