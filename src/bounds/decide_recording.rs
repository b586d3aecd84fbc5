//! The decision at the door: may this be recorded at all?

use crate::bounds::cedar_request::{Action, CedarRequest, Facts, Person};
use crate::bounds::engine::Bounds;
use crate::bounds::error::Denial;
use crate::domain::DAY_MS;
use crate::domain::attribute::Attribute;
use crate::domain::event::{Actor, Role, SignalKind};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use crate::domain::vocabulary::Vocabulary;
use sayso_proof::event::{Provenance, Reason};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Bounds {
    /// Decides whether an attribute may be recorded about a person, as they stand before it. Its value and key are not
    /// looked at.
    ///
    /// # Errors
    /// What stands against it; its reason is always there.
    pub fn decide_recording(
        &self,
        state: &SubjectState,
        vocabulary: &Vocabulary,
        attribute: &Attribute,
        recorder: &Actor,
        now_ms: u64,
    ) -> Result<(), Denial> {
        let role = recorder.role();
        let service = (role == Role::Service).then_some(recorder.name.as_str());
        // Policies name an application by what it is called, whichever of the two it is; consents name those who use.
        let application = matches!(role, Role::Service | Role::Channel).then_some(recorder.name.as_str());
        let category = attribute.category.as_str();
        let standing = state.consents.standing_for_any_purpose(vocabulary, category, service, now_ms);
        let kinds: BTreeSet<(bool, bool)> =
            standing.iter().map(|yes| (yes.terms.explicit, yes.terms.guardian)).collect();
        let inferred = attribute.provenance == Provenance::Inferred;
        let facts = self.facts(attribute, sources(state, vocabulary, attribute), now_ms);
        let mut case = CedarRequest {
            action: if inferred { Action::Infer } else { Action::Record },
            recipient: application.unwrap_or_default().to_owned(),
            category: self.alike().place(category, &facts.sources).to_owned(),
            provenance: attribute.provenance,
            facts,
            person: Person::of(&state.description),
            consented: !kinds.is_empty(),
            explicit: false,
            guardian: false,
            restricted: state.signal_against(SignalKind::Restriction, &[]).is_some(),
            purpose: String::new(),
            objected: false,
            paused: false,
            conversation_paused: false,
            opted_out: false,
            limit_sensitive: false,
            ai_disclosed: false,
            expired: false,
            contested: false,
            source_withheld: false,
            confirmed: false,
            asked: false,
            conversation: String::new(),
            recorder: role,
        };
        let mut first: Option<Arc<Denial>> = None;
        for (explicit, guardian) in if kinds.is_empty() { BTreeSet::from([(false, false)]) } else { kinds } {
            (case.explicit, case.guardian) = (explicit, guardian);
            match self.against(&case) {
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

    /// What policies are told of an attribute beyond its class, as finely as the bounds in force ask.
    pub(super) fn facts(&self, attribute: &Attribute, sources: BTreeSet<String>, now_ms: u64) -> Facts {
        let age_days = now_ms.saturating_sub(attribute.observed_at_ms) / DAY_MS;
        let confidence = match (attribute.provenance, attribute.confidence) {
            (Provenance::Inferred, Some(confidence)) => per_cent(confidence),
            (Provenance::Inferred, None) => 0,
            _ => 100,
        };
        let (age_days, confidence) = self.steps().coarse(age_days, confidence);
        Facts { age_days, confidence, derived: !attribute.derived_from.is_empty(), sources }
    }
}

/// Rounded down; what is out of bounds is nearest to what is in.
fn per_cent(confidence: f64) -> u8 {
    (1..=100_u8).rev().find(|per_cent| confidence.mul_add(100.0, 1e-9) >= f64::from(*per_cent)).unwrap_or(0)
}

/// Categories, with all above them, of everything that an attribute was derived from and that is held.
fn sources(state: &SubjectState, vocabulary: &Vocabulary, attribute: &Attribute) -> BTreeSet<String> {
    if attribute.derived_from.is_empty() {
        return BTreeSet::new();
    }
    let held: BTreeMap<EventId, &Attribute> =
        state.attributes.values().map(|held| (held.event_id, &held.attribute)).collect();
    let (mut all, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut open: Vec<&EventId> = attribute.derived_from.iter().collect();
    while let Some(next) = open.pop() {
        if let Some(source) = held.get(next).filter(|_| seen.insert(*next)) {
            all.extend(vocabulary.category_ancestry(&source.category).into_iter().map(str::to_owned));
            open.extend(&source.derived_from);
        }
    }
    all
}
