//! The record of processing activities (GDPR Art. 30(1)), made from the vocabulary, the grants, the stored
//! attributes, and the controller's configuration. Letters such as (b) mean the points of Art. 30(1).

use crate::domain::event::{CategoryDefined, GrantIssued, PurposeDefined, RecipientsKept, Role};
use crate::domain::vocabulary::Vocabulary;
use std::collections::{BTreeMap, BTreeSet};

/// What the controller declares in the configuration, because the ledger can't know it.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Name of the controller (Art. 30(1)(a)).
    pub controller: String,
    /// Contact details of the controller.
    pub contact: String,
    /// Representative in the Union (Art. 27).
    pub representative: String,
    /// Data protection officer (Art. 37).
    pub data_protection_officer: String,
    /// Purposes, id and description (Art. 30(1)(b)).
    pub purposes: BTreeMap<String, String>,
    /// Categories of data subjects (Art. 30(1)(c)).
    pub data_subjects: Vec<String>,
    /// Recipients, name and description (Art. 30(1)(d)).
    pub recipients: BTreeMap<String, String>,
    /// Transfers to third countries (Art. 30(1)(e)).
    pub transfers: Vec<String>,
    /// Time limits for erasure, what and how long (Art. 30(1)(f)).
    pub retention: BTreeMap<String, String>,
    /// Security measures (Art. 30(1)(g)).
    pub security_measures: Vec<String>,
}

/// Recipients that received data, and the categories of stored and of disclosed attributes. A grant that
/// allowed nothing does not count. The size is limited by the names that callers use.
#[derive(Clone, Debug, Default)]
pub struct Recipients {
    /// Purposes of each recipient's grants, and when its last grant was issued, milliseconds since the Unix
    /// epoch.
    pub granted: BTreeMap<String, (BTreeSet<String>, u64)>,
    /// Categories of stored attributes.
    pub stored: BTreeSet<String>,
    /// Categories of attributes that recipients received.
    pub disclosed: BTreeSet<String>,
}

impl Recipients {
    /// Adds a grant. A grant that allowed nothing discloses nothing, so it is not processing.
    pub fn add(&mut self, issued: &GrantIssued, issued_at_ms: u64) {
        if issued.allowed.is_empty() {
            return;
        }
        let (purposes, last) = self.granted.entry(issued.recipient.clone()).or_default();
        purposes.insert(issued.purpose.clone());
        *last = issued_at_ms.max(*last);
        self.disclosed.extend(issued.allowed.iter().map(|allowed| allowed.category.clone()));
    }

    /// Adds services that received data whose record of disclosures has ended. The list of these has no
    /// purposes.
    pub fn add_kept(&mut self, kept: &RecipientsKept) {
        for recipient in kept.recipients.iter().filter(|kept| kept.role == Role::Unspecified) {
            let (_, last) = self.granted.entry(recipient.name.clone()).or_default();
            *last = recipient.last_ms.max(*last);
        }
    }
}

/// A purpose in the record (b).
#[derive(Clone, Debug)]
pub struct ProcessingPurpose {
    /// Its definition.
    pub definition: PurposeDefined,
    /// Whether a grant for it ever allowed data.
    pub is_used: bool,
    /// Its declared description.
    pub description: String,
}

/// A category of personal data in the record (c).
#[derive(Clone, Debug)]
pub struct ProcessingCategory {
    /// Its definition.
    pub definition: CategoryDefined,
    /// Whether it is a special category (GDPR Art. 9).
    pub is_special: bool,
    /// Whether attributes of it are stored.
    pub is_stored: bool,
}

/// A recipient in the record (d).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessingRecipient {
    /// Its name.
    pub name: String,
    /// Purposes of its grants.
    pub purposes: Vec<String>,
    /// When its last grant was issued, milliseconds since the Unix epoch.
    pub last_grant_at_ms: Option<u64>,
    /// Its declared description.
    pub description: String,
}

/// A time limit for erasure (f).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionLimit {
    /// What it applies to.
    pub what: String,
    /// The limit.
    pub limit: String,
}

/// The record of processing activities.
#[derive(Clone, Debug)]
pub struct Processing {
    /// (a), (c), (e) and (g), as declared.
    pub declared: Declared,
    /// (b) The purposes that were used or are declared.
    pub purposes: Vec<ProcessingPurpose>,
    /// (c) The categories of personal data that are stored or were disclosed.
    pub categories: Vec<ProcessingCategory>,
    /// (d) Recipients that received data or are declared.
    pub recipients: Vec<ProcessingRecipient>,
    /// (f) Time limits for erasure.
    pub retention: Vec<RetentionLimit>,
    /// Points that Art. 30(1) requires and the configuration does not set.
    pub gaps: Vec<String>,
    /// When the record of processing was made, milliseconds since the Unix epoch.
    pub generated_at_ms: u64,
    /// Number of log entries that it was made from.
    pub tree_size: u64,
}

/// Security measures of every installation of this ledger (Art. 32(1)).
const OWN_MEASURES: [&str; 6] = [
    "Each event is encrypted with its own key (AES-256-GCM), derived from the data subject's key; keys are stored apart from the log",
    "The log names data subjects by random handles; identifiers are stored only as keyed hashes",
    "Every event is signed and part of an append-only Merkle log that can be verified offline",
    "Every call needs a credential whose role allows it; views of people's records are recorded as events",
    "Erasure destroys the keys, the ciphertext, the index entries and the identifier mapping, and is provable",
    "Use needs a grant that consent and bounds allow; grants expire, and a withdrawal revokes them",
];

/// Makes the record of processing.
#[must_use]
pub fn record(
    vocabulary: &Vocabulary,
    found: &Recipients,
    declared: Declared,
    generated_at_ms: u64,
    tree_size: u64,
) -> Processing {
    let is_used = |id: &str| found.granted.values().any(|(purposes, _)| purposes.contains(id));
    let purposes = vocabulary.purposes().map(|purpose| ProcessingPurpose {
        definition: purpose.clone(),
        is_used: is_used(&purpose.id),
        description: declared.purposes.get(&purpose.id).cloned().unwrap_or_default(),
    });
    let purposes = purposes.filter(|purpose| {
        let (id, basis) = (&purpose.definition.id, purpose.definition.declared_basis());
        purpose.is_used || basis.is_some() || declared.purposes.contains_key(id)
    });
    let categories = vocabulary.categories().map(|category| ProcessingCategory {
        definition: category.clone(),
        is_special: vocabulary.is_special(&category.id),
        is_stored: found.stored.contains(&category.id),
    });
    let categories =
        categories.filter(|category| category.is_stored || found.disclosed.contains(&category.definition.id));
    let names: BTreeSet<&String> = found.granted.keys().chain(declared.recipients.keys()).collect();
    let recipients = names.into_iter().map(|name| {
        let granted = found.granted.get(name);
        ProcessingRecipient {
            name: name.clone(),
            purposes: granted.map(|(purposes, _)| purposes.iter().cloned().collect()).unwrap_or_default(),
            last_grant_at_ms: granted.map(|(_, last)| *last),
            description: declared.recipients.get(name).cloned().unwrap_or_default(),
        }
    });
    let retention = declared.retention.iter();
    let retention =
        retention.map(|(what, limit)| RetentionLimit { what: what.clone(), limit: limit.clone() });
    let gaps = gaps(vocabulary, &declared);
    let mut record = Processing {
        purposes: purposes.collect(),
        categories: categories.collect(),
        recipients: recipients.collect(),
        retention: retention.collect(),
        gaps,
        generated_at_ms,
        tree_size,
        declared,
    };
    record.declared.security_measures.extend(OWN_MEASURES.map(str::to_owned));
    record
}

fn gaps(vocabulary: &Vocabulary, declared: &Declared) -> Vec<String> {
    let required = [
        (declared.controller.is_empty(), "(a) name of the controller: `processing.controller`"),
        (declared.contact.is_empty(), "(a) contact details: `processing.contact`"),
        (
            declared.data_protection_officer.is_empty(),
            "(a) data protection officer, if there is one: `processing.data_protection_officer`",
        ),
        (declared.data_subjects.is_empty(), "(c) categories of data subjects: `processing.data_subjects`"),
        (
            declared.transfers.is_empty(),
            "(e) transfers to third countries, or that there are none: `processing.transfers`",
        ),
        (declared.retention.is_empty(), "(f) time limits for erasure: `[processing.retention]`"),
    ];
    let missing = required.into_iter().filter(|(missing, _)| *missing).map(|(_, what)| what.to_owned());
    let undefined = declared.purposes.keys().filter(|id| !vocabulary.has_purpose(id));
    let undefined = undefined
        .map(|id| format!("(b) a definition of the purpose `{id}`, which `[processing.purposes]` names"));
    missing.chain(undefined).collect()
}
