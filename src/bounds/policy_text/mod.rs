//! Parses policy text. Text from callers is first scanned for its size and depth, and then parsed on a
//! separate thread.

pub(crate) mod parse;
pub(crate) mod scan;
