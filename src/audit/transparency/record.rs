//! The record of processing activities (GDPR Art. 30(1)): from the vocabulary, from what was granted and is held, and
//! from what the controller declares.

use crate::domain::vocabulary::Vocabulary;
use std::collections::{BTreeMap, BTreeSet};

/// What the ledger can't know and the controller declares.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Art. 30(1)(a).
    pub controller: String,
    /// How it is reached.
    pub contact: String,
    /// Art. 27.
    pub representative: String,
    /// Art. 37.
    pub data_protection_officer: String,
    /// Art. 30(1)(c).
    pub data_subjects: Vec<String>,
    /// Art. 30(1)(d): name and description.
    pub recipients: BTreeMap<String, String>,
    /// Art. 30(1)(e).
    pub transfers: Vec<String>,
    /// Art. 30(1)(f): what and how long.
    pub retention: BTreeMap<String, String>,
    /// Art. 30(1)(g).
    pub security_measures: Vec<String>,
}

/// Recipients that had grants, and what is held: bounded by the words that callers use.
#[derive(Clone, Debug, Default)]
pub struct Recipients {
    /// By name: purposes, and when they last had a grant, milliseconds since the Unix epoch.
    pub granted: BTreeMap<String, (BTreeSet<String>, u64)>,
    /// Categories of facts that are held.
    pub held: BTreeSet<String>,
}

/// A recipient in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessingRecipient {
    /// Its name.
    pub name: String,
    /// Purposes that it had grants for.
    pub purposes: Vec<String>,
    /// When it last had one, milliseconds since the Unix epoch.
    pub last_grant_at_ms: Option<u64>,
    /// As declared.
    pub description: String,
}

/// How long something is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionLimit {
    /// What.
    pub what: String,
    /// How long, and where that is set.
    pub limit: String,
}

/// The record.
#[derive(Clone, Debug)]
pub struct Processing {
    /// (a), (c), (e), (g), as declared.
    pub declared: Declared,
    /// (b): the definition, and whether a grant was ever issued for it.
    pub purposes: Vec<(crate::domain::event::PurposeDefined, bool)>,
    /// (c): the definition, whether it is special, and whether facts of it are held.
    pub categories: Vec<(crate::domain::event::CategoryDefined, bool, bool)>,
    /// (d)
    pub recipients: Vec<ProcessingRecipient>,
    /// (f)
    pub retention: Vec<RetentionLimit>,
    /// What is asked for and not set.
    pub gaps: Vec<String>,
    /// When it was made, milliseconds since the Unix epoch.
    pub generated_at_ms: u64,
    /// Entries that it was made from.
    pub tree_size: u64,
}

/// What this ledger itself does (Art. 32(1)), true of every installation.
const OWN_MEASURES: [&str; 6] = [
    "Each event is sealed with its own key (AES-256-GCM) below the subject's key; keys are kept apart from the log",
    "Subjects stand in the log under random handles; identifiers are kept only as keyed hashes",
    "Every event is signed and in an append-only Merkle log that verifies offline",
    "Every call carries a credential whose role allows it; views of people's records are events",
    "Erasure destroys keys, ciphertext, index and mapping, and is provable",
    "Use needs a grant that consent and bounds allow; grants expire, and fall with a withdrawal",
];

/// Puts the record together.
#[must_use]
pub fn record(
    vocabulary: &Vocabulary,
    found: &Recipients,
    declared: Declared,
    generated_at_ms: u64,
    tree_size: u64,
) -> Processing {
    let used = |id: &str| found.granted.values().any(|(purposes, _)| purposes.contains(id));
    let purposes = vocabulary.purposes().map(|purpose| (purpose.clone(), used(&purpose.id))).collect();
    let categories = vocabulary.categories().map(|category| {
        let (special, held) = (vocabulary.is_special(&category.id), found.held.contains(&category.id));
        (category.clone(), special, held)
    });
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
    let gaps = gaps(&declared);
    let mut record = Processing {
        purposes,
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

fn gaps(declared: &Declared) -> Vec<String> {
    let asked = [
        (declared.controller.is_empty(), "(a) name of the controller: `processing.controller`"),
        (declared.contact.is_empty(), "(a) contact details: `processing.contact`"),
        (
            declared.data_protection_officer.is_empty(),
            "(a) data protection officer, where there is one: `processing.data_protection_officer`",
        ),
        (declared.data_subjects.is_empty(), "(c) categories of data subjects: `processing.data_subjects`"),
        (
            declared.transfers.is_empty(),
            "(e) transfers to third countries, or that there are none: `processing.transfers`",
        ),
        (declared.retention.is_empty(), "(f) time limits for erasure: `[processing.retention]`"),
    ];
    asked.into_iter().filter(|(missing, _)| *missing).map(|(_, what)| what.to_owned()).collect()
}
