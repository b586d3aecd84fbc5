//! Classes of attributes. The attributes of a class share everything that a decision about them depends on,
//! so a class is decided once for all of them.

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
