//! Which decisions of a person cover a case, and which of them count.

use super::vocabulary::Vocabulary;
use crate::event::ConsentTerms;

/// A yes or a no.
pub(super) struct Decision {
    pub event_id: [u8; 16],
    /// When it was sealed.
    pub moment: u64,
    pub yes: bool,
    pub terms: ConsentTerms,
}

/// What is asked: may this recipient use this category for this purpose now?
pub(super) struct Case<'a> {
    pub purpose: &'a str,
    pub category: &'a str,
    pub recipient: &'a str,
    /// The recipient's own name for the conversation.
    pub interaction: &'a str,
    pub now: u64,
}

/// The answer of all decisions together.
pub(super) enum Answer<'a> {
    /// Nothing in force says yes.
    Silence,
    /// A no stands against every yes.
    No,
    /// Each yes that stands.
    Yes(Vec<&'a Decision>),
}

/// Holds a case against everything that the person said so far.
pub(super) fn answer<'a>(decisions: &'a [Decision], case: &Case<'_>, vocabulary: &Vocabulary) -> Answer<'a> {
    let yes =
        decisions.iter().filter(|decision| decision.yes && yes_covers(&decision.terms, case, vocabulary));
    let yes: Vec<&Decision> = yes.collect();
    if yes.is_empty() {
        return Answer::Silence;
    }
    let no =
        decisions.iter().filter(|decision| !decision.yes && no_covers(&decision.terms, case, vocabulary));
    let no: Vec<&Decision> = no.collect();
    let stands = |yes: &&Decision| no.iter().all(|no| lifts(yes, no, vocabulary));
    let standing: Vec<&Decision> = yes.into_iter().filter(stands).collect();
    if standing.is_empty() { Answer::No } else { Answer::Yes(standing) }
}

/// A no is lifted only by a later yes of equal or narrower scope.
fn lifts(yes: &Decision, no: &Decision, vocabulary: &Vocabulary) -> bool {
    no.moment < yes.moment && within(&yes.terms, &no.terms, vocabulary)
}

fn named(line: &[&str], names: &[String]) -> bool {
    line.iter().any(|id| names.iter().any(|name| name == id))
}

fn yes_covers(terms: &ConsentTerms, case: &Case<'_>, vocabulary: &Vocabulary) -> bool {
    if terms.until_ms.is_some_and(|until| until <= case.now) {
        return false;
    }
    let special = vocabulary.special_line(case.category);
    let category = if special.is_empty() {
        terms.categories.is_empty() || named(&vocabulary.category_line(case.category), &terms.categories)
    } else {
        terms.explicit && named(&special, &terms.categories)
    };
    category
        && named(&vocabulary.purpose_line(case.purpose), &terms.purposes)
        && recipient(terms, case.recipient)
        && interaction(terms, case.interaction)
}

fn no_covers(terms: &ConsentTerms, case: &Case<'_>, vocabulary: &Vocabulary) -> bool {
    let any_or = |line: &[&str], names: &[String]| names.is_empty() || named(line, names);
    any_or(&vocabulary.purpose_line(case.purpose), &terms.purposes)
        && any_or(&vocabulary.category_line(case.category), &terms.categories)
        && recipient(terms, case.recipient)
        && interaction(terms, case.interaction)
}

fn interaction(terms: &ConsentTerms, interaction: &str) -> bool {
    terms.interactions.is_empty() || terms.interactions.iter().any(|name| name == interaction)
}

fn recipient(terms: &ConsentTerms, recipient: &str) -> bool {
    terms.recipients.is_empty() || terms.recipients.iter().any(|name| name == recipient)
}

/// Whether the scope of `inner` lies within that of `outer`, on each axis; none named is all.
fn within(inner: &ConsentTerms, outer: &ConsentTerms, vocabulary: &Vocabulary) -> bool {
    axis(&inner.purposes, &outer.purposes, |id| vocabulary.purpose_line(id))
        && axis(&inner.categories, &outer.categories, |id| vocabulary.category_line(id))
        && axis(&inner.recipients, &outer.recipients, |id| vec![id])
        && axis(&inner.interactions, &outer.interactions, |id| vec![id])
}

fn axis<'a>(inner: &'a [String], outer: &[String], line: impl Fn(&'a str) -> Vec<&'a str>) -> bool {
    outer.is_empty() || (!inner.is_empty() && inner.iter().all(|id| named(&line(id), outer)))
}
