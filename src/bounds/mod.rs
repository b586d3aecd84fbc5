//! The decision: three tiers of bounds over the person's own decisions. The only room that knows Cedar.
//!
//! Cedar skips a policy that errs, a `forbid` too. Here any error denies.

mod alike;
mod circumstances;
mod decide;
mod engine;
mod entities;
mod fit;
mod pack;
mod packs;
mod parse;
mod personal;
mod record;
mod roles;
mod scan;
mod steady;
mod steps;
mod story;
mod table;
#[cfg(test)]
mod tests;
mod trial;

pub use decide::{Allowed, Case, Decision};
pub use engine::{Bounds, BoundsError, Denial, UNRECORDED, check_offered, decode_policies};
pub use packs::{Shipped, defaults, pack, schema_digest, schema_text, shipped};
pub use personal::{PERSONAL, personal_policies, personal_title};
pub use roles::{Permitted, RoleTable};
pub use scan::POLICIES_BYTES_MAX;
pub use steady::steady_until_ms;
pub use table::{FactStep, How, PersonStep, Recorder, SignalStep, Step, Table, TableCase, TermsStep};
pub use trial::{Outcome, TableError, Trial, tier, try_pack};
