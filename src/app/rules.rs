//! What decisions stand on: vocabulary, bounds and notices, now and at every earlier moment.

use super::error::AppError;
use crate::bounds::Bounds;
use crate::domain::codec;
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::EventId;
use crate::domain::retention::Retention;
use crate::domain::vocabulary::Vocabulary;
use crate::store::StoredEntry;
use sayso_proof::entry::{Entry, EntryError};
use sayso_proof::event::{BoundsPublished, NoticePublished};
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
    /// With their recorded time.
    notices: Vec<(u64, NoticePublished)>,
}

impl Rules {
    fn fold<'a>(events: impl Iterator<Item = &'a Recorded>) -> Result<Self, AppError> {
        let mut vocabulary = Vocabulary::default();
        let (mut packs, mut notices, mut retention) = (Vec::new(), Vec::new(), Retention::default());
        for event in events {
            match &event.event {
                Event::PurposeDefined(purpose) => vocabulary.define_purpose(purpose.clone()),
                Event::CategoryDefined(category) => vocabulary.define_category(category.clone()),
                Event::BoundsPublished(pack) => packs.push((event.position, pack.clone())),
                Event::NoticePublished(notice) => notices.push((event.recorded_at_ms, notice.clone())),
                Event::RetentionDefined(rule) => retention.define(rule.clone(), event.recorded_at_ms),
                _ => {}
            }
        }
        let bounds = Bounds::compile(&packs, &vocabulary)?;
        Ok(Self { vocabulary, bounds, retention, packs, notices })
    }

    /// Packs with their positions, oldest first.
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
pub(super) struct RulesHistory {
    events: Vec<Recorded>,
    now: Arc<Rules>,
}

fn is_rule(event: &Event) -> bool {
    matches!(
        event,
        Event::PurposeDefined(_)
            | Event::CategoryDefined(_)
            | Event::BoundsPublished(_)
            | Event::NoticePublished(_)
            | Event::RetentionDefined(_)
    )
}

impl RulesHistory {
    /// From the events about nobody, oldest first.
    pub fn new(events: impl Iterator<Item = Recorded>) -> Result<Self, AppError> {
        let events: Vec<Recorded> = events.filter(|event| is_rule(&event.event)).collect();
        let now = Arc::new(Rules::fold(events.iter())?);
        Ok(Self { events, now })
    }

    /// In force now.
    pub fn now(&self) -> Arc<Rules> {
        Arc::clone(&self.now)
    }

    /// In force at a recorded time.
    pub fn at(&self, time_ms: u64) -> Result<Arc<Rules>, AppError> {
        let before = self.events.iter().filter(|event| event.recorded_at_ms <= time_ms);
        Ok(Arc::new(Rules::fold(before)?))
    }

    /// Takes recorded events in.
    pub fn push(&mut self, events: &[Recorded]) -> Result<(), AppError> {
        self.events.extend(events.iter().filter(|event| is_rule(&event.event)).cloned());
        self.now = Arc::new(Rules::fold(self.events.iter())?);
        Ok(())
    }
}

/// Opens an entry about nobody.
pub(super) fn open_plain(stored: StoredEntry) -> Result<Recorded, AppError> {
    let bytes = stored.bytes.ok_or(AppError::Erased)?;
    let entry = Entry::parse(&bytes)?;
    let body = entry.plain_body()?.ok_or(EntryError::Payload("not plain"))?;
    let place = codec::Place {
        event_id: EventId(entry.header.event_id),
        position: stored.position,
        version: entry.header.version,
        recorded_at_ms: stored.recorded_at_ms,
        sealed_at_ms: entry.header.sealed_at_ms,
    };
    Ok(codec::decode(place, body)?)
}
