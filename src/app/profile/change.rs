//! The changes that a request can make to a recorded attribute: remove, contest or confirm it.

/// A change to a current attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Remove it.
    Remove,
    /// The data subject says that it is wrong.
    Contest,
    /// The data subject says that it is right.
    Confirm,
}
