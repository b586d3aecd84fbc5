//! Signed notes and checkpoints (C2SP signed-note, C2SP tlog-checkpoint), with Ed25519 keys.

use crate::merkle::Hash;
use crate::signer::LogSigner;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use std::fmt::{self, Display};
use std::str::FromStr;

/// Signature type of Ed25519 in key ids and encoded keys.
const ED25519: u8 = 1;
pub(crate) const SIGNATURE_PREFIX: &str = "\u{2014} ";
/// Maximum number of signature lines of a note: the log's and its witnesses'.
const SIGNATURES_MAX: usize = 64;

/// Why a note or a verifier key is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is not a signed note.
    #[error("not a signed note: {0}")]
    Form(&'static str),
    /// The expected key did not sign the note.
    #[error("not signed by the expected key")]
    Unsigned,
    /// The expected key's signature does not verify.
    #[error("the signature does not verify")]
    Signature,
    /// The text is not a checkpoint.
    #[error("not a checkpoint: {0}")]
    Checkpoint(&'static str),
    /// The text is not that of counts.
    #[error("not counts of a log: {0}")]
    Counts(&'static str),
    /// The key is not in vkey form.
    #[error("not a verifier key: {0}")]
    Key(&'static str),
}

/// A verifier key: `<name>+<key id>+<base64>` (C2SP signed-note).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    /// Name of the signer; for a log, its origin.
    pub name: String,
    /// The public key.
    pub key: VerifyingKey,
}

impl VerifierKey {
    /// First 4 bytes of SHA-256 over name, newline, signature type and key.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        key_id(ED25519, &self.name, self.key.as_bytes())
    }
}

impl Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_key(ED25519, &self.name, self.key.as_bytes()))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, kind, key) = decode_key(text)?;
        if kind != ED25519 {
            return Err(NoteError::Key("wrong signature type"));
        }
        Ok(Self { name, key: ed25519_key(&key)? })
    }
}

/// The note key id of a public key with the signature type `kind`.
pub(crate) fn key_id(kind: u8, name: &str, key: &[u8]) -> [u8; 4] {
    let digest: Hash = Sha256::new()
        .chain_update(name.as_bytes())
        .chain_update([b'\n', kind])
        .chain_update(key)
        .finalize()
        .into();
    let mut id = [0; 4];
    id.copy_from_slice(digest.split_at(4).0);
    id
}

/// `<name>+<key id>+<base64>`
pub(crate) fn encode_key(kind: u8, name: &str, key: &[u8]) -> String {
    let bytes = [&[kind], key].concat();
    format!("{name}+{}+{}", hex::encode(key_id(kind, name, key)), STANDARD.encode(bytes))
}

/// Decodes the name, the signature type and the public key from the form that [`encode_key`] writes.
pub(crate) fn decode_key(text: &str) -> Result<(String, u8, Vec<u8>), NoteError> {
    let mut parts = text.trim_end().splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::Key("three parts joined by `+` are required"));
    };
    if !is_name(name) {
        return Err(NoteError::Key("the name is empty or contains `+` or whitespace"));
    }
    let bytes = STANDARD.decode(key).map_err(|_| NoteError::Key("invalid base64"))?;
    let Some((kind, key)) = bytes.split_first() else {
        return Err(NoteError::Key("the key is empty"));
    };
    if hex::encode(key_id(*kind, name, key)) != id {
        return Err(NoteError::Key("the key id does not match the key"));
    }
    Ok((name.to_owned(), *kind, key.to_vec()))
}

/// Decodes an Ed25519 public key.
pub(crate) fn ed25519_key(bytes: &[u8]) -> Result<VerifyingKey, NoteError> {
    let raw: &[u8; 32] = bytes.try_into().map_err(|_| NoteError::Key("the public key is not 32 bytes"))?;
    VerifyingKey::from_bytes(raw).map_err(|_| NoteError::Key("the public key is not a curve point"))
}

pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('+') && !name.chars().any(char::is_whitespace)
}

fn signature_line(text: &str, name: &str, key: &impl LogSigner) -> String {
    let verifier = VerifierKey { name: name.to_owned(), key: key.verifying_key() };
    let mut blob = verifier.id().to_vec();
    blob.extend_from_slice(&key.sign(text.as_bytes()).to_bytes());
    format!("{SIGNATURE_PREFIX}{name} {}\n", STANDARD.encode(blob))
}

/// Signs `text`, which ends in a newline, and returns the note.
#[must_use]
pub fn sign_note(text: &str, name: &str, key: &impl LogSigner) -> String {
    format!("{text}\n{}", signature_line(text, name, key))
}

/// Adds a signature by another key over the same text to a note. Text that is not a note is returned
/// unchanged.
#[must_use]
pub fn cosign_note(note: &str, name: &str, key: &impl LogSigner) -> String {
    let text = note.rsplit_once("\n\n").and_then(|(text, _)| note.get(..=text.len()));
    text.map_or_else(|| note.to_owned(), |text| format!("{note}{}", signature_line(text, name, key)))
}

/// One signature of a note, not verified yet.
pub(crate) struct NoteSignature<'a> {
    pub name: &'a str,
    pub id: [u8; 4],
    /// The bytes after the key id.
    pub bytes: Vec<u8>,
}

/// Parses a signature line, without its newline.
pub(crate) fn parse_signature(line: &str) -> Result<NoteSignature<'_>, NoteError> {
    let line = line.strip_prefix(SIGNATURE_PREFIX).ok_or(NoteError::Form("malformed signature line"))?;
    let (name, blob) = line.split_once(' ').ok_or(NoteError::Form("malformed signature line"))?;
    let blob = STANDARD.decode(blob).map_err(|_| NoteError::Form("invalid base64 in a signature line"))?;
    let (id, bytes) = blob.split_first_chunk().ok_or(NoteError::Form("a signature is too short"))?;
    if !is_name(name) || bytes.is_empty() {
        return Err(NoteError::Form("malformed signature line"));
    }
    Ok(NoteSignature { name, id: *id, bytes: bytes.to_vec() })
}

/// Parses the text and the signatures of a note.
pub(crate) fn parse_note(note: &str) -> Result<(&str, Vec<NoteSignature<'_>>), NoteError> {
    let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Form("no signatures"))?;
    let text = note.get(..=text.len()).ok_or(NoteError::Form("no text"))?;
    let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Form("no newline at the end"))?;
    if note.chars().any(|c| c.is_control() && c != '\n') {
        return Err(NoteError::Form("control characters are not allowed"));
    }
    let mut found = Vec::new();
    for line in signatures.split('\n') {
        if found.len() >= SIGNATURES_MAX {
            return Err(NoteError::Form("more than 64 signatures"));
        }
        found.push(parse_signature(line)?);
    }
    Ok((text, found))
}

/// Returns the text of a note that `key` signed. Other signatures, such as those of witnesses, are not
/// verified.
///
/// # Errors
/// The note is malformed, `key` did not sign it, or its signature does not verify.
pub fn open_note<'a>(note: &'a str, key: &VerifierKey) -> Result<&'a str, NoteError> {
    let (text, signatures) = parse_note(note)?;
    let mut found = false;
    for signature in signatures {
        if signature.name == key.name && signature.id == key.id() {
            let signature = Signature::from_slice(&signature.bytes).map_err(|_| NoteError::Signature)?;
            let verdict = key.key.verify_strict(text.as_bytes(), &signature);
            verdict.map_err(|_| NoteError::Signature)?;
            if std::mem::replace(&mut found, true) {
                return Err(NoteError::Form("two signatures by the same key"));
            }
        }
    }
    if found { Ok(text) } else { Err(NoteError::Unsigned) }
}

/// A log's commitment to its content: tree size and root hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root hash of the tree.
    pub root: Hash,
}

impl Checkpoint {
    /// The text to sign.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Parses the text of a checkpoint. Extension lines are rejected, because this log writes none.
    ///
    /// # Errors
    /// The text is malformed.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let lines: Vec<&str> = text.split('\n').collect();
        let [origin, size, root, ""] = lines.as_slice() else {
            return Err(NoteError::Checkpoint("three lines are required"));
        };
        let number: u64 = size.parse().map_err(|_| NoteError::Checkpoint("the size is not a number"))?;
        if origin.is_empty() || number.to_string() != *size {
            return Err(NoteError::Checkpoint("the origin is empty, or the size has leading zeros"));
        }
        let root = STANDARD.decode(root).map_err(|_| NoteError::Checkpoint("the root is not base64"))?;
        let root =
            Hash::try_from(root.as_slice()).map_err(|_| NoteError::Checkpoint("the root is not 32 bytes"))?;
        Ok(Self { origin: (*origin).to_owned(), size: number, root })
    }

    /// Parses a checkpoint of any log, like [`Checkpoint::parse`], but ignores extension lines.
    ///
    /// # Errors
    /// The text is malformed.
    pub fn parse_extended(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.split_inclusive('\n');
        let head: String = lines.by_ref().take(3).collect();
        if lines.any(|line| line == "\n" || !line.ends_with('\n')) {
            return Err(NoteError::Checkpoint("an extension line is empty or not terminated"));
        }
        Self::parse(&head)
    }

    /// Signs the checkpoint and returns the note.
    #[must_use]
    pub fn sign(&self, key: &impl LogSigner) -> String {
        sign_note(&self.to_text(), &self.origin, key)
    }

    /// Verifies a note with the log's key and returns its checkpoint.
    ///
    /// # Errors
    /// The note is not signed by the key, its text is not a checkpoint, or the checkpoint and the key are of
    /// different logs.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let checkpoint = Self::parse(open_note(note, key)?)?;
        if checkpoint.origin == key.name {
            Ok(checkpoint)
        } else {
            Err(NoteError::Checkpoint("the origin is another log's"))
        }
    }
}
