//! The decision: three tiers of bounds over the person's own decisions. The only room that knows Cedar.
//!
//! Cedar skips a policy that errs, a `forbid` too. Here any error denies.

mod decide;
mod engine;
mod pack;
mod packs;
mod roles;
#[cfg(test)]
mod tests;

pub use decide::{Allowed, Case, Decision};
pub use engine::{Bounds, BoundsError};
pub use packs::{defaults, schema_digest, schema_text};
pub use roles::RoleTable;
