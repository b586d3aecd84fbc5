//! Events about recipients: who received data, what recipients said about revocations and erasures, and
//! reminders to them.

use sayso_proof::event::{ErasureOutcome, EvidenceKind, Role};

/// A recipient of erased data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriorRecipient {
    /// Its name.
    pub name: String,
    /// Every grant that was erased. If the record of its grants had ended before: the ids that the list of
    /// recipients had kept.
    pub grant_ids: Vec<String>,
    /// Every artifact of the recipient that was erased.
    pub artifact_ids: Vec<String>,
    /// Its role; `Unspecified` for a service.
    pub role: Role,
}

/// The record of disclosures ended, and the list of their recipients is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientsKept {
    /// The recipients, by role and name.
    pub recipients: Vec<KeptRecipient>,
}

/// What is kept about a recipient when the record of what it received ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptRecipient {
    /// Its name.
    pub name: String,
    /// Its role; `Unspecified` for a service.
    pub role: Role,
    /// When it first received data, milliseconds since the Unix epoch.
    pub first_ms: u64,
    /// When it last received data, milliseconds since the Unix epoch.
    pub last_ms: u64,
    /// The newest of its grants.
    pub grant_ids: Vec<String>,
    /// Keyed hashes (8 bytes each), one for each key that it received, in ascending order.
    pub keys: Vec<Vec<u8>>,
    /// Whether there were too many keys to keep. If so, it counts as a recipient of every key.
    pub keys_left_out: bool,
}

/// A recipient confirmed that it carried out a revocation or an erasure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientAcknowledged {
    /// The log position of the revocation or the erasure.
    pub position: u64,
    /// The name of the recipient.
    pub recipient: String,
    /// Its role; `Unspecified` for a service.
    pub role: Role,
}

/// A recipient said what it did about an erasure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientReported {
    /// The log positions of the [`ErasureCompleted`](super::ErasureCompleted) events, in ascending order.
    pub positions: Vec<u64>,
    /// The name of the recipient.
    pub recipient: String,
    /// Its role; `Unspecified` for a service.
    pub role: Role,
    /// What it did; `Unspecified` if the report only adds evidence or names others.
    pub outcome: ErasureOutcome,
    /// Why deletion is impossible or disproportionate, without personal data.
    pub reason: String,
    /// What the evidence is.
    pub evidence_kind: EvidenceKind,
    /// A commitment to the evidence and a salt; empty if there is none.
    pub evidence: Vec<u8>,
    /// The raw Ed25519 key of the recipient; empty if it did not sign.
    pub public_key: Vec<u8>,
    /// The recipient's signature over the statement that docs/format.md specifies.
    pub signature: Vec<u8>,
    /// The names of the recipients to whom it had passed the data on.
    pub onward: Vec<String>,
}

/// A recipient was reminded of an erasure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientReminded {
    /// The log position of the [`ErasureCompleted`](super::ErasureCompleted).
    pub position: u64,
    /// The name of the recipient.
    pub recipient: String,
    /// Its role; `Unspecified` for a service.
    pub role: Role,
    /// Which reminder this is, from 1.
    pub number: u32,
    /// Whether the recipient is overdue from here on.
    pub escalated: bool,
    /// The position of the report that named the recipient; 0 if the ledger had disclosed the data to it.
    pub named_at: u64,
}
