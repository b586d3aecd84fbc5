//! Runs every decoder on its corpus and on mutations of it, with the stable toolchain. `fuzz/` runs the same
//! functions guided by coverage.
//!
//! `SAYSO_FUZZ_EXECUTIONS` sets the number of mutations for each decoder; `SAYSO_FUZZ_SECONDS` limits each
//! decoder by time instead. `SAYSO_FUZZ_SEED` sets the seed, and `SAYSO_FUZZ_TARGET` selects one decoder.

use crate::erasure::erasure;
use crate::harness::{self, Harness, fact};
use crate::package::{export, record_history};
use sayso::fuzzing::{LOG_SEED, TARGETS, as_in_production, bundle_verifies};
use sayso::proto::{self, ErasureScope, PackageKind, Role};
use std::path::{Path, PathBuf};

const EXECUTIONS: u64 = 1_000;
const INPUT_BYTES_MAX: usize = 256 << 10;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> =
        std::fs::read_dir(corpus(name)).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// xorshift64*: enough to vary bytes.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below.max(1)
    }
}

fn mutate(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[dice.roll(seeds.len())].clone();
    for _ in 0..=dice.roll(8) {
        let at = dice.roll(input.len() + 1);
        let end = (at + 1 + dice.roll(16)).min(input.len());
        match dice.roll(8) {
            0 if at < input.len() => input[at] ^= 1 << dice.roll(8),
            1 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'"', b'/'][dice.roll(8)],
            2 if at < end => drop(input.drain(at..end)),
            3 => input.insert(at, dice.roll(256) as u8),
            4 if at < end => {
                let copied = input[at..end].to_vec();
                input.splice(at..at, copied);
            }
            5 => input.truncate(at),
            6 => {
                let other = &seeds[dice.roll(seeds.len())];
                let from = dice.roll(other.len() + 1);
                let until = (from + dice.roll(64)).min(other.len());
                input.splice(at..at, other[from..until].iter().copied());
            }
            _ if at < end => input[at..end].reverse(),
            _ => {}
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

#[test]
fn no_decoder_panics() {
    let (executions, seed) = (setting("SAYSO_FUZZ_EXECUTIONS", EXECUTIONS), setting("SAYSO_FUZZ_SEED", 1));
    let seconds = setting("SAYSO_FUZZ_SECONDS", 0);
    let only = std::env::var("SAYSO_FUZZ_TARGET").ok();
    for (name, target) in TARGETS.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name))
    {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no corpus");
        seeds.iter().for_each(|seed| as_in_production(*target, seed));
        let started = std::time::Instant::now();
        // Policies are compiled and bundles are fully verified, which is slower by orders of magnitude.
        let rounds =
            if ["policy", "bundle", "package"].contains(name) { executions / 20 } else { executions };
        let rounds = if seconds > 0 { u64::from(u32::MAX) } else { rounds };
        let mut executed = 0;
        for round in 0..rounds {
            if seconds > 0 && started.elapsed().as_secs() >= seconds {
                break;
            }
            executed = round + 1;
            // Each round has its own seed, so that any round can be run again alone.
            let mut dice = Dice((seed << 32 | round).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
            let input = mutate(&mut dice, &seeds);
            let outcome = std::panic::catch_unwind(|| as_in_production(*target, &input));
            assert!(outcome.is_ok(), "{name}, seed {seed}, round {round}: {}", hex::encode(&input));
        }
        println!("{name}: {executed} executions in {:?}", started.elapsed());
    }
}

/// Inputs with nesting of depth `count`, in every language that a decoder reads.
fn nested(count: usize) -> Vec<Vec<u8>> {
    let around = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(count), close.repeat(count)).into_bytes()
    };
    let json = [
        around("[", "", "]"),
        around("{\"keys\":", "1", "}"),
        around("[{\"a\":", "1", "}]"),
        around("[", "", ""),
    ];
    let in_fields = ["value", "keys", "subject", "alg"]
        .map(|field| [format!("{{\"{field}\":").into_bytes(), around("[", "", "]"), b"}".to_vec()].concat());
    let tokens = [&json[..], &in_fields[..]].concat().into_iter().map(|header| {
        use base64::Engine;
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
        format!("{header}.e30.AAAA").into_bytes()
    });
    let toml =
        [around("a.", "a = 1", ""), around("[", "a", "]"), [b"a = ".to_vec(), around("[", "", "]")].concat()];
    let toml_tables = [[b"a = ".to_vec(), around("{a = ", "1", "}")].concat()];
    // CBOR: arrays, maps and tags of definite and indefinite length.
    let cbor = [&[0x81_u8][..], &[0xa1, 0x01], &[0xd2], &[0xd2, 0x84], &[0x9f], &[0xbf, 0x01], &[0x5f]]
        .map(|each| each.repeat(count));
    // Protocol buffers: groups, and messages nested in fields of the same number.
    let groups = (1_u8..=15).map(|number| vec![number << 3 | 3; count]);
    let messages = (1_u8..=15).map(|number| {
        let (mut message, mut bytes) = (Vec::new(), 0);
        for _ in 0..count {
            let length = prost::length_delimiter_len(bytes);
            let mut head = vec![number << 3 | 2];
            prost::encode_length_delimiter(bytes, &mut head).unwrap();
            bytes += 1 + length;
            message.push(head);
        }
        message.into_iter().rev().flatten().collect()
    });
    let lines = around("", "", "").into_iter().chain(around("a\n", "", "")).collect();
    let all = json.into_iter().chain(in_fields).chain(tokens).chain(toml).chain(toml_tables).chain(cbor);
    all.chain(groups).chain(messages).chain([lines]).collect()
}

/// Every decoder that recurses has a depth limit.
#[test]
fn deeply_nested_input_never_exhausts_the_stack() {
    let only = std::env::var("SAYSO_FUZZ_TARGET").ok();
    for (_, target) in TARGETS.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        for count in [100, 127, 128, 200, 256, 1_000, 100_000] {
            for input in nested(count) {
                as_in_production(*target, &input);
            }
        }
    }
}

/// The list in the Makefile and the targets of cargo-fuzz contain every decoder.
#[test]
fn every_decoder_is_fuzzed() {
    let read =
        |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let makefile = read("Makefile").replace("\\\n\t", "");
    let line = makefile.lines().find_map(|line| line.strip_prefix("FUZZ_TARGETS = ")).unwrap();
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(line.split(' ').collect::<Vec<_>>(), names);
    let manifest = read("fuzz/Cargo.toml");
    let binaries: Vec<&str> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
        .collect();
    assert_eq!(binaries, names);
}

/// Small archives that unpack to large ones, and archives with names outside the target folder, are rejected
/// within limited memory.
#[test]
fn decompression_bombs_and_path_traversal_names_are_rejected() {
    assert!(seeds("bundle").iter().any(|bundle| bundle_verifies(bundle)), "the corpus has no valid bundle");
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    assert!(bomb.len() < 64 << 10);
    assert!(!bundle_verifies(&bomb));
    for name in ["../../evil", "/etc/evil", "entries/../../evil", "checkpoint/../checkpoint"] {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(4);
        header.set_mode(0o644);
        // The tar crate refuses such names, so the name is written into the raw header.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, b"evil".as_slice()).unwrap();
        let archive = zstd::bulk::compress(&tar.into_inner().unwrap(), 3).unwrap();
        assert!(!bundle_verifies(&archive), "{name}");
    }
}

/// Writes the corpora that need a running daemon: `cargo test --test it -- --ignored write_corpora`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes into fuzz/corpus"]
async fn write_corpora() {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let dir = tempfile::tempdir().unwrap();
    let secrets = dir.path().join("secrets");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&secrets).unwrap();
    let mut file = std::fs::OpenOptions::new();
    let mut file = file.write(true).create_new(true).mode(0o600).open(secrets.join("log.key")).unwrap();
    std::io::Write::write_all(&mut file, &LOG_SEED).unwrap();
    let harness = Harness::start_in(dir).await;
    let write = |name: &str, file: &str, bytes: &[u8]| {
        std::fs::create_dir_all(corpus(name)).unwrap();
        std::fs::write(corpus(name).join(file), bytes).unwrap();
    };
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut request = fact("ben", "tone", "work", "plain words");
    request.options = Some(proto::WriteOptions { proofs: true, ..Default::default() });
    write("request", "attribute", &prost::Message::encode_to_vec(&request));
    let receipt = service.profile.record_attributes(request).await.unwrap().into_inner().receipt.unwrap();
    write("proof", "sealed", receipt.events[0].proof.as_bytes());
    write("checkpoint", "signed", receipt.checkpoint.as_bytes());
    let mut auditor = harness.as_role(Role::Auditor, "mina").await;
    for (file, position) in [("plain", 0), ("sealed", receipt.events[0].position)] {
        let entry = auditor.audit.get_entry(proto::GetEntryRequest { position }).await.unwrap().into_inner();
        write("entry", file, &entry.entry);
        if let Ok(Some(body)) = sayso_proof::entry::Entry::parse(&entry.entry).unwrap().plain_body() {
            write("event", file, &prost::Message::encode_to_vec(&body));
        }
    }
    write(
        "keys",
        "one",
        format!("{{\"from_position\":0,\"vkey\":\"{}\"}}\n", harness.daemon.vkey).as_bytes(),
    );
    write_documents(&harness, &write).await;
    let mut stream =
        auditor.audit.export_audit(proto::ExportAuditRequest::default()).await.unwrap().into_inner();
    let mut bundle = Vec::new();
    while let Some(chunk) = stream.message().await.unwrap() {
        bundle.extend(chunk.chunk);
    }
    write("bundle", "small", &bundle);
}

/// Writes a receipt, a package and a certificate.
async fn write_documents(harness: &Harness, write: &impl Fn(&str, &str, &[u8])) {
    record_history(harness).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let bytes = export(&mut ada, "", PackageKind::Portability).await.unwrap();
    write("package", "portability", &bytes);
    let receipt =
        harness::stdout(&harness.cli(Role::Subject, "ada", &["consent", "receipt", "ada", "--json"]));
    write("receipt", "signed", receipt.as_bytes());
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let erased = steward.rights.submit_request(erasure("ada", ErasureScope::Key, "bio")).await.unwrap();
    write("certificate", "signed", erased.into_inner().certificate.unwrap().document.as_bytes());
}
