//! Events about the rights of a data subject: requests, erasures, legal holds and exports.

use crate::domain::event::recipients::PriorRecipient;
use crate::domain::ids::{EventId, Handle};
use sayso_proof::certificate::day_of;
use sayso_proof::event::{ErasedKind, ErasureScope, Ground, Jurisdiction, PackageKind, PositionRange};
use sayso_proof::event::{Reason, RequestKind, RequestOutcome};
use sayso_proof::merkle::Hash;
use std::collections::BTreeMap;

/// The data subject submitted a request. `keys` and `details` are personal data. An event that has any of
/// them is erased together with the data that they are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestSubmitted {
    /// The id of the request.
    pub request: EventId,
    /// The right that is exercised.
    pub kind: RequestKind,
    /// The law that sets the time to answer.
    pub jurisdiction: Jurisdiction,
    /// When the answer is due, milliseconds since the Unix epoch.
    pub due_at_ms: u64,
    /// The scope of an erasure.
    pub scope: ErasureScope,
    /// The category of an erasure of one category.
    pub category: String,
    /// The attribute keys of a rectification. For an erasure of one key that a steward has to decide, this is
    /// that key.
    pub keys: Vec<String>,
    /// The purposes of a restriction or objection; an empty list means all.
    pub purposes: Vec<String>,
    /// The data subject's own words.
    pub details: String,
    /// The controller's id of the data subject. Staff need it to answer the request.
    pub subject: String,
    /// The keyed hash of the attribute key, for an erasure of one key that no steward has to decide.
    /// Otherwise empty.
    pub key_hash: Vec<u8>,
    /// An earlier request of which a hold kept a part. That hold was lifted, so this request asks for the
    /// erasure of that part.
    pub follows: Option<EventId>,
}

/// A request was decided. The event is complete in itself, because the request may have been erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestDecided {
    /// The id of the request.
    pub request: EventId,
    /// The right that is exercised.
    pub kind: RequestKind,
    /// The outcome.
    pub outcome: RequestOutcome,
    /// The legal ground, if the request was refused in whole or in part.
    pub ground: Ground,
    /// The reason, without personal data.
    pub reason: String,
    /// When the request was submitted, milliseconds since the Unix epoch.
    pub submitted_at_ms: u64,
    /// When the answer was due, milliseconds since the Unix epoch.
    pub due_at_ms: u64,
    /// What a partial erasure did.
    pub erasure: Option<ErasureSummary>,
    /// What carried out a rectification: the versions, within the subject's stream, of the events that
    /// corrected, recorded again or removed an attribute. Versions name no data, so they stay if the events
    /// are erased.
    pub changes: Vec<u64>,
}

/// The time to answer a request was extended (GDPR Art. 12(3)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestExtended {
    /// The id of the request.
    pub request: EventId,
    /// When the answer is due now, milliseconds since the Unix epoch.
    pub due_at_ms: u64,
    /// The reason, without personal data.
    pub reason: String,
}

/// An erasure was requested.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasureRequested {
    /// The id of the request.
    pub request: EventId,
    /// The scope of the erasure.
    pub scope: ErasureScope,
}

/// An erasure was refused, in whole or in part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasureRefused {
    /// The id of the request.
    pub request: EventId,
    /// The legal ground.
    pub ground: Ground,
    /// The holds that prevent the erasure.
    pub holds: Vec<EventId>,
    /// Whether nothing is erased; if false, only what the holds name is kept.
    pub whole: bool,
    /// The scope of the refused erasure, if nothing is erased. Refusals by earlier versions lack it.
    pub scope: ErasureScope,
    /// The category of an erasure of one category.
    pub category: String,
    /// The attribute key of an erasure of one key. If that key is erased later, so is this event.
    pub key: String,
    /// The categories that are kept; an empty list means all.
    pub categories: Vec<String>,
    /// The purposes for which the legal ground of the refusal requires uses.
    pub purposes: Vec<String>,
}

/// The data subject withdrew a request for erasure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestWithdrawn {
    /// The id of the request.
    pub request: EventId,
}

/// An erasure was completed. A system event: it names no data subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasureCompleted {
    /// The id of the request, in events of early versions. New events have only its hash.
    pub request: Option<EventId>,
    /// The hash of the id of the request. Empty in events of early versions.
    pub request_hash: Vec<u8>,
    /// The scope of the erasure.
    pub scope: ErasureScope,
    /// The positions whose entries were discarded.
    pub discarded: Vec<PositionRange>,
    /// The key epoch when the keys were destroyed: how often the root key had been replaced.
    pub key_epoch: u64,
    /// The recipients that had grants for the data.
    pub recipients: Vec<PriorRecipient>,
    /// The number of erased attributes by category. Only early versions recorded it, after a full erasure.
    pub erased_by_category: BTreeMap<String, u32>,
    /// When the erasure was requested, milliseconds since the Unix epoch. New events have only the beginning
    /// of the day (UTC).
    pub requested_at_ms: u64,
    /// What is kept although it was in the scope, by legal ground.
    pub kept: Vec<KeptOnGround>,
    /// What each discarded entry was, in the order of `discarded`.
    pub kinds: Vec<ErasedKind>,
    /// After a partial erasure: the version of each discarded entry, in the order of `discarded`.
    pub versions: Vec<u64>,
}

impl ErasureCompleted {
    /// The event for the log, without what only the certificate states. Early versions stored intents that
    /// have more.
    #[must_use]
    pub fn for_log(self) -> Self {
        // After a full erasure, nothing of the stream remains that a verifier would need kinds for.
        let is_whole = self.scope == ErasureScope::All && self.versions.is_empty();
        Self {
            request_hash: self.hash_of_request().to_vec(),
            kinds: if is_whole { Vec::new() } else { self.kinds },
            request: None,
            erased_by_category: BTreeMap::new(),
            requested_at_ms: day_of(self.requested_at_ms),
            ..self
        }
    }

    /// The hash of the id of the request. All zero bytes if the event has another length there.
    #[must_use]
    pub fn hash_of_request(&self) -> Hash {
        match &self.request {
            Some(request) => request.request_hash(),
            None => self.request_hash.as_slice().try_into().unwrap_or_default(),
        }
    }

    /// Whether everything about the data subject was erased.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.scope == ErasureScope::All && self.kept.is_empty()
    }

    /// Why grants and artifacts ended that were based on the erased data.
    #[must_use]
    pub fn reason(&self) -> Reason {
        if self.is_whole() { Reason::Erased } else { Reason::PartlyErased }
    }
}

/// What a partial erasure did, without naming what it erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasureSummary {
    /// The scope of the erasure.
    pub scope: ErasureScope,
    /// The category of an erasure of one category.
    pub category: String,
    /// The keyed hash of the attribute key, for an erasure of one key.
    pub key_hash: Vec<u8>,
    /// The number of erased attributes by category.
    pub erased_by_category: BTreeMap<String, u32>,
    /// What is kept, by ground.
    pub kept: Vec<KeptOnGround>,
    /// Later writes about the erased data are refused if they state this time (milliseconds since the Unix
    /// epoch) or an earlier one.
    pub fence_at_ms: u64,
    /// Keyed hashes (8 bytes each) of each recipient with each erased key that a grant had given it.
    pub recipient_keys: Vec<Vec<u8>>,
    /// Whether there were too many of these hashes to keep. Then each key of an erased grant counts as
    /// erased.
    pub recipient_keys_left_out: bool,
    /// The search for copies of what was erased. None in events of earlier versions.
    pub copies: Option<CopiesFound>,
}

/// What a search for copies of an erased value found, without what the value was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopiesFound {
    /// How many events were found whose text holds the value, or nearly so.
    pub found: u32,
    /// How many of these were erased.
    pub erased: u32,
    /// Whether the search did not read everything.
    pub unfinished: bool,
}

/// Data that was kept on a legal ground.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptOnGround {
    /// The legal ground on which the data was kept.
    pub ground: Ground,
    /// The number of log entries that were kept.
    pub entries: u64,
}

/// A legal hold was placed; it prevents erasure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldPlaced {
    /// The id of the hold.
    pub hold: EventId,
    /// The legal ground.
    pub ground: Ground,
    /// The controller's own short code, such as `case-2026-17`.
    pub code: String,
    /// The reason, without personal data.
    pub text: String,
    /// The categories that it covers; an empty list means everything.
    pub categories: Vec<String>,
    /// The purposes for which the legal ground of the hold requires uses.
    pub purposes: Vec<String>,
}

/// A legal hold was lifted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldLifted {
    /// The id of the hold.
    pub hold: EventId,
    /// The reason, without personal data.
    pub reason: String,
}

/// The ledger began to hand out an export of a data subject's data. It records this event before the first
/// byte of the export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessProvided {
    /// The request that the export answers, if there is one.
    pub request: Option<EventId>,
    /// The content of the export.
    pub kind: PackageKind,
    /// The number of events that the export was made from, not counting this event.
    pub items: u64,
}

/// What only the certificate of a full erasure states. It is kept sealed under a key that follows from the id
/// of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasureDetails {
    /// The number of erased attributes by category.
    pub erased_by_category: BTreeMap<String, u32>,
    /// When the erasure was requested, milliseconds since the Unix epoch.
    pub requested_at_ms: u64,
}

/// The data that is needed to complete an interrupted erasure. The intent is kept with the keys until the
/// erasure is complete. It is never in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureIntent {
    /// The event that completes the erasure.
    pub completed: ErasureCompleted,
    /// For a partial erasure: the data subject's handle.
    pub subject_handle: Option<Handle>,
    /// For a partial erasure, in intents of early versions: the event that the data subject's own stream
    /// gets.
    pub decided: Option<RequestDecided>,
    /// For a partial erasure: that event ([`codec::encode_decided`]), sealed under the data subject's secret.
    ///
    /// [`codec::encode_decided`]: crate::domain::event::codec::encode_decided
    pub sealed_decided: Vec<u8>,
}
