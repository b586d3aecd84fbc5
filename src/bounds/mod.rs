//! The decision: three tiers of bounds over the person's own decisions. The only room that knows Cedar.
//!
//! Cedar skips a policy that errs, a `forbid` too. Here any error denies.

mod cedar_request;
mod compile_pack;
mod decide;
mod decide_recording;
mod engine;
mod entities;
mod equivalent_categories;
mod fit_answer;
mod pack_tests;
mod personal_bounds;
mod policy_text;
mod roles;
mod shipped_packs;
#[cfg(test)]
mod tests;
mod thresholds;
mod valid_until;

pub use decide::{Allowed, Case, Decision};
pub use engine::{Bounds, BoundsError, Denial, UNRECORDED, check_offered, decode_policies};
pub use pack_tests::run::{Outcome, PackTestRun, TableError, run_pack_tests, tier};
pub use pack_tests::table::{
    FactStep, How, PersonStep, Recorder, SignalStep, Step, Table, TableCase, TermsStep,
};
pub use personal_bounds::{PERSONAL, personal_policies, personal_title};
pub use policy_text::scan::POLICIES_BYTES_MAX;
pub use roles::{Permitted, RoleTable};
pub use shipped_packs::{Shipped, defaults, pack, schema_digest, schema_text, shipped};
pub use valid_until::valid_until_ms;
