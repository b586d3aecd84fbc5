//! Finds out why bytes are not an entry in this format, with a general COSE_Sign1 parser.

use super::error::EntryError;
use super::payload::Payload;
use crate::cose::CONTENT_TYPE;
use coset::iana::{Algorithm, EnumI64, HeaderParameter};
use coset::{AsCborValue, CoseSign1, Label, RegisteredLabelWithPrivate, TaggedCborSerializable};

/// The first fault of an entry that the strict parser rejected.
pub(super) fn diagnose(bytes: &[u8]) -> EntryError {
    // CBOR can encode one value in several ways, and the signature does not cover every byte of the encoding.
    // So only the canonical encoding is accepted.
    check(bytes).err().unwrap_or(EntryError::Header("not in canonical form"))
}

fn check(bytes: &[u8]) -> Result<(), EntryError> {
    let cose = CoseSign1::from_tagged_slice(bytes).map_err(|_| EntryError::Cose)?;
    if !cose.unprotected.is_empty() {
        return Err(EntryError::Header("unprotected parameters are not allowed"));
    }
    if cose.signature.len() != 64 {
        return Err(EntryError::Signature);
    }
    let issued_at = issued_at(&cose.protected.header)?;
    let payload = cose.payload.ok_or(EntryError::Payload("a detached payload is not allowed"))?;
    let sealed_at_ms = Payload::decode(&payload)?.header.sealed_at_ms;
    if u64::try_from(issued_at) != Ok(sealed_at_ms / 1000) {
        return Err(EntryError::Header("`iat` does not match `sealed_at_ms`"));
    }
    Ok(())
}

/// The `iat` claim of a protected header that has every required parameter and no other.
fn issued_at(header: &coset::Header) -> Result<i64, EntryError> {
    if header.alg != Some(RegisteredLabelWithPrivate::Assigned(Algorithm::EdDSA)) {
        return Err(EntryError::Header("`alg` is not EdDSA"));
    }
    if header.content_type != Some(coset::ContentType::Text(CONTENT_TYPE.to_owned())) {
        return Err(EntryError::Header("the content type is not that of a sealed event"));
    }
    if header.key_id.len() != 8 {
        return Err(EntryError::Header("`kid` is not 8 bytes"));
    }
    let [(Label::Int(label), claims)] = header.rest.as_slice() else {
        return Err(EntryError::Header("unknown parameters"));
    };
    if *label != HeaderParameter::CwtClaims.to_i64() {
        return Err(EntryError::Header("unknown parameters"));
    }
    let claims = coset::cwt::ClaimsSet::from_cbor_value(claims.clone())
        .map_err(|_| EntryError::Header("malformed CWT claims"))?;
    claims.issuer.ok_or(EntryError::Header("the `iss` claim is missing"))?;
    match claims.issued_at {
        Some(coset::cwt::Timestamp::WholeSeconds(seconds)) => Ok(seconds),
        _ => Err(EntryError::Header("the `iat` claim is missing or not in whole seconds")),
    }
}
