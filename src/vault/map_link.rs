//! What links a data subject to the subject map (the log's commitment to which entries each person has):
//! their label, which their id determines, and the secret that hides their stream in the map. Both are
//! destroyed with the data subject's keys.

use sayso_proof::subject_map::{Blinding, Label};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The link of one data subject.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct MapLink {
    label: [u8; 32],
    blinding: Blinding,
}

impl MapLink {
    /// The link with this label and this secret.
    pub fn new(label: Label, blinding: Blinding) -> Self {
        Self { label: label.0, blinding }
    }

    /// The key of the data subject in the map.
    #[must_use]
    pub fn label(&self) -> Label {
        Label(self.label)
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
