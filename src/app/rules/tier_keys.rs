//! The keys that bounds of each tier must be signed with.

use crate::domain::event::{Event, codec};
use sayso_proof::event::WriterSignature;
use sayso_proof::writer;

/// Public keys (Ed25519, raw) that bounds must be signed with. Nothing can be published for a tier without a
/// key.
#[derive(Clone, Copy, Debug, Default)]
pub struct TierKeys {
    /// The key of tier 1, public bounds.
    pub authority: Option<[u8; 32]>,
    /// The key of tier 2, provider bounds.
    pub steward: Option<[u8; 32]>,
}

/// The signature over an event, if it is valid and by this key. A signature that names no public key counts
/// as a signature by this key.
pub(crate) fn signed_by(
    key: &[u8; 32],
    event: &Event,
    signature: Option<WriterSignature>,
) -> Option<WriterSignature> {
    let signature = match signature? {
        unnamed if unnamed.public_key.is_empty() => WriterSignature { public_key: key.to_vec(), ..unnamed },
        named => named,
    };
    let by = writer::verify(&codec::encode_event(event), Some(&signature)).ok()?;
    (by.to_bytes() == *key).then_some(signature)
}
