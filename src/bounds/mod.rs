//! Bounds are Cedar policies in three tiers: public, provider and individual. This module compiles them.
//! It decides each use by the bounds, and by the data subject's consent or another legal basis of the
//! purpose. No other module depends on Cedar.
//!
//! Cedar skips a policy whose evaluation fails, even a `forbid`. In this module, any evaluation error denies.

mod attribute_class;
mod built_in;
pub(crate) mod cedar_request;
pub(crate) mod compile_pack;
pub(crate) mod decide;
mod decide_recording;
pub(crate) mod decision;
mod definitions;
pub(crate) mod engine;
mod entities;
mod equivalent_categories;
pub(crate) mod error;
mod evaluate_roles;
pub(crate) mod explain_refusal;
pub(crate) mod fit_answer;
pub(crate) mod ground;
pub mod invalidation;
pub mod lapsed_consents;
mod pack_tests;
pub(crate) mod personal_bounds;
pub(crate) mod policy_text;
pub mod rulebook;
pub(crate) mod shipped_packs;
#[cfg(test)]
mod tests;
mod thresholds;
pub mod titles;
pub(crate) mod valid_until;
pub mod withhold;

pub use decide::Case;
pub use decision::{Allowed, Decision};
pub use engine::{Bounds, UNRECORDED, check_offered, decode_policies};
pub use error::{BoundsError, Denial};
pub use evaluate_roles::compile_roles;
pub use pack_tests::run::{Outcome, PackTestRun, TableError, run_pack_tests, tier};
pub use pack_tests::table::{
    AttributeStep, ProvenanceName, Recorder, SignalStep, Step, SubjectStep, Table, TableCase, TermsStep,
};
pub use personal_bounds::{PERSONAL, personal_policies, personal_title};
pub use policy_text::scan::POLICIES_BYTES_MAX;
pub use shipped_packs::{Shipped, defaults, pack, schema_digest, schema_text, shipped};
pub use valid_until::valid_until_ms;
