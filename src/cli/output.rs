//! What commands print: JSON from any message by its descriptor, or text for people.

use super::error::CliError;
use crate::domain::wording;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::LazyLock;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    pub json: bool,
}

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(crate::proto::DESCRIPTORS).ok());

/// A message as canonical proto3 JSON: 64-bit integers as strings, as other protobuf libraries read and write them.
/// Fields at their default are printed too, so that a `false` can be told from a field that is not known.
pub(super) fn to_json<M: Message>(name: &str, message: &M) -> Result<serde_json::Value, CliError> {
    let pool = POOL.as_ref().ok_or_else(|| CliError::failed("the descriptors can't be read"))?;
    let descriptor = pool.get_message_by_name(&format!("sayso.v1.{name}"));
    let descriptor = descriptor.ok_or_else(|| CliError::failed("unknown message"))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice());
    let options = SerializeOptions::new().skip_default_fields(false);
    let message = message.map_err(CliError::failed)?;
    message.serialize_with_options(serde_json::value::Serializer, &options).map_err(CliError::failed)
}

impl Out {
    /// The message as one JSON object, or the text.
    pub fn print<M: Message>(
        self,
        name: &str,
        message: &M,
        text: impl FnOnce(&M) -> String,
    ) -> Result<(), CliError> {
        if self.json { say(&to_json(name, message)?.to_string()) } else { self.say(&text(message)) }
    }

    /// A JSON object, or the text.
    pub fn print_value(self, value: &serde_json::Value, text: &str) -> Result<(), CliError> {
        if self.json { say(&value.to_string()) } else { self.say(text) }
    }

    fn say(self, text: &str) -> Result<(), CliError> {
        let text = text.trim_end();
        if std::io::stdout().is_terminal() { say(&harmless(text)) } else { say(text) }
    }

    /// To standard error.
    pub fn complain(self, text: &str) {
        let mut to = std::io::stderr().lock();
        let text = if to.is_terminal() { harmless(text) } else { text.to_owned() };
        // Where even this can't be written, the exit status still says it.
        let _nobody_reads = writeln!(to, "{text}");
    }
}

/// A line on standard output. `println!` would panic where a pipe's reader has gone.
fn say(text: &str) -> Result<(), CliError> {
    let mut to = std::io::stdout().lock();
    let written = writeln!(to, "{text}").and_then(|()| to.flush());
    written.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => CliError::closed(),
        _ => CliError::failed(format!("standard output: {error}")),
    })
}

/// Without what would steer a terminal or turn its lines around: others wrote these texts.
fn harmless(text: &str) -> String {
    let steers = |letter: char| {
        (letter.is_control() && !matches!(letter, '\n' | '\t'))
            || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|letter| if steers(letter) { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

/// A time of the wire as RFC 3339.
pub(super) fn time(time: Option<&prost_types::Timestamp>) -> String {
    let millis = time.and_then(|time| {
        let seconds = u64::try_from(time.seconds).ok()?;
        Some(seconds.saturating_mul(1000).saturating_add(u64::try_from(time.nanos).ok()? / 1_000_000))
    });
    millis.map_or_else(|| "-".to_owned(), wording::time)
}

/// The name of an enum's value for people: without its prefix, in lower case, with hyphens as on the command line.
pub(super) fn plain_name(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase().replace('_', "-")
}

/// Rows under each other in aligned columns.
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

/// A receipt in a line.
pub(super) fn receipt(receipt: Option<&crate::proto::Receipt>) -> String {
    let Some(receipt) = receipt else { return String::new() };
    let positions: Vec<String> = receipt.events.iter().map(|event| event.position.to_string()).collect();
    let again = if receipt.replayed { " (had been done before)" } else { "" };
    format!("recorded at position {}{again}", positions.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::proto;

    #[test]
    fn messages_become_json_by_their_descriptors() {
        let message = proto::CheckGrantResponse { stands: false, expires_at: None, reason: 4 };
        let json = to_json("CheckGrantResponse", &message).unwrap();
        assert_eq!(json["stands"], false);
        assert_eq!(json["reason"], "REASON_CONSENT_EXPIRED");
        assert!(to_json("NoSuchMessage", &message).is_err());
    }

    #[test]
    fn json_is_canonical_in_numbers_times_and_bytes() {
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
    fn columns_align() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["long".to_owned(), "c".to_owned()]];
        assert_eq!(table(&rows), "a     b\nlong  c");
    }

    #[test]
    fn texts_of_others_do_not_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{9b}1m\r\n\tc"), "a\u{fffd}[2Jb\u{fffd}1m\u{fffd}\n\tc");
        assert_eq!(harmless("safe\u{202e}efas"), "safe\u{fffd}efas");
    }

    #[test]
    fn names_are_plain() {
        assert_eq!(plain_name("SIGNAL_KIND_OPT_OUT", "SIGNAL_KIND_"), "opt-out");
    }
}
