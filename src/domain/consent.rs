//! What the person decided, and what follows for one case.

use super::ids::EventId;
use super::vocabulary::Vocabulary;
use sayso_proof::event::{Actor, Role};

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

impl ConsentRecord {
    /// Whether a decision is a service's business: it may reach its use, or the service brought it.
    #[must_use]
    pub fn concerns(&self, service: &str) -> bool {
        let recipients = &self.terms.recipients;
        recipients.is_empty()
            || recipients.iter().any(|named| named == service)
            || self.is_brought_by(service)
    }

    /// As a service that did not bring it is shown it: not whom else it names, nor who brought it.
    #[must_use]
    pub fn shown_to(mut self, service: &str) -> Self {
        if !self.is_brought_by(service) {
            self.terms.recipients.retain(|named| named == service);
            self.actor.name.clear();
        }
        self
    }

    fn is_brought_by(&self, service: &str) -> bool {
        matches!(self.actor.role(), Role::Service | Role::Channel) && self.actor.name == service
    }

    fn is_before_its_end(&self, now_ms: u64) -> bool {
        self.terms.until_ms.is_none_or(|until| now_ms < until)
    }
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
    /// The recipient's own name for the conversation; empty: none.
    pub interaction: &'a str,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

impl Cover {
    /// Nothing was ever said.
    #[must_use]
    pub fn silence() -> Self {
        Self::Denied { reason: NoConsent::Silence, by: None }
    }
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
        // Newest first, all the way: what decides is mostly new.
        let no = self.no_covering(&view);
        let stands = |yes: &&ConsentRecord| !no.iter().any(|no| stands_against(no, yes, vocabulary));
        let in_force = |record: &&ConsentRecord| record.is_before_its_end(case.now_ms);
        let covering = || self.newest(true).filter(|record| view.yes_covers(&record.terms));
        if let Some(yes) = covering().filter(in_force).find(stands) {
            return Cover::Allowed { by: yes.event_id, until_ms: yes.terms.until_ms };
        }
        // Nothing allows it. The reason is what is nearest to a yes, so that it says what would change it.
        if let Some(ended) = covering().find(stands) {
            return Cover::Denied { reason: NoConsent::Expired, by: Some(ended.event_id) };
        }
        let almost = |record: &&ConsentRecord| view.yes_covers_but_for_explicitness(&record.terms);
        if self.newest(true).filter(in_force).filter(almost).any(|record| stands(&record)) {
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

    /// Every yes that allows a case by itself, newest first. They differ in what more than a yes they are: explicit, or
    /// a guardian's.
    pub fn standing<'a>(
        &'a self,
        vocabulary: &'a Vocabulary,
        case: &'a ConsentCase<'a>,
    ) -> impl Iterator<Item = &'a ConsentRecord> {
        let view = View::new(vocabulary, case);
        let no = self.no_covering(&view);
        self.newest(true).filter(move |yes| {
            let valid = yes.is_before_its_end(case.now_ms) && view.yes_covers(&yes.terms);
            valid && !no.iter().any(|no| stands_against(no, yes, vocabulary))
        })
    }

    /// Every yes that allows some use of a category, for a recipient or, where none is named, for anybody it names.
    #[must_use]
    pub fn standing_for_any_purpose<'a>(
        &'a self,
        vocabulary: &Vocabulary,
        category: &str,
        recipient: Option<&str>,
        now_ms: u64,
    ) -> Vec<&'a ConsentRecord> {
        let stands = |yes: &&ConsentRecord| {
            let named = yes.terms.recipients.first().map_or("", String::as_str);
            let recipient = recipient.unwrap_or(named);
            let interaction = yes.terms.interactions.first().map_or("", String::as_str);
            yes.terms.purposes.iter().any(|purpose| {
                let case = ConsentCase { purpose, category, recipient, interaction, now_ms };
                self.standing(vocabulary, &case).any(|standing| standing.event_id == yes.event_id)
            })
        };
        self.newest(true).filter(stands).collect()
    }

    /// The newest no among those that `is_kept` names which a yes with these terms would lift. A yes lifts a no of equal or
    /// wider scope; it lifts nothing where, for each of its purposes, a later yes has lifted that no already.
    #[must_use]
    pub fn no_lifted_by(
        &self,
        yes: &Terms,
        vocabulary: &Vocabulary,
        is_kept: impl Fn(&ConsentRecord) -> bool,
    ) -> Option<&ConsentRecord> {
        let one = |purpose: &String| Terms { purposes: vec![purpose.clone()], ..yes.clone() };
        let parts: Vec<Terms> = yes.purposes.iter().map(one).collect();
        let mut later: Vec<&ConsentRecord> = Vec::new();
        for record in self.records.iter().rev() {
            if record.decision.is_yes() {
                later.push(record);
            } else if is_kept(record) && is_within(yes, &record.terms, vocabulary) {
                let lifted = |part: &Terms| {
                    later.iter().any(|yes| {
                        !stands_against(record, yes, vocabulary) && includes(&yes.terms, part, vocabulary)
                    })
                };
                if !parts.iter().all(lifted) {
                    return Some(record);
                }
            }
        }
        None
    }

    fn no_covering(&self, view: &View<'_>) -> Vec<&ConsentRecord> {
        self.newest(false).filter(|record| view.no_covers(&record.terms)).collect()
    }

    fn newest(&self, yes: bool) -> impl Iterator<Item = &ConsentRecord> {
        self.records.iter().rev().filter(move |record| record.decision.is_yes() == yes)
    }

    /// When a later no covered all of a yes; none where none did. Milliseconds since the Unix epoch.
    #[must_use]
    pub fn ended_by(&self, record: &ConsentRecord, vocabulary: &Vocabulary) -> Option<u64> {
        let ending = self.records.iter().find(|no| {
            !no.decision.is_yes()
                && no.sealed_at_ms >= record.sealed_at_ms
                && is_within(&record.terms, &no.terms, vocabulary)
        });
        ending.map(|no| no.recorded_at_ms)
    }

    /// Whether a yes still allows something of what it names: nothing later, of its own scope or wider, ended it.
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

/// A case with its ancestors.
struct View<'a> {
    case: &'a ConsentCase<'a>,
    purposes: Vec<&'a str>,
    categories: Vec<&'a str>,
    /// The category and those of its ancestors that are special; empty where it is not.
    special: Vec<&'a str>,
}

impl<'a> View<'a> {
    fn new(vocabulary: &'a Vocabulary, case: &'a ConsentCase<'a>) -> Self {
        Self {
            case,
            purposes: vocabulary.purpose_ancestry(case.purpose),
            categories: vocabulary.category_ancestry(case.category),
            special: vocabulary.special_line(case.category),
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
        special && self.yes_covers_but_for_explicitness(terms)
    }

    fn yes_covers_but_for_explicitness(&self, terms: &Terms) -> bool {
        names(&terms.purposes, &self.purposes)
            && names_or_all(&terms.categories, &self.categories)
            && self.names_recipient(terms)
            && self.names_interaction(terms)
    }

    /// Of a no, naming none is naming all, on every axis.
    fn no_covers(&self, terms: &Terms) -> bool {
        names_or_all(&terms.purposes, &self.purposes)
            && names_or_all(&terms.categories, &self.categories)
            && self.names_recipient(terms)
            && self.names_interaction(terms)
    }
}

fn names(named: &[String], line: &[&str]) -> bool {
    named.iter().any(|id| line.contains(&id.as_str()))
}

fn names_or_all(named: &[String], line: &[&str]) -> bool {
    named.is_empty() || names(named, line)
}

fn stands_against(no: &ConsentRecord, yes: &ConsentRecord, vocabulary: &Vocabulary) -> bool {
    no.sealed_at_ms >= yes.sealed_at_ms || !is_within(&yes.terms, &no.terms, vocabulary)
}

/// Whether the first scope is equal to or narrower than the second on every axis.
fn is_within(narrow: &Terms, wide: &Terms, vocabulary: &Vocabulary) -> bool {
    axis(&narrow.purposes, &wide.purposes, |id| vocabulary.purpose_ancestry(id))
        && axis(&narrow.categories, &wide.categories, |id| vocabulary.category_ancestry(id))
        && axis(&narrow.recipients, &wide.recipients, |id| vec![id])
        && axis(&narrow.interactions, &wide.interactions, |id| vec![id])
}

/// Whether a yes with the first terms says everything that one with the second would: special categories by their names and
/// explicitly.
fn includes(wide: &Terms, narrow: &Terms, vocabulary: &Vocabulary) -> bool {
    let says = |category: &String| {
        let special = vocabulary.special_line(category);
        special.is_empty() || wide.explicit && names(&wide.categories, &special)
    };
    is_within(narrow, wide, vocabulary) && narrow.categories.iter().all(says)
}

fn axis<'a>(narrow: &'a [String], wide: &[String], line: impl Fn(&'a str) -> Vec<&'a str>) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|id| names(wide, &line(id))))
}

#[cfg(test)]
#[path = "consent_tests.rs"]
mod tests;

/// What a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Given,
    /// No.
    Refused,
    /// Yes again.
    Renewed,
    /// No longer.
    Withdrawn,
}

impl Decision {
    /// Whether it is a yes.
    #[must_use]
    pub fn is_yes(self) -> bool {
        matches!(self, Self::Given | Self::Renewed)
    }
}
