//! The part of the record of uses (see `mod.rs`) about the log as a whole: its rules over time, who published
//! and signed them, and events such as erasures, restores and exports.

use super::query::Words;
use super::seen::clipped;
use crate::event::event_body::Event;
use crate::event::{Actor, EventBody, NoticeRef, Role};
use crate::rule::{Rule, RuleTier, TierKey, is_trusted};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Maximum number of events that are kept. Further ones are only counted.
const EVENTS_MAX: usize = 5_000;

/// What happened to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogEventKind {
    /// A version of a pack of bounds was published.
    Bounds,
    /// A purpose was defined.
    Purpose,
    /// A category was defined.
    Category,
    /// A version of a notice was published.
    NoticePublished,
    /// A version of a notice was required.
    NoticeRequired,
    /// The log follows another edition of the rules of decisions from here on.
    Edition,
    /// The log changed its key.
    KeyRotated,
    /// The log was restored from a backup.
    Restored,
    /// A restore was confirmed.
    RestoreConfirmed,
    /// A difference between the machine's clock and the time of the ledger was accepted.
    ClockAccepted,
    /// An erasure was completed.
    Erased,
    /// The log was exported.
    Exported,
}

/// An event about the log as a whole. Names are cut off after 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogEvent {
    /// Its position.
    pub position: u64,
    /// Its recorded time, in milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// What happened.
    pub kind: LogEventKind,
    /// The name of the pack, or the id of the purpose, category or notice; empty for others.
    pub name: String,
    /// The version of the pack or notice, the edition, or the title of the word; empty for others.
    pub version: String,
    /// The tier that publishes such rules.
    pub tier: Option<RuleTier>,
    /// When it takes effect, in milliseconds since the Unix epoch; `None` if it does so when it is recorded.
    pub effective_from_ms: Option<u64>,
    /// The number of entries that an erasure destroyed; 0 for other events.
    pub erased: u64,
    /// The role of the author, in lower case; empty if the event names none.
    pub role: String,
    /// The name of the author.
    pub author: String,
    /// The raw public key that signed the rule, in hex. The findings say whether the signature is valid.
    pub key: Option<String>,
    /// Whether the user trusts this key for the tier; `None` if no key of the tier was given.
    pub trusted: Option<bool>,
    /// Whether the verifier found a fault at this position.
    pub has_finding: bool,
}

/// The pack that a grant cites by its position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack {
    /// Position of the `BoundsPublished`.
    pub position: u64,
    /// `public` or `provider`; empty if no such event has this position.
    pub tier: String,
    /// The name of the pack.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The system events read so far.
#[derive(Default)]
pub(super) struct LogEvents {
    pub events: Vec<LogEvent>,
    /// Number of events that are not in the list.
    pub left_out: u64,
    /// Number of words that the log began with. They are not in the list.
    pub first_words: u64,
    /// Commitments to the subject map. A log has so many that a list of them would crowd out the others.
    pub map_commitments: u64,
    pub purposes: Words,
    pub categories: Words,
    // Unordered: looked up, never iterated.
    packs: HashMap<u64, Pack>,
    /// The position at which each version of a notice was first published.
    notices: BTreeMap<(String, String), u64>,
}

/// The name of a role, in lower case; empty if it is not set.
pub(super) fn role_name(actor: Option<&Actor>) -> String {
    match actor.map_or(Role::Unspecified, Actor::role) {
        Role::Unspecified => String::new(),
        role => role.as_str_name().trim_start_matches("ROLE_").to_lowercase(),
    }
}

/// What an event says about the log.
struct Summary {
    kind: LogEventKind,
    name: String,
    version: String,
    effective_from_ms: u64,
    erased: u64,
}

impl Summary {
    fn new(kind: LogEventKind, name: &str, version: &str) -> Self {
        let (name, version) = (clipped(name), clipped(version));
        Self { kind, name, version, effective_from_ms: 0, erased: 0 }
    }

    fn from(self, effective_from_ms: u64) -> Self {
        Self { effective_from_ms, ..self }
    }

    fn of(event: &Event) -> Option<Self> {
        use LogEventKind as Kind;
        Some(match event {
            Event::BoundsPublished(bounds) => {
                Self::new(Kind::Bounds, &bounds.pack, &bounds.version).from(bounds.effective_from_ms)
            }
            Event::PurposeDefined(word) => {
                Self::new(Kind::Purpose, &word.id, &word.title).from(word.effective_from_ms)
            }
            Event::CategoryDefined(word) => {
                Self::new(Kind::Category, &word.id, &word.title).from(word.effective_from_ms)
            }
            Event::NoticePublished(published) => {
                let notice = published.notice.as_ref();
                Self::new(
                    Kind::NoticePublished,
                    notice.map_or("", |of| &of.id),
                    notice.map_or("", |of| &of.version),
                )
            }
            Event::NoticeRequired(notice) => {
                Self::new(Kind::NoticeRequired, &notice.id, &notice.version).from(notice.effective_from_ms)
            }
            Event::DecisionRulesAdopted(adopted) => {
                Self::new(Kind::Edition, "", &adopted.edition.to_string())
            }
            Event::LogKeyRotated(_) => Self::new(Kind::KeyRotated, "", ""),
            Event::BackupRestored(_) => Self::new(Kind::Restored, "", ""),
            Event::RestoreConfirmed(_) => Self::new(Kind::RestoreConfirmed, "", ""),
            Event::ClockAccepted(_) => Self::new(Kind::ClockAccepted, "", ""),
            Event::AuditExported(exported) => Self::new(Kind::Exported, &exported.auditor, ""),
            Event::ErasureCompleted(erasure) => {
                let lengths = erasure.discarded.iter().map(|range| range.last.saturating_sub(range.first));
                let erased = lengths.fold(0_u64, |sum, length| sum.saturating_add(length).saturating_add(1));
                let scope = erasure.scope().as_str_name().trim_start_matches("ERASURE_SCOPE_").to_lowercase();
                Self { erased, ..Self::new(Kind::Erased, &scope, "") }
            }
            _ => return None,
        })
    }
}

impl LogEvents {
    /// Adds a system event.
    pub fn add(&mut self, position: u64, recorded_at_ms: u64, body: &EventBody, tier_keys: &[TierKey]) {
        let Some(event) = &body.event else { return };
        self.note(position, event);
        self.map_commitments += u64::from(matches!(event, Event::SubjectMapCommitted(_)));
        let Some(summary) = Summary::of(event) else { return };
        let role = role_name(body.actor.as_ref());
        if matches!(summary.kind, LogEventKind::Purpose | LogEventKind::Category) && role == "ledger" {
            self.first_words += 1;
            return;
        }
        if self.events.len() >= EVENTS_MAX {
            self.left_out += 1;
            return;
        }
        let tier = Rule::of(event).map(|rule| rule.tier);
        let key = body.writer_signature.as_ref().and_then(|signature| {
            let bytes: [u8; 32] = signature.public_key.as_slice().try_into().ok()?;
            VerifyingKey::from_bytes(&bytes).ok()
        });
        self.events.push(LogEvent {
            position,
            recorded_at_ms,
            kind: summary.kind,
            name: summary.name,
            version: summary.version,
            tier,
            effective_from_ms: Some(summary.effective_from_ms).filter(|from| *from > 0),
            erased: summary.erased,
            role,
            author: body.actor.as_ref().map_or_else(String::new, |actor| clipped(&actor.name)),
            trusted: tier.zip(key.as_ref()).and_then(|(tier, key)| is_trusted(tier_keys, tier, key)),
            key: key.map(|key| hex::encode(key.to_bytes())),
            has_finding: false,
        });
    }

    /// Notes what grants and consents refer to.
    fn note(&mut self, position: u64, event: &Event) {
        match event {
            Event::BoundsPublished(bounds) => {
                let tier =
                    RuleTier::of_bounds(bounds.tier()).map_or_else(String::new, |tier| tier.to_string());
                let (name, version) = (clipped(&bounds.pack), clipped(&bounds.version));
                self.packs.insert(position, Pack { position, tier, name, version });
            }
            Event::NoticePublished(published) => {
                if let Some(NoticeRef { id, version, .. }) = &published.notice {
                    self.notices.entry((clipped(id), clipped(version))).or_insert(position);
                }
            }
            Event::PurposeDefined(word) => self.purposes.define(&word.id, &word.parent),
            Event::CategoryDefined(word) => self.categories.define(&word.id, &word.parent),
            _ => {}
        }
    }

    /// The pack at a position.
    pub fn pack(&self, position: u64) -> Pack {
        let none = || Pack { position, tier: String::new(), name: String::new(), version: String::new() };
        self.packs.get(&position).cloned().unwrap_or_else(none)
    }

    /// Where a version of a notice was first published, if that is before a position.
    pub fn notice_before(&self, id: &str, version: &str, before: u64) -> Option<u64> {
        let position = self.notices.get(&(id.to_owned(), version.to_owned()))?;
        Some(*position).filter(|position| *position < before)
    }
}
