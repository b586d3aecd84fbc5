//! The data subject's consent decisions, and whether they cover a given use.
//!
//! A *yes* is a decision that gives or renews consent; a *no* refuses or withdraws it. A *case* is one
//! combination of a purpose, a category, a recipient and a conversation.

use super::consent_scope::{ConsentCase, ExpandedCase, Given, Reach, named_cases, overlap};
use super::ids::EventId;
use super::legal_basis::{Basis, DeclaredBasis};
use super::notices::NoticeVersions;
use super::vocabulary::Vocabulary;
use std::collections::BTreeMap;

pub use super::consent_record::{ConsentRecord, Decision};
pub use crate::domain::event::{ConsentTerms as Terms, NoticeRef};

/// Why there is no consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoConsent {
    /// No decision covers the case; silence counts as no.
    Silence,
    /// The data subject refused.
    Refused,
    /// The data subject withdrew consent.
    Withdrawn,
    /// The consent has expired.
    Expired,
    /// The consent is not explicit, or does not name the special category.
    NotExplicit,
    /// The words of the consent meant something else when it was given.
    WordsChanged,
    /// The consent names a version of a notice that no longer counts.
    NoticeOutdated,
}

/// Whether the consent decisions allow a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cover {
    /// The case is allowed.
    Allowed {
        /// What it rests on.
        by: Basis,
        /// When that ends, milliseconds since the Unix epoch.
        until_ms: Option<u64>,
    },
    /// The case is not allowed.
    Denied {
        /// Why not.
        reason: NoConsent,
        /// The data subject's decision that denies it, if there is one.
        by: Option<EventId>,
    },
}

impl Cover {
    /// The result when no decision covers the case.
    #[must_use]
    pub fn silence() -> Self {
        Self::Denied { reason: NoConsent::Silence, by: None }
    }
}

/// The most comparisons of decisions that one query may make. Without this limit, a query about a decision
/// with long lists could take long.
const COMPARISONS_MAX: usize = 1 << 16;

/// Every consent decision of a data subject, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsentLog {
    records: Vec<ConsentRecord>,
}

impl ConsentLog {
    /// Adds a decision.
    pub fn push(&mut self, record: ConsentRecord) {
        self.records.push(record);
    }

    /// All decisions, oldest first.
    #[must_use]
    pub fn records(&self) -> &[ConsentRecord] {
        &self.records
    }

    /// The decisions that can matter to cases of one recipient: those that name it, and those that name none.
    /// For its cases, they give the same answers as all decisions.
    #[must_use]
    pub fn about_recipient(&self, recipient: &str) -> Self {
        let is_about = |record: &&ConsentRecord| {
            let named = &record.terms.recipients;
            named.is_empty() || named.iter().any(|name| name == recipient)
        };
        Self { records: self.records.iter().filter(is_about).cloned().collect() }
    }

    /// Whether the decisions allow a case.
    ///
    /// A yes allows what it covers, with three exceptions: a no blocks it, a later yes that covered the case
    /// has ended, or the yes names a version of a notice that no longer counts. A no blocks a yes that was
    /// said before the no was recorded, or at the same time. It also blocks a later yes that names the case
    /// less closely than the no on some axis: a wide yes never lifts a narrow no.
    #[must_use]
    pub fn cover(&self, vocabulary: &Vocabulary, case: &ConsentCase<'_>) -> Cover {
        let expanded = ExpandedCase::new(vocabulary, *case);
        let found = self.decisions_about(&expanded, ConsentRecord::given);
        if let Some((yes, until_ms)) = found.allowing(&vocabulary.notices, case.now_ms).next() {
            return Cover::Allowed { by: Basis::Consent(yes.event_id), until_ms };
        }
        let (reason, by) = self.denial(vocabulary, &expanded, &found);
        Cover::Denied { reason, by: by.map(|record| record.event_id) }
    }

    /// Why nothing allows a case, and the decision that denies it. The reason is the one that is nearest to a
    /// yes, because it tells the reader what would change the result.
    fn denial<'a>(
        &'a self,
        vocabulary: &Vocabulary,
        expanded: &ExpandedCase<'_>,
        found: &CaseDecisions<'a>,
    ) -> (NoConsent, Option<&'a ConsentRecord>) {
        let now_ms = expanded.now_ms();
        // Every yes that stands is outdated.
        if let Some((yes, _)) = found.standing(now_ms).next() {
            return (NoConsent::NoticeOutdated, Some(yes));
        }
        let is_recent = |yes: &ConsentRecord| yes.outdated(&vocabulary.notices).is_none();
        if let Some(yes) =
            self.lacking_explicitness(expanded, found, ConsentRecord::given).find(|yes| is_recent(yes))
        {
            return (NoConsent::NotExplicit, Some(yes));
        }
        // The same decisions by what their words mean now. What a yes lifted before its words were redefined
        // stays lifted.
        let changed = |yes: &ConsentRecord| vocabulary.changed_after(yes.said_ms(), yes.position);
        let by_new_words =
            self.newest_yes().any(changed).then(|| self.decisions_about(expanded, |_| Given::NOW));
        let found = by_new_words.as_ref().unwrap_or(found);
        if let Some((yes, _)) = found.standing(now_ms).next() {
            return (NoConsent::WordsChanged, Some(yes));
        }
        let has_new_words = |yes: &ConsentRecord| {
            let reach = expanded.consent_reach_except_explicitness(&yes.terms, yes.given());
            !yes.terms.categories.is_empty() && reach.is_none()
        };
        if let Some(yes) =
            self.lacking_explicitness(expanded, found, |_| Given::NOW).find(|yes| has_new_words(yes))
        {
            return (NoConsent::WordsChanged, Some(yes));
        }
        if let Some((ended, _)) = found.consents.iter().find(|consent| found.is_unblocked(consent)) {
            return (NoConsent::Expired, Some(*ended));
        }
        match found.blocking() {
            Some(no) if no.decision == Decision::Refused => (NoConsent::Refused, Some(no)),
            Some(no) => (NoConsent::Withdrawn, Some(no)),
            None => (NoConsent::Silence, None),
        }
    }

    /// Every yes, newest first, that would allow the case if it were explicit and named the special category.
    fn lacking_explicitness<'a, 'b>(
        &'a self,
        expanded: &'b ExpandedCase<'_>,
        found: &'b CaseDecisions<'a>,
        given: impl Fn(&ConsentRecord) -> Given + 'b,
    ) -> impl Iterator<Item = &'a ConsentRecord> {
        self.newest_yes().filter(move |yes| {
            yes.is_before_its_end(expanded.now_ms())
                && expanded
                    .lacks_explicitness(&yes.terms, given(yes))
                    .is_some_and(|reach| found.is_unblocked(&(*yes, reach)))
        })
    }

    /// Whether the data subject's decisions leave room for a legal basis other than consent in a case. Such a
    /// basis never replaces a consent. So it does not apply if any yes ever covered the case, even one that
    /// has ended. If the basis can be refused, it does not apply either if any no ever covered the case.
    #[must_use]
    pub fn leave_room_for(
        &self,
        basis: DeclaredBasis,
        vocabulary: &Vocabulary,
        case: &ConsentCase<'_>,
    ) -> bool {
        let expanded = ExpandedCase::new(vocabulary, *case);
        let excludes = |record: &ConsentRecord| match record.decision.is_yes() {
            true => {
                expanded.consent_reach_except_explicitness(&record.terms, record.given()).is_some()
                    || expanded.covered_by_new_words(&record.terms, record.given())
            }
            false => basis.can_be_refused() && expanded.refusal_reach(&record.terms).is_some(),
        };
        !self.records.iter().any(excludes)
    }

    /// Every yes that allows a case by itself, newest first, each with the time at which it stops allowing
    /// the case (milliseconds since the Unix epoch). The newest yes may not be enough for the caller: only an
    /// older one may be explicit or given by a guardian.
    #[must_use]
    pub fn allowing<'a>(
        &'a self,
        vocabulary: &Vocabulary,
        case: &ConsentCase<'_>,
    ) -> Vec<(&'a ConsentRecord, Option<u64>)> {
        let found = self.decisions_about(&ExpandedCase::new(vocabulary, *case), ConsentRecord::given);
        found.allowing(&vocabulary.notices, case.now_ms).collect()
    }

    /// Whether a yes allowed a case just before the decision at `position` was recorded. Versions of notices
    /// are not considered.
    #[must_use]
    pub fn allowed_before(
        &self,
        yes: &ConsentRecord,
        vocabulary: &Vocabulary,
        case: &ConsentCase<'_>,
        position: u64,
    ) -> bool {
        let earlier = self.records.iter().filter(|record| record.position < position);
        let found =
            CaseDecisions::of(earlier.rev(), &ExpandedCase::new(vocabulary, *case), ConsentRecord::given);
        found.standing(case.now_ms).any(|(standing, _)| standing.event_id == yes.event_id)
    }

    /// Every yes that allows some use of a category for a recipient. If `recipient` is `None`, each yes is
    /// checked for a recipient that it names.
    #[must_use]
    pub fn allowing_any_purpose<'a>(
        &'a self,
        vocabulary: &Vocabulary,
        category: &str,
        recipient: Option<&str>,
        now_ms: u64,
    ) -> Vec<&'a ConsentRecord> {
        let is_unblocked = |yes: &&ConsentRecord| {
            let named = yes.terms.recipients.first().map_or("", String::as_str);
            let recipient = recipient.unwrap_or(named);
            let interaction = yes.terms.interactions.first().map_or("", String::as_str);
            yes.terms.purposes.iter().any(|purpose| {
                let case = ConsentCase { purpose, category, recipient, interaction, now_ms };
                self.allowing(vocabulary, &case).iter().any(|(allowing, _)| allowing.event_id == yes.event_id)
            })
        };
        self.newest_yes().filter(is_unblocked).collect()
    }

    /// The newest no that a yes with these terms, said now, would lift. A no counts only if `is_relevant`
    /// accepts it, and only if the new yes would be the first to lift it in some case. If the yes names too
    /// many cases to check, the result is the newest relevant no that may cover one of them.
    #[must_use]
    pub fn no_lifted_by(
        &self,
        yes: &Terms,
        vocabulary: &Vocabulary,
        is_relevant: impl Fn(&ConsentRecord) -> bool,
    ) -> Option<&ConsentRecord> {
        let concerned: Vec<&ConsentRecord> =
            self.newest_no().filter(|no| is_relevant(no) && overlap(yes, &no.terms, vocabulary)).collect();
        if concerned.is_empty() {
            return None;
        }
        let consents: Vec<&ConsentRecord> =
            self.newest_yes().filter(|other| overlap(yes, &other.terms, vocabulary)).collect();
        let per_case = concerned.len().saturating_mul(consents.len().saturating_add(1));
        let Some(cases) = named_cases(yes, 0, COMPARISONS_MAX.checked_div(per_case).unwrap_or_default())
        else {
            return concerned.first().copied();
        };
        let cases: Vec<_> = cases.into_iter().map(|case| ExpandedCase::new(vocabulary, case)).collect();
        let lifts_anew = |no: &&ConsentRecord| {
            cases.iter().any(|case| {
                let reaches = (case.consent_reach(yes, Given::NOW), case.refusal_reach(&no.terms));
                let (Some(reach), Some(no_reach)) = reaches else { return false };
                // What a yes lifted before its words were redefined stays lifted. It lifted nothing for a
                // word that was put below its words only later.
                let lifted = |other: &&ConsentRecord| {
                    let given = Given { despite_meanings: true, ..other.given() };
                    let reach = case.consent_reach(&other.terms, given);
                    reach.is_some_and(|reach| !blocks((no, no_reach), (other, reach)))
                };
                reach.is_within(no_reach) && !consents.iter().any(lifted)
            })
        };
        concerned.into_iter().find(lifts_anew)
    }

    /// The decisions that cover a case. `given` says when a yes was given, which decides what its words mean.
    fn decisions_about(
        &self,
        expanded: &ExpandedCase<'_>,
        given: impl Fn(&ConsentRecord) -> Given,
    ) -> CaseDecisions<'_> {
        CaseDecisions::of(self.records.iter().rev(), expanded, given)
    }

    /// The consents, the newest first.
    fn newest_yes(&self) -> impl Iterator<Item = &ConsentRecord> {
        self.records.iter().rev().filter(|record| record.decision.is_yes())
    }

    /// The refusals and withdrawals, the newest first.
    fn newest_no(&self) -> impl Iterator<Item = &ConsentRecord> {
        self.records.iter().rev().filter(|record| !record.decision.is_yes())
    }

    /// The time from which a yes allows nothing of what it names, milliseconds since the Unix epoch. The
    /// cause may be its own end, later refusals and withdrawals, the end of later consents, or a notice that
    /// no longer counts. `None` if the yes still allows some of what it names, or if it names too many cases
    /// to tell.
    #[must_use]
    pub fn ended_at_ms(&self, record: &ConsentRecord, vocabulary: &Vocabulary, now_ms: u64) -> Option<u64> {
        let outdated = record.outdated(&vocabulary.notices);
        let outdated_ms = outdated.map(|required| required.since_ms.max(record.sealed_at_ms));
        let own = record.terms.until_ms.filter(|until| *until <= now_ms).into_iter().chain(outdated_ms).min();
        let ending = |other: &&ConsentRecord| {
            let later = if other.decision.is_yes() {
                other.is_after(record) && !other.is_before_its_end(now_ms)
            } else {
                other.said_ms() >= record.said_ms()
            };
            later && overlap(&record.terms, &other.terms, vocabulary)
        };
        let ending: Vec<&ConsentRecord> = self.records.iter().filter(ending).collect();
        let words_changed = vocabulary.changed_after(record.said_ms(), record.position);
        if ending.is_empty() && !words_changed {
            return own;
        }
        let per_case = COMPARISONS_MAX.checked_div(ending.len().max(1)).unwrap_or(COMPARISONS_MAX);
        // If no decision ends the yes, only a changed meaning of its words can. The words are those of
        // purposes and categories alone.
        let words = ending.is_empty().then(|| Terms {
            purposes: record.terms.purposes.clone(),
            categories: record.terms.categories.clone(),
            ..Terms::default()
        });
        let cases = named_cases(words.as_ref().unwrap_or(&record.terms), now_ms, per_case);
        let last = cases.and_then(|cases| {
            let ends = cases.into_iter().map(|case| {
                let case = ExpandedCase::new(vocabulary, case);
                let ended_by = |other: &&ConsentRecord| match other.decision.is_yes() {
                    true => case.consent_reach(&other.terms, other.given()).and(other.terms.until_ms),
                    false => case.refusal_reach(&other.terms).map(|_| other.recorded_at_ms),
                };
                let by_words = case.ended_by_words_ms(vocabulary, &record.terms, record.given());
                ending.iter().filter_map(ended_by).chain(by_words).min()
            });
            ends.collect::<Option<Vec<u64>>>().and_then(|ends| ends.into_iter().max())
        });
        own.into_iter().chain(last).min()
    }

    /// Whether a yes still allows some of what it names.
    #[must_use]
    pub fn in_force(&self, record: &ConsentRecord, vocabulary: &Vocabulary, now_ms: u64) -> bool {
        record.decision.is_yes() && self.ended_at_ms(record, vocabulary, now_ms).is_none()
    }

    /// Whether a yes that has ended must be kept, because it still keeps an earlier yes from allowing
    /// something. A yes that ends also ends each earlier yes, for the cases that both cover. If the ended
    /// yes were removed, the earlier one would allow these cases again.
    ///
    /// The earlier yes counts even if it allows nothing now: it could allow something again when the decision
    /// that ended it is removed.
    #[must_use]
    pub fn ends_another(&self, record: &ConsentRecord, vocabulary: &Vocabulary, now_ms: u64) -> bool {
        let mut earlier =
            self.newest_yes().filter(|other| record.is_after(other) && other.is_before_its_end(now_ms));
        earlier.any(|other| overlap(&record.terms, &other.terms, vocabulary))
    }
}

/// The decisions that cover a case, each with its reach.
struct CaseDecisions<'a> {
    /// Consents, the most recently said first.
    consents: Vec<(&'a ConsentRecord, Reach)>,
    /// Refusals and withdrawals, newest first.
    refusals: Vec<(&'a ConsentRecord, Reach)>,
    /// When the last of the refusals was said, milliseconds since the Unix epoch, and the reach that is
    /// within all of theirs.
    all_refusals: Option<(u64, Reach)>,
}

impl<'a> CaseDecisions<'a> {
    /// The decisions among `newest_first` that cover a case. `given` says when a yes was given.
    fn of(
        newest_first: impl Iterator<Item = &'a ConsentRecord>,
        expanded: &ExpandedCase<'_>,
        given: impl Fn(&ConsentRecord) -> Given,
    ) -> Self {
        let (mut consents, mut refusals): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for record in newest_first {
            if record.decision.is_yes() {
                consents.extend(
                    expanded.consent_reach(&record.terms, given(record)).map(|reach| (record, reach)),
                );
            } else {
                refusals.extend(expanded.refusal_reach(&record.terms).map(|reach| (record, reach)));
            }
        }
        consents.sort_by_key(|(record, _)| std::cmp::Reverse((record.said_ms(), record.position)));
        let said =
            refusals.iter().map(|(record, reach): &(&ConsentRecord, Reach)| (record.said_ms(), *reach));
        let all_refusals = said.reduce(|one, other| (one.0.max(other.0), one.1.smallest(other.1)));
        Self { consents, refusals, all_refusals }
    }

    /// Whether no refusal blocks a consent. Takes the same time for any number of refusals.
    fn is_unblocked(&self, consent: &(&ConsentRecord, Reach)) -> bool {
        self.all_refusals
            .is_none_or(|(said_ms, reach)| said_ms < consent.0.said_ms() && consent.1.is_within(reach))
    }

    /// The consents that allow the case at `now_ms`, with the time at which each stops allowing it: its own
    /// end or the end of a later consent, whichever comes first.
    fn allowing(
        &self,
        notices: &NoticeVersions,
        now_ms: u64,
    ) -> impl Iterator<Item = (&'a ConsentRecord, Option<u64>)> {
        self.standing(now_ms).filter(|(record, _)| record.outdated(notices).is_none())
    }

    /// As [`CaseDecisions::allowing`], but includes consents with a version of a notice that no longer
    /// counts.
    fn standing(&self, now_ms: u64) -> impl Iterator<Item = (&'a ConsentRecord, Option<u64>)> {
        let with_end = self.consents.iter().scan(None, |until_ms: &mut Option<u64>, consent| {
            *until_ms = until_ms.iter().chain(&consent.0.terms.until_ms).min().copied();
            Some((consent, *until_ms))
        });
        with_end
            .take_while(move |(_, until_ms)| until_ms.is_none_or(|until_ms| now_ms < until_ms))
            .filter(|(consent, _)| self.is_unblocked(consent))
            .map(|((record, _), until_ms)| (*record, until_ms))
    }

    /// The refusal or withdrawal to report: the newest that no consent has lifted, or else the newest of all.
    fn blocking(&self) -> Option<&'a ConsentRecord> {
        // Of the consents with the same reach, the last one lifts the most.
        let mut consents: BTreeMap<Reach, u64> = BTreeMap::new();
        for (record, reach) in &self.consents {
            let last_ms = consents.entry(*reach).or_default();
            *last_ms = record.said_ms().max(*last_ms);
        }
        let is_lifted = |refusal: &&(&ConsentRecord, Reach)| {
            let (no, no_reach) = **refusal;
            consents.iter().any(|(reach, said_ms)| no.said_ms() < *said_ms && reach.is_within(no_reach))
        };
        let newest = self.refusals.iter().find(|refusal| !is_lifted(refusal)).or(self.refusals.first());
        newest.map(|(record, _)| *record)
    }
}

/// Whether a no prevents a yes from allowing a case that both cover.
fn blocks(no: (&ConsentRecord, Reach), yes: (&ConsentRecord, Reach)) -> bool {
    no.0.said_ms() >= yes.0.said_ms() || !yes.1.is_within(no.1)
}

#[cfg(test)]
mod tests;
