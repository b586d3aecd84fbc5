//! The packs that come with Sayso, and those that a new log begins with.

use crate::bounds::pack_tests::table::Table;
use sayso_proof::event::{BoundsPublished, Tier};
use sha2::{Digest, Sha256};

const SCHEMA: &str = include_str!("../../bounds/schema.cedarschema");

/// A pack with its test table.
#[derive(Clone, Debug)]
pub struct Shipped {
    /// Its policies.
    pub pack: BoundsPublished,
    /// Its cases, JSON.
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

const SHIPPED: [(Tier, &str, &str, &str); 9] = [
    shipped!(Tier::Public, "public", "gdpr"),
    shipped!(Tier::Public, "public", "eu-ai-act"),
    shipped!(Tier::Public, "public", "cpra"),
    shipped!(Tier::Public, "public", "minors"),
    shipped!(Tier::Provider, "provider", "default"),
    shipped!(Tier::Provider, "provider", "consent-first"),
    shipped!(Tier::Provider, "provider", "tutoring"),
    shipped!(Tier::Provider, "provider", "companion"),
    shipped!(Tier::Provider, "provider", "workplace"),
];

/// Packs of the provider's tier that replace one another; a new log begins with the first.
const BEGINNING: &str = "default";

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

/// A pack as it would be published.
#[must_use]
pub fn pack(tier: Tier, name: &str, policies: &str) -> BoundsPublished {
    BoundsPublished {
        tier: tier.into(),
        pack: name.into(),
        version: "1".into(),
        policies: policies.into(),
        schema_digest: schema_digest().to_vec(),
        effective_from_ms: 0,
    }
}

/// Every pack that comes with Sayso.
#[must_use]
pub fn shipped() -> Vec<Shipped> {
    let all = SHIPPED.iter();
    all.map(|(tier, name, policies, cases)| Shipped { pack: pack(*tier, name, policies), cases }).collect()
}

/// What a new log begins with: all that is law, and the provider's `default`.
#[must_use]
pub fn defaults() -> Vec<BoundsPublished> {
    let begins = |pack: &BoundsPublished| pack.tier() == Tier::Public || pack.pack == BEGINNING;
    shipped().into_iter().map(|shipped| shipped.pack).filter(begins).collect()
}

impl Shipped {
    /// Its test table.
    ///
    /// # Errors
    /// The table is not one, which a test rules out.
    pub fn table(&self) -> Result<Table, serde_json::Error> {
        serde_json::from_str(self.cases)
    }
}
