//! The one integration binary: the daemon through its front door.

mod outside_note;
