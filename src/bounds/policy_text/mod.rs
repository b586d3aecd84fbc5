//! Policy text from callers: scanned for its size and depth, then parsed on a thread of its own.

pub(crate) mod parse;
pub(crate) mod scan;
