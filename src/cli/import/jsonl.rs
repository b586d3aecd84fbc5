//! Reads the lines of an import and converts them to requests. A line longer than [`LINE_BYTES_MAX`] is
//! skipped. Messages about a malformed line never contain its data.

use super::super::times;
use crate::proto::{self, Provenance};
use prost::Message;
use serde::Deserialize;
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, Read};

/// Longest line in bytes. It is well above the daemon's limit for one attribute.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// The result of reading a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextLine {
    /// A line was read.
    Line,
    /// The line was longer than [`LINE_BYTES_MAX`], so its content was skipped.
    TooLong,
    /// No more lines.
    End,
}

/// Reads the next line into `line`, without its line break.
pub(super) fn next_line(from: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<NextLine> {
    line.clear();
    let limit = (LINE_BYTES_MAX as u64).saturating_add(1);
    let read = (&mut *from).take(limit).read_until(b'\n', line)?;
    if read == 0 {
        return Ok(NextLine::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(NextLine::Line);
    }
    if line.len() <= LINE_BYTES_MAX {
        return Ok(NextLine::Line);
    }
    skip_line(from)?;
    Ok(NextLine::TooLong)
}

/// Reads the rest of the line without keeping it in memory.
fn skip_line(from: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = from.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (used, ended) = (end.map_or(buffer.len(), |end| end.saturating_add(1)), buffer.is_empty());
        from.consume(used);
        if ended || end.is_some() {
            return Ok(());
        }
    }
}

/// The fields of a line, each as any JSON. This module checks their types itself, because serde's
/// error messages could repeat a value, which is personal data.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    subject: Value,
    key: Value,
    value: Box<RawValue>,
    category: Value,
    provenance: Value,
    #[serde(default)]
    evidence: Value,
    observed_at: Value,
    #[serde(default)]
    confidence: Value,
    #[serde(default)]
    model: Value,
}

const FIELDS: &str = "subject, key, value, category, provenance, evidence, observed_at, confidence and model";

fn text(field: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(format!("`{field}` must be a text")),
    }
}

fn texts(field: &str, value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => values.into_iter().map(|value| text(field, value)).collect(),
        _ => Err(format!("`{field}` must be a list of texts")),
    }
}

fn fields(line: &[u8]) -> Result<Fields, String> {
    serde_json::from_slice(line).map_err(|error| match error.classify() {
        Category::Data => {
            let message = error.to_string();
            // These two messages name only fields of the format. Other messages could repeat data of the
            // line.
            let is_safe = ["missing field", "duplicate field"].iter().any(|start| message.starts_with(start));
            let message = message.split(" at line").next().unwrap_or_default().to_owned();
            if is_safe { message } else { format!("must be an object with only the fields {FIELDS}") }
        }
        _ => format!("not valid JSON at column {}", error.column()),
    })
}

/// A line of an import.
#[derive(Debug)]
pub(super) struct LineRequest {
    pub request: proto::RecordAttributesRequest,
    /// If `observed_at` in the line is a date without a time: which moment it became, the beginning of that
    /// day.
    pub date_note: Option<String>,
}

/// Converts a line to a request. The value keeps the exact text that it has in the line. The idempotency key
/// is a digest of the request. So the same attribute has the same idempotency key, regardless of the order of
/// the line's fields and the white space between them. Importing a line again adds nothing.
///
/// # Errors
/// The line is malformed. The message says how.
pub(super) fn request(line: &[u8]) -> Result<LineRequest, String> {
    let fields = fields(line)?;
    let provenance = match fields.provenance.as_str() {
        Some("declared") => Provenance::Declared,
        Some("observed") => Provenance::Observed,
        Some("inferred") => Provenance::Inferred,
        _ => return Err("`provenance` must be declared, observed or inferred".into()),
    };
    let confidence = match &fields.confidence {
        Value::Null => None,
        value => Some(value.as_f64().ok_or("`confidence` must be a number from 0 to 1")?),
    };
    let model = Some(fields.model).filter(|model| !model.is_null());
    let observed_at = text("observed_at", fields.observed_at)?;
    let observed_at = times::beginning(&observed_at).map_err(|problem| format!("`observed_at` {problem}"))?;
    let attribute = proto::AttributeInput {
        key: text("key", fields.key)?,
        value_json: fields.value.get().to_owned(),
        category: text("category", fields.category)?,
        provenance: provenance.into(),
        evidence: texts("evidence", fields.evidence)?,
        observed_at: Some(observed_at.moment),
        confidence,
        model: model.map(|model| text("model", model)).transpose()?.unwrap_or_default(),
        ..Default::default()
    };
    let subject = text("subject", fields.subject)?;
    let mut request = proto::RecordAttributesRequest { subject, attributes: vec![attribute], options: None };
    let idempotency_key = format!("import-{}", hex::encode(Sha256::digest(request.encode_to_vec())));
    request.options = Some(proto::WriteOptions { idempotency_key, ..Default::default() });
    Ok(LineRequest { request, date_note: observed_at.note("observed_at") })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = r#"{"subject":"s","key":"k","value":{"a":1,"b":[true]},"category":"work","provenance":"inferred","observed_at":"2022-03-17T15:47:00Z"}"#;

    fn parse(line: &str) -> Result<proto::RecordAttributesRequest, String> {
        request(line.as_bytes()).map(|line| line.request)
    }

    #[test]
    fn every_spelling_of_a_line_becomes_the_same_request() {
        let first = parse(LINE).unwrap();
        assert_eq!(first.attributes[0].value_json, r#"{"a":1,"b":[true]}"#);
        let spellings = [
            format!(" {LINE}\r"),
            LINE.replace("{\"subject\":\"s\",", "{\"evidence\":[], \"subject\": \"\\u0073\", "),
            LINE.replace("15:47:00Z", "16:47:00+01:00"),
            LINE.replace("\"subject\"", "\"confidence\":null,\"subject\""),
        ];
        for spelled in spellings {
            assert_eq!(parse(&spelled).unwrap(), first, "{spelled}");
        }
        let key = |line: &str| parse(line).unwrap().options.unwrap().idempotency_key;
        for (from, to) in [("\"s\"", "\"t\""), ("\"k\"", "\"l\""), ("[true]", "[false]"), ("47:00", "47:01")]
        {
            assert_ne!(key(LINE), key(&LINE.replace(from, to)), "{from}");
        }
    }

    #[test]
    fn every_json_can_be_a_value() {
        for (value, expected) in
            [("\"plain\"", "\"plain\""), ("null", "null"), ("[1, 2]", "[1, 2]"), ("1.50e0", "1.50e0")]
        {
            let line = LINE.replace(r#"{"a":1,"b":[true]}"#, value);
            assert_eq!(parse(&line).unwrap().attributes[0].value_json, expected);
        }
    }

    #[test]
    fn malformed_lines_say_what_is_wrong() {
        let bad = |from: &str, to: &str| parse(&LINE.replace(from, to)).unwrap_err();
        assert_eq!(parse("{}").unwrap_err(), "missing field `subject`");
        assert_eq!(parse("{").unwrap_err(), "not valid JSON at column 1");
        assert!(bad("inferred", "guessed").contains("provenance"));
        assert!(bad("2022-03-17T15:47:00Z", "then").contains("observed_at"));
        assert!(bad("\"s\"", "7").contains("`subject` must be a text"));
        assert!(bad("\"key\"", "\"evidence\":[1],\"key\"").contains("evidence"));
        assert!(bad("\"key\":\"k\"", "\"key\":\"k\",\"key\":\"l\"").contains("duplicate field"));
        assert!(request(b"\xff\xfe{}").is_err());
    }

    #[test]
    fn messages_about_a_malformed_line_never_contain_its_data() {
        let secret = "has been ill since May";
        let quoted = format!("\"{secret}\"");
        let lines = [
            quoted.clone(),
            format!("[{quoted}]"),
            format!("{{{quoted}:1}}"),
            format!("{{\"subject\":{quoted}"),
            LINE.replace("\"key\"", &format!("{quoted}:1,\"key\"")),
            LINE.replace("\"key\"", &format!("\"confidence\":{quoted},\"key\"")),
            LINE.replace("\"key\"", &format!("\"model\":[{quoted}],\"key\"")),
            LINE.replace("inferred", secret),
            LINE.replace("2022-03-17T15:47:00Z", secret),
        ];
        for line in lines {
            let message = parse(&line).unwrap_err();
            assert!(!message.contains("ill since"), "{message}");
        }
    }

    #[test]
    fn the_length_of_lines_is_limited() {
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        let fits = vec![b'y'; LINE_BYTES_MAX];
        let bytes = [long.as_slice(), b"\n", &fits, b"\nlast"].concat();
        let mut from = io::BufReader::with_capacity(1000, bytes.as_slice());
        let mut line = Vec::new();
        assert_eq!(next_line(&mut from, &mut line).unwrap(), NextLine::TooLong);
        assert_eq!((next_line(&mut from, &mut line).unwrap(), &line), (NextLine::Line, &fits));
        assert_eq!(
            (next_line(&mut from, &mut line).unwrap(), line.as_slice()),
            (NextLine::Line, &b"last"[..])
        );
        assert_eq!(next_line(&mut from, &mut line).unwrap(), NextLine::End);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_request_or_a_message(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _either = request(&bytes);
        }
    }
}
