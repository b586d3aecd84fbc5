//! The vocabulary at a moment: the purposes and categories, and the versions of notices under which consents
//! still count. It is built from the events that define purposes and categories, publish or require notices,
//! and adopt an edition of the rules of decisions.

use crate::bounds::engine::UNRECORDED;
use crate::bounds::titles::TitleHistory;
use crate::domain::event::{CategoryDefined, Event, NoticeRequired, PurposeDefined, Recorded, Role};
use crate::domain::hierarchy::Since;
use crate::domain::ids::EventId;
use crate::domain::legal_basis::DeclaredBasis;
use crate::domain::profile::GrantState;
use crate::domain::vocabulary::{REFUSABLE, Vocabulary};

/// The vocabulary in force at a moment.
#[derive(Default)]
pub(super) struct Definitions {
    pub vocabulary: Vocabulary,
    /// The newest change; `None` if the log still has the vocabulary that it began with.
    pub newest_change: Option<VocabularyChange>,
    /// When the next definition comes into force, if there is one, milliseconds since the Unix epoch.
    pub next_ms: Option<u64>,
    /// When the newest definition in force came into force, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Whether consents cover only what their words covered when they were given.
    has_versions: bool,
}

/// An event that changed what the words of consents mean, or which consents count.
#[derive(Clone, Copy, Debug)]
pub(super) struct VocabularyChange {
    pub event_id: EventId,
    pub position: u64,
    /// When the change came into force, milliseconds since the Unix epoch.
    pub starts_ms: u64,
}

impl VocabularyChange {
    /// Whether it came into force after a grant was decided. A definition that was scheduled before the
    /// grant may come into force after it.
    pub fn is_after(self, grant: &GrantState) -> bool {
        self.position > grant.id.position || self.starts_ms > grant.sealed_at_ms
    }
}

/// Why a definition can't be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionProblem {
    /// The purpose above it is not defined. The list has similar ids that are.
    UnknownPurpose(Vec<String>),
    /// The category above it is not defined. The list has similar ids that are.
    UnknownCategory(Vec<String>),
    /// The word would be below itself, or a word more than 32 levels deep.
    TooDeep,
    /// The word would no longer be below this one.
    LostAncestor(String),
    /// The purpose would be on a lower rung of the ladder of rising risk.
    LowerRung,
    /// A special category would no longer be special.
    NoLongerSpecial,
    /// The purpose would get this ancestor, and with it an exemption that a rule makes.
    Exempted(String),
    /// The same definition was published before.
    Repeated,
    /// A definition that keeps the meaning has to be in force at once.
    ScheduledSameMeaning,
    /// The required version of the notice is not published.
    UnknownNotice,
    /// The required version is the first of its notice.
    FirstNotice,
    /// This version of the notice, or a later one, is required already.
    RequiredNotice(String),
    /// A purpose that can always be refused would rest on this legal basis, on which uses can't be refused.
    UnrefusableBasis(DeclaredBasis),
}

impl Definitions {
    /// The vocabulary at `now_ms`, from the events of the log, oldest first.
    pub fn at<'a>(events: impl Iterator<Item = &'a Recorded>, now_ms: u64) -> Self {
        let sorted = sorted(events);
        let mut found = Self { has_versions: has_versions(&sorted, now_ms), ..Self::default() };
        for (starts_ms, event) in sorted {
            if starts_ms > now_ms {
                found.next_ms = Some(starts_ms);
                break;
            }
            found.apply(starts_ms, event);
        }
        found
    }

    /// The titles that the words of these events have had.
    pub fn titles<'a>(events: impl Iterator<Item = &'a Recorded>) -> TitleHistory {
        TitleHistory::new(sorted(events).into_iter())
    }

    /// Checks that every definition that comes into force from `now_ms` on fits the words before it.
    ///
    /// # Errors
    /// A definition does not fit.
    pub fn check<'a>(
        events: impl Iterator<Item = &'a Recorded>,
        now_ms: u64,
    ) -> Result<(), DefinitionProblem> {
        let sorted = sorted(events);
        check_repeated(&sorted)?;
        let mut found = Self::default();
        for (starts_ms, event) in sorted {
            if starts_ms >= now_ms {
                match &event.event {
                    Event::PurposeDefined(purpose) => check_purpose(&found.vocabulary, purpose)?,
                    Event::CategoryDefined(category) => check_category(&found.vocabulary, category)?,
                    // Only the new requirement is checked. It may make an earlier one unnecessary,
                    // which is not an error.
                    Event::NoticeRequired(notice) if event.position == UNRECORDED => {
                        check_notice(&found.vocabulary, notice)?;
                    }
                    _ => {}
                }
            }
            found.apply(starts_ms, event);
        }
        Ok(())
    }

    fn apply(&mut self, starts_ms: u64, event: &Recorded) {
        let is_first = event.actor.role == Role::Ledger;
        let position = event.position;
        // The words that a log begins with have always had their meaning.
        let is_dated = self.has_versions && !is_first;
        let since = if is_dated { Since { at_ms: starts_ms, position } } else { Since::default() };
        match &event.event {
            Event::PurposeDefined(purpose) => {
                self.vocabulary.define_purpose(purpose.clone(), since);
                self.vocabulary.note_basis(&purpose.id, position);
            }
            Event::CategoryDefined(category) => self.vocabulary.define_category(category.clone(), since),
            Event::NoticePublished(published) => {
                let notice = published.notice.iter();
                notice.for_each(|notice| self.vocabulary.notices.publish(notice, position));
            }
            Event::NoticeRequired(required) => {
                let by = (event.event_id, position);
                self.vocabulary.notices.require(&required.id, &required.version, starts_ms, by);
            }
            Event::DecisionRulesAdopted(adopted) => self.vocabulary.adopt_edition(adopted.edition),
            _ => {}
        }
        // The second edition of the rules changes nothing in a log whose words never changed.
        let is_change = match &event.event {
            Event::DecisionRulesAdopted(adopted) => self.newest_change.is_some() || adopted.edition >= 3,
            Event::NoticePublished(_) => false,
            _ => !is_first,
        };
        if is_change {
            self.newest_change = Some(VocabularyChange { event_id: event.event_id, position, starts_ms });
            self.since_ms = starts_ms;
        }
    }
}

/// Purposes that rules of law exempt from a signal. An existing purpose must not get one of them as an
/// ancestor, because the signal would then no longer cover it. New purposes may be defined below them.
const EXEMPTING: [&str; 8] = [
    "service-provision",
    "accessibility",
    "safety",
    "rights",
    "appealable-decision",
    "admission-assessment",
    "hiring-assessment",
    "work-allocation",
];

/// Rejects a definition that equals an earlier one, unless the ledger itself recorded it. Without this check,
/// somebody could use the signature of the earlier definition again, to replace what is defined now.
fn check_repeated(definitions: &[(u64, &Recorded)]) -> Result<(), DefinitionProblem> {
    let signed = definitions.iter().filter(|(_, event)| event.actor.role != Role::Ledger);
    let mut signed: Vec<_> = signed.map(|(_, event)| *event).collect();
    signed.sort_by_key(|event| event.position);
    let Some((newest, earlier)) = signed.split_last() else { return Ok(()) };
    let is_repeated = earlier.iter().any(|event| event.event == newest.event);
    if is_repeated { Err(DefinitionProblem::Repeated) } else { Ok(()) }
}

fn check_purpose(words: &Vocabulary, purpose: &PurposeDefined) -> Result<(), DefinitionProblem> {
    let parent = &purpose.parent;
    if !parent.is_empty() && !words.has_purpose(parent) {
        return Err(DefinitionProblem::UnknownPurpose(words.near_purposes(parent)));
    }
    if !words.can_take_purpose(purpose) {
        return Err(DefinitionProblem::TooDeep);
    }
    if let Some(lost) = words.purpose_loses(purpose) {
        return Err(DefinitionProblem::LostAncestor(lost.to_owned()));
    }
    if words.has_purpose(&purpose.id) && purpose.rung < words.rung(&purpose.id) {
        return Err(DefinitionProblem::LowerRung);
    }
    if let Some(exempting) = words.purpose_gains(purpose, &EXEMPTING) {
        return Err(DefinitionProblem::Exempted(exempting));
    }
    if purpose.same_meaning && purpose.effective_from_ms > 0 {
        return Err(DefinitionProblem::ScheduledSameMeaning);
    }
    check_basis(words, purpose)
}

/// Rejects a definition after which a purpose that can always be refused would rest on a basis that can't be:
/// the purpose itself, or one below it.
fn check_basis(words: &Vocabulary, purpose: &PurposeDefined) -> Result<(), DefinitionProblem> {
    if !REFUSABLE.contains(&purpose.id.as_str()) && !words.is_always_refusable(&purpose.parent) {
        return Ok(());
    }
    let is_below = |other: &&PurposeDefined| {
        other.id != purpose.id && words.purpose_ancestry(&other.id).contains(&purpose.id.as_str())
    };
    let mut affected = words.purposes().filter(is_below).chain([purpose]);
    let declared = affected.find_map(|each| each.declared_basis().filter(|basis| !basis.can_be_refused()));
    declared.map_or(Ok(()), |basis| Err(DefinitionProblem::UnrefusableBasis(basis)))
}

fn check_category(words: &Vocabulary, category: &CategoryDefined) -> Result<(), DefinitionProblem> {
    let parent = &category.parent;
    if !parent.is_empty() && !words.has_category(parent) {
        return Err(DefinitionProblem::UnknownCategory(words.near_categories(parent)));
    }
    if !words.can_take_category(category) {
        return Err(DefinitionProblem::TooDeep);
    }
    if let Some(lost) = words.category_loses(category) {
        return Err(DefinitionProblem::LostAncestor(lost.to_owned()));
    }
    if words.is_special(&category.id) && !category.special {
        return Err(DefinitionProblem::NoLongerSpecial);
    }
    if category.same_meaning && category.effective_from_ms > 0 {
        return Err(DefinitionProblem::ScheduledSameMeaning);
    }
    Ok(())
}

/// Checks that this requirement makes consents stop counting, and makes no consent count again.
fn check_notice(words: &Vocabulary, notice: &NoticeRequired) -> Result<(), DefinitionProblem> {
    let NoticeRequired { id, version, .. } = notice;
    if !words.notices.is_published(id, version) {
        return Err(DefinitionProblem::UnknownNotice);
    }
    if !words.notices.has_earlier(id, version) {
        return Err(DefinitionProblem::FirstNotice);
    }
    let mut changed = words.notices.clone();
    changed.require(id, version, 0, (EventId::default(), UNRECORDED));
    match (words.notices.required(id), changed.required(id)) {
        (Some(before), Some(after)) if before == after => {
            Err(DefinitionProblem::RequiredNotice(before.version.clone()))
        }
        _ => Ok(()),
    }
}

/// The definitions among events, in the order in which they come into force. The order of the log decides
/// between definitions that come into force at the same time.
fn sorted<'a>(events: impl Iterator<Item = &'a Recorded>) -> Vec<(u64, &'a Recorded)> {
    let mut found: Vec<(u64, &Recorded)> =
        events.filter_map(|event| Some((starts_ms(event)?, event))).collect();
    found.sort_by_key(|(starts_ms, event)| (*starts_ms, event.position));
    found
}

/// Whether decisions follow the second edition of the rules at `now_ms`.
fn has_versions(definitions: &[(u64, &Recorded)], now_ms: u64) -> bool {
    definitions.iter().any(|(starts_ms, event)| match &event.event {
        Event::DecisionRulesAdopted(adopted) => adopted.edition >= 2 && *starts_ms <= now_ms,
        _ => false,
    })
}

/// When a definition comes into force, milliseconds since the Unix epoch. `None` for other events.
fn starts_ms(event: &Recorded) -> Option<u64> {
    let effective_from_ms = match &event.event {
        Event::PurposeDefined(purpose) => purpose.effective_from_ms,
        Event::CategoryDefined(category) => category.effective_from_ms,
        Event::NoticeRequired(notice) => notice.effective_from_ms,
        Event::NoticePublished(_) | Event::DecisionRulesAdopted(_) => 0,
        _ => return None,
    };
    Some(effective_from_ms.max(event.sealed_at_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::shipped_packs::defaults;
    use crate::domain::event::Tier;
    use std::collections::BTreeSet;

    #[test]
    fn the_exempting_purposes_are_those_that_the_shipped_rules_of_law_exempt() {
        let mut exempt = BTreeSet::new();
        for pack in defaults().into_iter().filter(|pack| pack.tier == Tier::Public) {
            for unless in pack.policies.split("\nunless {").skip(1) {
                let block = unless.split("};").next().unwrap_or_default();
                let Some((_, list)) = block.split_once("context.purpose in [") else { continue };
                let purposes = list.split("Purpose::\"").skip(1);
                exempt.extend(purposes.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
        assert_eq!(exempt, EXEMPTING.map(str::to_owned).into());
    }
}
