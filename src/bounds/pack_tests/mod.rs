//! The tests that a bounds pack carries: a table of cases, each a scenario and the decision it expects.

pub(crate) mod run;
pub(crate) mod scenario;
pub(crate) mod table;
