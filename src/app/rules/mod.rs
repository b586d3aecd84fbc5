//! What decisions are made by: vocabulary, bounds of the three tiers, and their effect on open grants.

pub(crate) mod define_vocabulary;
pub(crate) mod personal_bounds;
pub(crate) mod preview_bounds;
pub(crate) mod publish_bounds;
pub(crate) mod revoke_contradicted;
