//! Decides whether the bounds allow an attribute to be recorded about a data subject.

use crate::bounds::cedar_request::{Action, CedarRequest, ClassTraits, SubjectTraits};
use crate::bounds::engine::Bounds;
use crate::bounds::error::Denial;
use crate::domain::DAY_MS;
use crate::domain::attribute::Attribute;
use crate::domain::event::{Actor, Provenance, Reason, Role, SignalKind};
use crate::domain::profile::SubjectState;
use crate::domain::special_sources::effective_provenance;
use crate::domain::vocabulary::Vocabulary;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The recording of an attribute, without its category.
struct Recording<'a> {
    /// The provenance that the attribute counts with.
    provenance: Provenance,
    traits: ClassTraits,
    state: &'a SubjectState,
    vocabulary: &'a Vocabulary,
    recorder: &'a Actor,
    now_ms: u64,
}

impl Bounds {
    /// Decides whether an attribute may be recorded, given the state before it and the categories of its
    /// direct and indirect sources. The decision does not depend on the attribute's value or key. If it
    /// counts as inferred from special categories, it must be allowed for each of them too.
    ///
    /// # Errors
    /// Why the recording is denied; the reason is always set.
    pub fn decide_recording(
        &self,
        state: &SubjectState,
        vocabulary: &Vocabulary,
        (attribute, sources): (&Attribute, &BTreeSet<String>),
        recorder: &Actor,
        now_ms: u64,
    ) -> Result<(), Denial> {
        let sources = sources.iter().map(String::as_str);
        let special: Vec<&str> = sources.clone().filter(|category| vocabulary.is_special(category)).collect();
        let provenance =
            effective_provenance(attribute.provenance, recorder.role, sources.clone(), vocabulary);
        let ancestries = sources.flat_map(|category| vocabulary.category_ancestry(category));
        let sources = ancestries.map(str::to_owned).collect();
        let recording = Recording {
            provenance,
            traits: self.traits(attribute, provenance, sources, now_ms),
            state,
            vocabulary,
            recorder,
            now_ms,
        };
        self.decide_category(&recording, &attribute.category)?;
        // To conclude something from special data is to process that data too.
        let is_conclusion = provenance == Provenance::Inferred && recorder.role != Role::Subject;
        let mut concluded_from = special.into_iter().filter(|_| is_conclusion);
        concluded_from.try_for_each(|category| self.decide_category(&recording, category))
    }

    /// Decides a recording as if the attribute were in this category.
    fn decide_category(&self, recording: &Recording<'_>, category: &str) -> Result<(), Denial> {
        let Recording { provenance, traits, state, vocabulary, recorder, now_ms } = recording;
        let role = recorder.role;
        let service = (role == Role::Service).then_some(recorder.name.as_str());
        // Policies may name a service or a channel. Consents name only services, because only services use
        // attributes.
        let application = matches!(role, Role::Service | Role::Channel).then_some(recorder.name.as_str());
        let consents = state.consents.allowing_any_purpose(vocabulary, category, service, *now_ms);
        let kinds: BTreeSet<(bool, bool)> =
            consents.iter().map(|yes| (yes.terms.explicit, yes.terms.guardian)).collect();
        let inferred = *provenance == Provenance::Inferred;
        let mut case = CedarRequest {
            declared_basis: None,
            action: if inferred { Action::Infer } else { Action::Record },
            recipient: application.unwrap_or_default().to_owned(),
            category: self.equivalent_categories().representative(category, &traits.sources).to_owned(),
            provenance: *provenance,
            traits: traits.clone(),
            subject: SubjectTraits::of(&state.description, *now_ms),
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
        let (mut first, mut has_ended): (Option<Arc<Denial>>, bool) = (None, false);
        for (explicit, guardian) in if kinds.is_empty() { BTreeSet::from([(false, false)]) } else { kinds } {
            (case.explicit, case.guardian) = (explicit, guardian);
            match self.denial_for(&case) {
                None => return Ok(()),
                Some(denial) => {
                    has_ended |= denial.reason == Some(Reason::GuardianEnded);
                    first = first.or(Some(denial));
                }
            }
        }
        // A guardian's consent that has ended is no consent, so it denies nothing that needs no consent.
        if has_ended {
            (case.consented, case.explicit, case.guardian) = (false, false, false);
            if self.denial_for(&case).is_none() {
                return Ok(());
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
        provenance: Provenance,
        sources: BTreeSet<String>,
        now_ms: u64,
    ) -> ClassTraits {
        let age_days = now_ms.saturating_sub(attribute.observed_at_ms) / DAY_MS;
        let confidence = match (provenance, attribute.confidence) {
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
