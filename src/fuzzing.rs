//! Every decoder of untrusted input, as a function that takes bytes. `fuzz/` (cargo-fuzz) calls these
//! functions, and so does a test on the stable toolchain.
//!
//! A decoder must not panic or hang. The memory that it uses must not be much larger than its input.

use crate::api;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::domain::default_vocabulary::default_vocabulary;
use crate::domain::event::codec;
use crate::domain::ids::{EventId, GrantId, SubjectId};
use crate::domain::vocabulary::Vocabulary;
use crate::package;
use crate::proto;
use ed25519_dalek::SigningKey;
use prost_reflect::prost::Message;
use sayso_proof::bundle::{self, Source};
use sayso_proof::certificate;
use sayso_proof::checkpoint::{Checkpoint, VerifierKey, open_note};
use sayso_proof::entry::{self, Entry, EventKey};
use sayso_proof::event::EventBody;
use sayso_proof::keys::KeyChain;
use sayso_proof::proof::TlogProof;
use std::io::Cursor;
use std::sync::{Arc, OnceLock};

/// Seed of the log key that signed the corpora (the sample inputs). It is not a secret.
pub const LOG_SEED: [u8; 32] = [7; 32];

/// A decoder as a function of bytes.
pub type Target = fn(&[u8]);

/// Stack size of the threads on which the daemon decodes untrusted input: tokio's default.
pub const STACK_BYTES: usize = 2 << 20;

/// Runs a target with the daemon's stack size. Recursion that is too deep for the daemon ends the process
/// here, too.
///
/// # Panics
/// The target panics, or no thread can be started.
#[expect(clippy::expect_used, reason = "for fuzzers and tests, which look for panics")]
pub fn as_in_production(target: Target, bytes: &[u8]) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let ended = std::thread::scope(|scope| {
        thread.spawn_scoped(scope, || target(bytes)).expect("a thread starts").join()
    });
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

/// Name and function of each target. Its corpus is in `fuzz/corpus/<name>/`.
pub const TARGETS: [(&str, Target); 15] = [
    ("request", request),
    ("event", event),
    ("entry", sealed_entry),
    ("checkpoint", checkpoint),
    ("proof", proof),
    ("bundle", whole_bundle),
    ("policy", policy),
    ("token", token),
    ("import", import),
    ("configuration", configuration),
    ("tile", tile),
    ("keys", keys),
    ("certificate", certificate_document),
    ("receipt", receipt),
    ("package", package_file),
];

fn key() -> &'static VerifierKey {
    static KEY: OnceLock<VerifierKey> = OnceLock::new();
    let make = || VerifierKey {
        name: Config::default().origin(),
        key: SigningKey::from_bytes(&LOG_SEED).verifying_key(),
    };
    KEY.get_or_init(make)
}

/// A request, converted from protobuf to domain types as in `RecordAttributes`; and the same bytes as the
/// text of ids.
pub fn request(bytes: &[u8]) {
    if let Ok(request) = proto::RecordAttributesRequest::decode(bytes) {
        api::decode_attributes(request);
    }
    let text = String::from_utf8_lossy(bytes);
    let _read = (text.parse::<EventId>(), text.parse::<GrantId>(), SubjectId::new(&text));
}

/// An event, converted from a decoded body to domain types. A body that is accepted is the one encoding of
/// its content.
///
/// # Panics
/// A body is accepted in another encoding.
pub fn event(bytes: &[u8]) {
    if let Ok(body) = entry::decode_body(bytes) {
        assert!(body.encode_to_vec() == bytes, "a body has one encoding");
        let _json = sayso_proof::json::to_json(&body).is_ok();
    }
    let Ok(body) = EventBody::decode(bytes) else { return };
    let place = codec::Place {
        event_id: EventId([0; 16]),
        position: 0,
        version: 0,
        recorded_at_ms: 0,
        sealed_at_ms: 0,
        has_hash_in_clear: false,
    };
    if let Ok(recorded) = codec::decode(place, body) {
        let _state = crate::domain::profile::SubjectState::fold([&recorded]);
    }
}

/// A COSE entry: its header, its signature and its encryption.
pub fn sealed_entry(bytes: &[u8]) {
    let _header = entry::parse_header(bytes);
    let Ok(entry) = Entry::parse(bytes) else { return };
    let _verdicts = (
        entry.verify(&key().key),
        entry.open(&EventKey::from_bytes([0; 32])).is_ok(),
        entry.plain_body().is_ok(),
    );
}

/// A signed note and the checkpoint in it.
pub fn checkpoint(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _read = (open_note(&text, key()).is_ok(), Checkpoint::parse(&text).is_ok());
    let _key = text.parse::<VerifierKey>().is_ok();
}

/// A proof that includes its entry.
pub fn proof(bytes: &[u8]) {
    if let Ok(proof) = String::from_utf8_lossy(bytes).parse::<TlogProof>() {
        let _verdict = proof.verify(key()).is_ok();
    }
}

/// A bundle as an archive. The input may be a decompression bomb, contain unsafe paths, or be truncated.
///
/// Input that is not compressed is treated as the uncompressed archive: its headers get correct checksums,
/// and it is compressed. By chance, a fuzzer would produce neither correct checksums nor valid compression.
pub fn whole_bundle(bytes: &[u8]) {
    if bytes.starts_with(&ZSTD) {
        let _verdict = bundle_verifies(bytes);
        return;
    }
    let mut tar = bytes.to_vec();
    set_checksums(&mut tar);
    if let Ok(archive) = compress(&tar) {
        let _verdict = bundle_verifies(&archive);
    }
}

/// Compresses with a checksum, as in a bundle.
fn compress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut frame = zstd::Encoder::new(Vec::new(), 1)?;
    frame.include_checksum(true)?;
    std::io::Write::write_all(&mut frame, bytes)?;
    frame.finish()
}

/// The first bytes of a zstd frame (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes of a block of a tar archive.
const BLOCK_BYTES: usize = 512;

/// Sets the checksum of each header (POSIX ustar: size at offset 124, checksum of 8 bytes at offset 148).
fn set_checksums(tar: &mut [u8]) {
    let mut rest = tar;
    while let Some((header, after)) = rest.split_first_chunk_mut::<BLOCK_BYTES>() {
        if header.iter().all(|byte| *byte == 0) {
            return;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
        let size = std::str::from_utf8(&header[124..136]).unwrap_or_default();
        let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).unwrap_or_default();
        let content_bytes = size.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES);
        let Some(next) = after.get_mut(content_bytes..) else { return };
        rest = next;
    }
}

/// Whether an archive verifies with the key from [`LOG_SEED`].
#[must_use]
pub fn bundle_verifies(bytes: &[u8]) -> bool {
    let source = Source::Archive(Box::new(bytes));
    bundle::verify(source, key(), &bundle::Options::default(), &mut |_| {}).is_ok()
}

/// A policy to publish.
pub fn policy(bytes: &[u8]) {
    static WORDS: OnceLock<Vocabulary> = OnceLock::new();
    let words = WORDS.get_or_init(default_vocabulary);
    crate::bounds::decode_policies(String::from_utf8_lossy(bytes).into_owned(), words);
}

/// A bearer token; and the same bytes as the key set of an issuer.
pub fn token(bytes: &[u8]) {
    static CHECKS: OnceLock<api::Tokens> = OnceLock::new();
    let rules = || api::TokenRules {
        issuer: "i".into(),
        audience: "a".into(),
        controller: "dev".into(),
        stale_ms_max: u64::MAX,
    };
    let tokens = CHECKS.get_or_init(|| {
        let tokens = api::Tokens::new(rules(), Arc::new(SystemClock));
        let _known = tokens.replace_keys(JWKS, 0);
        tokens
    });
    let _verdict = tokens.authenticate(&String::from_utf8_lossy(bytes)).is_ok();
    let _other = api::Tokens::new(rules(), Arc::new(SystemClock)).replace_keys(bytes, 0).is_ok();
}

/// The example in RFC 8037, appendix A.2.
const JWKS: &[u8] =
    br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// A line of `sayso import`.
pub fn import(bytes: &[u8]) {
    crate::cli::decode_import_line(bytes);
}

/// The configuration file.
pub fn configuration(bytes: &[u8]) {
    if let Ok(config) = toml::from_str::<Config>(&String::from_utf8_lossy(bytes)) {
        let _verdict = config.check().is_ok();
    }
}

/// The path of a tile.
pub fn tile(bytes: &[u8]) {
    crate::web::decode_tile_path(&String::from_utf8_lossy(bytes));
}

/// The keys of a log.
pub fn keys(bytes: &[u8]) {
    let _keys = KeyChain::parse(&String::from_utf8_lossy(bytes), key()).is_ok();
}

/// An erasure certificate.
pub fn certificate_document(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _verdict = (certificate::verify(&text, key()).is_ok(), certificate::checkpoint_note(&text).is_ok());
}

/// A consent receipt.
pub fn receipt(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _verdict = package::verify_receipt(&text, &KeyChain::from(key())).is_ok();
    let _checkpoint = package::receipt_checkpoint(&text);
}

/// A package: as `sayso verify` and as `sayso import` read it.
pub fn package_file(bytes: &[u8]) {
    let _verdict = package::verify_package(&mut Cursor::new(bytes), &KeyChain::from(key())).is_ok();
    let _read = package::read(&mut Cursor::new(bytes)).is_ok();
}
