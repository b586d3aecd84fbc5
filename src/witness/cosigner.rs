//! A witness. For each log, it keeps the last checkpoint that it cosigned. It cosigns a new checkpoint only
//! if the new one continues the kept one.
//!
//! The witness stores a cosigned checkpoint durably before it answers, in one small file for each log. If
//! it lost the file of a log, the log's operator could remove entries unnoticed. So it does not start with
//! a damaged file, and only one process at a time may use its folder.

use crate::clock::SharedClock;
use crate::secret;
use sayso_proof::checkpoint::{Checkpoint, NoteError, VerifierKey, open_note};
use sayso_proof::merkle;
use sayso_proof::witness::{AddCheckpoint, WitnessKey, WitnessSigner, cosignatures};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The largest number of evidence files in a folder. More would prove nothing new.
const EVIDENCE_MAX: usize = 16;
/// Largest name of a witness, in bytes (C2SP tlog-cosignature, `cosigner_name`).
const NAME_BYTES_MAX: usize = 255;

/// Why a witness could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or the folder can't be read or made.
    #[error("`{0}`: {1}")]
    File(PathBuf, Error),
    /// Another process uses the folder.
    #[error("the folder `{0}` is in use by another witness; stop it, or choose another folder")]
    InUse(PathBuf),
    /// The last cosigned checkpoint of a log can't be read.
    #[error("`{0}` is damaged: {1}; restore the file from a copy, or start a new witness under another name")]
    Damaged(PathBuf, NoteError),
    /// The name is not a valid key name, or is longer than an ML-DSA-44 cosignature allows.
    #[error("the name of a witness must have 1 to 255 bytes, without spaces and `+`")]
    Name,
}

/// Why a checkpoint was not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The body is not a valid request, or it names an old size that is larger than the size of its
    /// checkpoint.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// The witness is not configured for this log.
    #[error("this witness does not know the log")]
    UnknownLog,
    /// None of the keys configured for this log signed the checkpoint.
    #[error("the checkpoint is not signed by a known key of the log")]
    Unsigned,
    /// The request does not start from the size cosigned last, or its checkpoint has that size with another
    /// root.
    #[error("the last cosigned checkpoint of this log has {cosigned} entries; start from there")]
    Conflict {
        /// The size of the checkpoint cosigned last.
        cosigned: u64,
    },
    /// The checkpoint does not continue the one cosigned last.
    #[error("the consistency proof does not verify")]
    Inconsistent,
    /// The checkpoint could not be stored, so it is not cosigned.
    #[error("the checkpoint could not be stored; try again later")]
    Storage(#[source] Error),
}

/// A log that the witness knows.
struct Log {
    keys: Vec<VerifierKey>,
    file: PathBuf,
    /// The checkpoint cosigned last. It is locked while a request is answered, so that requests of one log
    /// don't overtake each other.
    last: Mutex<Option<Checkpoint>>,
}

/// A witness of a fixed set of logs.
pub struct Witness {
    name: String,
    /// One key for each algorithm. Every checkpoint is cosigned with all of them.
    signers: [WitnessSigner; 2],
    logs: HashMap<String, Log>,
    clock: SharedClock,
    folder: PathBuf,
    /// Holds the lock of the folder.
    _lock: File,
}

impl Witness {
    /// Opens a witness's folder, and makes its keys if there are none. A log may have several keys, each with
    /// the log's origin as its name; all of them are trusted.
    ///
    /// # Errors
    /// The name is invalid, the folder is in use or can't be read, or a file in it is damaged.
    pub fn open(
        folder: &Path,
        name: &str,
        logs: &[VerifierKey],
        clock: SharedClock,
    ) -> Result<Self, OpenError> {
        let failed = |error| OpenError::File(folder.to_owned(), error);
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || name.contains('+')
            || name.contains(char::is_whitespace)
        {
            return Err(OpenError::Name);
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let lock = File::create(folder.join("lock")).map_err(failed)?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(OpenError::InUse(folder.to_owned()));
        }
        let seed = |file| secret::read_or_make(&folder.join(file), clock.as_ref()).map_err(failed);
        let signers = [
            WitnessSigner::ed25519(&*seed("witness.key")?),
            WitnessSigner::ml_dsa_44(&*seed("witness-ml-dsa-44.key")?),
        ];
        let (name, folder) = (name.to_owned(), folder.to_owned());
        let mut witness = Self { name, signers, logs: HashMap::new(), clock, folder, _lock: lock };
        for log in logs {
            if let Some(known) = witness.logs.get_mut(&log.name) {
                known.keys.push(log.clone());
                continue;
            }
            let file = witness.folder.join(format!("{}.checkpoint", name_of_log(&log.name)));
            let last = Mutex::new(witness.read(&file, &log.name)?);
            witness.logs.insert(log.name.clone(), Log { keys: vec![log.clone()], file, last });
        }
        Ok(witness)
    }

    /// The keys that verify the witness's cosignatures: Ed25519, then ML-DSA-44.
    #[must_use]
    pub fn verifier_keys(&self) -> [WitnessKey; 2] {
        self.signers.each_ref().map(|signer| signer.verifier_key(&self.name))
    }

    /// Reads the checkpoint cosigned last, and verifies the witness's own cosignature.
    fn read(&self, file: &Path, origin: &str) -> Result<Option<Checkpoint>, OpenError> {
        let note = match fs::read_to_string(file) {
            Ok(note) => note,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::File(file.to_owned(), error)),
        };
        let damaged = |error| OpenError::Damaged(file.to_owned(), error);
        let own = cosignatures(&note, &self.verifier_keys()).map_err(damaged)?;
        let text = note.rsplit_once("\n\n").map(|(text, _)| format!("{text}\n")).unwrap_or_default();
        let last = Checkpoint::parse_extended(&text).map_err(damaged)?;
        if own.is_empty() || last.origin != origin {
            return Err(damaged(NoteError::Unsigned));
        }
        Ok(Some(last))
    }

    /// Answers `POST /add-checkpoint`: returns the lines of the cosignatures, one for each key.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<String, Refusal> {
        let body = std::str::from_utf8(body).map_err(|_| Refusal::Malformed("not text"))?;
        let request: AddCheckpoint = body.parse().map_err(|_| Refusal::Malformed("not a request"))?;
        let (text, _) = request.checkpoint.rsplit_once("\n\n").ok_or(Refusal::Malformed("not a note"))?;
        let text = format!("{text}\n");
        let new = Checkpoint::parse_extended(&text).map_err(|_| Refusal::Malformed("not a checkpoint"))?;
        let log = self.logs.get(&new.origin).ok_or(Refusal::UnknownLog)?;
        if !log.keys.iter().any(|key| open_note(&request.checkpoint, key).is_ok()) {
            return Err(Refusal::Unsigned);
        }
        if request.old_size > new.size {
            return Err(Refusal::Malformed("the old size is above the checkpoint's"));
        }
        let mut last = log.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (size, root) = last.as_ref().map_or((0, merkle::empty_root()), |last| (last.size, last.root));
        if request.old_size != size {
            return Err(Refusal::Conflict { cosigned: size });
        }
        if new.size == size && last.is_some() && new.root != root {
            self.keep_evidence(log, &request);
            return Err(Refusal::Conflict { cosigned: size });
        }
        if merkle::verify_consistency(size, &root, new.size, &new.root, &request.proof).is_err() {
            self.keep_evidence(log, &request);
            return Err(Refusal::Inconsistent);
        }
        let at_s = self.clock.now_ms() / 1000;
        let lines = self.cosign(&text, at_s)?;
        let note = format!("{}{lines}", request.checkpoint);
        write_durably(&log.file, &note).map_err(Refusal::Storage)?;
        *last = Some(new);
        Ok(lines)
    }

    fn cosign(&self, text: &str, at_s: u64) -> Result<String, Refusal> {
        let lines =
            self.signers.iter().map(|signer| signer.cosign(text, &self.name, at_s)).collect::<Result<_, _>>();
        lines.map_err(|_| Refusal::Malformed("the log's name is longer than 255 bytes"))
    }

    /// Returns the last cosigned checkpoint of the log with this [`name_of_log`]. It is a note signed by the
    /// log and by this witness.
    #[must_use]
    pub fn last_note(&self, name: &str) -> Option<String> {
        let log = self.logs.iter().find(|(origin, _)| name_of_log(origin) == name).map(|(_, log)| log)?;
        let last = log.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().and_then(|_| fs::read_to_string(&log.file).ok())
    }

    /// Keeps a signed checkpoint that contradicts the one cosigned last, so that an auditor can prove the
    /// contradiction.
    fn keep_evidence(&self, log: &Log, request: &AddCheckpoint) {
        tracing::error!(log = ?log.keys.first().map(|key| &key.name), "the log signed a tree that does not continue its last cosigned one; the request is kept as evidence");
        let digest = hex::encode(Sha256::digest(&request.checkpoint));
        let name = digest.get(..16).unwrap_or_default();
        let path = log.file.with_extension(format!("conflict-{name}"));
        let kept = fs::read_dir(&self.folder).map_or(0, |files| {
            files.flatten().filter(|file| file.file_name().to_string_lossy().contains(".conflict-")).count()
        });
        if path.exists() || kept >= EVIDENCE_MAX {
            return;
        }
        if let Err(error) = write_durably(&path, &request.to_string()) {
            tracing::error!(%error, "the evidence could not be stored");
        }
    }
}

/// Writes a file atomically and durably.
///
/// # Errors
/// The file cannot be written. The file that it replaces is still there.
pub fn write_durably(path: &Path, text: &str) -> Result<(), Error> {
    let unfinished = path.with_extension("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// The name of a log in paths: the SHA-256 of its origin in hexadecimal, which needs no escapes.
#[must_use]
pub fn name_of_log(origin: &str) -> String {
    hex::encode(Sha256::digest(origin))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
    use super::*;
    use crate::clock::SystemClock;
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;
    use sayso_proof::merkle::{Frontier, Hash, Nodes};
    use sayso_proof::witness::valid_cosignatures;
    use std::sync::Arc;

    const ORIGIN: &str = "log.example/one";

    /// A log, represented by its leaf hashes.
    #[derive(Clone)]
    struct Leaves(Vec<Hash>);

    impl Nodes for Leaves {
        type Error = ();
        fn nodes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, ()> {
            assert_eq!(level, 0);
            let start = usize::try_from(start).unwrap();
            Ok(self.0[start..start + count].to_vec())
        }
    }

    impl Leaves {
        fn new(seed: u8, count: u64) -> Self {
            Self(
                (0..count)
                    .map(|leaf| merkle::leaf_hash(&[&[seed][..], &leaf.to_be_bytes()].concat()))
                    .collect(),
            )
        }

        fn request(&self, old_size: u64, size: u64, key: &SigningKey) -> AddCheckpoint {
            let mut tree = Frontier::new();
            self.0[..usize::try_from(size).unwrap()].iter().for_each(|leaf| tree.push(*leaf));
            let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root: tree.root() }.sign(key);
            let proof = merkle::consistency_proof(old_size, size, self).unwrap();
            AddCheckpoint { old_size, proof, checkpoint }
        }
    }

    fn log_key() -> SigningKey {
        SigningKey::from_bytes(&[1; 32])
    }

    fn open(folder: &Path) -> Result<Witness, OpenError> {
        let log = VerifierKey { name: ORIGIN.into(), key: log_key().verifying_key() };
        Witness::open(folder, "witness.example/w", &[log], Arc::new(SystemClock))
    }

    fn ask(witness: &Witness, request: &AddCheckpoint) -> Result<String, Refusal> {
        witness.add_checkpoint(request.to_string().as_bytes())
    }

    #[test]
    fn the_witness_answers_as_the_specification_requires() {
        let folder = tempfile::tempdir().unwrap();
        let witness = open(folder.path()).unwrap();
        let (log, key) = (Leaves::new(1, 20), log_key());
        let first = log.request(0, 3, &key);
        let line = ask(&witness, &first).unwrap();
        let cosigned = format!("{}{line}", first.checkpoint);
        assert_eq!(valid_cosignatures(&cosigned, &witness.verifier_keys()).unwrap().len(), 2);
        assert_eq!(witness.last_note(&name_of_log(ORIGIN)), Some(cosigned));
        assert_eq!(witness.last_note(&name_of_log("log.example/two")), None);
        assert!(
            ask(&witness, &log.request(3, 3, &key)).is_ok(),
            "the same checkpoint again, for a newer time"
        );
        assert!(ask(&witness, &log.request(3, 9, &key)).is_ok());
        assert!(matches!(ask(&witness, &log.request(3, 12, &key)), Err(Refusal::Conflict { cosigned: 9 })));
        assert!(matches!(ask(&witness, &log.request(0, 12, &key)), Err(Refusal::Conflict { cosigned: 9 })));
        let beyond = AddCheckpoint { old_size: 13, ..log.request(9, 12, &key) };
        assert!(matches!(ask(&witness, &beyond), Err(Refusal::Malformed(_))));
        let stranger = log.request(9, 12, &SigningKey::from_bytes(&[2; 32]));
        assert!(matches!(ask(&witness, &stranger), Err(Refusal::Unsigned)));
        let mut unknown = log.request(9, 12, &key);
        unknown.checkpoint = unknown.checkpoint.replace(ORIGIN, "log.example/two");
        assert!(matches!(ask(&witness, &unknown), Err(Refusal::UnknownLog)));
        assert!(matches!(witness.add_checkpoint(b"\xff"), Err(Refusal::Malformed(_))));
        let mut wrong = log.request(9, 12, &key);
        wrong.proof[0][0] ^= 1;
        assert!(matches!(ask(&witness, &wrong), Err(Refusal::Inconsistent)));
        // The witness refuses another tree of the same size, and a larger tree with another history.
        let forked = Leaves::new(2, 20);
        assert!(matches!(ask(&witness, &forked.request(9, 9, &key)), Err(Refusal::Conflict { cosigned: 9 })));
        assert!(matches!(ask(&witness, &forked.request(9, 12, &key)), Err(Refusal::Inconsistent)));
        let evidence = fs::read_dir(folder.path()).unwrap().flatten();
        assert_eq!(
            evidence.filter(|file| file.file_name().to_string_lossy().contains(".conflict-")).count(),
            3
        );
        assert!(ask(&witness, &log.request(9, 20, &key)).is_ok(), "the unforked log is still cosigned");
    }

    #[test]
    fn the_last_checkpoint_survives_a_restart_and_a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (log, key) = (Leaves::new(1, 9), log_key());
        let witness = open(folder.path()).unwrap();
        assert!(matches!(open(folder.path()), Err(OpenError::InUse(_))));
        ask(&witness, &log.request(0, 5, &key)).unwrap();
        let own = witness.verifier_keys();
        drop(witness);
        let witness = open(folder.path()).unwrap();
        assert_eq!(witness.verifier_keys(), own);
        assert!(matches!(ask(&witness, &log.request(0, 7, &key)), Err(Refusal::Conflict { cosigned: 5 })));
        let file = witness.logs[ORIGIN].file.clone();
        drop(witness);
        let kept = fs::read(&file).unwrap();
        for at in 0..kept.len() {
            let mut flipped = kept.clone();
            flipped[at] ^= 1;
            fs::write(&file, &flipped).unwrap();
            // A flipped bit in the log's own signature is accepted. That signature is only evidence, and the
            // cosigned checkpoint is the same.
            if let Ok(witness) = open(folder.path()) {
                let last = witness.logs[ORIGIN].last.lock().unwrap().clone();
                assert_eq!(last.map(|last| last.size), Some(5), "byte {at}");
            }
        }
        fs::write(&file, "").unwrap();
        assert!(matches!(open(folder.path()), Err(OpenError::Damaged(..))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// For any requests in any order, the cosigned checkpoints are consistent with each other.
        #[test]
        fn no_two_cosigned_trees_disagree(asked in proptest::collection::vec((1..3_u8, 0..12_u64, 0..12_u64), 1..24)) {
            let folder = tempfile::tempdir().unwrap();
            let witness = open(folder.path()).unwrap();
            let mut cosigned: Vec<(u8, u64)> = Vec::new();
            for (seed, old_size, grown) in asked {
                let (log, size) = (Leaves::new(seed, 30), old_size + grown);
                if ask(&witness, &log.request(old_size, size, &log_key())).is_ok() {
                    cosigned.push((seed, size));
                }
            }
            let trees: Vec<u8> = cosigned.iter().filter(|(_, size)| *size > 0).map(|(seed, _)| *seed).collect();
            prop_assert!(trees.windows(2).all(|pair| pair[0] == pair[1]), "{:?}", cosigned);
            prop_assert!(cosigned.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        }
    }
}
