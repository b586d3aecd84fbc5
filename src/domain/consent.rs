//! The data subject's consent decisions, and whether they cover a given use.
//!
//! A *yes* is a decision that gives or renews consent; a *no* refuses or withdraws it.

use super::ids::EventId;
use super::vocabulary::Vocabulary;
use crate::domain::event::{Actor, Role};

pub use crate::domain::event::{ConsentTerms as Terms, NoticeRef};

/// A consent decision in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsentRecord {
    /// The event that recorded it.
    pub event_id: EventId,
    /// Position in the log.
    pub position: u64,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// When it was sealed, milliseconds since the Unix epoch. Of decisions sealed at the same time, a no
    /// wins.
    pub sealed_at_ms: u64,
    /// The time that the writer says the data subject decided, milliseconds since the Unix epoch.
    pub about_ms: u64,
    /// What the data subject decided.
    pub decision: Decision,
    /// The scope and conditions of the decision.
    pub terms: Terms,
    /// Who recorded it.
    pub actor: Actor,
}

impl ConsentRecord {
    /// Whether a decision concerns a service: it may apply to the service's use, or the service recorded it.
    #[must_use]
    pub fn concerns(&self, service: &str) -> bool {
        let recipients = &self.terms.recipients;
        recipients.is_empty()
            || recipients.iter().any(|named| named == service)
            || self.was_recorded_by(service)
    }

    /// The record as a service may see it. If the service did not record it, other recipients and the
    /// recorder's name are removed.
    #[must_use]
    pub fn shown_to(mut self, service: &str) -> Self {
        if !self.was_recorded_by(service) {
            self.terms.recipients.retain(|named| named == service);
            self.actor.name.clear();
        }
        self
    }

    fn was_recorded_by(&self, service: &str) -> bool {
        matches!(self.actor.role, Role::Service | Role::Channel) && self.actor.name == service
    }

    fn is_before_its_end(&self, now_ms: u64) -> bool {
        self.terms.until_ms.is_none_or(|until| now_ms < until)
    }
}

/// A use to check against the consent decisions.
#[derive(Clone, Copy, Debug)]
pub struct ConsentCase<'a> {
    /// The purpose of the use.
    pub purpose: &'a str,
    /// The category of data.
    pub category: &'a str,
    /// The recipient that would use it.
    pub recipient: &'a str,
    /// The recipient's own name for the conversation; empty if there is none.
    pub interaction: &'a str,
    /// The time of the use, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

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
}

/// Whether the consent decisions allow a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cover {
    /// The case is allowed.
    Allowed {
        /// The event of the consent that allows it.
        by: EventId,
        /// When that consent expires, milliseconds since the Unix epoch.
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

    /// Whether the decisions allow a case.
    ///
    /// A yes allows what it covers unless a no blocks it. A no blocks the yes if it was sealed later or at
    /// the same time. An earlier no also blocks it, unless the yes has equal or narrower scope: a wide yes
    /// never lifts a narrow no.
    #[must_use]
    pub fn cover(&self, vocabulary: &Vocabulary, case: &ConsentCase<'_>) -> Cover {
        let expanded = ExpandedCase::new(vocabulary, case);
        // Search newest first throughout: the decisive record is usually recent.
        let no = self.no_covering(&expanded);
        let is_unblocked = |yes: &&ConsentRecord| !no.iter().any(|no| blocks(no, yes, vocabulary));
        let in_force = |record: &&ConsentRecord| record.is_before_its_end(case.now_ms);
        let covering = || self.newest(true).filter(|record| expanded.yes_covers(&record.terms));
        if let Some(yes) = covering().filter(in_force).find(is_unblocked) {
            return Cover::Allowed { by: yes.event_id, until_ms: yes.terms.until_ms };
        }
        // Nothing allows the case. Report the reason nearest to a yes, so that it says what would change the
        // result.
        if let Some(ended) = covering().find(is_unblocked) {
            return Cover::Denied { reason: NoConsent::Expired, by: Some(ended.event_id) };
        }
        let except_explicitness =
            |record: &&ConsentRecord| expanded.yes_covers_except_explicitness(&record.terms);
        if self.newest(true).filter(in_force).filter(except_explicitness).any(|record| is_unblocked(&record))
        {
            return Cover::Denied { reason: NoConsent::NotExplicit, by: None };
        }
        match no.first() {
            Some(no) if no.decision == Decision::Refused => {
                Cover::Denied { reason: NoConsent::Refused, by: Some(no.event_id) }
            }
            Some(no) => Cover::Denied { reason: NoConsent::Withdrawn, by: Some(no.event_id) },
            None => Cover::silence(),
        }
    }

    /// Every yes that allows a case by itself, newest first. They differ in whether they are explicit and
    /// whether a guardian gave them.
    pub fn allowing<'a>(
        &'a self,
        vocabulary: &'a Vocabulary,
        case: &'a ConsentCase<'a>,
    ) -> impl Iterator<Item = &'a ConsentRecord> {
        let expanded = ExpandedCase::new(vocabulary, case);
        let no = self.no_covering(&expanded);
        self.newest(true).filter(move |yes| {
            let valid = yes.is_before_its_end(case.now_ms) && expanded.yes_covers(&yes.terms);
            valid && !no.iter().any(|no| blocks(no, yes, vocabulary))
        })
    }

    /// Every yes that allows some use of a category for a recipient. Without a recipient, for any recipient
    /// that the yes names.
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
                self.allowing(vocabulary, &case).any(|allowing| allowing.event_id == yes.event_id)
            })
        };
        self.newest(true).filter(is_unblocked).collect()
    }

    /// The newest no accepted by `is_relevant` that a yes with these terms would lift. A yes lifts a no of
    /// equal or wider scope. It lifts nothing if, for each of its purposes, a later yes has already lifted
    /// that no.
    #[must_use]
    pub fn no_lifted_by(
        &self,
        yes: &Terms,
        vocabulary: &Vocabulary,
        is_relevant: impl Fn(&ConsentRecord) -> bool,
    ) -> Option<&ConsentRecord> {
        let one = |purpose: &String| Terms { purposes: vec![purpose.clone()], ..yes.clone() };
        let parts: Vec<Terms> = yes.purposes.iter().map(one).collect();
        let mut later: Vec<&ConsentRecord> = Vec::new();
        for record in self.records.iter().rev() {
            if record.decision.is_yes() {
                later.push(record);
            } else if is_relevant(record) && is_within(yes, &record.terms, vocabulary) {
                let lifted = |part: &Terms| {
                    later
                        .iter()
                        .any(|yes| !blocks(record, yes, vocabulary) && includes(&yes.terms, part, vocabulary))
                };
                if !parts.iter().all(lifted) {
                    return Some(record);
                }
            }
        }
        None
    }

    fn no_covering(&self, expanded: &ExpandedCase<'_>) -> Vec<&ConsentRecord> {
        self.newest(false).filter(|record| expanded.no_covers(&record.terms)).collect()
    }

    fn newest(&self, yes: bool) -> impl Iterator<Item = &ConsentRecord> {
        self.records.iter().rev().filter(move |record| record.decision.is_yes() == yes)
    }

    /// When a later no covered all of a yes, milliseconds since the Unix epoch; `None` if no later no did.
    #[must_use]
    pub fn ended_by(&self, record: &ConsentRecord, vocabulary: &Vocabulary) -> Option<u64> {
        let ending = self.records.iter().find(|no| {
            !no.decision.is_yes()
                && no.sealed_at_ms >= record.sealed_at_ms
                && is_within(&record.terms, &no.terms, vocabulary)
        });
        ending.map(|no| no.recorded_at_ms)
    }

    /// Whether a yes still allows some of what it names: it has not expired, and no later no of equal or
    /// wider scope ended it.
    #[must_use]
    pub fn in_force(&self, record: &ConsentRecord, vocabulary: &Vocabulary, now_ms: u64) -> bool {
        let ended = |no: &ConsentRecord| {
            !no.decision.is_yes()
                && no.sealed_at_ms >= record.sealed_at_ms
                && is_within(&record.terms, &no.terms, vocabulary)
        };
        record.decision.is_yes() && record.is_before_its_end(now_ms) && !self.records.iter().any(ended)
    }
}

/// A case with the ancestors of its purpose and category.
struct ExpandedCase<'a> {
    case: &'a ConsentCase<'a>,
    purposes: Vec<&'a str>,
    categories: Vec<&'a str>,
    /// The category and its special ancestors; empty if the category is not special.
    special: Vec<&'a str>,
}

impl<'a> ExpandedCase<'a> {
    fn new(vocabulary: &'a Vocabulary, case: &'a ConsentCase<'a>) -> Self {
        Self {
            case,
            purposes: vocabulary.purpose_ancestry(case.purpose),
            categories: vocabulary.category_ancestry(case.category),
            special: vocabulary.special_ancestry(case.category),
        }
    }

    fn names_recipient(&self, terms: &Terms) -> bool {
        terms.recipients.is_empty() || terms.recipients.iter().any(|named| named == self.case.recipient)
    }

    fn names_interaction(&self, terms: &Terms) -> bool {
        let named = &terms.interactions;
        named.is_empty() || named.iter().any(|named| named == self.case.interaction)
    }

    fn yes_covers(&self, terms: &Terms) -> bool {
        let special = self.special.is_empty() || terms.explicit && names(&terms.categories, &self.special);
        special && self.yes_covers_except_explicitness(terms)
    }

    fn yes_covers_except_explicitness(&self, terms: &Terms) -> bool {
        names(&terms.purposes, &self.purposes)
            && names_or_all(&terms.categories, &self.categories)
            && self.names_recipient(terms)
            && self.names_interaction(terms)
    }

    /// Whether a no with these terms covers the case. On every axis, an empty list means all.
    fn no_covers(&self, terms: &Terms) -> bool {
        names_or_all(&terms.purposes, &self.purposes)
            && names_or_all(&terms.categories, &self.categories)
            && self.names_recipient(terms)
            && self.names_interaction(terms)
    }
}

fn names(named: &[String], ancestry: &[&str]) -> bool {
    named.iter().any(|id| ancestry.contains(&id.as_str()))
}

fn names_or_all(named: &[String], ancestry: &[&str]) -> bool {
    named.is_empty() || names(named, ancestry)
}

fn blocks(no: &ConsentRecord, yes: &ConsentRecord, vocabulary: &Vocabulary) -> bool {
    no.sealed_at_ms >= yes.sealed_at_ms || !is_within(&yes.terms, &no.terms, vocabulary)
}

/// Whether the first scope is equal to or narrower than the second on every axis.
fn is_within(narrow: &Terms, wide: &Terms, vocabulary: &Vocabulary) -> bool {
    is_axis_within(&narrow.purposes, &wide.purposes, |id| vocabulary.purpose_ancestry(id))
        && is_axis_within(&narrow.categories, &wide.categories, |id| vocabulary.category_ancestry(id))
        && is_axis_within(&narrow.recipients, &wide.recipients, |id| vec![id])
        && is_axis_within(&narrow.interactions, &wide.interactions, |id| vec![id])
}

/// Whether a yes with the `wide` terms allows everything that one with the `narrow` terms would. Special
/// categories must be named explicitly.
fn includes(wide: &Terms, narrow: &Terms, vocabulary: &Vocabulary) -> bool {
    let says = |category: &String| {
        let special = vocabulary.special_ancestry(category);
        special.is_empty() || wide.explicit && names(&wide.categories, &special)
    };
    is_within(narrow, wide, vocabulary) && narrow.categories.iter().all(says)
}

fn is_axis_within<'a>(
    narrow: &'a [String],
    wide: &[String],
    ancestry: impl Fn(&'a str) -> Vec<&'a str>,
) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|id| names(wide, &ancestry(id))))
}

#[cfg(test)]
#[path = "consent_tests.rs"]
mod tests;

/// What a data subject decided about consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Consent was given.
    Given,
    /// Consent was refused.
    Refused,
    /// Consent was renewed.
    Renewed,
    /// Consent was withdrawn.
    Withdrawn,
}

impl Decision {
    /// Whether the decision is a yes.
    #[must_use]
    pub fn is_yes(self) -> bool {
        matches!(self, Self::Given | Self::Renewed)
    }
}
