//! The packs that are shipped with Sayso, and those that a new log begins with.

use crate::bounds::pack_tests::table::Table;
use crate::domain::event::{BoundsPublished, Tier};
use sha2::{Digest, Sha256};

const SCHEMA: &str = include_str!("../../bounds/schema.cedarschema");

/// A pack with its test table.
#[derive(Clone, Debug)]
pub struct Shipped {
    /// The pack, as it would be published.
    pub pack: BoundsPublished,
    /// Its test table, JSON.
    pub cases: &'static str,
}

macro_rules! shipped {
    ($tier:expr, $folder:literal, $name:literal) => {
        (
            $tier,
            $name,
            include_str!(concat!("../../bounds/", $folder, "/", $name, "/policies.cedar")),
            include_str!(concat!("../../bounds/", $folder, "/", $name, "/cases.json")),
        )
    };
}

const SHIPPED: [(Tier, &str, &str, &str); 10] = [
    shipped!(Tier::Public, "public", "gdpr"),
    shipped!(Tier::Public, "public", "eu-ai-act"),
    shipped!(Tier::Public, "public", "cpra"),
    shipped!(Tier::Public, "public", "ccpa-admt"),
    shipped!(Tier::Public, "public", "minors"),
    shipped!(Tier::Provider, "provider", "default"),
    shipped!(Tier::Provider, "provider", "consent-first"),
    shipped!(Tier::Provider, "provider", "tutoring"),
    shipped!(Tier::Provider, "provider", "companion"),
    shipped!(Tier::Provider, "provider", "workplace"),
];

/// The provider pack that a new log begins with.
const DEFAULT_PROVIDER_PACK: &str = "default";

/// The Cedar schema in human-readable syntax.
#[must_use]
pub fn schema_text() -> &'static str {
    SCHEMA
}

/// SHA-256 of the schema.
#[must_use]
pub fn schema_digest() -> [u8; 32] {
    Sha256::digest(SCHEMA).into()
}

/// A pack as it would be published.
#[must_use]
pub fn pack(tier: Tier, name: &str, policies: &str) -> BoundsPublished {
    BoundsPublished {
        tier,
        pack: name.into(),
        version: "1".into(),
        policies: policies.into(),
        schema_digest: schema_digest().to_vec(),
        effective_from_ms: 0,
    }
}

/// Every pack that is shipped with Sayso.
#[must_use]
pub fn shipped() -> Vec<Shipped> {
    let all = SHIPPED.iter();
    all.map(|(tier, name, policies, cases)| Shipped { pack: pack(*tier, name, policies), cases }).collect()
}

/// The packs that a new log begins with: all public packs, and the provider pack `default`.
#[must_use]
pub fn defaults() -> Vec<BoundsPublished> {
    let is_default = |pack: &BoundsPublished| pack.tier == Tier::Public || pack.pack == DEFAULT_PROVIDER_PACK;
    shipped().into_iter().map(|shipped| shipped.pack).filter(is_default).collect()
}

impl Shipped {
    /// Parses its test table.
    ///
    /// # Errors
    /// The table is malformed; a test rules this out.
    pub fn table(&self) -> Result<Table, serde_json::Error> {
        serde_json::from_str(self.cases)
    }
}
