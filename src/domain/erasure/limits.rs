//! How much work the selection of an erasure may be.

use crate::domain::text_search;

/// The steps that reading an event again takes.
pub const REREAD_STEPS: usize = 4;

/// How much work the selection of a part may be. Without a limit, a history that a service made for this
/// purpose could stop the daemon with one erasure.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most links between an event and one that depends on it, in the whole history.
    pub links_max: usize,
    /// The most steps: links followed, and [`REREAD_STEPS`] for each event that is read again to see which
    /// attributes became current. The default takes some seconds.
    pub steps_max: usize,
    /// The most bytes of text that are read for the scope of a text.
    pub text_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { links_max: 1 << 24, steps_max: 1 << 25, text_bytes_max: text_search::BYTES_MAX }
    }
}

impl Limits {
    /// No limits: for an erasure that was started, because it must not stop halfway.
    #[must_use]
    pub fn none() -> Self {
        Self { links_max: usize::MAX, steps_max: usize::MAX, text_bytes_max: usize::MAX }
    }
}

/// Why a part can't be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLarge {
    /// More depends on the part than [`Limits`] allow.
    Dependents,
    /// The person's record has more text than one search for a text reads.
    Text,
}
