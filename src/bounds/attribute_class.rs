//! Classes of attributes within one decision. Attributes of the same category and provenance form a class if
//! they share everything else that the decision depends on, such as whether they are contested. So the
//! outcome is decided once for all of them.

use crate::bounds::cedar_request::ClassTraits;
use crate::domain::event::Provenance;
use std::sync::Arc;

/// The properties that determine the outcome for an attribute within one decision; attributes that share
/// them form a class.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Class<'a> {
    pub category: &'a str,
    pub provenance: Provenance,
    pub traits: Arc<ClassTraits>,
    pub expired: bool,
    pub contested: bool,
    pub confirmed: bool,
    pub source_withheld: bool,
}
