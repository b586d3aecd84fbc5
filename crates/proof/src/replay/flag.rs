//! Flags: which entries have a finding, and which grants a replay could not check in full.

/// A finding, or a grant that could not be checked in full. Unlike the lists in a report, flags have no
/// maximum number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// A finding at a position. `grant` is the event id of the grant that it concerns, in hex, or empty.
    Finding { position: u64, grant: String },
    /// The grant at this position could not be checked in full.
    Unchecked { position: u64 },
}
