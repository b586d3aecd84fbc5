//! Tests of the daemon that need what only its own code can do, such as writing as an early version did.

mod early_hashes;
