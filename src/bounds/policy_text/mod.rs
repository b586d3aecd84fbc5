//! Parses policy text. Text from callers could make Cedar's recursive parser overflow its stack, so it is
//! first scanned for its size and depth, and then parsed on a thread with a large stack.

pub(crate) mod parse;
pub(crate) mod scan;
