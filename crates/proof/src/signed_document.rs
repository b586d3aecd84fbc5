//! Documents that the log's key signs as a whole: consent receipts, and the manifests of packages.
//!
//! A document's signature is a signed note, with one signature of the log's key. The note states the kind
//! of the document, the origin of the log, a size of the log's tree, and the document's digest. The note
//! proves that the log's operator made the document, word for word. It does not prove that the document is
//! true.

use crate::checkpoint::{NoteError, parse_note};
use crate::keys::KeyChain;
use crate::merkle::Hash;
use sha2::{Digest, Sha256};

/// What kind of document is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// A consent receipt. Its digest is [`json_digest`] of the receipt without the signature.
    Receipt,
    /// The manifest of a package. Its digest is SHA-256 of the bytes of `manifest.json`.
    Package,
}

impl DocumentKind {
    /// The first line of the note, which names the kind and the version of its format.
    #[must_use]
    pub fn first_line(self) -> &'static str {
        match self {
            Self::Receipt => "sayso consent receipt v1",
            Self::Package => "sayso package manifest v1",
        }
    }
}

/// Why the signature of a document is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The log's key did not sign the note.
    #[error("invalid signature of the document: {0}")]
    Note(#[from] NoteError),
    /// The note is not the signature of a document of this kind.
    #[error("not a signature for this kind of document: {0}")]
    Form(&'static str),
    /// The document is not the one that was signed.
    #[error("the document was changed after it was signed")]
    Changed,
    /// The document has no canonical form.
    #[error("the document has no canonical form (RFC 8785)")]
    Canonical,
}

/// The statement that a note signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentStatement<'a> {
    /// The kind of the document.
    pub kind: DocumentKind,
    /// Name of the log.
    pub origin: &'a str,
    /// Size of the log's tree when the document was signed. It decides which key of the log may sign.
    pub tree_size: u64,
    /// The document's digest.
    pub digest: Hash,
}

impl DocumentStatement<'_> {
    /// The text to sign: four lines.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Self { kind, origin, tree_size, digest } = self;
        format!("{}\n{origin}\n{tree_size}\n{}\n", kind.first_line(), hex::encode(digest))
    }
}

/// SHA-256 of the canonical form of JSON (RFC 8785). The caller has checked that the text of the value has no
/// duplicate names and no numbers that readers round (RFC 7493).
///
/// # Errors
/// [`DocumentError::Canonical`]: the value has no canonical form.
pub fn json_digest(value: &serde_json::Value) -> Result<Hash, DocumentError> {
    let bytes = serde_json_canonicalizer::to_vec(value).map_err(|_| DocumentError::Canonical)?;
    Ok(Sha256::digest(bytes).into())
}

/// Verifies that the log signed a document of this kind with this digest. Returns the size of the log's tree
/// that the signature states.
///
/// # Errors
/// The log's key for that size, or a later key, did not sign the note; the note has more than one signature;
/// or it is about another document, kind or log.
pub fn verify(note: &str, kind: DocumentKind, digest: &Hash, keys: &KeyChain) -> Result<u64, DocumentError> {
    let form = DocumentError::Form;
    let (text, signatures) = parse_note(note)?;
    if signatures.len() != 1 {
        return Err(form("it must have exactly one signature"));
    }
    let size = text.lines().nth(2).ok_or(form("it must have four lines"))?;
    let tree_size: u64 = size.parse().map_err(|_| form("the size of the tree is not a number"))?;
    keys.open_note(note, tree_size)?;
    let expected = DocumentStatement { kind, origin: keys.origin(), tree_size, digest: *digest };
    if text == expected.to_text() {
        return Ok(tree_size);
    }
    let with_digest = text.lines().nth(3).and_then(|signed| {
        let mut signed_digest = [0; 32];
        hex::decode_to_slice(signed, &mut signed_digest).ok().map(|()| signed_digest)
    });
    let other = with_digest.map(|digest| DocumentStatement { digest, ..expected }.to_text());
    match other.as_deref() == Some(text) {
        true => Err(DocumentError::Changed),
        false => Err(form("the kind, the log or the form differs")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::checkpoint::{VerifierKey, cosign_note, sign_note};
    use ed25519_dalek::SigningKey;
    use serde_json::json;

    const LOG: &str = "log.example/l";

    fn chain(key: &SigningKey) -> KeyChain {
        KeyChain::from(&VerifierKey { name: LOG.into(), key: key.verifying_key() })
    }

    #[test]
    fn every_changed_byte_of_a_signature_is_detected() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let digest = json_digest(&json!({"b": 1, "a": ["x"]})).unwrap();
        let statement = DocumentStatement { kind: DocumentKind::Receipt, origin: LOG, tree_size: 12, digest };
        let note = sign_note(&statement.to_text(), LOG, &key);
        assert_eq!(verify(&note, DocumentKind::Receipt, &digest, &chain(&key)), Ok(12));
        for at in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1;
            }
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(verify(&changed, DocumentKind::Receipt, &digest, &chain(&key)).is_err(), "{changed:?}");
        }
        let two = cosign_note(&note, "other.example/l", &SigningKey::from_bytes(&[8; 32]));
        let verdict = verify(&two, DocumentKind::Receipt, &digest, &chain(&key));
        assert_eq!(verdict, Err(DocumentError::Form("it must have exactly one signature")));
    }

    #[test]
    fn a_signature_is_for_one_document_kind_and_log() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let statement =
            DocumentStatement { kind: DocumentKind::Receipt, origin: LOG, tree_size: 12, digest: [1; 32] };
        let note = sign_note(&statement.to_text(), LOG, &key);
        let of = |kind, digest: Hash| verify(&note, kind, &digest, &chain(&key));
        assert_eq!(of(DocumentKind::Receipt, [2; 32]), Err(DocumentError::Changed));
        assert!(matches!(of(DocumentKind::Package, [1; 32]), Err(DocumentError::Form(_))));
        let elsewhere = DocumentStatement { origin: "log.example/m", ..statement };
        let note = sign_note(&elsewhere.to_text(), LOG, &key);
        let verdict = verify(&note, DocumentKind::Receipt, &[1; 32], &chain(&key));
        assert!(matches!(verdict, Err(DocumentError::Form(_))));
    }

    #[test]
    fn the_digest_does_not_depend_on_spaces_or_on_the_order_of_names() {
        let digest = |text: &str| json_digest(&serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(digest(r#"{"a": [1, "é"], "b": {}}"#), digest("{\"b\":{},\n\"a\":[1,\"\\u00e9\"]}"));
        assert_ne!(digest(r#"{"a": [1, 2]}"#), digest(r#"{"a": [2, 1]}"#));
    }
}
