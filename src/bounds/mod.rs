//! The decision: the only room that knows Cedar.
