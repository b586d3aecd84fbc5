//! Finds the attributes from which the attributes of a grant were derived, directly and indirectly. If one of
//! these may not be used, the derived attribute may not be used either.

use super::attribute::AttributeState;
use super::subject::Subject;
use super::vocabulary::WordsInForce;
use crate::event::GrantIssued;
use std::collections::HashMap;

/// What the use of a source rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceBasis {
    Consent,
    Declared,
    /// It may not be used.
    Withheld,
    /// Its event is missing.
    Missing,
}

/// Every attribute that a grant allows, and all that they were derived from.
#[derive(Default)]
pub(super) struct Sources<'a> {
    // Unordered: looked up, never iterated.
    numbers: HashMap<&'a [u8], usize>,
    nodes: Vec<Node<'a>>,
    is_derived_from_special: Vec<bool>,
    is_derived_from_withheld: Vec<bool>,
    is_derived_from_consented: Vec<bool>,
    is_derived_from_missing: Vec<bool>,
    /// Whether one of the sources expires before the grant does.
    is_derived_from_shorter: Vec<bool>,
}

struct Node<'a> {
    id: &'a [u8],
    /// None if no event recorded the attribute, or if that event is missing.
    attribute: Option<&'a AttributeState>,
    /// The numbers of the attributes that were derived from it.
    derived: Vec<usize>,
}

impl<'a> Sources<'a> {
    /// Finds the sources of a grant. They are incomplete if too few steps are left.
    pub fn of(subject: &'a Subject, grant: &'a GrantIssued, vocabulary: WordsInForce<'a>) -> Self {
        let mut sources = Self::default();
        let derived =
            |id: &&'a [u8]| subject.attribute(id).is_some_and(|attribute| !attribute.derived_from.is_empty());
        let granted = grant.allowed.iter().map(|granted| granted.attribute.as_slice());
        for id in granted.filter(derived) {
            sources.number(subject, id);
        }
        let mut next = 0;
        while let Some(attribute) = sources.nodes.get(next).map(|node| node.attribute) {
            let from = attribute.map_or(&[][..], |attribute| attribute.derived_from.as_slice());
            if !subject.effort.spend(1 + from.len()) {
                break;
            }
            for id in from {
                let source = sources.number(subject, id);
                if let Some(source) = sources.nodes.get_mut(source) {
                    source.derived.push(next);
                }
            }
            next += 1;
        }
        let is_special = |node: &Node<'_>| {
            let category = node.attribute.map(|attribute| attribute.category.as_str());
            category.is_some_and(|category| !vocabulary.special_ancestry(category).is_empty())
        };
        let special = sources.nodes.iter().map(is_special).collect();
        sources.is_derived_from_special = sources.derived_from(special);
        let is_shorter = |node: &Node<'_>| {
            node.attribute.is_some_and(|attribute| attribute.expires_before(grant.expires_at_ms))
        };
        sources.is_derived_from_shorter =
            sources.derived_from(sources.nodes.iter().map(is_shorter).collect());
        sources
    }

    fn number(&mut self, subject: &'a Subject, id: &'a [u8]) -> usize {
        let next = self.nodes.len();
        let nodes = &mut self.nodes;
        *self.numbers.entry(id).or_insert_with(|| {
            nodes.push(Node { id, attribute: subject.attribute(id), derived: Vec::new() });
            next
        })
    }

    /// Which attributes were derived, directly or indirectly, from some that are marked.
    fn derived_from(&self, mut marked: Vec<bool>) -> Vec<bool> {
        let mut derived = vec![false; self.nodes.len()];
        let numbered = marked.iter().enumerate();
        let mut pending: Vec<usize> =
            numbered.filter(|(_, is_marked)| **is_marked).map(|(number, _)| number).collect();
        while let Some(number) = pending.pop() {
            let above = self.nodes.get(number).map_or(&[][..], |node| node.derived.as_slice());
            for number in above {
                if let Some(is_derived) = derived.get_mut(*number) {
                    *is_derived = true;
                }
                if let Some(is_marked) = marked.get_mut(*number).filter(|is_marked| !**is_marked) {
                    *is_marked = true;
                    pending.push(*number);
                }
            }
        }
        derived
    }

    /// The sources: number, id and state of each, and whether it was derived from a special category.
    pub fn sources(&self) -> Vec<(usize, &'a [u8], Option<&'a AttributeState>, bool)> {
        let nodes = self.nodes.iter().zip(&self.is_derived_from_special).enumerate();
        let sources = nodes.filter(|(_, (node, _))| !node.derived.is_empty());
        sources.map(|(number, (node, is_special))| (number, node.id, node.attribute, *is_special)).collect()
    }

    /// Notes what the use of each source rests on.
    pub fn judge(&mut self, judged: &[(usize, SourceBasis)]) {
        let mut bases: Vec<SourceBasis> = vec![SourceBasis::Withheld; self.nodes.len()];
        for (number, basis) in judged {
            if let Some(slot) = bases.get_mut(*number) {
                *slot = *basis;
            }
        }
        let is_source =
            |(node, basis): (&Node<'_>, &SourceBasis), wanted| !node.derived.is_empty() && *basis == wanted;
        let marked = |wanted| self.nodes.iter().zip(&bases).map(|pair| is_source(pair, wanted)).collect();
        self.is_derived_from_withheld = self.derived_from(marked(SourceBasis::Withheld));
        self.is_derived_from_consented = self.derived_from(marked(SourceBasis::Consent));
        self.is_derived_from_missing = self.derived_from(marked(SourceBasis::Missing));
    }

    fn is(&self, which: &[bool], id: &[u8]) -> bool {
        self.numbers.get(id).and_then(|number| which.get(*number)).copied().unwrap_or_default()
    }

    /// Whether an attribute of the grant was derived from an attribute of a special category.
    pub fn is_derived_from_special(&self, id: &[u8]) -> bool {
        self.is(&self.is_derived_from_special, id)
    }

    /// Whether an attribute of the grant was derived from one that expires before the grant does.
    pub fn is_shorter(&self, id: &[u8]) -> bool {
        self.is(&self.is_derived_from_shorter, id)
    }

    /// Whether an attribute of the grant was derived from one that may not be used.
    pub fn is_withheld(&self, id: &[u8]) -> bool {
        self.is(&self.is_derived_from_withheld, id)
    }

    /// Whether an attribute of the grant was derived from one whose event is missing.
    pub fn is_missing(&self, id: &[u8]) -> bool {
        self.is(&self.is_derived_from_missing, id)
    }

    /// Whether an attribute of the grant was derived from one whose use rests on consent.
    pub fn rests_on_consent(&self, id: &[u8]) -> bool {
        self.is(&self.is_derived_from_consented, id)
    }
}
