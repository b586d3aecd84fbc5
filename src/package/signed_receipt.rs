//! The signature of a consent receipt, kept as a property in the receipt's provenance (`dct:provenance`). It
//! covers the canonical JSON (RFC 8785) of the whole receipt without this property.

use sayso_proof::merkle::Hash;
use sayso_proof::signed_document::{self, DocumentError};
use serde_json::{Value, json};

/// The id of the property.
pub(super) const SIGNATURE: &str = "signature";
/// Where the properties of a receipt are.
pub(super) const PROPERTIES: &str = "/dct:provenance/schema:additionalProperty";

/// A property of a receipt's provenance.
pub(super) fn property(id: &str, value: &str) -> Value {
    json!({ "@type": "schema:PropertyValue", "schema:propertyID": id, "schema:value": value })
}

/// The id of a property.
pub(super) fn id_of(property: &Value) -> Option<&str> {
    property.get("schema:propertyID")?.as_str()
}

/// Signs a receipt that has no signature. `sign` signs the digest that it is given.
///
/// # Errors
/// The receipt has no canonical form, which cannot happen: it is made of objects, arrays and strings.
pub fn sign_receipt(mut receipt: Value, sign: impl FnOnce(Hash) -> String) -> Result<Value, DocumentError> {
    let note = sign(signed_document::json_digest(&receipt)?);
    let properties = receipt.pointer_mut(PROPERTIES).and_then(Value::as_array_mut);
    properties.ok_or(DocumentError::Canonical)?.push(property(SIGNATURE, &note));
    Ok(receipt)
}

/// Removes the property with the signature from a receipt, and returns it; `None` if the receipt has none.
pub(super) fn take_signature(receipt: &mut Value) -> Option<Value> {
    let properties = receipt.pointer_mut(PROPERTIES)?.as_array_mut()?;
    let at = properties.iter().position(|property| id_of(property) == Some(SIGNATURE))?;
    Some(properties.remove(at))
}
