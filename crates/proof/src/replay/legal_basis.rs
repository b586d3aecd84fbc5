//! Legal bases other than consent.

use super::consent::{IntendedUse, leave_room};
use super::subject::Subject;
use super::vocabulary::WordsInForce;
use crate::event::LegalBasis;

impl Subject {
    /// The legal basis other than consent that allows a use of a category, if there is one (edition 3 of the
    /// rules of decisions). It never allows the use of a special category or of a minor's data. A legitimate
    /// interest needs a stated age too.
    pub(super) fn declared_basis(
        &self,
        intended: &IntendedUse<'_>,
        vocabulary: WordsInForce<'_>,
    ) -> Option<(LegalBasis, u64)> {
        let declared = vocabulary.declared_basis(intended.purpose)?;
        let can_be_refused = declared.0 == LegalBasis::LegitimateInterest;
        let is_adult = self.age.is_adult(intended.now_ms).unwrap_or(!can_be_refused);
        let applies = vocabulary.edition() >= 3
            && is_adult
            && !self.choices.ask_each_time
            && vocabulary.has_category(intended.category)
            && vocabulary.special_ancestry(intended.category).is_empty()
            && leave_room(&self.decisions, can_be_refused, intended, vocabulary);
        applies.then_some(declared)
    }
}
