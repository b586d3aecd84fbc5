//! Follows what depends on the scope of an erasure, and what the erasure would revive.

use super::limits::{Limits, REREAD_STEPS, TooLarge};
use super::scope::Scope;
use super::selection::Selection;
use crate::domain::attribute_events::{AttributeEvents, GroupNumber};
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::dependents::Dependents;
use crate::domain::erased_copies;
use crate::domain::event::{ErasedKind, Event, Ground, KeptOnGround, PriorRecipient, Recorded};
use crate::domain::event_class::{Class, class};
use crate::domain::event_references::{names_key, names_something, subject_of};
use crate::domain::ids::{EventId, GrantId};
use crate::domain::profile::SubjectState;
use crate::domain::rights::Hold;
use crate::domain::vocabulary::Vocabulary;
use std::collections::{BTreeMap, BTreeSet};

/// Computes the smallest set of events to erase on which no remaining event depends.
pub(super) struct Closure<'a> {
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
    pub fn new(
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

    /// Takes the whole history, from which nothing is kept.
    pub fn take_everything(&mut self, history: &'a [Recorded]) {
        self.history = history;
        self.gone = history.iter().map(|event| event.version).collect();
    }

    /// Takes what is in the scope, and everything that depends on it.
    pub fn run(&mut self) -> Result<(), TooLarge> {
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

    /// The selected events.
    pub fn selection(self) -> Selection {
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
