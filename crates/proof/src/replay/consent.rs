//! The consent rule: which decisions of a data subject cover a use, and which consents among them allow it.

use super::decisions::{ALL, AxisNames, CaseDecisions, Decision, Decisions, Order};
use super::effort::Effort;
use super::fault::Fault;
use super::vocabulary::WordsInForce;

/// A use to decide on: one recipient uses one category for one purpose in one conversation.
#[derive(Clone, Copy)]
pub(super) struct IntendedUse<'a> {
    pub purpose: &'a str,
    pub category: &'a str,
    pub recipient: &'a str,
    /// The recipient's own name for the conversation.
    pub interaction: &'a str,
    pub now_ms: u64,
}

/// A name on one axis that covers the use.
#[derive(Clone, Copy)]
struct Name<'a> {
    number: u32,
    /// None stands for everything.
    text: Option<&'a str>,
    /// The steps from the use up to this name. In a hierarchy with a cycle, a name may occur more than once,
    /// so these are the steps to its first and to its last place.
    steps: [usize; 2],
}

impl Name<'_> {
    const EVERYTHING: Self = Name { number: ALL, text: None, steps: [usize::MAX; 2] };
}

/// A case that covers the use, and the decisions that name it.
struct Hit<'a> {
    names: [Name<'a>; 4],
    decisions: Named<'a>,
}

enum Named<'a> {
    Case(&'a CaseDecisions),
    /// A decision that names many cases.
    One(&'a Decision),
}

/// How closely, at most, the refusals that cover a use name it on each axis, and when the newest of them was
/// recorded. A consent must be newer, and at least as close on every axis.
struct Refused {
    newest_ms: u64,
    steps: [usize; 4],
}

/// All decisions of a data subject that cover a use.
pub(super) struct Covering<'a> {
    intended: IntendedUse<'a>,
    vocabulary: WordsInForce<'a>,
    /// How many categories of the ancestry are special. They are its lowest ones.
    special: usize,
    hits: Vec<Hit<'a>>,
    refused: Option<Refused>,
    /// The last consent that has ended. The end of a consent also ends every consent before it.
    ended: Option<Order>,
    decisions: &'a Decisions,
    effort: &'a Effort,
}

impl<'a> Covering<'a> {
    pub fn new(
        decisions: &'a Decisions,
        intended: IntendedUse<'a>,
        vocabulary: WordsInForce<'a>,
        effort: &'a Effort,
    ) -> Self {
        let axes = [
            names(decisions, &vocabulary.purpose_ancestry(intended.purpose)),
            names(decisions, &vocabulary.category_ancestry(intended.category)),
            names(decisions, &[intended.recipient]),
            names(decisions, &[intended.interaction]),
        ];
        let mut hits = Vec::new();
        let [purposes, categories, recipients, conversations] = &axes;
        for purpose in purposes {
            for category in categories {
                for recipient in recipients {
                    for conversation in conversations {
                        let names = [*purpose, *category, *recipient, *conversation];
                        let case = decisions.of_case(&names.map(|name| name.number));
                        hits.extend(case.map(|case| Hit { names, decisions: Named::Case(case) }));
                    }
                }
            }
        }
        for decision in decisions.wide() {
            if !effort.spend(purposes.len() + categories.len()) {
                break;
            }
            add_wide(&mut hits, &axes, decision);
        }
        let special = vocabulary.special_ancestry(intended.category).len();
        let refused = refused(&hits);
        let mut covering =
            Self { intended, vocabulary, special, hits, refused, ended: None, decisions, effort };
        covering.ended = covering.hits.iter().filter_map(|hit| covering.last_ended(hit)).max();
        covering
    }

    /// The last consent among those of a case that covers the use and has ended.
    fn last_ended(&self, hit: &Hit<'a>) -> Option<Order> {
        let covers = |decision: &Decision| self.effort.spend(1) && self.covers(hit, decision);
        // The last grant may have been judged as of a later time than this use.
        let has_ended =
            |decision: &Decision| decision.until_ms.is_some_and(|until_ms| until_ms <= self.intended.now_ms);
        match hit.decisions {
            Named::Case(case) => {
                let mut ended = case.ended.iter().rev();
                let covers = |of: &Decision| has_ended(of) && covers(of);
                let covers = |index: &usize| self.decisions.get(*index).is_some_and(covers);
                ended.find(|(_, index)| covers(index)).map(|(order, _)| *order)
            }
            Named::One(decision) => {
                (decision.is_consent && has_ended(decision) && covers(decision)).then(|| decision.order())
            }
        }
    }

    /// Whether a consent that names this case covers the use: it covers what its words covered when it was
    /// given. For a special category, it is explicit and names a special one.
    fn covers(&self, hit: &Hit<'_>, consent: &Decision) -> bool {
        let IntendedUse { purpose, category, .. } = self.intended;
        let [named_purpose, named_category, ..] = &hit.names;
        let [steps, _] = named_category.steps;
        if self.special > 0 && !(consent.explicit && steps < self.special) {
            return false;
        }
        let meant_purpose = |named| self.vocabulary.meant_purpose(named, purpose, consent.given);
        let meant_category = |named| self.vocabulary.meant_category(named, category, consent.given);
        named_purpose.text.is_some_and(meant_purpose) && named_category.text.is_none_or(meant_category)
    }

    /// Whether a consent to this case is at least as close to the use as every refusal, on each axis.
    fn is_close_enough(&self, hit: &Hit<'_>) -> bool {
        let Some(refused) = &self.refused else { return true };
        hit.names.iter().zip(refused.steps).all(|(name, steps)| {
            let [own, _] = name.steps;
            own <= steps
        })
    }

    /// Whether a consent is neither ended nor older than a refusal.
    fn is_standing(&self, order: Order) -> bool {
        self.ended.is_none_or(|ended| ended < order)
            && self.refused.as_ref().is_none_or(|refused| refused.newest_ms < order.0)
    }

    /// The consents to a case that fulfill a condition on their order, newest first. The condition must hold
    /// for every consent after one for which it holds.
    fn consents<'s>(
        &'s self,
        hit: &'s Hit<'a>,
        condition: impl Fn(Order) -> bool + 's,
    ) -> impl Iterator<Item = &'a Decision> + 's {
        let (case, one) = match hit.decisions {
            Named::Case(case) => (Some(case), None),
            Named::One(decision) => (None, Some(decision)),
        };
        let of_case = case.into_iter().flat_map(|case| case.consents.iter().rev());
        let of_case = of_case.filter_map(|(_, index)| self.decisions.get(*index));
        let all = of_case.chain(one.filter(|decision| decision.is_consent));
        all.take_while(move |consent| condition(consent.order()) && self.effort.spend(1))
    }

    /// When the newest refusal or withdrawal that covers the use was recorded, milliseconds since the Unix
    /// epoch.
    pub fn refused_at_ms(&self) -> Option<u64> {
        self.refused.as_ref().map(|refused| refused.newest_ms)
    }

    /// Whether this consent allows the use.
    pub fn allows(&self, consent: &Decision) -> bool {
        let is_this = |hit: &&Hit<'a>| match hit.decisions {
            Named::Case(case) => {
                let index = case.consents.get(&consent.order());
                index.and_then(|index| self.decisions.get(*index)).map(|found| found.event_id)
                    == Some(consent.event_id)
            }
            Named::One(decision) => decision.event_id == consent.event_id,
        };
        consent.is_consent
            && self.is_standing(consent.order())
            && self.vocabulary.notice_counts(consent.notice.as_ref())
            && self
                .hits
                .iter()
                .filter(is_this)
                .any(|hit| self.is_close_enough(hit) && self.covers(hit, consent))
    }

    /// Whether this consent stops allowing the use before a time (milliseconds since the Unix epoch), by its
    /// own end or by the end of a later consent, which also ends this one.
    pub fn ends_before(&self, consent: &Decision, at_ms: u64) -> bool {
        let ends = |one: &Decision| one.until_ms.is_some_and(|until_ms| until_ms < at_ms);
        self.hits.iter().any(|hit| {
            let mut later = self.consents(hit, |order| consent.order() <= order);
            later.any(|one| ends(one) && self.covers(hit, one))
        })
    }

    /// Checks that some consent allows the use. With `ask_each_time`, it must name conversations.
    pub fn check_any(&self, ask_each_time: bool) -> Result<(), Fault> {
        let (mut is_outdated, mut is_for_all) = (false, false);
        for hit in self.hits.iter().filter(|hit| self.is_close_enough(hit)) {
            for consent in self.consents(hit, |order| self.is_standing(order)) {
                if !self.covers(hit, consent) {
                    continue;
                }
                if !self.vocabulary.notice_counts(consent.notice.as_ref()) {
                    is_outdated = true;
                } else if ask_each_time && !consent.names_conversations() {
                    is_for_all = true;
                } else {
                    return Ok(());
                }
            }
        }
        match (is_for_all, is_outdated) {
            (true, _) => Err(Fault::NotAsked),
            (false, true) => Err(Fault::NoticeOutdated),
            (false, false) if self.has_unended_consent() => Err(Fault::Refused),
            (false, false) => Err(Fault::NoConsent),
        }
    }

    fn has_unended_consent(&self) -> bool {
        let is_unended = |order| self.ended.is_none_or(|ended| ended < order);
        self.hits.iter().any(|hit| self.consents(hit, is_unended).any(|one| self.covers(hit, one)))
    }

    /// Whether all decisions of a data subject leave room for a legal basis other than consent. Such a basis
    /// never replaces a consent. So it does not apply if there ever was a consent that covers the use by what
    /// its words cover now, even if that consent has ended. If `can_be_refused`, no refusal or withdrawal may
    /// cover the use either. The category must not be special.
    pub fn leaves_room(&self, can_be_refused: bool) -> bool {
        !self.hits.iter().any(|hit| match hit.decisions {
            Named::Case(case) => !case.consents.is_empty() || can_be_refused && case.refused_at_ms.is_some(),
            Named::One(decision) => decision.is_consent || can_be_refused,
        })
    }
}

/// The names of an ancestry that decisions name, and the name that stands for everything.
fn names<'a>(decisions: &Decisions, ancestry: &[&'a str]) -> Vec<Name<'a>> {
    let mut names = vec![Name::EVERYTHING];
    for (steps, text) in ancestry.iter().enumerate() {
        let Some(number) = decisions.known_number(text) else { continue };
        match names.iter_mut().find(|name| name.number == number) {
            Some(name) => name.steps[1] = steps,
            None => names.push(Name { number, text: Some(text), steps: [steps; 2] }),
        }
    }
    names
}

/// Adds the cases of a decision with many names that cover the use.
fn add_wide<'a>(hits: &mut Vec<Hit<'a>>, axes: &[Vec<Name<'a>>; 4], decision: &'a Decision) {
    let named = |names: &AxisNames, axis: usize| -> Vec<Name<'a>> {
        let (Some(own), Some(axis)) = (names.get(axis), axes.get(axis)) else { return Vec::new() };
        let is_named = |name: &&Name<'_>| match own.is_empty() {
            true => name.number == ALL,
            false => own.binary_search(&name.number).is_ok(),
        };
        axis.iter().filter(is_named).copied().collect()
    };
    let [purposes, categories, recipients, conversations] =
        [0, 1, 2, 3].map(|axis| named(&decision.names, axis));
    let (Some(recipient), Some(conversation)) = (recipients.first(), conversations.first()) else { return };
    for purpose in purposes {
        for category in &categories {
            let names = [purpose, *category, *recipient, *conversation];
            hits.push(Hit { names, decisions: Named::One(decision) });
        }
    }
}

fn refused(hits: &[Hit<'_>]) -> Option<Refused> {
    let mut refused: Option<Refused> = None;
    for hit in hits {
        let refused_at_ms = match hit.decisions {
            Named::Case(case) => case.refused_at_ms,
            Named::One(decision) => (!decision.is_consent).then_some(decision.given.said_at_ms),
        };
        let Some(at_ms) = refused_at_ms else { continue };
        let found = refused.get_or_insert(Refused { newest_ms: at_ms, steps: [usize::MAX; 4] });
        found.newest_ms = found.newest_ms.max(at_ms);
        for (steps, name) in found.steps.iter_mut().zip(&hit.names) {
            let [_, last] = name.steps;
            *steps = (*steps).min(last);
        }
    }
    refused
}
