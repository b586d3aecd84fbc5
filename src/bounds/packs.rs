//! The packs that a new log begins with.

use sayso_proof::event::{BoundsPublished, Tier};
use sha2::{Digest, Sha256};

const SCHEMA: &str = include_str!("../../bounds/schema.cedarschema");

/// The Cedar schema, human syntax.
#[must_use]
pub fn schema_text() -> &'static str {
    SCHEMA
}

/// SHA-256 of the schema.
#[must_use]
pub fn schema_digest() -> [u8; 32] {
    Sha256::digest(SCHEMA).into()
}

/// Public: the core of the GDPR. Provider: what is consented to.
#[must_use]
pub fn defaults() -> Vec<BoundsPublished> {
    let pack = |tier: Tier, pack: &str, policies: &str| BoundsPublished {
        tier: tier.into(),
        pack: pack.into(),
        version: "1".into(),
        policies: policies.into(),
        schema_digest: schema_digest().to_vec(),
        effective_from_ms: 0,
    };
    vec![
        pack(Tier::Public, "gdpr", include_str!("../../bounds/public/gdpr/policies.cedar")),
        pack(Tier::Provider, "default", include_str!("../../bounds/provider/default/policies.cedar")),
    ]
}
