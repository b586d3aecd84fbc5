//! The list of attributes that a grant allows. Most grants of one data subject share a list.

use crate::event::GrantedAttribute;
use std::collections::BTreeMap;

/// The attributes that grants allow.
#[derive(Default)]
pub(super) struct Allowed {
    /// The number of the list among those of the data subject.
    pub number: usize,
    pub attributes: Vec<GrantedAttribute>,
    /// The index of each attribute, by its id.
    ids: BTreeMap<Vec<u8>, usize>,
}

impl Allowed {
    /// The list of these attributes, with a number that no other list of the data subject has.
    pub fn new(number: usize, attributes: &[GrantedAttribute]) -> Self {
        // If an attribute occurs more than once, its last place counts.
        let numbered = attributes.iter().enumerate();
        let ids = numbered.map(|(index, granted)| (granted.attribute.clone(), index)).collect();
        Self { number, attributes: attributes.to_vec(), ids }
    }

    /// The attribute with this id.
    pub fn get(&self, id: &[u8]) -> Option<&GrantedAttribute> {
        self.attributes.get(*self.ids.get(id)?)
    }
}
