//! The rules that decisions are made under (vocabulary, bounds, notices, retention), now and at any earlier
//! time.

pub use crate::bounds::definitions::DefinitionProblem;
use crate::bounds::definitions::{Definitions, VocabularyChange};
use crate::bounds::engine::Bounds;
use crate::bounds::error::BoundsError;
use crate::bounds::titles::TitleHistory;
use crate::domain::consent::ConsentRecord;
use crate::domain::event::{Actor, BackupRestored, BoundsPublished, Event, NoticePublished, Recorded};
use crate::domain::ids::EventId;
use crate::domain::profile::GrantState;
use crate::domain::retention::Retention;
use crate::domain::vocabulary::Vocabulary;
use sayso_proof::checkpoint::Checkpoint;
use sayso_proof::rule::{Rule, RuleKind, RuleTier};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Vocabulary, bounds and notices in force at one moment.
pub struct Rules {
    /// The purposes and categories.
    pub vocabulary: Vocabulary,
    /// The bounds, compiled.
    pub bounds: Bounds,
    /// The retention rules.
    pub retention: Retention,
    packs: Vec<(u64, BoundsPublished)>,
    versions: Vec<Version>,
    /// The newest change of the vocabulary; `None` if the log still has the vocabulary that it began with.
    newest_vocabulary_change: Option<VocabularyChange>,
    /// The time that these rules were built for, milliseconds since the Unix epoch.
    now_ms: u64,
    /// The span in which these rules are in force, milliseconds since the Unix epoch: from the latest
    /// `effective_from_ms` of the versions in force until the next version comes into force, if there is one.
    span_ms: (u64, Option<u64>),
    /// Notices with their recorded times.
    notices: Vec<(u64, NoticePublished)>,
    /// A restore from a backup that is not yet confirmed; all use is suspended until then.
    unconfirmed: Option<BackupRestored>,
    /// The part of the log that each restore lost, oldest first.
    lost: Vec<Lost>,
}

/// A part of the log that a restore lost: the entries after those of the backup.
#[derive(Clone, Copy, Debug)]
struct Lost {
    /// The number of entries in the backup.
    from: u64,
    /// The number of entries in the log before the restore; `None` if unknown.
    to: Option<u64>,
}

impl Lost {
    fn of(restored: &BackupRestored) -> Option<Self> {
        let size = |note: &str| {
            let (text, _) = note.split_once("\n\n")?;
            Some(Checkpoint::parse(&format!("{text}\n")).ok()?.size)
        };
        Some(Self { from: size(&restored.backup_checkpoint)?, to: size(&restored.last_checkpoint) })
    }
}

/// A published version of a pack, in force or not.
#[derive(Clone, Debug)]
pub struct Version {
    /// The event that published it.
    pub event_id: EventId,
    /// The position of that event.
    pub position: u64,
    /// When it was recorded, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// When it was sealed, milliseconds since the Unix epoch.
    pub sealed_at_ms: u64,
    /// Who published it.
    pub actor: Actor,
    /// The published pack.
    pub pack: BoundsPublished,
}

impl Version {
    fn is_version_of(&self, pack: &BoundsPublished) -> bool {
        (self.pack.tier, &self.pack.pack) == (pack.tier, &pack.pack)
    }

    /// When it comes into force, milliseconds since the Unix epoch.
    #[must_use]
    pub fn starts_ms(&self) -> u64 {
        self.pack.effective_from_ms.max(self.recorded_at_ms)
    }

    /// Of two effective versions of a pack, the one with the higher rank is in force.
    fn rank(&self) -> (u64, u64) {
        (self.pack.effective_from_ms.max(self.sealed_at_ms), self.position)
    }
}

/// The versions in force at `now_ms`, sorted by position. Of the versions of a pack that are effective at
/// that time, the one that became effective last is in force.
pub(crate) fn in_force(versions: &[Version], now_ms: u64) -> Vec<&Version> {
    let mut in_force: Vec<&Version> = Vec::new();
    for version in versions.iter().filter(|version| version.pack.effective_from_ms <= now_ms) {
        match in_force.iter_mut().find(|other| other.is_version_of(&version.pack)) {
            Some(other) if other.rank() < version.rank() => *other = version,
            Some(_) => {}
            None => in_force.push(version),
        }
    }
    in_force.sort_by_key(|version| version.position);
    in_force
}

impl Rules {
    fn fold<'a>(
        events: impl Iterator<Item = &'a Recorded> + Clone,
        now_ms: u64,
    ) -> Result<Self, BoundsError> {
        let definitions = Definitions::at(events.clone(), now_ms);
        let (mut versions, mut notices, mut retention) = (Vec::new(), Vec::new(), Retention::default());
        let (mut unconfirmed, mut lost) = (None, Vec::new());
        for event in events {
            match &event.event {
                Event::BoundsPublished(pack) => versions.push(Version {
                    event_id: event.event_id,
                    position: event.position,
                    recorded_at_ms: event.recorded_at_ms,
                    sealed_at_ms: event.sealed_at_ms,
                    actor: event.actor.clone(),
                    pack: pack.clone(),
                }),
                Event::NoticePublished(notice) => notices.push((event.recorded_at_ms, notice.clone())),
                Event::RetentionDefined(rule) => retention.define(rule.clone(), event.recorded_at_ms),
                Event::BackupRestored(restored) => {
                    lost.extend(Lost::of(restored));
                    unconfirmed =
                        Some(restored.clone()).filter(|restored| restored.use_waits).or(unconfirmed);
                }
                Event::RestoreConfirmed(confirmed) => {
                    unconfirmed
                        .take_if(|restored: &mut BackupRestored| restored.restore == confirmed.restore);
                }
                _ => {}
            }
        }
        let packs: Vec<(u64, BoundsPublished)> = in_force(&versions, now_ms)
            .into_iter()
            .map(|version| (version.position, version.pack.clone()))
            .collect();
        let bounds = Bounds::compile(&packs, &definitions.vocabulary)?;
        let since_ms = packs.iter().map(|(_, pack)| pack.effective_from_ms);
        let since_ms = since_ms.chain([definitions.since_ms]).max().unwrap_or_default();
        let starts = versions.iter().map(|version| version.pack.effective_from_ms);
        let span_ms = (since_ms, starts.filter(|start| *start > now_ms).chain(definitions.next_ms).min());
        Ok(Self {
            vocabulary: definitions.vocabulary,
            bounds,
            retention,
            packs,
            versions,
            newest_vocabulary_change: definitions.newest_change,
            now_ms,
            span_ms,
            notices,
            unconfirmed,
            lost,
        })
    }

    /// Maps a cursor in a lost part of the log to where that part began, because other entries have these
    /// positions now. A reader may receive an entry twice, but never misses an entry.
    pub(crate) fn cursor_after_restores(&self, cursor: u64) -> u64 {
        let back = |cursor: u64, lost: &Lost| {
            let is_lost = cursor > lost.from && lost.to.is_none_or(|to| cursor <= to);
            if is_lost { lost.from } else { cursor }
        };
        self.lost.iter().fold(cursor, back)
    }

    /// When the next version comes into force, if there is one, milliseconds since the Unix epoch.
    fn next_ms(&self) -> Option<u64> {
        self.span_ms.1
    }

    /// Whether these rules are also in force at `now_ms`.
    pub(crate) fn are_in_force_at(&self, now_ms: u64) -> bool {
        self.span_ms.0 <= now_ms && self.next_ms().is_none_or(|next| now_ms < next)
    }

    /// The position of the newest change of the vocabulary, if there is one.
    pub(crate) fn vocabulary_changed_at(&self) -> Option<u64> {
        self.newest_vocabulary_change.map(|change| change.position)
    }

    /// Whether a grant was decided under other rules: the bounds in force or the vocabulary changed after the
    /// grant.
    pub(crate) fn changed_since(&self, grant: &GrantState) -> bool {
        let change = self.newest_vocabulary_change.is_some_and(|change| change.is_after(grant));
        change || grant.issued.bounds[..] != *self.bounds.positions()
    }

    /// The newest change of these rules since a grant. Candidates are the pack versions in force that the
    /// grant does not cite, and a vocabulary change after the grant. The candidate with the highest position
    /// is the newest.
    pub(crate) fn newest_after(&self, grant: &GrantState) -> Option<EventId> {
        let unseen = self.bounds.positions().iter().filter(|at| !grant.issued.bounds.contains(at)).max();
        let version = unseen.and_then(|position| self.version_at(*position));
        let version = version.map(|version| (version.position, version.event_id));
        let change = self.newest_vocabulary_change.filter(|change| change.is_after(grant));
        let change = change.map(|change| (change.position, change.event_id));
        version.into_iter().chain(change).max().map(|(_, event_id)| event_id)
    }

    /// The event that changed these rules last: a pack version that came into force, or a vocabulary change.
    pub(crate) fn newest_change(&self) -> Option<EventId> {
        let in_force = self.packs.iter().filter_map(|(position, _)| self.version_at(*position));
        let versions = in_force.map(|version| (version.starts_ms(), version.position, version.event_id));
        let change =
            self.newest_vocabulary_change.map(|change| (change.starts_ms, change.position, change.event_id));
        versions.chain(change).max().map(|(.., event_id)| event_id)
    }

    /// The restore that is not yet confirmed, if there is one; all use is suspended until it is confirmed.
    #[must_use]
    pub fn unconfirmed(&self) -> Option<&BackupRestored> {
        self.unconfirmed.as_ref()
    }

    /// Every published version, oldest first.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The version that was recorded at a position.
    #[must_use]
    pub fn version_at(&self, position: u64) -> Option<&Version> {
        self.versions.iter().find(|version| version.position == position)
    }

    /// Packs in force with their positions, oldest first.
    #[must_use]
    pub fn packs(&self) -> &[(u64, BoundsPublished)] {
        &self.packs
    }

    /// Notices with their recorded times, oldest first.
    #[must_use]
    pub fn notices(&self) -> &[(u64, NoticePublished)] {
        &self.notices
    }

    /// A notice by id and version; the newest one if `version` is empty.
    #[must_use]
    pub fn notice(&self, id: &str, version: &str) -> Option<&(u64, NoticePublished)> {
        self.notices.iter().rev().find(|(_, notice)| {
            let named = notice.notice.as_ref();
            named.is_some_and(|named| named.id == id && (version.is_empty() || named.version == version))
        })
    }
}

/// Every event that defines rules, and the rules in force now.
pub(crate) struct RulesHistory {
    events: Vec<Recorded>,
    now: Arc<Rules>,
}

pub(crate) fn is_rule(event: &Event) -> bool {
    matches!(
        event,
        Event::PurposeDefined(_)
            | Event::CategoryDefined(_)
            | Event::DecisionRulesAdopted(_)
            | Event::BoundsPublished(_)
            | Event::NoticePublished(_)
            | Event::NoticeRequired(_)
            | Event::RetentionDefined(_)
            | Event::BackupRestored(_)
            | Event::RestoreConfirmed(_)
    )
}

/// Whether an event is a version of this rule.
fn is_version_of(event: &Event, rule: &Rule) -> bool {
    let (kind, name) = match event {
        Event::BoundsPublished(bounds) if RuleTier::of_bounds(bounds.tier) == Some(rule.tier) => {
            (RuleKind::Bounds, &bounds.pack)
        }
        Event::PurposeDefined(purpose) => (RuleKind::Purpose, &purpose.id),
        Event::CategoryDefined(category) => (RuleKind::Category, &category.id),
        Event::NoticeRequired(notice) => (RuleKind::Notice, &notice.id),
        _ => return false,
    };
    (kind, name) == (rule.kind, &rule.name)
}

impl RulesHistory {
    /// Builds the history from the system events, oldest first.
    pub fn new(events: impl Iterator<Item = Recorded>, now_ms: u64) -> Result<Self, BoundsError> {
        let events: Vec<Recorded> = events.filter(|event| is_rule(&event.event)).collect();
        let now = Arc::new(Rules::fold(events.iter(), now_ms)?);
        Ok(Self { events, now })
    }

    /// A category, and every category that is or ever was below it. Empty if the category was never defined.
    pub fn categories_ever_below(&self, category: &str) -> BTreeSet<String> {
        let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut open = Vec::new();
        for event in &self.events {
            let Event::CategoryDefined(defined) = &event.event else { continue };
            children.entry(&defined.parent).or_default().push(&defined.id);
            if defined.id == category {
                open = vec![category];
            }
        }
        let mut below = BTreeSet::new();
        while let Some(next) = open.pop() {
            if below.insert(next.to_owned()) {
                open.extend(children.get(next).into_iter().flatten().copied());
            }
        }
        below
    }

    /// The number of versions of a rule so far.
    pub fn versions_of(&self, rule: &Rule) -> u64 {
        self.events.iter().filter(|event| is_version_of(&event.event, rule)).count() as u64
    }

    /// A copy that later events do not change.
    pub fn copy(&self) -> Self {
        Self { events: self.events.clone(), now: self.now() }
    }

    /// The rules that were in force at the last lookup or append.
    pub fn now(&self) -> Arc<Rules> {
        Arc::clone(&self.now)
    }

    /// The rules in force at `now_ms`, if the last lookup still applies; `None` if a version has come into
    /// force since.
    pub fn known(&self, now_ms: u64) -> Option<Arc<Rules>> {
        self.now.are_in_force_at(now_ms).then(|| self.now())
    }

    /// Builds and keeps the rules in force at `now_ms`.
    pub fn look_up(&mut self, now_ms: u64) -> Result<Arc<Rules>, BoundsError> {
        let rules = Arc::new(Rules::fold(self.events.iter(), now_ms)?);
        if now_ms >= self.now.now_ms {
            self.now = Arc::clone(&rules);
        }
        Ok(rules)
    }

    /// The rules that applied to a decision that was made at this time and recorded at this position.
    pub fn before(&self, position: u64, now_ms: u64) -> Result<Arc<Rules>, BoundsError> {
        let before = self.events.iter().filter(|event| event.position < position);
        Ok(Arc::new(Rules::fold(before, now_ms)?))
    }

    /// The words with the meaning that they had for a decision: their meaning at the time from which the
    /// decision counts. If the decision names a word that was not defined then, the time at which it was
    /// sealed is used instead.
    pub fn words_of(&self, record: &ConsentRecord) -> Vocabulary {
        let at = |time_ms| {
            let before = self.events.iter().filter(|event| event.position < record.position);
            Definitions::at(before, time_ms).vocabulary
        };
        let words = at(record.said_ms());
        let terms = &record.terms;
        let is_known = terms.purposes.iter().all(|id| words.has_purpose(id))
            && terms.categories.iter().all(|id| words.has_category(id));
        if is_known { words } else { at(record.sealed_at_ms) }
    }

    /// The titles that purposes and categories have had.
    pub fn titles(&self) -> TitleHistory {
        Definitions::titles(self.events.iter())
    }

    /// The rules that would be in force now if these versions were also published.
    pub fn with_now(&self, versions: &[Recorded], now_ms: u64) -> Result<Arc<Rules>, BoundsError> {
        Ok(Arc::new(Rules::fold(self.events.iter().chain(versions), now_ms)?))
    }

    /// Checks that the rules compile with another version, now and at each later time at which a version
    /// comes into force.
    ///
    /// # Errors
    /// The rules would not compile at one of these times.
    pub fn check_with(&self, version: &Recorded, now_ms: u64) -> Result<(), BoundsError> {
        let events = || self.events.iter().chain(std::iter::once(version));
        let mut rules = Rules::fold(events(), now_ms)?;
        while let Some(next_ms) = rules.next_ms() {
            rules = Rules::fold(events(), next_ms)?;
        }
        Ok(())
    }

    /// Checks that definitions fit the vocabulary, now and at each later time at which another definition
    /// comes into force.
    ///
    /// # Errors
    /// A definition, or one that was published earlier and comes into force later, would not fit.
    pub fn check_definitions(&self, definitions: &[Recorded], now_ms: u64) -> Result<(), DefinitionProblem> {
        Definitions::check(self.events.iter().chain(definitions), now_ms)
    }

    /// The rules in force at a recorded time.
    pub fn at(&self, time_ms: u64) -> Result<Arc<Rules>, BoundsError> {
        let before = self.events.iter().filter(|event| event.recorded_at_ms <= time_ms);
        Ok(Arc::new(Rules::fold(before, time_ms)?))
    }

    /// Applies recorded events.
    pub fn push(&mut self, events: &[Recorded], now_ms: u64) -> Result<(), BoundsError> {
        self.events.extend(events.iter().filter(|event| is_rule(&event.event)).cloned());
        self.now = Arc::new(Rules::fold(self.events.iter(), now_ms.max(self.now.now_ms))?);
        Ok(())
    }
}
