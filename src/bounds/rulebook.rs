//! What decisions stand on: vocabulary, bounds and notices, now and at every earlier moment.

use crate::bounds::engine::Bounds;
use crate::bounds::error::BoundsError;
use crate::domain::event::{Actor, Event, Recorded, Role};
use crate::domain::ids::EventId;
use crate::domain::profile::GrantState;
use crate::domain::retention::Retention;
use crate::domain::vocabulary::Vocabulary;
use sayso_proof::checkpoint::Checkpoint;
use sayso_proof::event::{BackupRestored, BoundsPublished, NoticePublished};
use std::sync::Arc;

/// Vocabulary, bounds and notices in force at one moment.
pub struct Rules {
    /// The words.
    pub vocabulary: Vocabulary,
    /// The bounds, compiled.
    pub bounds: Bounds,
    /// How long what is kept.
    pub retention: Retention,
    packs: Vec<(u64, BoundsPublished)>,
    versions: Vec<Version>,
    /// The newest word that somebody defined; none: those that the log began with.
    newest_word: Option<Word>,
    /// The moment that they are of.
    now_ms: u64,
    /// When the newest of those in force was to come into force by its own word, and when the next one comes, if one is to;
    /// milliseconds since the Unix epoch.
    span_ms: (u64, Option<u64>),
    /// With their recorded time.
    notices: Vec<(u64, NoticePublished)>,
    /// The log went back to a backup, and use waits until that is confirmed.
    unconfirmed: Option<BackupRestored>,
    /// Every time that the log went back, oldest first.
    lost: Vec<Lost>,
}

/// A part of the log that was lost: entries from the size of the backup on.
#[derive(Clone, Copy, Debug)]
struct Lost {
    /// Number of entries of the backup.
    from: u64,
    /// Number of entries that there had been; none: it is not known.
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

/// A version of a pack, in force or not.
#[derive(Clone, Debug)]
pub struct Version {
    /// The event that published it.
    pub event_id: EventId,
    /// Its position.
    pub position: u64,
    /// Milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// When it was sealed, milliseconds since the Unix epoch.
    pub sealed_at_ms: u64,
    /// Who published it.
    pub actor: Actor,
    /// What it says.
    pub pack: BoundsPublished,
}

/// The event that defined a word.
#[derive(Clone, Copy, Debug)]
struct Word {
    event_id: EventId,
    position: u64,
    recorded_at_ms: u64,
}

impl Version {
    fn is_of(&self, pack: &BoundsPublished) -> bool {
        (self.pack.tier, &self.pack.pack) == (pack.tier, &pack.pack)
    }

    /// In force from then on, milliseconds since the Unix epoch.
    #[must_use]
    pub fn starts_ms(&self) -> u64 {
        self.pack.effective_from_ms.max(self.recorded_at_ms)
    }

    /// Which of two versions of a pack counts where the time of both has come: the later.
    fn rank(&self) -> (u64, u64) {
        (self.pack.effective_from_ms.max(self.sealed_at_ms), self.position)
    }
}

/// The versions in force at a moment, among what was published before it: of each pack the one whose time came last.
/// In order of position.
pub(crate) fn in_force(versions: &[Version], now_ms: u64) -> Vec<&Version> {
    let mut found: Vec<&Version> = Vec::new();
    for version in versions.iter().filter(|version| version.pack.effective_from_ms <= now_ms) {
        match found.iter_mut().find(|there| there.is_of(&version.pack)) {
            Some(there) if there.rank() < version.rank() => *there = version,
            Some(_) => {}
            None => found.push(version),
        }
    }
    found.sort_by_key(|version| version.position);
    found
}

impl Rules {
    fn fold<'a>(events: impl Iterator<Item = &'a Recorded>, now_ms: u64) -> Result<Self, BoundsError> {
        let mut vocabulary = Vocabulary::default();
        let (mut versions, mut notices, mut retention) = (Vec::new(), Vec::new(), Retention::default());
        let (mut newest_word, mut unconfirmed, mut lost) = (None, None, Vec::new());
        for event in events {
            if let (Event::PurposeDefined(_) | Event::CategoryDefined(_), false) =
                (&event.event, event.actor.role() == Role::Ledger)
            {
                let (position, recorded_at_ms) = (event.position, event.recorded_at_ms);
                newest_word = Some(Word { event_id: event.event_id, position, recorded_at_ms });
            }
            match &event.event {
                Event::PurposeDefined(purpose) => vocabulary.define_purpose(purpose.clone()),
                Event::CategoryDefined(category) => vocabulary.define_category(category.clone()),
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
        let bounds = Bounds::compile(&packs, &vocabulary)?;
        let since_ms = packs.iter().map(|(_, pack)| pack.effective_from_ms).max().unwrap_or_default();
        let starts = versions.iter().map(|version| version.pack.effective_from_ms);
        let span_ms = (since_ms, starts.filter(|start| *start > now_ms).min());
        Ok(Self {
            vocabulary,
            bounds,
            retention,
            packs,
            versions,
            newest_word,
            now_ms,
            span_ms,
            notices,
            unconfirmed,
            lost,
        })
    }

    /// Where whoever had come to `cursor` goes on: what they were told of a part of the log that was lost since was of another
    /// log, and what stands in its place they were not told. A cursor from since then may be told twice, never not at all.
    pub(crate) fn cursor_now(&self, cursor: u64) -> u64 {
        let back = |cursor: u64, lost: &Lost| {
            let is_of_it = cursor > lost.from && lost.to.is_none_or(|to| cursor <= to);
            if is_of_it { lost.from } else { cursor }
        };
        self.lost.iter().fold(cursor, back)
    }

    /// When the next version comes into force, if one is to, milliseconds since the Unix epoch.
    fn next_ms(&self) -> Option<u64> {
        self.span_ms.1
    }

    /// Whether they are the rules of this moment, too.
    fn are_of(&self, now_ms: u64) -> bool {
        self.span_ms.0 <= now_ms && self.next_ms().is_none_or(|next| now_ms < next)
    }

    /// Position of the newest word that somebody defined, if there is one.
    pub(crate) fn words_at(&self) -> Option<u64> {
        self.newest_word.map(|word| word.position)
    }

    /// Whether a grant was decided under others: bounds that are in force, or a word, came after it.
    pub(crate) fn came_after(&self, grant: &GrantState) -> bool {
        let word = self.words_at().is_some_and(|position| position > grant.id.position);
        word || grant.issued.bounds[..] != *self.bounds.positions()
    }

    /// The newest of these rules that a grant did not see: the version or word with the highest position.
    pub(crate) fn newest_after(&self, grant: &GrantState) -> Option<EventId> {
        let unseen = self.bounds.positions().iter().filter(|at| !grant.issued.bounds.contains(at)).max();
        let version = unseen.and_then(|position| self.version_at(*position));
        let version = version.map(|version| (version.position, version.event_id));
        let word = self.newest_word.filter(|word| word.position > grant.id.position);
        let word = word.map(|word| (word.position, word.event_id));
        version.into_iter().chain(word).max().map(|(_, event_id)| event_id)
    }

    /// What changed these rules last: the version that came into force, or the word that was defined.
    pub(crate) fn newest_change(&self) -> Option<EventId> {
        let in_force = self.packs.iter().filter_map(|(position, _)| self.version_at(*position));
        let versions = in_force.map(|version| (version.starts_ms(), version.position, version.event_id));
        let word = self.newest_word.map(|word| (word.recorded_at_ms, word.position, word.event_id));
        versions.chain(word).max().map(|(.., event_id)| event_id)
    }

    /// The restore that use waits for, until somebody confirms it.
    #[must_use]
    pub fn unconfirmed(&self) -> Option<&BackupRestored> {
        self.unconfirmed.as_ref()
    }

    /// Every version that was published by then, oldest first.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The version that stands at a position.
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

    /// A notice by id, and by version where one is named; otherwise the newest.
    #[must_use]
    pub fn notice(&self, id: &str, version: &str) -> Option<&(u64, NoticePublished)> {
        self.notices.iter().rev().find(|(_, notice)| {
            let named = notice.notice.as_ref();
            named.is_some_and(|named| named.id == id && (version.is_empty() || named.version == version))
        })
    }
}

/// Every rule that ever was, and what it makes now.
pub(crate) struct RulesHistory {
    events: Vec<Recorded>,
    now: Arc<Rules>,
}

pub(crate) fn is_rule(event: &Event) -> bool {
    matches!(
        event,
        Event::PurposeDefined(_)
            | Event::CategoryDefined(_)
            | Event::BoundsPublished(_)
            | Event::NoticePublished(_)
            | Event::RetentionDefined(_)
            | Event::BackupRestored(_)
            | Event::RestoreConfirmed(_)
    )
}

impl RulesHistory {
    /// From the events about nobody, oldest first.
    pub fn new(events: impl Iterator<Item = Recorded>, now_ms: u64) -> Result<Self, BoundsError> {
        let events: Vec<Recorded> = events.filter(|event| is_rule(&event.event)).collect();
        let now = Arc::new(Rules::fold(events.iter(), now_ms)?);
        Ok(Self { events, now })
    }

    /// The same, apart from what is recorded later.
    pub fn copy(&self) -> Self {
        Self { events: self.events.clone(), now: self.now() }
    }

    /// In force now, as far as that was looked up.
    pub fn now(&self) -> Arc<Rules> {
        Arc::clone(&self.now)
    }

    /// In force at a moment of now; nothing where that has to be looked up, because a version came into force.
    pub fn known(&self, now_ms: u64) -> Option<Arc<Rules>> {
        self.now.are_of(now_ms).then(|| self.now())
    }

    /// In force at a moment of now; from now on known.
    pub fn look_up(&mut self, now_ms: u64) -> Result<Arc<Rules>, BoundsError> {
        let rules = Arc::new(Rules::fold(self.events.iter(), now_ms)?);
        if now_ms >= self.now.now_ms {
            self.now = Arc::clone(&rules);
        }
        Ok(rules)
    }

    /// What a decision saw that stands at a position and was taken at a moment.
    pub fn before(&self, position: u64, now_ms: u64) -> Result<Arc<Rules>, BoundsError> {
        let before = self.events.iter().filter(|event| event.position < position);
        Ok(Arc::new(Rules::fold(before, now_ms)?))
    }

    /// What would be in force now with other versions in place of those that are.
    pub fn with_now(&self, versions: &[Recorded], now_ms: u64) -> Result<Arc<Rules>, BoundsError> {
        Ok(Arc::new(Rules::fold(self.events.iter().chain(versions), now_ms)?))
    }

    /// What would be in force with another version, now and at each later moment at which one comes into force.
    ///
    /// # Errors
    /// It would not compile at one of them.
    pub fn with(&self, version: &Recorded, now_ms: u64) -> Result<(), BoundsError> {
        let events = || self.events.iter().chain(std::iter::once(version));
        let mut rules = Rules::fold(events(), now_ms)?;
        while let Some(next_ms) = rules.next_ms() {
            rules = Rules::fold(events(), next_ms)?;
        }
        Ok(())
    }

    /// In force at a recorded time.
    pub fn at(&self, time_ms: u64) -> Result<Arc<Rules>, BoundsError> {
        let before = self.events.iter().filter(|event| event.recorded_at_ms <= time_ms);
        Ok(Arc::new(Rules::fold(before, time_ms)?))
    }

    /// Takes recorded events in.
    pub fn push(&mut self, events: &[Recorded], now_ms: u64) -> Result<(), BoundsError> {
        self.events.extend(events.iter().filter(|event| is_rule(&event.event)).cloned());
        self.now = Arc::new(Rules::fold(self.events.iter(), now_ms.max(self.now.now_ms))?);
        Ok(())
    }
}
