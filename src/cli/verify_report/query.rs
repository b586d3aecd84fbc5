//! The conditions of `sayso verify --query`, which select the grants that a report lists.

use crate::cli::error::CliError;
use crate::cli::times::{self, WrittenTime};
use sayso_proof::bundle::usage::Query;
use sayso_proof::entry::Handle;

const EXPECTED: &str =
    "must be KEY=VALUE, where KEY is `recipient`, `purpose`, `category`, `person`, `from` or `to`";

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Condition {
    Recipient(String),
    Purpose(String),
    Category(String),
    Person(Handle),
    From(WrittenTime),
    To(WrittenTime),
}

/// Parses a condition.
pub(super) fn parse(text: &str) -> Result<Condition, String> {
    let (key, value) = text.split_once('=').ok_or(EXPECTED)?;
    if value.is_empty() {
        return Err(format!("`{key}` must have a value"));
    }
    match key {
        // People also say service.
        "recipient" | "service" => Ok(Condition::Recipient(value.to_owned())),
        "purpose" => Ok(Condition::Purpose(value.to_owned())),
        "category" => Ok(Condition::Category(value.to_owned())),
        "person" => {
            let mut handle = [0; 16];
            let decoded = hex::decode_to_slice(value, &mut handle);
            decoded.map_err(|_| "`person` must be a handle: 32 hex digits, as a report shows it")?;
            Ok(Condition::Person(Handle(handle)))
        }
        "from" => times::beginning(value).map(Condition::From).map_err(|error| format!("`from` {error}")),
        "to" => times::end(value).map(Condition::To).map_err(|error| format!("`to` {error}")),
        _ => Err(EXPECTED.to_owned()),
    }
}

/// The query that conditions make.
pub(super) fn query_of(conditions: &[Condition]) -> Result<Query, CliError> {
    let mut query = Query::default();
    for condition in conditions {
        match condition {
            Condition::Recipient(recipient) => query.recipients.push(recipient.clone()),
            Condition::Purpose(purpose) => query.purposes.push(purpose.clone()),
            Condition::Category(category) => query.categories.push(category.clone()),
            Condition::Person(person) => query.people.push(*person),
            Condition::From(time) => once(&mut query.from_ms, "from", time)?,
            Condition::To(time) => once(&mut query.to_ms, "to", time)?,
        }
    }
    match (query.from_ms, query.to_ms) {
        (Some(from), Some(to)) if to <= from => {
            Err(CliError::usage("--query: `to` must be after `from`: it is the end of the period"))
        }
        _ => Ok(query),
    }
}

fn once(slot: &mut Option<u64>, key: &str, time: &WrittenTime) -> Result<(), CliError> {
    match slot.replace(time.millis()) {
        None => Ok(()),
        Some(_) => Err(CliError::usage(format!("--query: `{key}` is given twice; give it once"))),
    }
}

/// The `from` and `to` times in the conditions of a query. The command prints a note about each that was
/// given as a date only.
pub(super) fn dates<'a>(conditions: &'a [Condition]) -> Vec<(&'static str, Option<&'a WrittenTime>)> {
    let date = |condition: &'a Condition| match condition {
        Condition::From(time) => Some(("--query from", Some(time))),
        Condition::To(time) => Some(("--query to", Some(time))),
        _ => None,
    };
    conditions.iter().filter_map(date).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn query(texts: &[&str]) -> Result<Query, CliError> {
        query_of(&texts.iter().map(|text| parse(text).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn conditions_make_a_query() {
        let person = "0123456789abcdef0123456789abcdef";
        let named = query(&[
            "category=health",
            "category=work",
            "recipient=tutor=2",
            "service=coach",
            "purpose=tone-adaptation",
            &format!("person={person}"),
            "from=1970-01-02",
            "to=1970-01-02",
        ]);
        let named = named.unwrap();
        assert_eq!(named.categories, ["health", "work"]);
        assert_eq!(named.recipients, ["tutor=2", "coach"]);
        assert_eq!(named.purposes, ["tone-adaptation"]);
        assert_eq!(named.people.iter().map(ToString::to_string).collect::<Vec<_>>(), [person]);
        assert_eq!((named.from_ms, named.to_ms), (Some(86_400_000), Some(172_800_000)));
        assert_eq!(query(&[]).unwrap(), Query::default());
    }

    #[test]
    fn a_wrong_condition_says_what_is_allowed() {
        for (text, expected) in [
            ("health", EXPECTED),
            ("topic=health", EXPECTED),
            ("recipient=", "`recipient` must have a value"),
            ("person=ada", "`person` must be a handle: 32 hex digits, as a report shows it"),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected);
        }
        assert!(parse("from=yesterday").unwrap_err().starts_with("`from` must be a time like "));
        let twice = query(&["from=2026-01-01", "from=2026-01-02"]).unwrap_err();
        assert_eq!(twice.to_string(), "sayso: --query: `from` is given twice; give it once");
        let reversed = query(&["from=2026-01-03", "to=2026-01-01"]).unwrap_err();
        assert!(reversed.to_string().contains("`to` must be after `from`"), "{reversed}");
    }
}
