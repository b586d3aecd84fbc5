//! What is wrong with bytes that are not in this format's form, found with a reader of any COSE_Sign1.

use super::{CONTENT_TYPE, EntryError, parse_payload};
use coset::iana::{Algorithm, EnumI64, HeaderParameter};
use coset::{AsCborValue, CoseSign1, Label, RegisteredLabelWithPrivate, TaggedCborSerializable};

/// The first thing that is wrong.
pub(super) fn fault(bytes: &[u8]) -> EntryError {
    // CBOR can say one thing in many ways, and not all of them are signed: only this format's own is taken.
    look(bytes).err().unwrap_or(EntryError::Header("not in canonical form"))
}

fn look(bytes: &[u8]) -> Result<(), EntryError> {
    let cose = CoseSign1::from_tagged_slice(bytes).map_err(|_| EntryError::Cose)?;
    if !cose.unprotected.is_empty() {
        return Err(EntryError::Header("unprotected parameters"));
    }
    if cose.signature.len() != 64 {
        return Err(EntryError::Signature);
    }
    let issued_at = issued_at(&cose.protected.header)?;
    let payload = cose.payload.ok_or(EntryError::Payload("detached"))?;
    let sealed_at_ms = parse_payload(&payload)?.header.sealed_at_ms;
    if u64::try_from(issued_at) != Ok(sealed_at_ms / 1000) {
        return Err(EntryError::Header("iat is not the time of sealing"));
    }
    Ok(())
}

/// Time of a protected header that has what it needs, and nothing else.
fn issued_at(header: &coset::Header) -> Result<i64, EntryError> {
    if header.alg != Some(RegisteredLabelWithPrivate::Assigned(Algorithm::EdDSA)) {
        return Err(EntryError::Header("alg"));
    }
    if header.content_type != Some(coset::ContentType::Text(CONTENT_TYPE.to_owned())) {
        return Err(EntryError::Header("content type"));
    }
    if header.key_id.len() != 8 {
        return Err(EntryError::Header("kid"));
    }
    let [(Label::Int(label), claims)] = header.rest.as_slice() else {
        return Err(EntryError::Header("unknown parameters"));
    };
    if *label != HeaderParameter::CwtClaims.to_i64() {
        return Err(EntryError::Header("unknown parameters"));
    }
    let claims = coset::cwt::ClaimsSet::from_cbor_value(claims.clone())
        .map_err(|_| EntryError::Header("CWT claims"))?;
    claims.issuer.ok_or(EntryError::Header("iss"))?;
    match claims.issued_at {
        Some(coset::cwt::Timestamp::WholeSeconds(seconds)) => Ok(seconds),
        _ => Err(EntryError::Header("iat")),
    }
}
