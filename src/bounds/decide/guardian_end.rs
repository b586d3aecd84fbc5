//! Finds consents by a guardian that have ended, under a rule in force, because of the data subject's age.

use super::consent_age::EndedConsent;
use super::{Case, Deciding, Verdict};
use crate::bounds::engine::Bounds;
use crate::domain::consent::Cover;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::Reason;
use crate::domain::ids::EventId;
use crate::domain::legal_basis::Basis;
use crate::domain::profile::SubjectState;
use crate::domain::vocabulary::Vocabulary;

/// The most changes of the data subject's age that are checked to find when a consent ended.
const CHANGES_MAX: usize = 64;

impl Bounds {
    /// The guardian's consents that have ended at the time of a use of the attributes that are recorded now,
    /// so that the use is denied. If a rule accepts another consent for the use of an attribute, none is
    /// listed for it.
    pub(crate) fn ended_guardian_consents(
        &self,
        state: &SubjectState,
        vocabulary: &Vocabulary,
        case: &Case<'_>,
    ) -> Vec<EndedConsent> {
        let mut deciding = Deciding::new(self, state, vocabulary, case);
        let mut found: Vec<EndedConsent> = Vec::new();
        for current in state.attributes.values() {
            let Some((consent, policy)) = deciding.ended_guardian_consent(current) else { continue };
            if found.iter().any(|known| known.consent == consent) {
                continue;
            }
            let ends_ms = self.guardian_ends_ms(state, vocabulary, case, (current, consent));
            found.push(EndedConsent { consent, ends_ms, reason: Reason::GuardianEnded, policy });
        }
        found
    }

    /// When the guardian's consent to the use of an attribute ended, milliseconds since the Unix epoch.
    /// `None` if no change of the data subject's age since the consent ended it.
    fn guardian_ends_ms(
        &self,
        state: &SubjectState,
        vocabulary: &Vocabulary,
        case: &Case<'_>,
        (current, consent): (&CurrentAttribute, EventId),
    ) -> Option<u64> {
        let record = state.consents.records().iter().find(|record| record.event_id == consent)?;
        let said_ms = record.said_ms();
        let changes =
            std::iter::successors(Some(said_ms), |at_ms| state.description.age.changes_at_ms(*at_ms));
        let changes = changes.take(CHANGES_MAX).take_while(|at_ms| *at_ms <= case.now_ms);
        let mut ended = changes.filter(|now_ms| {
            let case = Case { now_ms: *now_ms, ..*case };
            Deciding::new(self, state, vocabulary, &case).ended_guardian_consent(current).is_some()
        });
        ended.next().filter(|ends_ms| *ends_ms > said_ms)
    }
}

impl<'a> Deciding<'a> {
    /// The newest guardian's consent that would allow the use of an attribute if it had not ended, and the
    /// rule that ended it. `None` if the use is allowed.
    fn ended_guardian_consent(&mut self, current: &'a CurrentAttribute) -> Option<(EventId, String)> {
        if matches!(self.verdict(current), Verdict::Yes { .. }) {
            return None;
        }
        if self.kept.against(&current.attribute, self.vocabulary).is_some() {
            return None;
        }
        let (source_withheld, _) = self.sources(current);
        let class = self.class(current, source_withheld);
        for ground in self.grounds(&current.attribute.category).iter() {
            let Cover::Allowed { by: Basis::Consent(consent), .. } = ground.cover else { continue };
            let denial = self.outcome(&class, ground);
            if let Some(denial) = denial.filter(|denial| denial.reason == Some(Reason::GuardianEnded)) {
                return Some((consent, denial.policy.clone()));
            }
        }
        None
    }
}
