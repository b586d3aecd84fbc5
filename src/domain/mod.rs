//! Words, events and the fold: pure, sync, no clock.
