//! What a report says, in every format.

use crate::cli::output::{int64, proto_style};
use crate::domain::wording;
use sayso_proof::bundle::usage::{Query, Usage};
use sayso_proof::bundle::{Report, VerifyFailure};
use serde_json::{Value, json};

/// Everything that goes into a report.
pub(in crate::cli) struct Content<'a> {
    /// The file or folder that was verified.
    pub file: String,
    /// The log's key that the user gave.
    pub key: String,
    /// When the report was made, in milliseconds since the Unix epoch.
    pub made_ms: u64,
    /// The exit status of the command.
    pub status: u8,
    /// The verdict in a sentence.
    pub verdict: String,
    /// The evidence that the user gave besides the key, in a sentence.
    pub given: String,
    pub outcome: Outcome<'a>,
}

/// What the verification showed.
pub(in crate::cli) enum Outcome<'a> {
    /// Every check of the bundle passed.
    Checked(Checked<'a>),
    /// A check of the bundle failed. So nothing in it is known to be true.
    Failed(&'a VerifyFailure),
}

/// The results for a bundle whose checks passed.
pub(in crate::cli) struct Checked<'a> {
    pub report: &'a Report,
    pub usage: &'a Usage,
    /// What the verdict does not show, in sentences.
    pub not_shown: &'a [String],
    /// The result that `sayso verify --json` prints.
    pub json: &'a Value,
}

/// The conditions of a `--query`, each in words.
pub(super) fn conditions(query: &Query) -> Vec<String> {
    let any = |what: &str, of: &[String]| (!of.is_empty()).then(|| format!("{what} {}", of.join(" or ")));
    let people: Vec<String> = query.people.iter().map(ToString::to_string).collect();
    [
        any("recipient", &query.recipients),
        any("purpose", &query.purposes),
        any("category", &query.categories),
        any("person", &people),
        query.from_ms.map(|from| format!("from {}", wording::time(from))),
        query.to_ms.map(|to| format!("to {}", wording::time(to))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A query as JSON.
pub(super) fn query_json(query: &Query) -> Value {
    let mut value = proto_style(json!({
        "recipients": query.recipients, "purposes": query.purposes, "categories": query.categories,
    }));
    if let Some(members) = value.as_object_mut() {
        let people: Vec<String> = query.people.iter().map(ToString::to_string).collect();
        members.insert("people".to_owned(), json!(people));
        members.insert("from".to_owned(), json!(query.from_ms.map(wording::time)));
        members.insert("to".to_owned(), json!(query.to_ms.map(wording::time)));
    }
    value
}

/// The place and the reason of a failure, as JSON.
pub(super) fn failure_json(failure: &VerifyFailure) -> Value {
    json!({
        "position": failure.position.map(int64),
        "place": failure.place,
        "reason": failure.reason,
    })
}

/// What a pack of bounds is called: its tier, name and version.
pub(super) fn pack_name(usage: &Usage, position: u64) -> String {
    let pack = usage.pack(position);
    if pack.name.is_empty() {
        return format!("no bounds at position {position}");
    }
    format!("{}/{} {} (position {position})", pack.tier, pack.name, pack.version)
}
