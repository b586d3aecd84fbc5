//! The parts of `package.json` that can be verified: its format, its log and its checkpoint, and, with a
//! subject proof (which shows that no entry is missing), the person and the positions in `history`. The
//! other parts are statements of the operator. Of the other parts, only the names are kept, so that the
//! verdict can list them.

use super::error::{PackageError, ReadError};
use super::format::{FORMAT, VERSION};
use super::json_limits::{Guard, JsonLimits, LimitedReader};
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use sayso_proof::keys::KeyChain;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufReader, Read};

/// The name of the member.
pub(super) const PACKAGE: &str = "package.json";
/// The most bytes of each name, and of each value that is read.
const ITEM_BYTES_MAX: u64 = 1 << 20;
/// The most levels of nesting.
const DEPTH_MAX: u32 = 64;
/// The most parts of `package.json`.
const PARTS_MAX: usize = 256;

/// The log that a package names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedLedger {
    origin: String,
    verifier_key: String,
    checkpoint: String,
}

/// The person that a package says it is about.
#[derive(Debug, Deserialize)]
pub(super) struct StatedSubject {
    pub id: String,
    /// Their handle, in hex.
    pub pseudonym: String,
}

/// What was read of `package.json`.
#[derive(Debug, Default)]
pub(super) struct Stated {
    format: String,
    version: u32,
    ledger: Option<StatedLedger>,
    /// What the package says it contains. Nothing compares it with the log.
    pub kind: String,
    /// When the package was made, as it says.
    pub made_at: Option<String>,
    /// Names of the other parts.
    pub parts: BTreeSet<String>,
    /// The person. Verified only if the package has a subject proof.
    pub subject: Option<StatedSubject>,
    /// The position of each event in `history`: 8 bytes of memory for each.
    pub history: Vec<u64>,
}

/// The part of a record of `history` that is compared with the entries in the package.
#[derive(Deserialize)]
struct HistoryRecord {
    position: u64,
}

impl Stated {
    /// Reads `package.json` to its end.
    ///
    /// # Errors
    /// It is not JSON, has a part twice, or exceeds a limit.
    pub fn read(from: impl Read) -> Result<Self, ReadError> {
        let guard = Guard::new(JsonLimits { bytes_max: u64::MAX, depth_max: DEPTH_MAX });
        let limited = LimitedReader::new(BufReader::new(from), &guard);
        let mut json = serde_json::Deserializer::from_reader(limited);
        let stated = StatedSeed(&guard).deserialize(&mut json)?;
        json.end()?;
        Ok(stated)
    }

    /// Verifies the log and the checkpoint. `tree_size` is that of the signature of the package, which was
    /// made later. Returns the checkpoint and its note.
    ///
    /// # Errors
    /// The package is of another format or log, this log did not sign the checkpoint, or the checkpoint is
    /// newer than the signature.
    pub fn verify(&self, keys: &KeyChain, tree_size: u64) -> Result<(Checkpoint, String), PackageError> {
        let wrong = |problem| PackageError::Member(PACKAGE.to_owned(), problem);
        if self.format != FORMAT || self.version != VERSION {
            return Err(wrong("it has another format or version"));
        }
        let ledger = self.ledger.as_ref().ok_or_else(|| wrong("it does not name its log"))?;
        let key = ledger.verifier_key.parse::<VerifierKey>();
        if ledger.origin != keys.origin() || !key.is_ok_and(|key| keys.has(&key)) {
            return Err(wrong("it names another log or key"));
        }
        let checkpoint = keys.open(&ledger.checkpoint);
        let checkpoint = checkpoint.map_err(|_| wrong("the log did not sign its checkpoint"))?;
        if checkpoint.size > tree_size {
            return Err(wrong("its checkpoint is newer than the signature of the package"));
        }
        Ok((checkpoint, ledger.checkpoint.clone()))
    }
}

struct StatedSeed<'a>(&'a Guard);

impl<'de> DeserializeSeed<'de> for StatedSeed<'_> {
    type Value = Stated;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Stated, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for StatedSeed<'_> {
    type Value = Stated;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a package")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut parts: A) -> Result<Stated, A::Error> {
        let (mut stated, mut seen) = (Stated::default(), BTreeSet::new());
        loop {
            self.0.begin_item(ITEM_BYTES_MAX);
            let Some(name) = parts.next_key::<String>()? else { return Ok(stated) };
            match name.as_str() {
                "format" => stated.format = parts.next_value()?,
                "version" => stated.version = parts.next_value()?,
                "ledger" => stated.ledger = Some(parts.next_value()?),
                "kind" => {
                    stated.kind = parts.next_value()?;
                    stated.parts.insert(name.clone());
                }
                "made_at" => {
                    stated.made_at = Some(parts.next_value()?);
                    stated.parts.insert(name.clone());
                }
                "subject" => {
                    self.0.end_item();
                    stated.subject = Some(parts.next_value()?);
                    stated.parts.insert(name.clone());
                }
                "history" => {
                    self.0.end_item();
                    let records = parts.next_value::<Vec<HistoryRecord>>()?;
                    stated.history = records.into_iter().map(|record| record.position).collect();
                    stated.parts.insert(name.clone());
                }
                _ => {
                    // Skip the value without keeping it, however large it is.
                    self.0.end_item();
                    parts.next_value::<IgnoredAny>()?;
                    stated.parts.insert(name.clone());
                }
            }
            // A package has about 20 parts. Readers differ in which of two equal names they take.
            if seen.len() >= PARTS_MAX || !seen.insert(name) {
                return Err(A::Error::custom("a part is there twice, or there are too many"));
            }
        }
    }
}

/// A reader that passes all bytes to `see`.
pub(super) struct Tee<R, F> {
    pub from: R,
    pub see: F,
}

impl<R: Read, F: FnMut(&[u8])> Read for Tee<R, F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(bytes)?;
        (self.see)(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }
}
