//! The decision: three tiers of bounds over the person's own decisions. The only room that knows Cedar.
//!
//! Cedar skips a policy that errs, a `forbid` too. Here any error denies.

mod circumstances;
mod decide;
mod engine;
mod entities;
mod pack;
mod packs;
mod personal;
mod record;
mod steps;
#[cfg(test)]
mod tests;

pub use decide::{Allowed, Case, Decision};
pub use engine::{Bounds, BoundsError, Denial};
pub use packs::{defaults, schema_digest, schema_text};
pub use personal::{PERSONAL, personal_policies};
