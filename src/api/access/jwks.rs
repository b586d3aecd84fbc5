//! Reads the keys that a token issuer publishes (JWKS, RFC 7517), with limits on their size and number, and
//! selects those that can verify tokens.

use crate::api::access::error::CredentialError;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse, ThumbprintHash,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// The largest size of a JWKS, in bytes.
pub const JWKS_BYTES_MAX: usize = 256 << 10;
/// The largest number of keys in a set, including unusable ones.
const KEYS_MAX: usize = 128;
/// The deepest nesting of a set. A key's certificates are at depth 4.
const DEPTH_MAX: usize = 8;
/// The accepted sizes of RSA moduli, in bytes: 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// One of the issuer's keys.
pub struct TrustedKey {
    pub(crate) id: String,
    /// Identifies the key independently of its metadata (RFC 7638).
    pub(crate) thumbprint: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) decoding: DecodingKey,
}

/// Keys by their id.
pub type Keys = HashMap<String, Arc<TrustedKey>>;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// The keys of a set that can verify a token: they have an id and are for EdDSA, ES256 or RS256 signatures
/// according to their `use`, `key_ops` and `alg`. Other keys are ignored (RFC 7517, 5), and so are keys that
/// share an id. The result may be empty.
///
/// # Errors
/// The bytes are not a JWKS, are more than 256 KiB, are nested deeper than 8 levels, or have more than 128
/// keys.
pub fn read(jwks: &[u8]) -> Result<Keys, CredentialError> {
    let wrong = CredentialError::Keys;
    if jwks.len() > JWKS_BYTES_MAX {
        return Err(wrong("is larger than 256 KiB"));
    }
    if is_deeper_than(jwks, DEPTH_MAX) {
        return Err(wrong("is nested deeper than 8 levels"));
    }
    let set: Set = serde_json::from_slice(jwks).map_err(|_| wrong("is not a JWKS"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(wrong("has more than 128 keys"));
    }
    let jwks = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let mut keys: HashMap<String, Option<Arc<TrustedKey>>> = HashMap::new();
    for key in jwks.filter_map(|jwk| usable(&jwk)) {
        match keys.entry(key.id.clone()) {
            Entry::Vacant(free) => {
                free.insert(Some(Arc::new(key)));
            }
            // Several keys have this id, so the id does not say which of them signed a token. None of them is
            // used.
            Entry::Occupied(mut taken) => {
                taken.insert(None);
            }
        }
    }
    Ok(keys.into_iter().filter_map(|(id, key)| Some((id, key?))).collect())
}

/// Whether JSON is nested deeper than `depth_max` arrays and objects. The result is unspecified for text that
/// is not JSON. The check is one pass without recursion.
fn is_deeper_than(json: &[u8], depth_max: usize) -> bool {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => {
                depth = depth.saturating_add(1);
                if depth > depth_max {
                    return true;
                }
            }
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// A key that can verify a token. Its algorithm follows from its type, never from a token's header (RFC 8725,
/// 3.1). If the key also names an algorithm, the two must agree.
fn usable(jwk: &Jwk) -> Option<TrustedKey> {
    let common = &jwk.common;
    let id = common.key_id.clone()?;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    if common.key_operations.as_ref().is_some_and(|may| !may.contains(&KeyOperations::Verify)) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::RSA(key) if RSA_BYTES.contains(&(key.n.len().saturating_mul(3) / 4)) => {
            Algorithm::RS256
        }
        _ => return None,
    };
    if common.key_algorithm.is_some_and(|named| named != KeyAlgorithm::from(algorithm)) {
        return None;
    }
    let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).ok()?;
    Some(TrustedKey { id, thumbprint, algorithm, decoding: DecodingKey::from_jwk(jwk).ok()? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn key(change: &Value) -> Value {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let mut key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x});
        for (name, value) in change.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    }

    fn ids(keys: &[Value]) -> Vec<String> {
        let mut ids: Vec<String> =
            read(json!({ "keys": keys }).to_string().as_bytes()).unwrap().into_keys().collect();
        ids.sort();
        ids
    }

    #[test]
    fn a_key_is_used_only_as_it_declares() {
        for good in [
            json!({}),
            json!({"use": "sig", "alg": "EdDSA", "key_ops": ["verify"]}),
            json!({"key_ops": ["sign", "verify"], "unknown": {"a": [1]}}),
        ] {
            assert_eq!(ids(&[key(&good)]), ["a"], "{good}");
        }
        for bad in [
            json!({"use": "enc"}),
            json!({"use": "other"}),
            json!({"key_ops": []}),
            json!({"key_ops": ["sign"]}),
            json!({"key_ops": "verify"}),
            json!({"alg": "ES256"}),
            json!({"alg": "HS256"}),
            json!({"alg": "none"}),
            json!({"kid": null}),
            json!({"kid": 7}),
            json!({"crv": "X25519"}),
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "unheard-of"}),
        ] {
            assert!(ids(&[key(&bad)]).is_empty(), "{bad}");
            assert_eq!(
                ids(&[key(&bad), key(&json!({"kid": "b"}))]),
                ["b"],
                "other keys are still used: {bad}"
            );
        }
    }

    #[test]
    fn keys_that_share_an_id_are_ignored_and_a_set_may_be_empty() {
        let named = |name: &str| key(&json!({ "kid": name }));
        assert_eq!(ids(&[named("a"), named("b"), named("a"), named("a")]), ["b"]);
        assert!(ids(&[]).is_empty());
    }

    #[test]
    fn a_set_has_limits() {
        let keys = |count: usize| json!({ "keys": vec![json!({}); count] }).to_string();
        assert!(read(keys(KEYS_MAX).as_bytes()).is_ok());
        assert!(read(keys(KEYS_MAX + 1).as_bytes()).is_err());
        let padded = |bytes: usize| format!("{{\"keys\": []}}{}", " ".repeat(bytes - 12));
        assert!(read(padded(JWKS_BYTES_MAX).as_bytes()).is_ok());
        assert!(read(padded(JWKS_BYTES_MAX + 1).as_bytes()).is_err());
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
            format!("{{\"keys\": [], \"x\": {open}{close}}}")
        };
        assert!(read(nested(DEPTH_MAX).as_bytes()).is_ok());
        for depth in [DEPTH_MAX + 1, 100_000] {
            assert!(read(nested(depth).as_bytes()).is_err());
        }
        assert!(!is_deeper_than(br#""[[[\"[[[""#, 1), "brackets in a string do not nest");
        for bad in ["", "[]", "{}", "{\"keys\": {}}", "{\"keys\": [}", "\"keys\""] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
