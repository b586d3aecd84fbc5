//! Selects the events that an erasure destroys. The selection is a pure function, so tests can run it over
//! any history.
//!
//! A partial erasure destroys every event that records, changes, cites or names the erased data. It also
//! destroys everything that was directly or indirectly derived from that data. Erasure never revives data: if
//! an attribute's replacement is erased, the replaced attribute does not become current again. The data
//! subject's decisions are kept, so that an erasure never allows more use.

use super::attribute::Secret;
use super::attribute_events::{AttributeEvents, GroupNumber};
use super::current_attribute::CurrentAttribute;
use super::dependents::Dependents;
use super::erased_copies;
use super::event::{ErasureRefused, Event, Recorded, RequestSubmitted};
use super::event_class::{Class, class};
use super::event_references::{names_key, names_something, subject_of};
use super::ids::{EventId, GrantId};
use super::profile::SubjectState;
use super::request::{RequestKind, RequestRecord};
use super::rights::Hold;
use super::text_search;
use super::vocabulary::Vocabulary;
use crate::domain::event::{ErasedKind, ErasureScope, Ground, KeptOnGround, PositionRange, PriorRecipient};
use std::collections::{BTreeMap, BTreeSet};

/// The scope of an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// The classes `Profile` and `Uses`, and requests that contain details or keys.
    Profile,
    /// One attribute key.
    Key(String),
    /// One category and the categories below it.
    Category(String),
    /// Every event whose text holds this text, or nearly so ([`super::text_search`]).
    Content(Secret),
    /// Exactly these versions and what depends on them; used by retention.
    Versions(BTreeSet<u64>),
}

impl Scope {
    /// Whether it is a text. No event that stays may have it, or a hash by which a guess of it is confirmed.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Content(_))
    }

    /// The scope as the log records it.
    #[must_use]
    pub fn kind(&self) -> ErasureScope {
        match self {
            Self::All => ErasureScope::All,
            Self::Profile => ErasureScope::Profile,
            Self::Key(_) => ErasureScope::Key,
            Self::Category(_) => ErasureScope::Category,
            Self::Content(_) => ErasureScope::Content,
            Self::Versions(_) => ErasureScope::Retention,
        }
    }

    /// The scope that a request for erasure names; `None` if the request's event was erased or has only the
    /// hash of a key.
    #[must_use]
    pub fn of_request(record: &RequestRecord) -> Option<Self> {
        let submitted = record.submitted.as_ref()?;
        match submitted.scope {
            ErasureScope::All => Some(Self::All),
            ErasureScope::Profile => Some(Self::Profile),
            ErasureScope::Key => submitted.keys.first().cloned().map(Self::Key),
            ErasureScope::Category => Some(Self::Category(submitted.category.clone())),
            ErasureScope::Content => Some(Self::Content(Secret::new(submitted.details.clone()))),
            ErasureScope::Retention | ErasureScope::Unspecified => None,
        }
    }

    /// A request for the erasure of this scope. Only the fields of the scope are set.
    #[must_use]
    pub fn submission(&self) -> RequestSubmitted {
        let mut submitted = RequestSubmitted { scope: self.kind(), ..RequestSubmitted::default() };
        match self {
            Self::Category(category) => submitted.category.clone_from(category),
            Self::Key(key) => submitted.keys.push(key.clone()),
            Self::Content(text) => text.expose().clone_into(&mut submitted.details),
            Self::All | Self::Profile | Self::Versions(_) => {}
        }
        submitted
    }

    /// The refusal of a request for the erasure of this scope, of which nothing is erased. The legal ground
    /// of the refusal is not set.
    #[must_use]
    pub fn refusal(&self, request: EventId) -> ErasureRefused {
        let mut refused =
            ErasureRefused { request, scope: self.kind(), whole: true, ..ErasureRefused::default() };
        match self {
            Self::Category(category) => refused.category.clone_from(category),
            Self::Key(key) => refused.key.clone_from(key),
            // The event never has the text. It keeps everything from use that the text may be in.
            Self::All | Self::Profile | Self::Content(_) | Self::Versions(_) => {}
        }
        refused
    }
}

/// The events that an erasure destroys, and what it keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Versions within the subject's stream, ascending.
    pub versions: Vec<u64>,
    /// Their positions in the log, ascending.
    pub positions: Vec<u64>,
    /// What each of them is for a verifier of the grants that remain.
    pub kinds: Vec<ErasedKind>,
    /// The number of erased attributes by category.
    pub categories: BTreeMap<String, u32>,
    /// The keys of the erased attributes.
    pub keys: BTreeSet<String>,
    /// Recipients with erased grants or erased artifacts, except those that were granted nothing.
    pub recipients: Vec<PriorRecipient>,
    /// Events in the scope that are kept, counted by ground.
    pub kept: Vec<KeptOnGround>,
    /// The holds that keep something in the scope.
    pub holds: BTreeSet<EventId>,
    /// The versions of the erased events that only depend on something in the scope.
    pub dependents: BTreeSet<u64>,
    /// The number of erased events with the text of the scope, if the scope is a text.
    pub with_text: usize,
    /// The erased keys that each recipient had been given by an erased grant.
    pub recipient_keys: BTreeMap<String, BTreeSet<String>>,
}

/// The steps that reading an event again takes.
pub const REREAD_STEPS: usize = 4;

/// How much work the selection of a part may be. Without a limit, a history that a service made for this
/// purpose could stop the daemon with one erasure.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most links between an event and one that depends on it, in the whole history.
    pub links_max: usize,
    /// The most steps: links followed, and [`REREAD_STEPS`] for each event that is read again to see which
    /// attributes became current. The default takes some seconds.
    pub steps_max: usize,
    /// The most bytes of text that are read for the scope of a text.
    pub text_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { links_max: 1 << 24, steps_max: 1 << 25, text_bytes_max: text_search::BYTES_MAX }
    }
}

impl Limits {
    /// No limits: for an erasure that was started, because it must not stop halfway.
    #[must_use]
    pub fn none() -> Self {
        Self { links_max: usize::MAX, steps_max: usize::MAX, text_bytes_max: usize::MAX }
    }
}

/// Why a part can't be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLarge {
    /// More depends on the part than [`Limits`] allow.
    Dependents,
    /// The person's record has more text than one search for a text reads.
    Text,
}

/// Selects the events to erase from a data subject's whole history, which is given oldest first. `holds` are
/// the legal holds in force; a hold that covers all data leaves nothing to erase. Events that cite erased
/// data are erased too. So an event that must survive a partial erasure, such as the caller's own event about
/// the erasure, must not cite erased data.
///
/// # Errors
/// The selection would be more work than `limits` allow. Everything, and the whole profile if no hold is in
/// force, can always be selected, because for these nothing has to be followed. The limits do not apply to
/// what is at the end of its retention: no one could name another scope, and it must not stay.
pub fn select(
    history: &[Recorded],
    scope: &Scope,
    holds: &[Hold],
    vocabulary: &Vocabulary,
    limits: Limits,
) -> Result<Selection, TooLarge> {
    let is_unlimited = match scope {
        Scope::Versions(_) => true,
        Scope::Profile => holds.is_empty(),
        Scope::All | Scope::Key(_) | Scope::Category(_) | Scope::Content(_) => false,
    };
    let limits = if is_unlimited { Limits::none() } else { limits };
    if *scope == Scope::All && holds.is_empty() {
        let mut closure = Closure::new(&[], scope, holds, vocabulary, limits)?;
        closure.history = history;
        closure.gone = history.iter().map(|event| event.version).collect();
        return Ok(closure.selection());
    }
    let mut closure = Closure::new(history, scope, holds, vocabulary, limits)?;
    closure.run()?;
    Ok(closure.selection())
}

/// Whether a selection from this history has more than requests for erasure and their outcomes.
#[must_use]
pub fn erases_data(history: &[Recorded], selection: &Selection) -> bool {
    let is_request = |event: &Event| match event {
        Event::RequestSubmitted(submitted) => submitted.kind == RequestKind::Erasure,
        Event::RequestDecided(decided) => decided.kind == RequestKind::Erasure,
        Event::ErasureRefused(_) => true,
        _ => false,
    };
    let is_selected = |event: &&Recorded| selection.versions.binary_search(&event.version).is_ok();
    history.iter().filter(is_selected).any(|event| !is_request(&event.event))
}

/// Groups ascending positions into ranges.
#[must_use]
pub fn ranges(positions: &[u64]) -> Vec<PositionRange> {
    let mut ranges: Vec<PositionRange> = Vec::new();
    for position in positions {
        match ranges.last_mut() {
            Some(last) if last.last.checked_add(1) == Some(*position) => last.last = *position,
            _ => ranges.push(PositionRange { first: *position, last: *position }),
        }
    }
    ranges
}

/// Computes the smallest set of events to erase on which no remaining event depends.
struct Closure<'a> {
    history: &'a [Recorded],
    scope: &'a Scope,
    holds: &'a [Hold],
    vocabulary: &'a Vocabulary,
    /// The versions that holds keep, each with the legal ground of the hold.
    kept: BTreeMap<u64, Ground>,
    gone: BTreeSet<u64>,
    /// Ids of the selected events.
    ids: BTreeSet<EventId>,
    dependents: Dependents<'a>,
    limits: Limits,
    /// The events that were read again to see which attributes became current.
    reread: usize,
    /// The versions with the text of the scope, if the scope is a text.
    with_text: BTreeSet<u64>,
    /// The versions that would be selected if no hold kept them.
    kept_in_scope: BTreeSet<u64>,
}

impl<'a> Closure<'a> {
    fn new(
        history: &'a [Recorded],
        scope: &'a Scope,
        holds: &'a [Hold],
        vocabulary: &'a Vocabulary,
        limits: Limits,
    ) -> Result<Self, TooLarge> {
        let mut kept = BTreeMap::new();
        let mut kept_ids = BTreeMap::new();
        for event in history {
            let ground = match &event.event {
                Event::AttributeRecorded(attribute)
                | Event::EarlierAttributeRecorded(attribute)
                | Event::AttributeCorrected { attribute, .. } => holds
                    .iter()
                    .find(|hold| hold.keeps(&attribute.category, vocabulary))
                    .map(|hold| hold.placed.ground),
                other => subject_of(other).and_then(|of| kept_ids.get(&of).copied()),
            };
            let whole = holds.iter().find(|hold| hold.is_whole()).map(|hold| hold.placed.ground);
            if let Some(ground) = ground.or(whole) {
                kept.insert(event.version, ground);
                kept_ids.insert(event.event_id, ground);
            }
        }
        let (gone, ids, kept_in_scope) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let with_text = match scope {
            Scope::Content(text) => erased_copies::holding(history, text.expose(), limits.text_bytes_max),
            _ => Ok(BTreeSet::new()),
        };
        let with_text = with_text.map_err(|_| TooLarge::Text)?;
        // All that depends on the profile is in its scope, so nothing has to be followed unless a hold keeps
        // a part.
        let followed = if *scope == Scope::Profile && holds.is_empty() { &[][..] } else { history };
        let dependents = Dependents::of(followed, matches!(scope, Scope::Versions(_)), limits.links_max);
        if dependents.links() > limits.links_max {
            return Err(TooLarge::Dependents);
        }
        let reread = 0;
        Ok(Self {
            history,
            scope,
            holds,
            vocabulary,
            kept,
            gone,
            ids,
            dependents,
            limits,
            reread,
            with_text,
            kept_in_scope,
        })
    }

    fn run(&mut self) -> Result<(), TooLarge> {
        let before = SubjectState::fold(self.history);
        let mut taken = BTreeSet::new();
        for event in self.history {
            if self.is_in_scope(event) {
                self.take(event, &mut taken)?;
            }
        }
        let attributes = AttributeEvents::of(self.history);
        let mut groups = attributes.groups_of(&taken);
        while !groups.is_empty() {
            let revived = self.revived(&before, &attributes, &groups)?;
            let mut taken = BTreeSet::new();
            for event in revived {
                self.take(event, &mut taken)?;
            }
            groups = attributes.groups_of(&taken);
        }
        Ok(())
    }

    /// # Errors
    /// The limit on steps is reached.
    fn check_steps(&self) -> Result<(), TooLarge> {
        let reread = self.reread.saturating_mul(REREAD_STEPS);
        let steps = self.dependents.followed().saturating_add(reread);
        if steps > self.limits.steps_max { Err(TooLarge::Dependents) } else { Ok(()) }
    }

    /// Selects an event and everything that depends on it, except what holds keep. Adds the versions of what
    /// was not selected before to `taken`.
    fn take(&mut self, event: &Recorded, taken: &mut BTreeSet<u64>) -> Result<(), TooLarge> {
        let (kept, kept_in_scope) = (&self.kept, &mut self.kept_in_scope);
        let (gone, ids) = (&mut self.gone, &mut self.ids);
        let mut take = |event: &Recorded| {
            if kept.contains_key(&event.version) {
                kept_in_scope.insert(event.version);
                return false;
            }
            ids.insert(event.event_id);
            let is_new = gone.insert(event.version);
            taken.extend(is_new.then_some(event.version));
            is_new
        };
        if take(event) {
            self.dependents.visit(event.event_id, take);
        }
        self.check_steps()
    }

    /// Whether the scope itself includes the event.
    fn is_in_scope(&self, event: &Recorded) -> bool {
        let class = class(&event.event);
        match self.scope {
            Scope::All => class != Class::Requests || names_something(&event.event),
            Scope::Profile => matches!(class, Class::Profile | Class::Uses) || names_something(&event.event),
            Scope::Key(key) => names_key(&event.event, key),
            Scope::Category(category) => self.names_category(&event.event, category),
            Scope::Content(_) => self.with_text.contains(&event.version),
            Scope::Versions(versions) => versions.contains(&event.version),
        }
    }

    fn names_category(&self, event: &Event, scope: &str) -> bool {
        let within = |category: &str| self.vocabulary.category_ancestry(category).contains(&scope);
        match event {
            Event::AttributeRecorded(attribute)
            | Event::EarlierAttributeRecorded(attribute)
            | Event::AttributeCorrected { attribute, .. } => within(&attribute.category),
            // A withheld class also reveals that data existed.
            Event::GrantIssued(grant) => {
                grant.allowed.iter().any(|cited| within(&cited.category))
                    || grant.withheld.iter().any(|class| within(&class.category))
            }
            Event::RecordingRefused(refused) => within(&refused.category),
            // If a request names no keys, its details may be about any data.
            Event::RequestSubmitted(request) => !request.details.is_empty() && request.keys.is_empty(),
            // The erasure that was refused before is carried out.
            Event::ErasureRefused(refused) => within(&refused.category),
            _ => false,
        }
    }

    fn is_retention(&self) -> bool {
        matches!(self.scope, Scope::Versions(_))
    }

    /// The attributes of these groups that would become current, or lose their contest, only because later
    /// events are erased.
    fn revived(
        &mut self,
        before: &SubjectState,
        attributes: &AttributeEvents<'a>,
        groups: &BTreeSet<GroupNumber>,
    ) -> Result<Vec<&'a Recorded>, TooLarge> {
        let mut revived = Vec::new();
        for group in groups.iter().filter_map(|number| attributes.group(*number)) {
            self.reread = self.reread.saturating_add(group.events.len());
            self.check_steps()?;
            let remaining = group.events.iter().copied().filter(|event| !self.gone.contains(&event.version));
            let after = SubjectState::fold(remaining);
            let was_current = |current: &CurrentAttribute| {
                let former = before.attributes.get(&current.attribute.key);
                former.is_some_and(|former| {
                    former.event_id == current.event_id && (current.contested || !former.contested)
                })
            };
            let versions = after.attributes.values().filter(|current| !was_current(current));
            let versions: BTreeSet<u64> =
                versions.map(|current| current.version).filter(|at| !self.kept.contains_key(at)).collect();
            revived.extend(group.events.iter().filter(|event| versions.contains(&event.version)));
        }
        Ok(revived)
    }

    fn selection(self) -> Selection {
        let mut selection = Selection::default();
        let mut recipients: BTreeMap<String, PriorRecipient> = BTreeMap::new();
        let mut received: BTreeSet<&String> = BTreeSet::new();
        let remaining = self.history.iter().filter(|event| !self.gone.contains(&event.version));
        let remaining: BTreeSet<EventId> = remaining.map(|event| event.event_id).collect();
        for event in self.history.iter().filter(|event| self.gone.contains(&event.version)) {
            selection.versions.push(event.version);
            selection.positions.push(event.position);
            selection.kinds.push(erased_kind(&event.event, &remaining));
            let id = GrantId::new(event.position, &event.event_id).to_string();
            let mut prior = |name: &String| {
                let recipient = recipients.entry(name.clone()).or_default();
                recipient.name.clone_from(name);
            };
            match &event.event {
                Event::AttributeRecorded(attribute)
                | Event::EarlierAttributeRecorded(attribute)
                | Event::AttributeCorrected { attribute, .. } => {
                    *selection.categories.entry(attribute.category.clone()).or_default() += 1;
                    selection.keys.insert(attribute.key.clone());
                }
                Event::GrantIssued(grant) => {
                    prior(&grant.recipient);
                    recipients.entry(grant.recipient.clone()).or_default().grant_ids.push(id);
                    let erased = grant.allowed.iter().filter(|cited| self.ids.contains(&cited.attribute));
                    let keys = erased.map(|cited| cited.key.clone());
                    selection.recipient_keys.entry(grant.recipient.clone()).or_default().extend(keys);
                    if !grant.allowed.is_empty() {
                        received.insert(&grant.recipient);
                    }
                }
                Event::ArtifactRegistered(artifact) => {
                    prior(&artifact.recipient);
                    received.insert(&artifact.recipient);
                    recipients.entry(artifact.recipient.clone()).or_default().artifact_ids.push(id);
                }
                _ => {}
            }
        }
        // Retention affects no recipients, because the grants had ended before.
        if !self.is_retention() {
            // Who was granted nothing received nothing.
            recipients.retain(|name, _| received.contains(name));
            selection.recipients = recipients.into_values().collect();
        }
        let is_dependent = |event: &&Recorded| {
            self.gone.contains(&event.version) && *self.scope != Scope::All && !self.is_in_scope(event)
        };
        selection.dependents = self.history.iter().filter(is_dependent).map(|event| event.version).collect();
        let is_erased = |version| self.with_text.contains(&version) && self.gone.contains(&version);
        selection.with_text = erased_copies::count_copies(self.history, is_erased);
        self.note_kept(&mut selection);
        selection
    }

    /// Notes what is in the scope and kept, and the holds that keep it.
    fn note_kept(&self, selection: &mut Selection) {
        let mut counts: BTreeMap<Ground, u64> = BTreeMap::new();
        let mut categories = BTreeSet::new();
        for event in self.history {
            if let Some(ground) = self.kept.get(&event.version)
                && self.kept_in_scope.contains(&event.version)
            {
                *counts.entry(*ground).or_default() += 1;
                categories.extend(recorded_category(&event.event));
            }
        }
        // Statements about an attribute are kept with it, so its category says which holds keep them.
        let keeps = |hold: &&Hold| categories.iter().any(|category| hold.keeps(category, self.vocabulary));
        selection.holds = self.holds.iter().filter(keeps).map(|hold| hold.id).collect();
        selection.kept =
            counts.into_iter().map(|(ground, entries)| KeptOnGround { ground, entries }).collect();
    }
}

/// The category of the attribute that the event records.
fn recorded_category(event: &Event) -> Option<&str> {
    match event {
        Event::AttributeRecorded(attribute)
        | Event::EarlierAttributeRecorded(attribute)
        | Event::AttributeCorrected { attribute, .. } => Some(&attribute.category),
        _ => None,
    }
}

/// What an event is for a verifier of the grants that remain after its erasure. `remaining` has the events
/// that are not erased.
fn erased_kind(event: &Event, remaining: &BTreeSet<EventId>) -> ErasedKind {
    let changed = match event {
        Event::AttributeCorrected { corrects, .. } => Some(*corrects),
        other => subject_of(other),
    };
    match (class(event), event) {
        (_, Event::RecordingRefused(_) | Event::ConsentRequested(_) | Event::ConsentExpired { .. }) => {
            ErasedKind::Other
        }
        (Class::Profile, _) if changed.is_some_and(|changed| remaining.contains(&changed)) => {
            ErasedKind::Decision
        }
        (Class::Profile, _) => ErasedKind::Attribute,
        // A refused erasure is erased once it keeps nothing from use, and not before.
        (Class::Consent, _) | (_, Event::RequestWithdrawn(_)) => ErasedKind::Decision,
        (Class::Uses | Class::Requests | Class::System, _) => ErasedKind::Other,
    }
}

#[cfg(test)]
mod tests;
