//! The binary: parse and dispatch.

fn main() {}
