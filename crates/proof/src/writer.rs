//! The signature of a publisher (an authority for public bounds, or the controller's stewards) on the event
//! that publishes a rule. It shows that the rule comes from the publisher and not from the operator.
//!
//! A *bound* signature covers the whole event, the log, the tier, the number of the version and the time of
//! the signature. So it is valid once, in one log. An older form of signature covers the event alone. It is
//! accepted only in logs, or parts of logs, before edition 4 of the rules of decisions (see
//! `docs/format.md`).

use crate::event::event_body::Event;
use crate::event::{EventBody, WriterSignature};
use crate::rule::Rule;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use prost::Message;

/// The first line of the signed bytes of a bound signature.
const BOUND: &str = "sayso rule signature v2";
/// Precedes the event in the signed bytes of the first form.
const UNBOUND: &[u8] = b"sayso writer signature v1\n";
/// The COSE algorithm number of EdDSA (RFC 9053 section 2.2).
const EDDSA: i32 = -8;
/// How long a signature may wait for its publication: 30 days, milliseconds. So a publisher can sign on
/// another machine, but the operator can't delay the version for longer.
pub const SIGNATURE_AGE_MS_MAX: u64 = 30 * 86_400_000;
/// How far the clock of a publisher may be ahead of the ledger's: five minutes, milliseconds.
pub const SIGNATURE_AHEAD_MS_MAX: u64 = 300_000;

/// Why a publisher's signature is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriterError {
    /// The event has no signature.
    #[error("the event is not signed by its publisher")]
    Missing,
    /// The algorithm is not EdDSA, the key or signature has the wrong length, the version has a number but no
    /// time, or the event is not one that a tier signs.
    #[error("the publisher's signature is malformed")]
    Malformed,
    /// The signature is over something else or by another key.
    #[error("the publisher's signature does not verify")]
    Invalid,
}

/// What a signature is bound to, beside the event and its tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The origin of the log.
    pub origin: &'a str,
    /// The number of the version among those of its rule, from 1.
    pub sequence: u64,
    /// When it was signed, milliseconds since the Unix epoch.
    pub signed_at_ms: u64,
}

/// Whether a signature is bound to a log, a version and a time, valid or not.
#[must_use]
pub fn is_bound(signature: &WriterSignature) -> bool {
    signature.sequence != 0 || signature.signed_at_ms != 0
}

/// The signed bytes: five lines, then a body with only the event. `None` if no tier signs this event.
fn bound_bytes(event: &Event, binding: Binding<'_>) -> Option<Vec<u8>> {
    let Binding { origin, sequence, signed_at_ms } = binding;
    let tier = Rule::of(event)?.tier;
    let mut bytes = format!("{BOUND}\n{origin}\n{tier}\n{sequence}\n{signed_at_ms}\n").into_bytes();
    bytes.extend(event_bytes(event));
    Some(bytes)
}

/// The signed bytes of the first form.
fn unbound_bytes(event: &Event) -> Vec<u8> {
    let mut bytes = UNBOUND.to_vec();
    bytes.extend(event_bytes(event));
    bytes
}

/// The encoding of a body with only the event.
#[must_use]
pub fn event_bytes(event: &Event) -> Vec<u8> {
    EventBody { event: Some(event.clone()), ..EventBody::default() }.encode_to_vec()
}

/// Signs a version of a rule.
///
/// # Errors
/// No tier signs this event, or the number or the time is 0.
pub fn sign(event: &Event, binding: Binding<'_>, key: &SigningKey) -> Result<WriterSignature, WriterError> {
    if binding.sequence == 0 || binding.signed_at_ms == 0 {
        return Err(WriterError::Malformed);
    }
    let bytes = bound_bytes(event, binding).ok_or(WriterError::Malformed)?;
    Ok(WriterSignature {
        algorithm: EDDSA,
        public_key: key.verifying_key().to_bytes().to_vec(),
        signature: key.sign(&bytes).to_bytes().to_vec(),
        sequence: binding.sequence,
        signed_at_ms: binding.signed_at_ms,
    })
}

/// Verifies a signature over an event of the log `origin` with the public key in `signature`, and returns
/// that key. Both forms are accepted; [`is_bound`] says which one it is. The number and the time are not
/// compared with the log.
///
/// # Errors
/// The signature is missing, malformed or invalid.
pub fn verify(
    event: &Event,
    origin: &str,
    signature: Option<&WriterSignature>,
) -> Result<VerifyingKey, WriterError> {
    let signature = signature.ok_or(WriterError::Missing)?;
    if signature.algorithm != EDDSA {
        return Err(WriterError::Malformed);
    }
    let key = <[u8; 32]>::try_from(signature.public_key.as_slice()).map_err(|_| WriterError::Malformed)?;
    let key = VerifyingKey::from_bytes(&key).map_err(|_| WriterError::Malformed)?;
    let signed = Signature::from_slice(&signature.signature).map_err(|_| WriterError::Malformed)?;
    let bytes = match (signature.sequence, signature.signed_at_ms) {
        (0, 0) => unbound_bytes(event),
        (0, _) | (_, 0) => return Err(WriterError::Malformed),
        (sequence, signed_at_ms) => {
            let binding = Binding { origin, sequence, signed_at_ms };
            bound_bytes(event, binding).ok_or(WriterError::Malformed)?
        }
    };
    key.verify_strict(&bytes, &signed).map_err(|_| WriterError::Invalid)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::event::{BoundsPublished, PurposeDefined, Tier};

    const ORIGIN: &str = "sayso.example/acme";

    fn bounds() -> BoundsPublished {
        BoundsPublished {
            tier: Tier::Provider.into(),
            pack: "p".into(),
            version: "1".into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_bound_signature_is_valid_only_for_its_event_its_log_its_tier_its_number_its_time_and_its_key() {
        let event = Event::BoundsPublished(bounds());
        let key = SigningKey::from_bytes(&[7; 32]);
        let binding = Binding { origin: ORIGIN, sequence: 2, signed_at_ms: 9 };
        let signature = sign(&event, binding, &key).unwrap();
        assert_eq!(verify(&event, ORIGIN, Some(&signature)).unwrap(), key.verifying_key());
        let invalid = |event: &Event, origin, signature: &WriterSignature| {
            assert_eq!(verify(event, origin, Some(signature)), Err(WriterError::Invalid));
        };
        let later = Event::BoundsPublished(BoundsPublished { effective_from_ms: 1, ..bounds() });
        invalid(&later, ORIGIN, &signature);
        let public = Event::BoundsPublished(BoundsPublished { tier: Tier::Public.into(), ..bounds() });
        invalid(&public, ORIGIN, &signature);
        let other_kind = Event::PurposeDefined(PurposeDefined { parent: "p".into(), ..Default::default() });
        invalid(&other_kind, ORIGIN, &signature);
        invalid(&event, "sayso.example/other", &signature);
        invalid(&event, ORIGIN, &WriterSignature { sequence: 3, ..signature.clone() });
        invalid(&event, ORIGIN, &WriterSignature { signed_at_ms: 10, ..signature.clone() });
        // Without its number and time, it is not a signature of the first form.
        invalid(&event, ORIGIN, &WriterSignature { sequence: 0, signed_at_ms: 0, ..signature.clone() });
        let public_key = SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes().to_vec();
        invalid(&event, ORIGIN, &WriterSignature { public_key, ..signature.clone() });
        assert_eq!(verify(&event, ORIGIN, None), Err(WriterError::Missing));
        for malformed in [
            WriterSignature { signature: vec![1], ..signature.clone() },
            WriterSignature { sequence: 0, ..signature.clone() },
            WriterSignature { signed_at_ms: 0, ..signature.clone() },
            WriterSignature { algorithm: 1, ..signature },
        ] {
            assert_eq!(verify(&event, ORIGIN, Some(&malformed)), Err(WriterError::Malformed));
        }
    }

    #[test]
    fn no_tier_signs_bounds_without_a_tier_a_number_or_a_time() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let binding = Binding { origin: ORIGIN, sequence: 1, signed_at_ms: 1 };
        let signed = |event: BoundsPublished, binding| sign(&Event::BoundsPublished(event), binding, &key);
        let without_tier = BoundsPublished { tier: Tier::Individual.into(), ..bounds() };
        assert_eq!(signed(without_tier, binding), Err(WriterError::Malformed));
        assert_eq!(signed(bounds(), Binding { sequence: 0, ..binding }), Err(WriterError::Malformed));
        assert_eq!(signed(bounds(), Binding { signed_at_ms: 0, ..binding }), Err(WriterError::Malformed));
    }
}
