//! Signed notes and checkpoints: C2SP signed-note and tlog-checkpoint, with Ed25519 keys.

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
/// Lines of signatures that a note may carry: the log's and its witnesses'.
const SIGNATURES_MAX: usize = 64;

/// Why a note or a checkpoint is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not in the form of a signed note.
    #[error("not a signed note: {0}")]
    Form(&'static str),
    /// No signature by the key asked for.
    #[error("not signed by the key given")]
    Unsigned,
    /// A signature by the key asked for that does not verify.
    #[error("the signature does not verify")]
    Signature,
    /// The text is not a checkpoint.
    #[error("not a checkpoint: {0}")]
    Checkpoint(&'static str),
    /// The key is not in vkey form.
    #[error("not a verifier key: {0}")]
    Key(&'static str),
}

/// A verifier key: `<name>+<key id>+<base64>` (C2SP signed-note).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    /// Who signs: for a log, its origin.
    pub name: String,
    /// With which key.
    pub key: VerifyingKey,
}

impl VerifierKey {
    /// First 4 bytes of SHA-256 over name, newline, type and key.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        key_id(ED25519, &self.name, &self.key)
    }
}

impl Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_key(ED25519, &self.name, &self.key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, key) = decode_key(ED25519, text)?;
        Ok(Self { name, key })
    }
}

/// The key id of notes for an Ed25519 key that signs in the way `kind`.
pub(crate) fn key_id(kind: u8, name: &str, key: &VerifyingKey) -> [u8; 4] {
    let digest: Hash = Sha256::new()
        .chain_update(name.as_bytes())
        .chain_update([b'\n', kind])
        .chain_update(key.as_bytes())
        .finalize()
        .into();
    let mut id = [0; 4];
    id.copy_from_slice(digest.split_at(4).0);
    id
}

/// `<name>+<key id>+<base64>`
pub(crate) fn encode_key(kind: u8, name: &str, key: &VerifyingKey) -> String {
    let bytes = [&[kind], key.as_bytes().as_slice()].concat();
    format!("{name}+{}+{}", hex::encode(key_id(kind, name, key)), STANDARD.encode(bytes))
}

/// Name and key of what [`encode_key`] wrote.
pub(crate) fn decode_key(kind: u8, text: &str) -> Result<(String, VerifyingKey), NoteError> {
    let mut parts = text.trim_end().splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::Key("three parts joined by `+` are needed"));
    };
    if !is_name(name) {
        return Err(NoteError::Key("bad name"));
    }
    let bytes = STANDARD.decode(key).map_err(|_| NoteError::Key("bad base64"))?;
    let Some((found, raw)) = bytes.split_first() else {
        return Err(NoteError::Key("empty"));
    };
    if *found != kind {
        return Err(NoteError::Key("not a key of the kind that is needed here"));
    }
    let raw: &[u8; 32] = raw.try_into().map_err(|_| NoteError::Key("not 32 bytes"))?;
    let key = VerifyingKey::from_bytes(raw).map_err(|_| NoteError::Key("not a point"))?;
    if hex::encode(key_id(kind, name, &key)) != id {
        return Err(NoteError::Key("the key id does not fit the key"));
    }
    Ok((name.to_owned(), key))
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

/// A note of `text` (which ends in a newline) with one signature.
#[must_use]
pub fn sign_note(text: &str, name: &str, key: &impl LogSigner) -> String {
    format!("{text}\n{}", signature_line(text, name, key))
}

/// A note with one more signature, by another key over the same text. What is no note is given back as it is.
#[must_use]
pub fn cosign_note(note: &str, name: &str, key: &impl LogSigner) -> String {
    let text = note.rsplit_once("\n\n").and_then(|(text, _)| note.get(..=text.len()));
    text.map_or_else(|| note.to_owned(), |text| format!("{note}{}", signature_line(text, name, key)))
}

/// A signature of a note, before it is judged.
pub(crate) struct NoteSignature<'a> {
    pub name: &'a str,
    pub id: [u8; 4],
    /// What follows the key id.
    pub bytes: Vec<u8>,
}

/// A line of signature, without its newline.
pub(crate) fn parse_signature(line: &str) -> Result<NoteSignature<'_>, NoteError> {
    let line = line.strip_prefix(SIGNATURE_PREFIX).ok_or(NoteError::Form("bad signature line"))?;
    let (name, blob) = line.split_once(' ').ok_or(NoteError::Form("bad signature line"))?;
    let blob = STANDARD.decode(blob).map_err(|_| NoteError::Form("bad base64"))?;
    let (id, bytes) = blob.split_first_chunk().ok_or(NoteError::Form("short signature"))?;
    if !is_name(name) || bytes.is_empty() {
        return Err(NoteError::Form("bad signature line"));
    }
    Ok(NoteSignature { name, id: *id, bytes: bytes.to_vec() })
}

/// Text and signatures of a note.
pub(crate) fn parse_note(note: &str) -> Result<(&str, Vec<NoteSignature<'_>>), NoteError> {
    let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Form("no signatures"))?;
    let text = note.get(..=text.len()).ok_or(NoteError::Form("no text"))?;
    let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Form("no newline at the end"))?;
    if note.chars().any(|c| c.is_control() && c != '\n') {
        return Err(NoteError::Form("control characters"));
    }
    let mut found = Vec::new();
    for line in signatures.split('\n') {
        if found.len() >= SIGNATURES_MAX {
            return Err(NoteError::Form("too many signatures"));
        }
        found.push(parse_signature(line)?);
    }
    Ok((text, found))
}

/// The text of a note that `key` signed. Signatures by others (witnesses) are allowed and not judged.
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
                return Err(NoteError::Form("signed twice by the same key"));
            }
        }
    }
    if found { Ok(text) } else { Err(NoteError::Unsigned) }
}

/// What a log says about itself: so many leaves, this root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root of their tree.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads the text of a checkpoint. Extension lines are not written by this log and not accepted.
    ///
    /// # Errors
    /// Names what is malformed.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let lines: Vec<&str> = text.split('\n').collect();
        let [origin, size, root, ""] = lines.as_slice() else {
            return Err(NoteError::Checkpoint("three lines are needed"));
        };
        let number: u64 = size.parse().map_err(|_| NoteError::Checkpoint("bad size"))?;
        if origin.is_empty() || number.to_string() != *size {
            return Err(NoteError::Checkpoint("bad origin or size"));
        }
        let root = STANDARD.decode(root).map_err(|_| NoteError::Checkpoint("bad root"))?;
        let root = Hash::try_from(root.as_slice()).map_err(|_| NoteError::Checkpoint("bad root"))?;
        Ok(Self { origin: (*origin).to_owned(), size: number, root })
    }

    /// As [`Checkpoint::parse`], but of any log: extension lines are passed over.
    ///
    /// # Errors
    /// Names what is malformed.
    pub fn parse_extended(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.split_inclusive('\n');
        let head: String = lines.by_ref().take(3).collect();
        if lines.any(|line| line == "\n" || !line.ends_with('\n')) {
            return Err(NoteError::Checkpoint("an extension line is empty or has no end"));
        }
        Self::parse(&head)
    }

    /// The signed note.
    #[must_use]
    pub fn sign(&self, key: &impl LogSigner) -> String {
        sign_note(&self.to_text(), &self.origin, key)
    }

    /// The checkpoint of a note that the log's key signed.
    ///
    /// # Errors
    /// The note does not hold, is not a checkpoint, or is of another log than the key.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let checkpoint = Self::parse(open_note(note, key)?)?;
        if checkpoint.origin == key.name {
            Ok(checkpoint)
        } else {
            Err(NoteError::Checkpoint("of another log"))
        }
    }
}
