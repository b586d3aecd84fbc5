//! Tests of decisions under bounds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod against_models;
mod deciding;
mod decision_table;
mod legal_bases;
mod limits;
mod model;
mod model_provenance;
mod model_subject;
mod outdated_notices;
mod personal;
mod publishing;
mod random_policies;
mod redefined_words;
mod reproducible;
mod tables;
mod valid_until;

use super::engine::Bounds;
use super::error::BoundsError;
use crate::bounds::cedar_request::{Action, CedarRequest, ClassTraits, SubjectTraits};
use crate::bounds::decide::Case;
use crate::bounds::decision::Decision;
use crate::bounds::pack;
use crate::bounds::shipped_packs::defaults;
use crate::domain::default_vocabulary::default_vocabulary;
use crate::domain::description::Description;
use crate::domain::event::{BoundsPublished, Provenance, Tier};
use crate::domain::histories::{NOW_MS, cases};
use crate::domain::profile::SubjectState;
use crate::domain::vocabulary::Vocabulary;

/// A provider pack that permits everything, so that only the other tiers decide.
fn anything() -> BoundsPublished {
    pack(Tier::Provider, "anything", "@id(\"all\") permit (principal, action, resource);")
}

fn compile(packs: Vec<BoundsPublished>) -> Result<Bounds, BoundsError> {
    let packs: Vec<(u64, BoundsPublished)> = (10..).zip(packs).collect();
    Bounds::compile(&packs, &default_vocabulary())
}

fn default_bounds() -> Bounds {
    compile(defaults()).unwrap()
}

/// A use of an ordinary category with consent.
fn consented() -> CedarRequest {
    CedarRequest {
        action: Action::Use,
        recipient: "tutor".into(),
        category: "work".into(),
        provenance: Provenance::Declared,
        traits: ClassTraits { confidence: 100, ..ClassTraits::default() },
        subject: SubjectTraits::of(&Description::default(), 0),
        consented: true,
        purpose: "memory".into(),
        ..CedarRequest::default()
    }
}

/// The policy that denies a request; `allow` if none does.
fn outcome(bounds: &Bounds, case: &CedarRequest) -> String {
    bounds.denial_for(case).map_or_else(|| "allow".to_owned(), |denial| denial.policy.clone())
}

fn memory<'a>(categories: &'a [String], keys: &'a [String]) -> Case<'a> {
    Case { recipient: "tutor", purpose: "memory", categories, keys, interaction: "", now_ms: NOW_MS }
}

fn decide(bounds: &Bounds, state: &SubjectState, vocabulary: &Vocabulary) -> Decision {
    bounds.decide(state, vocabulary, &memory(&[], &[]))
}
