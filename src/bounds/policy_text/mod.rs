//! Parses policy text. Text from callers could make the recursive parser of Cedar, the policy engine,
//! overflow its stack. So such text is first scanned for its size and depth, and then parsed on a thread
//! with a large stack.

pub(crate) mod parse;
pub(crate) mod scan;
