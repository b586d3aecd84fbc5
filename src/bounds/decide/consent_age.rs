//! Finds the consents that become too old under a rule in force, such as one that allows a use only under a
//! consent from the last year.

use super::{Case, Deciding};
use crate::bounds::attribute_class::Class;
use crate::bounds::decision::ConsentTraits;
use crate::bounds::engine::Bounds;
use crate::bounds::ground::Ground;
use crate::domain::DAY_MS;
use crate::domain::consent::Cover;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::Reason;
use crate::domain::ids::EventId;
use crate::domain::legal_basis::Basis;
use crate::domain::profile::SubjectState;
use crate::domain::vocabulary::Vocabulary;

/// The most ages at which one consent is checked. Rules that calculate with the age may distinguish every
/// day.
const AGES_MAX: usize = 64;

/// A consent that rules end, by its own age or by the age of the data subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndedConsent {
    /// The event of the consent.
    pub consent: EventId,
    /// When it ends, milliseconds since the Unix epoch; `None` if that is not known.
    pub ends_ms: Option<u64>,
    /// The reason that the rule gives.
    pub reason: Reason,
    /// The rule, as `pack/id`.
    pub policy: String,
}

impl Bounds {
    /// The ages of consents, in days, that policies in force may distinguish from the next lower
    /// age; at most 64.
    pub(crate) fn consent_ages(&self) -> Vec<u64> {
        let first = self.thresholds().next_consent_days(0);
        let ages = std::iter::successors(first, |days| self.thresholds().next_consent_days(*days));
        ages.take(AGES_MAX).collect()
    }

    /// The consents that are or will be too old by `until_ms` (milliseconds since the Unix epoch) for a use
    /// of the attributes that are recorded now. If several consents allow the use of an attribute, the result
    /// has the one that lasts longest.
    pub(crate) fn aged_consents(
        &self,
        state: &SubjectState,
        vocabulary: &Vocabulary,
        case: &Case<'_>,
        until_ms: u64,
    ) -> Vec<EndedConsent> {
        if !self.thresholds().compare_consents() {
            return Vec::new();
        }
        let mut deciding = Deciding::new(self, state, vocabulary, case);
        let mut found: Vec<EndedConsent> = Vec::new();
        for current in state.attributes.values() {
            let Some(aged) = deciding.aged(current, until_ms) else { continue };
            match found.iter_mut().find(|known| known.consent == aged.consent) {
                Some(known) if aged.ends_ms < known.ends_ms => *known = aged,
                Some(_) => {}
                None => found.push(aged),
            }
        }
        found
    }
}

/// What the age of a consent does to the use of an attribute.
enum Aging {
    /// The use is denied even under a new consent.
    Denied,
    /// The use stays allowed.
    Allowed,
    Ends(EndedConsent),
}

impl<'a> Deciding<'a> {
    /// Of the consents that allow the use of an attribute while they are new, the one that lasts longest.
    /// `None` if there is no such consent, or if it does not end by `until_ms`.
    fn aged(&mut self, current: &'a CurrentAttribute, until_ms: u64) -> Option<EndedConsent> {
        if self.kept.against(&current.attribute, self.vocabulary).is_some() {
            return None;
        }
        self.verdict(current);
        let (source_withheld, _) = self.sources(current);
        let class = self.class(current, source_withheld);
        let mut last: Option<EndedConsent> = None;
        for ground in self.grounds(&current.attribute.category).iter() {
            match self.aging(&class, ground, until_ms) {
                Aging::Allowed => return None,
                Aging::Denied => {}
                Aging::Ends(aged) => {
                    last = last.filter(|other| other.ends_ms >= aged.ends_ms).or(Some(aged));
                }
            }
        }
        last
    }

    fn aging(&mut self, class: &Class<'a>, ground: &Ground<'a>, until_ms: u64) -> Aging {
        let Cover::Allowed { by: Basis::Consent(by), .. } = ground.cover else { return Aging::Denied };
        let record = self.state.consents.records().iter().find(|record| record.event_id == by);
        let Some(said_ms) = record.map(|record| record.said_ms()) else { return Aging::Denied };
        let thresholds = self.bounds.thresholds();
        let oldest = until_ms.saturating_sub(said_ms) / DAY_MS;
        let ages = std::iter::successors(Some(0), |days| thresholds.next_consent_days(*days));
        for days in ages.take_while(|days| *days <= oldest).take(AGES_MAX).chain([oldest]) {
            let traits = ConsentTraits { days: thresholds.round_consent(days), ..ground.traits };
            let Some(denial) = self.outcome(class, &Ground { traits, ..*ground }) else { continue };
            if days == 0 {
                return Aging::Denied;
            }
            return Aging::Ends(EndedConsent {
                consent: by,
                ends_ms: Some(said_ms.saturating_add(days.saturating_mul(DAY_MS))),
                reason: denial.reason.unwrap_or(Reason::Forbidden),
                policy: denial.policy.clone(),
            });
        }
        Aging::Allowed
    }
}
