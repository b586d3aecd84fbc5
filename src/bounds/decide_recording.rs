//! Decides whether an attribute may be recorded about a data subject.

use crate::bounds::cedar_request::{Action, CedarRequest, ClassTraits, SubjectTraits};
use crate::bounds::engine::Bounds;
use crate::bounds::error::Denial;
use crate::domain::DAY_MS;
use crate::domain::attribute::Attribute;
use crate::domain::event::{Actor, Provenance, Reason, Role, SignalKind};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use crate::domain::vocabulary::Vocabulary;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Bounds {
    /// Decides whether an attribute may be recorded, given the state before it. The decision does not depend
    /// on the attribute's value or key.
    ///
    /// # Errors
    /// Why the recording is denied; the reason is always set.
    pub fn decide_recording(
        &self,
        state: &SubjectState,
        vocabulary: &Vocabulary,
        attribute: &Attribute,
        recorder: &Actor,
        now_ms: u64,
    ) -> Result<(), Denial> {
        let role = recorder.role;
        let service = (role == Role::Service).then_some(recorder.name.as_str());
        // Policies may name a service or a channel. Consents name only services, because only services use
        // attributes.
        let application = matches!(role, Role::Service | Role::Channel).then_some(recorder.name.as_str());
        let category = attribute.category.as_str();
        let consents = state.consents.allowing_any_purpose(vocabulary, category, service, now_ms);
        let kinds: BTreeSet<(bool, bool)> =
            consents.iter().map(|yes| (yes.terms.explicit, yes.terms.guardian)).collect();
        let inferred = attribute.provenance == Provenance::Inferred;
        let traits = self.traits(attribute, sources(state, vocabulary, attribute), now_ms);
        let mut case = CedarRequest {
            action: if inferred { Action::Infer } else { Action::Record },
            recipient: application.unwrap_or_default().to_owned(),
            category: self.equivalent_categories().representative(category, &traits.sources).to_owned(),
            provenance: attribute.provenance,
            traits,
            subject: SubjectTraits::of(&state.description, now_ms),
            consented: !kinds.is_empty(),
            explicit: false,
            guardian: false,
            restricted: state.signal_against(SignalKind::Restriction, &[]).is_some(),
            purpose: String::new(),
            objected: false,
            paused: false,
            conversation_paused: false,
            opted_out: false,
            opted_out_automated: false,
            limit_sensitive: false,
            noticed: false,
            ai_disclosed: false,
            expired: false,
            contested: false,
            source_withheld: false,
            confirmed: false,
            asked: false,
            consent_days: 0,
            notice: String::new(),
            notice_version: String::new(),
            conversation: String::new(),
            recorder: role,
        };
        let mut first: Option<Arc<Denial>> = None;
        for (explicit, guardian) in if kinds.is_empty() { BTreeSet::from([(false, false)]) } else { kinds } {
            (case.explicit, case.guardian) = (explicit, guardian);
            match self.denial_for(&case) {
                None => return Ok(()),
                Some(denial) => first = first.or(Some(denial)),
            }
        }
        let denial = first.map(|denial| denial.as_ref().clone());
        denial.map_or(Ok(()), |denial| {
            let reason = denial.reason.or(Some(Reason::NoConsent));
            Err(Denial { reason, ..denial })
        })
    }

    /// The properties of an attribute beyond category and provenance, rounded to what the bounds in force
    /// distinguish.
    pub(super) fn traits(
        &self,
        attribute: &Attribute,
        sources: BTreeSet<String>,
        now_ms: u64,
    ) -> ClassTraits {
        let age_days = now_ms.saturating_sub(attribute.observed_at_ms) / DAY_MS;
        let confidence = match (attribute.provenance, attribute.confidence) {
            (Provenance::Inferred, Some(confidence)) => percent(confidence),
            (Provenance::Inferred, None) => 0,
            _ => 100,
        };
        let (age_days, confidence) = self.thresholds().round(age_days, confidence);
        ClassTraits { age_days, confidence, derived: !attribute.derived_from.is_empty(), sources }
    }
}

/// Percent, rounded down and clamped to 0 to 100.
fn percent(confidence: f64) -> u8 {
    (1..=100_u8).rev().find(|percent| confidence.mul_add(100.0, 1e-9) >= f64::from(*percent)).unwrap_or(0)
}

/// The categories, with their ancestors, of all direct and indirect sources of an attribute that are in the
/// profile.
fn sources(state: &SubjectState, vocabulary: &Vocabulary, attribute: &Attribute) -> BTreeSet<String> {
    if attribute.derived_from.is_empty() {
        return BTreeSet::new();
    }
    let current: BTreeMap<EventId, &Attribute> =
        state.attributes.values().map(|current| (current.event_id, &current.attribute)).collect();
    let (mut all, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut open: Vec<&EventId> = attribute.derived_from.iter().collect();
    while let Some(next) = open.pop() {
        if let Some(source) = current.get(next).filter(|_| seen.insert(*next)) {
            all.extend(vocabulary.category_ancestry(&source.category).into_iter().map(str::to_owned));
            open.extend(&source.derived_from);
        }
    }
    all
}
