//! The command `sayso consent receipt`, and the part of `sayso verify` that verifies a receipt.

use super::atomic_file::{AtomicFile, Existing};
use super::connect::Connection;
use super::connect::client;
use super::error::CliError;
use super::output::{Out, int64};
use crate::domain::event::ConsentTerms;
use crate::domain::ids::EventId;
use crate::domain::wording;
use crate::proto::GetConsentReceiptRequest;
use crate::proto::consent_service_client::ConsentServiceClient;
use clap::Args;
use sayso_proof::entry::EventKey;
use sayso_proof::event::event_body::Event;
use sayso_proof::keys::KeyChain;
use sayso_proof::proof::{TlogProof, Verified};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Show the receipt of a decision, as JSON-LD (ISO/IEC TS 27560), for the person to keep.
///
/// The receipt names the person only by a pseudonym. It contains the proof that the decision is in the log.
/// `sayso verify` verifies the receipt without the daemon, and without trusting the daemon.
///
/// Example: `sayso consent receipt ada > consent.jsonld`, then `sayso verify consent.jsonld --key log.vkey`
#[derive(Args)]
pub(super) struct Receipt {
    /// The controller's ID of the person.
    subject: String,
    /// Event ID of the decision. Default: the newest decision.
    #[arg(long, value_name = "ID", default_value = "")]
    event: String,
    /// Write the receipt to a file, with access for its owner only.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace FILE if it exists.
    #[arg(long, requires = "output")]
    force: bool,
}

impl Receipt {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = GetConsentReceiptRequest { subject: self.subject, event_id: self.event };
        let mut client = client!(ConsentServiceClient, at.link("steward").await?);
        let answer = client.get_consent_receipt(request).await?.into_inner();
        match &self.output {
            Some(path) => {
                let existing = Existing::from_force(self.force);
                let bytes = AtomicFile::write_whole(path, existing, answer.receipt.as_bytes())?;
                let value =
                    serde_json::json!({ "receipt": path, "eventId": answer.event_id, "bytes": int64(bytes) });
                out.print_value(
                    &value,
                    &format!("{}: receipt of decision {}", path.display(), answer.event_id),
                )
            }
            // JSON-LD is JSON: it is the same with and without --json.
            None => {
                let value: Value = serde_json::from_str(&answer.receipt).map_err(CliError::failed)?;
                out.print_value(&value, &answer.receipt)
            }
        }
    }
}

/// Parses a receipt, if the text is one.
pub(super) fn parse(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    (value.get("@type")?.as_str()? == "dpv:ConsentReceipt").then_some(value)
}

/// Verifies that the decision is in the log, and that the receipt agrees with the log.
pub(super) fn verify(receipt: &Value, keys: &KeyChain, out: Out) -> Result<(), CliError> {
    let missing = |part| CliError::unverified(format!("the receipt has no {part}"));
    let proof: TlogProof =
        property(receipt, "tlog-proof").ok_or(missing("proof"))?.parse().map_err(CliError::unverified)?;
    let mut event_key = [0; 32];
    hex::decode_to_slice(property(receipt, "event-key").ok_or(missing("event key"))?, &mut event_key)
        .map_err(|_| CliError::unverified("the event key is not 32 bytes in hex"))?;
    let verified = proof.verify(keys).map_err(CliError::unverified)?;
    let body = verified.entry.open(&EventKey::from_bytes(event_key)).map_err(CliError::unverified)?;
    let (status, terms) = match body.event {
        Some(Event::ConsentGiven(of)) => ("dpv:ConsentGiven", of.terms),
        Some(Event::ConsentRefused(of)) => ("dpv:ConsentRefused", of.terms),
        Some(Event::ConsentRenewed(of)) => ("dpv:RenewedConsentGiven", of.terms),
        Some(Event::ConsentWithdrawn(of)) => ("dpv:ConsentWithdrawn", of.terms),
        _ => return Err(CliError::unverified("the entry is not a decision about consent")),
    };
    let terms = terms.ok_or_else(|| CliError::unverified("the entry has no terms"))?;
    let logged = Logged { status, at: wording::time(body.about_ms), terms };
    if let Some(field) = logged.difference(receipt, &verified) {
        return Err(CliError::unverified(format!("the receipt's `{field}` differs from the log")));
    }
    let (position, size) = (verified.position, verified.checkpoint.size);
    let origin = &verified.entry.origin;
    let value = serde_json::json!({
        "origin": origin, "position": int64(position), "treeSize": int64(size),
        "decision": status, "purposes": logged.terms.purposes, "at": logged.at,
    });
    let decision = status.trim_start_matches("dpv:");
    let purposes = logged.terms.purposes.join(", ");
    let text = format!(
        "verified: position {position} of {size} in {origin}\n{decision} for {purposes} on {}; the receipt agrees with \
         the log",
        logged.at
    );
    out.print_value(&value, &text)
}

fn property<'a>(receipt: &'a Value, id: &str) -> Option<&'a str> {
    let all = receipt.pointer("/dct:provenance/schema:additionalProperty")?.as_array()?;
    let found =
        all.iter().find(|property| property.get("schema:propertyID").and_then(Value::as_str) == Some(id));
    found?.get("schema:value")?.as_str()
}

/// The decision as the log has it.
struct Logged {
    status: &'static str,
    at: String,
    terms: ConsentTerms,
}

impl Logged {
    /// The first field in which the receipt differs from the log.
    fn difference(&self, receipt: &Value, verified: &Verified) -> Option<&'static str> {
        let terms = &self.terms;
        let header = &verified.entry.header;
        let id = EventId(header.event_id).to_string();
        let record = receipt.get("dpv:hasRecordOfActivity").unwrap_or(&Value::Null);
        let text = |of: &Value, pointer: &str| of.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let processes = record.get("dpv:hasProcess").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let named = |field: &str| -> BTreeSet<String> {
            let of = |process: &Value| match process.get(field) {
                Some(Value::Array(items)) => items.clone(),
                Some(one) => vec![one.clone()],
                None => Vec::new(),
            };
            processes.iter().flat_map(of).filter_map(|node| text(&node, "/dct:identifier")).collect()
        };
        let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
        let statuses = record.get("dpv:hasConsentStatus").and_then(Value::as_array);
        let own = statuses.and_then(|all| {
            all.iter().find(|status| text(status, "/dct:identifier").as_deref() == Some(id.as_str()))
        });
        let own = own.unwrap_or(&Value::Null);
        let digest = terms.notice.as_ref().map(|notice| hex::encode(&notice.digest));
        let until = terms.until_ms.filter(|_| self.status.ends_with("Given")).map(wording::time);
        let explicit = own.get("@type").is_some_and(|types| {
            types
                .as_array()
                .is_some_and(|types| types.iter().any(|of| of == "dpv:ExplicitlyExpressedConsent"))
        });
        let is_yes = self.status.ends_with("Given");
        let fields = [
            ("dct:identifier", text(record, "/dct:identifier") == Some(id.clone())),
            (
                "dpv:hasDataSubject",
                text(record, "/dpv:hasDataSubject/dct:identifier") == Some(header.handle.to_string()),
            ),
            ("dpv:hasPurpose", named("dpv:hasPurpose") == set(&terms.purposes)),
            ("dpv:hasPersonalData", named("dpv:hasPersonalData") == set(&terms.categories)),
            ("dpv:hasRecipient", named("dpv:hasRecipient") == set(&terms.recipients)),
            ("dpv:hasNotice", text(record, "/dpv:hasNotice/schema:sha256") == digest),
            ("dpv:hasConsentStatus", text(own, "/@type/0").as_deref() == Some(self.status)),
            ("dpv:isIndicatedAtTime", text(own, "/dpv:isIndicatedAtTime/@value").as_ref() == Some(&self.at)),
            ("dpv:hasDuration", text(own, "/dpv:hasDuration/rdf:value/@value") == until),
            ("@type", !is_yes || explicit == terms.explicit),
        ];
        fields.into_iter().find(|(_, agrees)| !agrees).map(|(field, _)| field)
    }
}
