//! Prints the results of commands: as JSON in the style of proto JSON for programs, or as text for people.

use super::error::CliError;
use super::times::WrittenTime;
use crate::domain::legal_basis::DeclaredBasis;
use crate::domain::wording;
use crate::proto::UnmatchedKind;
use crate::telemetry::escaped;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;
use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::LazyLock;

/// The format of what a command prints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    /// Print JSON instead of text.
    pub json: bool,
}

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(crate::proto::DESCRIPTORS).ok());

/// Converts a message to canonical proto3 JSON: camelCase names, 64-bit integers as strings. Fields with
/// their default value are included, so that readers can distinguish `false` from an absent field.
pub(super) fn to_json<M: Message>(name: &str, message: &M) -> Result<Value, CliError> {
    let pool = POOL.as_ref().ok_or_else(|| CliError::failed("the descriptors of the API can't be read"))?;
    let descriptor = pool.get_message_by_name(&format!("sayso.v1.{name}"));
    let descriptor =
        descriptor.ok_or_else(|| CliError::failed(format!("the API has no message `{name}`")))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice());
    let options = SerializeOptions::new().skip_default_fields(false);
    let message = message.map_err(CliError::failed)?;
    message.serialize_with_options(serde_json::value::Serializer, &options).map_err(CliError::failed)
}

impl Out {
    /// Prints a message as one JSON object on one line, or its text.
    pub fn print<M: Message>(
        self,
        name: &str,
        message: &M,
        text: impl FnOnce(&M) -> String,
    ) -> Result<(), CliError> {
        if self.json { print_json(&to_json(name, message)?) } else { self.print_text(&text(message)) }
    }

    /// Prints a whole list, whose pages were joined, as one JSON object or as text. The JSON object has
    /// neither a page token nor the fields in `left_out`, which are not part of the list.
    pub fn print_whole<M: Message>(
        self,
        name: &str,
        message: &M,
        left_out: &[&str],
        text: impl FnOnce(&M) -> String,
    ) -> Result<(), CliError> {
        if !self.json {
            return self.print_text(&text(message));
        }
        let mut value = to_json(name, message)?;
        if let Value::Object(members) = &mut value {
            members.retain(|field, _| field != "nextPageToken" && !left_out.contains(&field.as_str()));
        }
        print_json(&value)
    }

    /// With --json, prints each item of a page of a list as one JSON object on a line of its own.
    pub fn print_items<M: Message>(self, name: &str, page: &M, field: &str) -> Result<(), CliError> {
        if !self.json {
            return Ok(());
        }
        let page = to_json(name, page)?;
        let items = page.get(field).and_then(Value::as_array);
        items.into_iter().flatten().try_for_each(print_json)
    }

    /// Prints one of two forms of a result: the JSON value, on one line, or the text.
    pub fn print_value(self, value: &Value, text: &str) -> Result<(), CliError> {
        if self.json { print_json(value) } else { self.print_text(text) }
    }

    /// Prints a line for people. With --json, prints nothing.
    pub fn print_note(self, text: &str) -> Result<(), CliError> {
        if self.json { Ok(()) } else { self.print_text(text) }
    }

    fn print_text(self, text: &str) -> Result<(), CliError> {
        print_line(text.trim_end())
    }

    /// Prints a note for each date without a time on the command line: which moment the command
    /// took it for. With --json, the notes go to standard error.
    pub fn note_dates(self, times: &[(&str, Option<&WrittenTime>)]) -> Result<(), CliError> {
        for note in times.iter().filter_map(|(flag, time)| time.as_ref()?.note(flag)) {
            if self.json {
                print_error_line(&note);
            } else {
                self.print_text(&note)?;
            }
        }
        Ok(())
    }

    /// Writes an error to standard error, and returns its exit status. A silent error has only an
    /// exit status, because standard output has the answer already or has no reader.
    pub fn report(self, error: &CliError) -> ExitCode {
        if !error.is_silent() {
            print_error_line(&if self.json { error.json().to_string() } else { error.to_string() });
        }
        error.exit_code()
    }
}

/// Prints a line. On a terminal, characters that the terminal would act on are escaped.
pub(super) fn print_line(text: &str) -> Result<(), CliError> {
    let text = if std::io::stdout().is_terminal() { escaped(text) } else { Cow::Borrowed(text) };
    print_bytes(format!("{text}\n").as_bytes())
}

fn print_json(value: &Value) -> Result<(), CliError> {
    print_line(&value.to_string())
}

/// Prints a line to standard error, like [`print_line`].
pub(super) fn print_error_line(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let text = if stderr.is_terminal() { escaped(text) } else { Cow::Borrowed(text) };
    // If standard error is closed, the exit status still shows the failure.
    let _ignored = writeln!(stderr, "{text}");
}

/// Writes bytes to standard output. `print!` would panic if the reader at the other end of a pipe were gone.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => CliError::closed(),
        _ => CliError::failed(format!("standard output: {error}")),
    })
}

/// Formats a time of the API as in RFC 3339, or as `-` if the time is absent.
pub(super) fn time(time: Option<&prost_types::Timestamp>) -> String {
    let millis = time.and_then(|time| {
        let seconds = u64::try_from(time.seconds).ok()?;
        Some(seconds.saturating_mul(1000).saturating_add(u64::try_from(time.nanos).ok()? / 1_000_000))
    });
    millis.map_or_else(|| "-".to_owned(), wording::time)
}

/// The name of an enum value for people: without its prefix, in lower case, with hyphens as on the command
/// line.
pub(super) fn plain_name(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase().replace('_', "-")
}

/// Formats rows as aligned columns.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A duration in the form of proto JSON: seconds with a unit, such as `1.500s`.
pub(super) fn duration(ms: u64) -> Value {
    format!("{}.{:03}s", ms / 1_000, ms % 1_000).into()
}

/// A 64-bit integer in the form of proto JSON: a string.
pub(super) fn int64(number: u64) -> Value {
    number.to_string().into()
}

/// Names of JSON members whose values are maps. The keys of these maps are recorded data, such as
/// IDs of categories, and are not converted to camelCase.
const DATA_MAPS: [&str; 1] = ["erasedByCategory"];

/// Fields in milliseconds that are durations. All others are times.
const DURATIONS: [&str; 1] = ["accuracy_ms"];

/// Converts the JSON of a Rust type to the style of proto JSON: names become camelCase, times become RFC
/// 3339 texts and durations become seconds, both under a name without `_ms` or `_s`, and other integers
/// become strings. (Proto JSON writes 64-bit integers as strings. Here, the few integers with 32 bits,
/// such as an edition, become strings too.)
pub(super) fn proto_style(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| {
                let (name, value) = timed(&name, value);
                let name = camel_case(name);
                let value = match value {
                    Value::Object(map) if DATA_MAPS.contains(&name.as_str()) => {
                        Value::Object(map.into_iter().map(|(key, value)| (key, proto_style(value))).collect())
                    }
                    value => proto_style(value),
                };
                (name, value)
            });
            Value::Object(members.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(proto_style).collect()),
        Value::Number(number) if !number.is_f64() => Value::String(number.to_string()),
        other => other,
    }
}

/// A member without the unit of time in its name: times as RFC 3339 texts, durations in seconds.
fn timed(name: &str, value: Value) -> (&str, Value) {
    let (stem, unit_ms) = match (name.strip_suffix("_ms"), name.strip_suffix("_s")) {
        (Some(stem), _) => (stem, 1),
        (None, Some(stem)) => (stem, 1_000),
        (None, None) => return (name, value),
    };
    match value.as_u64().map(|number| number.saturating_mul(unit_ms)) {
        Some(ms) if DURATIONS.contains(&name) => (stem, duration(ms)),
        Some(ms) => (stem, wording::time(ms).into()),
        None => (stem, value),
    }
}

/// The proto JSON name of a field.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

/// A number with its noun in the singular or plural: `1 grant`, `2 grants`, `3 entries`.
pub(super) fn count(number: u64, noun: &str) -> String {
    let stem = noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']));
    match (number, stem) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {noun}s"),
    }
}

/// A number of people.
pub(super) fn people(number: u64) -> String {
    if number == 1 { "1 person".to_owned() } else { format!("{number} people") }
}

/// Rows as aligned columns, or a line that says that there are none.
pub(super) fn list(rows: &[Vec<String>], none: &str) -> String {
    if rows.is_empty() { none.to_owned() } else { table(rows) }
}

/// Describes the receipt of a write, and lists the grants that the write revoked.
pub(super) fn changed(written: Option<&crate::proto::Receipt>, revoked_grants: &[String]) -> String {
    let revoked = match revoked_grants {
        [] => "no open grants were revoked".to_owned(),
        grants => format!("revoked {}", grants.join(", ")),
    };
    format!("{}; {revoked}", receipt(written))
}

/// The text of [`changed`], with a line for each part of the request that matches nothing in the ledger.
pub(super) fn changed_or_unmatched(
    written: Option<&crate::proto::Receipt>,
    revoked_grants: &[String],
    unmatched: &[crate::proto::Unmatched],
) -> String {
    changed(written, revoked_grants) + &unmatched_lines(unmatched)
}

/// A line for each part of a request that matches nothing in the ledger, each after a line feed.
pub(super) fn unmatched_lines(unmatched: &[crate::proto::Unmatched]) -> String {
    let line = |unmatched: &crate::proto::Unmatched| match unmatched.kind() {
        UnmatchedKind::Subject => {
            "matched nothing: nothing was recorded about this person before; check the ID".to_owned()
        }
        UnmatchedKind::Recipient => format!(
            "matched nothing: no decision, grant, artifact or attribute of this person names the recipient \
             `{}`; check the name",
            unmatched.recipient
        ),
        UnmatchedKind::Consent => "matched nothing: no consent in force was withdrawn".to_owned(),
        UnmatchedKind::Signal => "matched nothing: no such signal was in force".to_owned(),
        UnmatchedKind::Unspecified => "matched nothing".to_owned(),
    };
    unmatched.iter().map(|each| format!("\n{}", line(each))).collect()
}

/// A line for each purpose for which data may still be used although the person said no, because the
/// purpose's legal basis is a contract or a legal obligation.
pub(super) fn remaining_uses(of: &[crate::proto::RemainingUse]) -> String {
    let line = |of: &crate::proto::RemainingUse| {
        let basis = DeclaredBasis::of(of.legal_basis()).map_or("another legal basis", DeclaredBasis::title);
        let (purpose, reference) = (&of.purpose, &of.basis_reference);
        format!(
            "\ndata may still be used for `{purpose}`, whose legal basis is {basis} ({reference}): a no does not end it"
        )
    };
    of.iter().map(line).collect()
}

/// A hint that a new attribute key could be confused with an existing one.
pub(super) fn similar_key(new: &str, similar: &crate::proto::SimilarKey) -> String {
    let existing = &similar.key;
    format!(
        "hint: `{new}` is a new key and looks like `{existing}`; if it means the same, record `{existing}`"
    )
}

/// A receipt in one line.
pub(super) fn receipt(receipt: Option<&crate::proto::Receipt>) -> String {
    let Some(receipt) = receipt else { return String::new() };
    if receipt.events.is_empty() {
        return "nothing was recorded".to_owned();
    }
    let positions: Vec<String> = receipt.events.iter().map(|event| event.position.to_string()).collect();
    let noun = if positions.len() == 1 { "position" } else { "positions" };
    let replayed = if receipt.replayed { " (already recorded by an earlier request)" } else { "" };
    format!("recorded at {noun} {}{replayed}", positions.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::proto;
    use std::time::Duration;

    #[test]
    fn a_message_becomes_json_by_its_descriptor() {
        let message =
            proto::CheckGrantResponse { valid: false, expires_at: None, reason: 4, ..Default::default() };
        let json = to_json("CheckGrantResponse", &message).unwrap();
        assert_eq!(json["valid"], false);
        assert_eq!(json["reason"], "REVOCATION_REASON_CONSENT_EXPIRED");
        assert!(to_json("NoSuchMessage", &message).is_err());
    }

    #[test]
    fn numbers_times_and_bytes_have_their_canonical_json_form() {
        let event = proto::EventReceipt {
            position: u64::MAX,
            leaf_hash: vec![0, 255],
            recorded_at: Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }),
            ..Default::default()
        };
        let receipt = proto::Receipt { events: vec![event], ..Default::default() };
        let json = to_json("Receipt", &receipt).unwrap();
        assert_eq!(json["events"][0]["position"], "18446744073709551615");
        assert_eq!(json["events"][0]["leafHash"], "AP8=");
        assert_eq!(json["events"][0]["recordedAt"], "1970-01-01T00:00:01.500Z");
    }

    #[test]
    fn durations_have_their_canonical_json_form() {
        let message = proto::Retention {
            keep: prost_types::Duration::try_from(Duration::from_millis(61_500)).ok(),
            ..Default::default()
        };
        assert_eq!(to_json("Retention", &message).unwrap()["keep"], duration(61_500));
    }

    #[test]
    fn columns_align() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["long".to_owned(), "c".to_owned()]];
        assert_eq!(table(&rows), "a     b\nlong  c");
    }

    #[test]
    fn enum_names_are_plain() {
        assert_eq!(plain_name("SIGNAL_KIND_OPT_OUT", "SIGNAL_KIND_"), "opt-out");
    }

    #[test]
    fn plurals_are_right() {
        assert_eq!([people(1), people(2)], ["1 person", "2 people"]);
        assert_eq!(
            [count(0, "grant"), count(1, "grant"), count(2, "grant")],
            ["0 grants", "1 grant", "2 grants"]
        );
        assert_eq!(
            [count(1, "entry"), count(2, "entry"), count(2, "day")],
            ["1 entry", "2 entries", "2 days"]
        );
    }

    #[test]
    fn the_json_of_rust_types_gets_the_style_of_proto_json() {
        let value = serde_json::json!({
            "tree_size": 7, "ratio": 0.5, "ok": true, "none": null,
            "damaged_at": [{ "first_position": 1 }],
            "from_ms": 61_500, "to_ms": null, "cosigned": { "at_s": 2 }, "accuracy_ms": 1_500,
            "erased_by_category": { "my_own_category": 2 },
        });
        let expected = serde_json::json!({
            "treeSize": "7", "ratio": 0.5, "ok": true, "none": null,
            "damagedAt": [{ "firstPosition": "1" }],
            "from": "1970-01-01T00:01:01.5Z", "to": null, "cosigned": { "at": "1970-01-01T00:00:02Z" },
            "accuracy": "1.500s",
            "erasedByCategory": { "my_own_category": "2" },
        });
        assert_eq!(proto_style(value), expected);
    }

    #[test]
    fn an_empty_list_says_so() {
        assert_eq!(list(&[], "no holds"), "no holds");
        assert_eq!(list(&[vec!["a".to_owned()]], "no holds"), "a");
    }
}
