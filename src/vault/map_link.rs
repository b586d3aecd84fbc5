//! Links a data subject to the subject map, in which the log commits to the entries that each person has.
//! The link has two parts. One is the person's label in the map. It is computed from their id. If the
//! person was recorded before the log had a map, it is computed from their handle until the log records
//! something under the id. The other is the secret that hides their stream in the map. Both parts are
//! destroyed with the person's keys.

use crate::secret::SecretBytes;
use sayso_proof::entry::Handle;
use sayso_proof::subject_map::{Blinding, Label};

/// The link of one data subject. Both parts stay at their place on the heap, so that no move copies them.
#[derive(Clone, PartialEq, Eq)]
pub struct MapLink {
    label: SecretBytes,
    blinding: SecretBytes,
}

impl MapLink {
    /// The link with this label and this secret.
    #[must_use]
    pub fn new(label: &Label, blinding: SecretBytes) -> Self {
        Self { label: SecretBytes::copy_of(&label.0), blinding }
    }

    /// The link of a data subject whose id the log has not seen since it has had a map. Everybody can compute
    /// it from the handle.
    #[must_use]
    pub fn unlinked(handle: Handle) -> Self {
        Self::new(&Label::unlinked(handle), SecretBytes::copy_of(&[0; 32]))
    }

    /// The key of the data subject in the map. The copy is the caller's to clear
    /// ([`crate::secret::with_cleared_stack`]).
    #[must_use]
    pub fn label(&self) -> Label {
        Label(*self.label)
    }

    /// The secret of their commitment.
    #[must_use]
    pub fn blinding(&self) -> &Blinding {
        &self.blinding
    }
}

impl std::fmt::Debug for MapLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MapLink(..)")
    }
}
