//! Parses policy text. Text from callers is first scanned for its size and depth, and parsed on a thread of
//! its own.

pub(crate) mod parse;
pub(crate) mod scan;
