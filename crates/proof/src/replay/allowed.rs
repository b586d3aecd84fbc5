//! The list of attributes that a grant allows. Most grants of one data subject share a list.

use crate::event::GrantedAttribute;
use std::collections::BTreeMap;

/// The attributes that grants allow.
#[derive(Default)]
pub(super) struct Allowed {
    pub attributes: Vec<GrantedAttribute>,
    /// The index of each attribute, by its id.
    ids: BTreeMap<Vec<u8>, usize>,
}

impl Allowed {
    /// The list of these attributes.
    pub fn new(attributes: &[GrantedAttribute]) -> Self {
        // If an attribute occurs more than once, its last place counts.
        let numbered = attributes.iter().enumerate();
        let ids = numbered.map(|(index, granted)| (granted.attribute.clone(), index)).collect();
        Self { attributes: attributes.to_vec(), ids }
    }

    /// The attribute with this id.
    pub fn get(&self, id: &[u8]) -> Option<&GrantedAttribute> {
        self.attributes.get(*self.ids.get(id)?)
    }
}
