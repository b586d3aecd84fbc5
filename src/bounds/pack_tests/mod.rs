//! The tests that come with a pack of bounds: a table of cases, each with a scenario and the decision that is
//! expected for it.

pub(crate) mod run;
pub(crate) mod scenario;
pub(crate) mod table;
