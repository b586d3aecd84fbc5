//! What commands print: JSON from any message by its descriptor, or text for people.

use super::error::CliError;
use crate::domain::explain;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use std::sync::LazyLock;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    pub json: bool,
}

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(crate::proto::DESCRIPTORS).ok());

/// A message as canonical proto3 JSON.
pub(super) fn to_json<M: Message>(name: &str, message: &M) -> Result<serde_json::Value, CliError> {
    let pool = POOL.as_ref().ok_or_else(|| CliError::failed("the descriptors can't be read"))?;
    let descriptor = pool.get_message_by_name(&format!("sayso.v1.{name}"));
    let descriptor = descriptor.ok_or_else(|| CliError::failed("unknown message"))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice());
    let options = SerializeOptions::new().skip_default_fields(false).stringify_64_bit_integers(false);
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
        if self.json {
            println!("{}", to_json(name, message)?);
        } else {
            println!("{}", text(message).trim_end());
        }
        Ok(())
    }

    /// A JSON object, or the text.
    pub fn print_value(self, value: &serde_json::Value, text: &str) {
        if self.json { println!("{value}") } else { println!("{}", text.trim_end()) }
    }
}

/// A time of the wire as RFC 3339.
pub(super) fn time(time: Option<&prost_types::Timestamp>) -> String {
    let millis = time.and_then(|time| {
        let seconds = u64::try_from(time.seconds).ok()?;
        Some(seconds.saturating_mul(1000).saturating_add(u64::try_from(time.nanos).ok()? / 1_000_000))
    });
    millis.map_or_else(|| "-".to_owned(), explain::time)
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
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn messages_become_json_by_their_descriptors() {
        let message = crate::proto::CheckGrantResponse { stands: true, expires_at: None, reason: 4 };
        let json = to_json("CheckGrantResponse", &message).unwrap();
        assert_eq!(json.get("stands"), Some(&true.into()));
        assert_eq!(json.get("reason"), Some(&"REASON_CONSENT_EXPIRED".into()));
    }

    #[test]
    fn columns_align() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["long".to_owned(), "c".to_owned()]];
        assert_eq!(table(&rows), "a     b\nlong  c");
    }
}
