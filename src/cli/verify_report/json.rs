//! The report as JSON, in the style of proto JSON. Each grant is on a line of its own.

use super::content::{Checked, Content, Outcome, failure_json, query_json};
use crate::cli::output::{int64, proto_style};
use crate::domain::wording;
use sayso_proof::bundle::usage::{AllowedData, GrantRecord, LogEvent, Usage};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

const FORMAT: &str = "sayso verification report v1";

/// Writes the report.
pub(super) fn write(content: &Content<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut head = Map::new();
    head.insert("format".into(), json!(FORMAT));
    head.insert("status".into(), json!(content.status));
    head.insert("verdict".into(), json!(content.verdict));
    head.insert("file".into(), json!(content.file));
    head.insert("key".into(), json!(content.key));
    head.insert("madeAt".into(), json!(wording::time(content.made_ms)));
    head.insert("madeBy".into(), json!(concat!("sayso ", env!("CARGO_PKG_VERSION"))));
    match &content.outcome {
        Outcome::Failed(failure) => {
            head.insert("failure".into(), failure_json(failure));
            head.insert("verified".into(), Value::Null);
        }
        Outcome::Checked(checked) => {
            head.insert("failure".into(), Value::Null);
            head.insert("verified".into(), checked.json.clone());
            add_usage(&mut head, checked.usage)?;
        }
    }
    // The last member is the list of grants, which is written one by one.
    let head = serde_json::to_string(&head)?;
    write!(out, "{},\n\"grants\":[", head.strip_suffix('}').unwrap_or_default())?;
    if let Outcome::Checked(Checked { usage, .. }) = &content.outcome {
        let mut separator = "\n";
        usage.for_each(&mut |grant| {
            let line = grant_json(&grant, usage)?;
            write!(out, "{separator}{line}")?;
            separator = ",\n";
            Ok(())
        })?;
    }
    out.write_all(b"\n]}\n")
}

fn add_usage(head: &mut Map<String, Value>, usage: &Usage) -> io::Result<()> {
    let (totals, totals_left_out) = usage.totals();
    let totals = totals.iter().map(|total| {
        let mut value = proto_style(serde_json::to_value(total)?);
        // The combination and its counts are members of one object.
        let of = value.as_object_mut().and_then(|members| members.remove("of"));
        if let (Some(Value::Object(of)), Some(members)) = (of, value.as_object_mut()) {
            members.extend(of);
        }
        Ok(value)
    });
    let totals = totals.collect::<io::Result<Vec<_>>>()?;
    let events = usage.log_events().iter().map(event_json).collect::<io::Result<Vec<_>>>()?;
    let (events_left_out, first_words) = usage.log_events_left_out();
    head.insert("query".into(), query_json(usage.query()));
    head.insert("undefined".into(), json!(usage.undefined()));
    head.insert("people".into(), int64(usage.people()));
    head.insert("grantsLeftOut".into(), int64(usage.left_out()));
    head.insert("totals".into(), Value::Array(totals));
    head.insert("totalsLeftOut".into(), int64(totals_left_out));
    head.insert("logEvents".into(), Value::Array(events));
    head.insert("logEventsLeftOut".into(), int64(events_left_out));
    head.insert("subjectMapCommitments".into(), int64(usage.map_commitments()));
    head.insert("firstWords".into(), int64(first_words));
    Ok(())
}

fn event_json(event: &LogEvent) -> io::Result<Value> {
    Ok(proto_style(serde_json::to_value(event)?))
}

fn grant_json(grant: &GrantRecord, usage: &Usage) -> io::Result<Value> {
    let mut value = proto_style(serde_json::to_value(grant)?);
    let packs: Vec<Value> = grant
        .packs
        .iter()
        .map(|position| serde_json::to_value(usage.pack(*position)).map(proto_style))
        .collect::<Result<_, _>>()?;
    if let Some(members) = value.as_object_mut() {
        members.insert("packs".into(), Value::Array(packs));
    }
    Ok(value)
}

/// The name of the legal basis of an attribute that a grant allowed.
pub(super) fn basis_name(data: &AllowedData) -> io::Result<String> {
    let value = serde_json::to_value(&data.basis)?;
    Ok(value.as_str().unwrap_or_default().to_owned())
}
