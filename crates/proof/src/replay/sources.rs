//! The attributes that an attribute was derived from.

use super::attribute::AttributeState;
use super::consent::IntendedUse;
use super::fault::Fault;
use super::subject::{GrantContext, Subject};
use super::vocabulary::WordsInForce;
use crate::event::SignalKind;
use std::collections::{BTreeMap, BTreeSet};

/// The edition of the rules of decisions from which on attributes that were derived from special categories
/// count as inferred.
const CONCLUSIONS_EDITION: u32 = 3;

impl Subject {
    /// Whether an attribute counts as inferred because it was derived, directly or indirectly, from an
    /// attribute of a special category. What the data subject records with their own credential does not.
    pub(super) fn is_conclusion(&self, attribute: &AttributeState, vocabulary: WordsInForce<'_>) -> bool {
        if vocabulary.edition() < CONCLUSIONS_EDITION || attribute.by_subject {
            return false;
        }
        let (mut pending, mut seen): (Vec<&Vec<u8>>, _) =
            (attribute.derived_from.iter().collect(), BTreeSet::new());
        while let Some(id) = pending.pop() {
            let Some(source) = self.attribute(id).filter(|_| seen.insert(id)) else { continue };
            if !vocabulary.special_ancestry(&source.category).is_empty() {
                return true;
            }
            pending.extend(&source.derived_from);
        }
        false
    }

    /// Checks that the grant may use every source of a derived attribute. Nothing that was derived from a
    /// special category rests on a legal basis other than consent.
    pub(super) fn check_sources(
        &self,
        context: GrantContext<'_>,
        derived: &[u8],
        rests_on_declared: bool,
        intended: &IntendedUse<'_>,
    ) -> Result<(), Fault> {
        let (kind, interaction) = (SignalKind::Objection, intended.interaction);
        let is_objected = self.is_in_force(kind, intended.purpose, interaction, context.vocabulary);
        // What was derived from each source, and which sources are special.
        let mut above: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
        let mut special: Vec<&[u8]> = Vec::new();
        let mut declared: BTreeSet<&[u8]> = BTreeSet::new();
        declared.extend(rests_on_declared.then_some(derived));
        let mut seen = BTreeSet::new();
        let mut pending = vec![derived];
        while let Some(id) = pending.pop() {
            if !seen.insert(id) {
                continue;
            }
            let source = self.attribute(id).ok_or(Fault::SourceWithheld)?;
            if id != derived {
                self.check_usable(source, context.now_ms).map_err(|_| Fault::SourceWithheld)?;
                self.check_kept(context, source).map_err(|_| Fault::SourceWithheld)?;
                self.check_personal_bounds(context, source).map_err(|_| Fault::SourceWithheld)?;
                let use_of_source = IntendedUse { category: &source.category, ..*intended };
                let is_consent = self.consents_for(&use_of_source, context.vocabulary).is_ok();
                if !is_consent {
                    self.declared_basis(&use_of_source, context.vocabulary).ok_or(Fault::SourceWithheld)?;
                    declared.insert(id);
                }
                // A grant of what rests on consent is at fault for the objection itself.
                if is_consent && rests_on_declared && is_objected {
                    return Err(Fault::SourceWithheld);
                }
                if !context.vocabulary.special_ancestry(&source.category).is_empty() {
                    special.push(id);
                }
            }
            for below in &source.derived_from {
                above.entry(below).or_default().push(id);
                pending.push(below);
            }
        }
        let mut seen = BTreeSet::new();
        while let Some(id) = special.pop() {
            let from_special = above.get(id).into_iter().flatten().copied();
            for id in from_special.filter(|id| seen.insert(*id)) {
                if declared.contains(id) {
                    return Err(if id == derived { Fault::LegalBasis } else { Fault::SourceWithheld });
                }
                special.push(id);
            }
        }
        Ok(())
    }
}
