//! Tests of the replay that compare it with slower code.

mod index;
