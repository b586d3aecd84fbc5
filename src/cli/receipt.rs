//! `sayso consent receipt`, and what `sayso verify` does with one.

use super::Connection;
use super::connect::client;
use super::error::CliError;
use super::output::Out;
use super::partial::Partial;
use crate::domain::ids::EventId;
use crate::domain::wording;
use crate::proto::GetConsentReceiptRequest;
use crate::proto::consent_service_client::ConsentServiceClient;
use clap::Args;
use sayso_proof::entry::EventKey;
use sayso_proof::event::ConsentTerms;
use sayso_proof::event::event_body::Event;
use sayso_proof::keys::KeyChain;
use sayso_proof::proof::{TlogProof, Verified};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Show the receipt of a decision: JSON-LD (ISO/IEC TS 27560), for the person to keep.
///
/// It names the person by pseudonym only and carries its proof: `sayso verify` needs neither the daemon nor trust in it.
///
/// Example: `sayso consent receipt ada > consent.jsonld`, then `sayso verify consent.jsonld --key log.vkey`
#[derive(Args)]
pub(super) struct Receipt {
    /// The controller's id of the person.
    subject: String,
    /// The decision's event. Default: the newest decision.
    #[arg(long, value_name = "ID", default_value = "")]
    event: String,
    /// Write it to a file, for its owner only.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Receipt {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = GetConsentReceiptRequest { subject: self.subject, event_id: self.event };
        let mut client = client!(ConsentServiceClient, at.link("steward").await?);
        let answer = client.get_consent_receipt(request).await?.into_inner();
        match &self.output {
            Some(path) => {
                let mut file = Partial::begin(path)?;
                file.write(answer.receipt.as_bytes())?;
                let bytes = file.finish()?;
                let value =
                    serde_json::json!({ "receipt": path, "event_id": answer.event_id, "bytes": bytes });
                out.print_value(&value, &format!("{}: the receipt of {}", path.display(), answer.event_id))
            }
            // JSON-LD is JSON: people and machines get the same.
            None => {
                let value: Value = serde_json::from_str(&answer.receipt).map_err(CliError::failed)?;
                out.print_value(&value, &answer.receipt)
            }
        }
    }
}

/// The receipt, if the text is one.
pub(super) fn parse(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    (value.get("@type")?.as_str()? == "dpv:ConsentReceipt").then_some(value)
}

/// Checks that the log holds the decision, and that the receipt says what the log does.
pub(super) fn verify(receipt: &Value, keys: &KeyChain, out: Out) -> Result<(), CliError> {
    let missing = |what| CliError::unverified(format!("the receipt has no {what}"));
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
        _ => return Err(CliError::unverified("the entry is no decision of a person")),
    };
    let terms = terms.ok_or_else(|| CliError::unverified("the entry has no terms"))?;
    let told = Told { status, at: wording::time(body.about_ms), terms };
    if let Some(field) = told.difference(receipt, &verified) {
        return Err(CliError::unverified(format!("the receipt's `{field}` is not what the log holds")));
    }
    let (position, size) = (verified.position, verified.checkpoint.size);
    let origin = &verified.entry.origin;
    let value = serde_json::json!({
        "origin": origin, "position": position, "tree_size": size,
        "decision": status, "purposes": told.terms.purposes, "at": told.at,
    });
    let decision = status.trim_start_matches("dpv:");
    let purposes = told.terms.purposes.join(", ");
    let text = format!(
        "verified: position {position} of {size} in {origin}\n{decision} for {purposes} on {}; the receipt says what \
         the log holds",
        told.at
    );
    out.print_value(&value, &text)
}

fn property<'a>(receipt: &'a Value, id: &str) -> Option<&'a str> {
    let all = receipt.pointer("/dct:provenance/schema:additionalProperty")?.as_array()?;
    let found =
        all.iter().find(|property| property.get("schema:propertyID").and_then(Value::as_str) == Some(id));
    found?.get("schema:value")?.as_str()
}

/// What the log says of the decision.
struct Told {
    status: &'static str,
    at: String,
    terms: ConsentTerms,
}

impl Told {
    /// The first field in which the receipt says something else.
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
        let holds = [
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
        holds.into_iter().find(|(_, holds)| !holds).map(|(field, _)| field)
    }
}
