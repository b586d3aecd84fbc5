//! Groups the withheld attributes of a decision into the classes that the answer lists, each with the reason
//! and who decided.

use super::{Deciding, Verdict};
use crate::bounds::built_in::{consent_reason, outdated_notice};
use crate::bounds::decision::Withheld;
use crate::bounds::error::Denial;
use crate::domain::consent::{Cover, NoConsent};
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{Provenance, Reason, Tier, WithheldClass};
use crate::domain::ids::EventId;
use std::collections::{BTreeMap, BTreeSet};

impl<'a> Deciding<'a> {
    /// Builds the withheld classes, sorted. Classes that differ only in the source that they name are merged.
    /// The merged class names the source of the first class.
    pub(super) fn classes(&self, withheld: Vec<Withheld<'a>>) -> Vec<WithheldClass> {
        let mut classes: BTreeMap<(String, Provenance, Reason, String, Option<EventId>), WithheldClass> =
            BTreeMap::new();
        for Withheld { first, denial, cover, count } in withheld {
            let class = self.class_of(first, &denial, cover);
            let key = (
                class.category.clone(),
                class.provenance,
                class.reason,
                class.policy.clone(),
                class.decided_by_event,
            );
            let class = classes.entry(key).or_insert(class);
            class.count = class.count.saturating_add(count);
        }
        classes.into_values().collect()
    }

    /// The class of a withheld attribute, with a count of zero, to which the caller adds. If the data
    /// subject's own decision or signal denies the use, the class names that event and states that the
    /// individual decided.
    fn class_of(&self, current: &CurrentAttribute, denial: &Denial, cover: Cover) -> WithheldClass {
        let (reason, event) = match (denial.reason, cover) {
            (Some(Reason::KeptOnly), _) => (
                Reason::KeptOnly,
                self.kept.against(&current.attribute, self.vocabulary).map(|kept| kept.event_id),
            ),
            (Some(reason), _) => (reason, self.signal_for(reason)),
            // The provider decided that this consent does not count, not the data subject.
            (None, Cover::Denied { reason: NoConsent::NoticeOutdated, .. }) => {
                let provenance = self.provenance(current);
                return WithheldClass { provenance, ..outdated_notice(&current.attribute) };
            }
            // The law decides that the consent has to be explicit, not the data subject.
            (None, Cover::Denied { reason: NoConsent::NotExplicit, .. }) => (Reason::NotExplicit, None),
            (None, Cover::Denied { reason, by }) => (consent_reason(reason), by),
            (None, Cover::Allowed { .. }) => (Reason::Forbidden, None),
        };
        let personal = self.state.personal.as_ref().filter(|_| denial.tier == Tier::Individual);
        let event = personal.map(|personal| personal.event_id).or(event);
        let source = if reason == Reason::SourceWithheld { self.withheld_source(current) } else { None };
        // The provider redefined the words, not the data subject.
        let decider = if reason == Reason::WordsChanged { Tier::Provider } else { denial.tier };
        // A rule may state the same reason as a signal of the data subject. The individual counts as having
        // decided only if the data subject did send the signal or contest the attribute.
        let by_person = event.is_some() && !matches!(reason, Reason::KeptOnly | Reason::WordsChanged)
            || (reason == Reason::Contested && current.contested);
        WithheldClass {
            category: current.attribute.category.clone(),
            provenance: self.provenance(current),
            count: 0,
            reason,
            decided_by: if by_person { Tier::Individual } else { decider },
            policy: denial.policy.clone(),
            article: denial.article.clone(),
            decided_by_event: event,
            source,
        }
    }

    /// The root cause for which a derived attribute is withheld: a direct or indirect source that is missing,
    /// or that is withheld for a reason other than its sources.
    fn withheld_source(&self, current: &CurrentAttribute) -> Option<EventId> {
        let refused = |source: &&EventId| !matches!(self.verdicts.get(source), Some(Verdict::Yes { .. }));
        let (mut found, mut seen) = (None, BTreeSet::new());
        let mut next = Some(current);
        while let Some(current) = next {
            let source =
                current.attribute.derived_from.iter().filter(refused).find(|source| seen.insert(**source));
            let Some(source) = source else { break };
            found = Some(*source);
            next = self.by_event.get(source).copied();
        }
        found
    }

    fn signal_for(&self, reason: Reason) -> Option<EventId> {
        let [restriction, objection, pause, opt_out, limit, opt_out_automated] = self.signals;
        let signal = match reason {
            Reason::Restricted => restriction,
            Reason::Objected => objection,
            Reason::Paused => pause.or(self.conversation_pause),
            Reason::OptedOut => opt_out,
            Reason::OptedOutAutomated => opt_out_automated,
            Reason::SensitiveLimited => limit,
            _ => None,
        };
        signal.map(|signal| signal.event_id)
    }
}
