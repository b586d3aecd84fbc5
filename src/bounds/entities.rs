//! The entities (objects of Cedar, the policy engine) that policies refer to: purposes and categories,
//! jurisdictions, and classes of attributes (those with the same category and provenance).

use crate::bounds::error::{BoundsError, schema_error};
use crate::domain::description::UNKNOWN;
use crate::domain::event::Provenance;
use crate::domain::vocabulary::Vocabulary;
use cedar_policy::{Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::str::FromStr;
use std::sync::LazyLock;

/// The entity types of the two schemas. They are parsed once, because parsing a name takes Cedar longer than
/// everything else in a request.
static KINDS: LazyLock<BTreeMap<&str, EntityTypeName>> = LazyLock::new(|| {
    let kinds =
        ["Action", "AttributeClass", "Category", "Jurisdiction", "Ledger", "Purpose", "Recipient", "Role"];
    kinds.into_iter().filter_map(|kind| Some((kind, EntityTypeName::from_str(kind).ok()?))).collect()
});

/// The 27 member states of the European Union by ISO 3166-1; Greece also as `EL`, the code that the Union
/// itself uses.
pub(super) const EU: [&str; 28] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "EL", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT",
    "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
];
/// The other states of the European Economic Area, where the GDPR applies too (Decision of the EEA Joint
/// Committee 154/2018).
pub(super) const EEA_ONLY: [&str; 3] = ["IS", "LI", "NO"];
/// States, district and territories of the United States; policies name each as `US-..`.
const US: [&str; 56] = [
    "AK", "AL", "AR", "AS", "AZ", "CA", "CO", "CT", "DC", "DE", "FL", "GA", "GU", "HI", "IA", "ID", "IL",
    "IN", "KS", "KY", "LA", "MA", "MD", "ME", "MI", "MN", "MO", "MP", "MS", "MT", "NC", "ND", "NE", "NH",
    "NJ", "NM", "NV", "NY", "OH", "OK", "OR", "PA", "PR", "RI", "SC", "SD", "TN", "TX", "UT", "VA", "VI",
    "VT", "WA", "WI", "WV", "WY",
];

pub(super) fn uid(kind: &str, id: &str) -> Result<EntityUid, BoundsError> {
    let name = KINDS.get(kind).ok_or_else(|| schema_error(format_args!("there is no type `{kind}`")))?;
    Ok(EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id)))
}

/// The id of a class of attributes, as policies name it.
pub(super) fn class(category: &str, provenance: Provenance) -> String {
    format!("{category}/{}", provenance_name(provenance))
}

pub(super) fn provenance_name(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Declared => "declared",
        Provenance::Observed => "observed",
        Provenance::Inferred | Provenance::Unspecified => "inferred",
    }
}

/// The jurisdiction as policies name it. A subdivision maps to its country, except in the United States,
/// whose states have their own laws.
pub(super) fn place(jurisdiction: &str) -> &str {
    match jurisdiction.split_once('-') {
        _ if jurisdiction.is_empty() => UNKNOWN,
        Some(("US", state)) if US.contains(&state) => jurisdiction,
        Some((country, _)) => country,
        None => jurisdiction,
    }
}

pub(super) fn entities(vocabulary: &Vocabulary, schema: &Schema) -> Result<Entities, BoundsError> {
    let mut all = places()?;
    for purpose in vocabulary.purposes() {
        let (risks, benefits) = vocabulary.purpose_tags(&purpose.id);
        let mut attributes = tags(&risks, &benefits);
        let rung = RestrictedExpression::new_long(i32::from(vocabulary.rung(&purpose.id)).into());
        attributes.insert("rung".to_owned(), rung);
        let ancestors = parents("Purpose", &purpose.parent)?;
        all.push(Entity::new(uid("Purpose", &purpose.id)?, attributes, ancestors).map_err(schema_error)?);
    }
    for category in vocabulary.categories() {
        let ancestors = parents("Category", &category.parent)?;
        all.push(Entity::new_no_attrs(uid("Category", &category.id)?, ancestors));
        let (risks, benefits) = vocabulary.category_tags(&category.id);
        for provenance in [Provenance::Declared, Provenance::Observed, Provenance::Inferred] {
            let special = RestrictedExpression::new_bool(vocabulary.is_special(&category.id));
            let name = RestrictedExpression::new_string(provenance_name(provenance).to_owned());
            let mut attributes = tags(&risks, &benefits);
            attributes.extend([("special".to_owned(), special), ("provenance".to_owned(), name)]);
            // Unordered: required by Cedar's interface; one member.
            let ancestors = HashSet::from([uid("Category", &category.id)?]);
            let id = uid("AttributeClass", &class(&category.id, provenance))?;
            all.push(Entity::new(id, attributes, ancestors).map_err(schema_error)?);
        }
    }
    Entities::from_entities(all, Some(schema)).map_err(schema_error)
}

// Unordered: required by Cedar's interface; at most one member.
fn parents(kind: &str, parent: &str) -> Result<HashSet<EntityUid>, BoundsError> {
    let parent = if parent.is_empty() { None } else { Some(uid(kind, parent)?) };
    Ok(parent.into_iter().collect())
}

// Unordered: required by Cedar's interface; attributes of an entity have no order.
fn tags(risks: &BTreeSet<&str>, benefits: &BTreeSet<&str>) -> HashMap<String, RestrictedExpression> {
    let set = |tags: &BTreeSet<&str>| {
        RestrictedExpression::new_set(
            tags.iter().map(|tag| RestrictedExpression::new_string((*tag).to_owned())),
        )
    };
    // Unordered: as above.
    HashMap::from([("risks".to_owned(), set(risks)), ("benefits".to_owned(), set(benefits))])
}

fn places() -> Result<Vec<Entity>, BoundsError> {
    let place = |id: &str, ancestors: &str| -> Result<Entity, BoundsError> {
        Ok(Entity::new_no_attrs(uid("Jurisdiction", id)?, parents("Jurisdiction", ancestors)?))
    };
    let mut all = vec![place("EEA", "")?, place("EU", "EEA")?, place("US", "")?];
    for country in EU {
        all.push(place(country, "EU")?);
    }
    for country in EEA_ONLY {
        all.push(place(country, "EEA")?);
    }
    for state in US {
        all.push(place(&format!("US-{state}"), "US")?);
    }
    Ok(all)
}
