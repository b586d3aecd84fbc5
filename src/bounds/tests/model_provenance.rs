//! The part of the model of decisions (`model.rs`) that says which provenance an attribute has for a
//! decision: the recorded one, or `inferred`.

use crate::domain::attribute::Attribute;
use crate::domain::event::Provenance;
use crate::domain::ids::EventId;
use std::collections::{BTreeMap, BTreeSet};

/// The provenance that an attribute counts with. What somebody other than the person derives from a special
/// category, in any number of steps, is inferred.
pub fn provenance(
    current: &BTreeMap<EventId, &Attribute>,
    of: &Attribute,
    by_person: bool,
    is_special: impl Fn(&str) -> bool,
) -> Provenance {
    let mut sources: BTreeSet<EventId> = of.derived_from.iter().copied().collect();
    loop {
        let found = sources.iter().filter_map(|id| current.get(id));
        let more: BTreeSet<EventId> = found.flat_map(|source| &source.derived_from).copied().collect();
        if more.is_subset(&sources) {
            break;
        }
        sources.extend(more);
    }
    let special = sources.iter().filter_map(|id| current.get(id)).any(|source| is_special(&source.category));
    if special && !by_person { Provenance::Inferred } else { of.provenance }
}
