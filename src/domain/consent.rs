//! What the person decided, and what follows for one case.

use super::event::{Actor, Decision};
use super::ids::EventId;
use super::vocabulary::Vocabulary;
pub use sayso_proof::event::{ConsentTerms as Terms, NoticeRef};

/// A decision in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsentRecord {
    /// Its event.
    pub event_id: EventId,
    /// Position in the log.
    pub position: u64,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// Its moment: decisions of one moment stand together, and no wins.
    pub sealed_at_ms: u64,
    /// When the person decided, by the writer's word.
    pub about_ms: u64,
    /// What.
    pub decision: Decision,
    /// About what.
    pub terms: Terms,
    /// Who brought it.
    pub actor: Actor,
}

/// One case to be decided.
#[derive(Clone, Copy, Debug)]
pub struct ConsentCase<'a> {
    /// What for.
    pub purpose: &'a str,
    /// What kind of data.
    pub category: &'a str,
    /// Who uses it.
    pub recipient: &'a str,
    /// When, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// Why there is no consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoConsent {
    /// No answer covers the case: silence is no.
    Silence,
    /// The person refused.
    Refused,
    /// The person withdrew.
    Withdrawn,
    /// The yes has ended.
    Expired,
    /// The yes is not explicit, or does not name the special category.
    NotExplicit,
}

/// What the decisions say about a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// Yes.
    Allowed {
        /// The consent event.
        by: EventId,
        /// When it ends, milliseconds since the Unix epoch.
        until_ms: Option<u64>,
    },
    /// No.
    Denied {
        /// Why.
        reason: NoConsent,
        /// The person's own decision, if one says so.
        by: Option<EventId>,
    },
}

/// Every decision of a person, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsentLog {
    records: Vec<ConsentRecord>,
}

impl ConsentLog {
    /// Adds a decision.
    pub fn push(&mut self, record: ConsentRecord) {
        self.records.push(record);
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn records(&self) -> &[ConsentRecord] {
        &self.records
    }

    /// What the decisions say about a case.
    ///
    /// A yes allows what it covers unless a no stands against it. A no stands if it is later, or of the same moment;
    /// an earlier one stands too, unless the yes is of equal or narrower scope: a wide yes never lifts a narrow no.
    #[must_use]
    pub fn cover(&self, vocabulary: &Vocabulary, case: &ConsentCase<'_>) -> Cover {
        let view = View::new(vocabulary, case);
        let (yes, no): (Vec<_>, Vec<_>) = self.records.iter().partition(|record| record.decision.is_yes());
        let no: Vec<_> = no.into_iter().filter(|record| view.no_covers(&record.terms)).collect();
        let covering = || yes.iter().filter(|record| view.yes_covers(&record.terms));
        let in_force =
            |record: &&&ConsentRecord| record.terms.until_ms.is_none_or(|until| case.now_ms < until);
        let standing = covering()
            .filter(in_force)
            .filter(|yes| !no.iter().any(|no| stands_against(no, yes, vocabulary)))
            .max_by_key(|record| record.position);
        if let Some(record) = standing {
            return Cover::Allowed { by: record.event_id, until_ms: record.terms.until_ms };
        }
        if let Some(last) = no.iter().max_by_key(|record| record.position) {
            let reason =
                if last.decision == Decision::Refused { NoConsent::Refused } else { NoConsent::Withdrawn };
            return Cover::Denied { reason, by: Some(last.event_id) };
        }
        if let Some(ended) = covering().max_by_key(|record| record.position) {
            return Cover::Denied { reason: NoConsent::Expired, by: Some(ended.event_id) };
        }
        let almost = yes.iter().any(|record| view.yes_covers_but_for_explicitness(&record.terms));
        let reason = if almost { NoConsent::NotExplicit } else { NoConsent::Silence };
        Cover::Denied { reason, by: None }
    }

    /// Whether a yes still allows something of what it names: nothing later, of its own scope or wider, ended it.
    #[must_use]
    pub fn in_force(&self, record: &ConsentRecord, vocabulary: &Vocabulary, now_ms: u64) -> bool {
        let ended = |no: &ConsentRecord| {
            !no.decision.is_yes()
                && no.sealed_at_ms >= record.sealed_at_ms
                && is_within(&record.terms, &no.terms, vocabulary)
        };
        record.decision.is_yes()
            && record.terms.until_ms.is_none_or(|until| now_ms < until)
            && !self.records.iter().any(ended)
    }
}

/// A case with its ancestors.
struct View<'a> {
    case: &'a ConsentCase<'a>,
    purposes: Vec<&'a str>,
    categories: Vec<&'a str>,
    /// The category and its ancestors that are special.
    special: Vec<&'a str>,
}

impl<'a> View<'a> {
    fn new(vocabulary: &'a Vocabulary, case: &'a ConsentCase<'a>) -> Self {
        let categories = vocabulary.category_line(case.category);
        let special = categories.iter().copied().filter(|id| vocabulary.is_marked_special(id)).collect();
        Self { case, purposes: vocabulary.purpose_line(case.purpose), categories, special }
    }

    fn names_purpose(&self, terms: &Terms) -> bool {
        terms.purposes.iter().any(|named| self.purposes.contains(&named.as_str()))
    }

    fn names_recipient(&self, terms: &Terms) -> bool {
        terms.recipients.is_empty() || terms.recipients.iter().any(|named| named == self.case.recipient)
    }

    fn yes_covers(&self, terms: &Terms) -> bool {
        let names = |line: &[&str]| terms.categories.iter().any(|named| line.contains(&named.as_str()));
        let category = if self.special.is_empty() {
            terms.categories.is_empty() || names(&self.categories)
        } else {
            terms.explicit && names(&self.special)
        };
        category && self.names_purpose(terms) && self.names_recipient(terms)
    }

    fn yes_covers_but_for_explicitness(&self, terms: &Terms) -> bool {
        let names = terms.categories.iter().any(|named| self.categories.contains(&named.as_str()));
        let category = terms.categories.is_empty() || names;
        category && self.names_purpose(terms) && self.names_recipient(terms)
    }

    fn no_covers(&self, terms: &Terms) -> bool {
        let names = terms.categories.iter().any(|named| self.categories.contains(&named.as_str()));
        (terms.categories.is_empty() || names) && self.names_purpose(terms) && self.names_recipient(terms)
    }
}

fn stands_against(no: &ConsentRecord, yes: &ConsentRecord, vocabulary: &Vocabulary) -> bool {
    no.sealed_at_ms >= yes.sealed_at_ms || !is_within(&yes.terms, &no.terms, vocabulary)
}

/// Whether the first scope is equal to or narrower than the second on every axis.
fn is_within(narrow: &Terms, wide: &Terms, vocabulary: &Vocabulary) -> bool {
    let all_below = |narrow: &[String], wide: &[String], line: &dyn Fn(&str) -> Vec<String>| {
        let below = |id: &String| line(id).iter().any(|above| wide.contains(above));
        wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(below))
    };
    let owned = |line: Vec<&str>| line.into_iter().map(str::to_owned).collect::<Vec<_>>();
    all_below(&narrow.purposes, &wide.purposes, &|id| owned(vocabulary.purpose_line(id)))
        && all_below(&narrow.categories, &wide.categories, &|id| owned(vocabulary.category_line(id)))
        && all_below(&narrow.recipients, &wide.recipients, &|id| vec![id.to_owned()])
}

#[cfg(test)]
#[path = "consent_tests.rs"]
mod tests;
