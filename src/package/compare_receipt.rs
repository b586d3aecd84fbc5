//! Compares a consent receipt with the log's entry of its decision.

use super::error::ReceiptError;
use super::receipt_nodes::{PERSON, brought_by, consent_type, date_time, decided_by, notice};
use super::signed_receipt::PROPERTIES;
use crate::domain::consent::{Decision, Terms};
use crate::domain::event::Actor;
use crate::domain::wording;
use sayso_proof::checkpoint::VerifierKey;
use sayso_proof::keys::KeyChain;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const RECORD: &str = "/dpv:hasRecordOfActivity";

/// A decision as the log has it.
pub(super) struct Logged {
    /// The event's id, a UUID.
    pub id: String,
    /// The ledger's pseudonym of the data subject.
    pub pseudonym: String,
    pub position: u64,
    pub about_ms: u64,
    pub decision: Decision,
    pub terms: Terms,
    pub actor: Actor,
}

impl Logged {
    /// The decision, as a term of DPV.
    pub fn status(&self) -> &'static str {
        match self.decision {
            Decision::Given => "dpv:ConsentGiven",
            Decision::Refused => "dpv:ConsentRefused",
            Decision::Renewed => "dpv:RenewedConsentGiven",
            Decision::Withdrawn => "dpv:ConsentWithdrawn",
        }
    }
}

/// A receipt, and which of its fields were compared with the log.
pub(super) struct Comparison<'a> {
    receipt: &'a Value,
    /// JSON pointers (RFC 6901) of the fields that agree with the log.
    compared: BTreeSet<String>,
    /// What the log has and the receipt leaves out: paths, with the reason if there is one.
    missing: BTreeSet<String>,
}

impl<'a> Comparison<'a> {
    /// Compares a receipt with the log. Returns the paths of all fields that were not compared, because the
    /// entry does not contain them, and of those that the entry contains and the receipt leaves out. A path
    /// names a field of every element of an array. If nothing below a field was compared, only that field is
    /// named.
    ///
    /// # Errors
    /// [`ReceiptError::Differs`]: a field differs.
    pub fn of(receipt: &'a Value, logged: &Logged, keys: &KeyChain) -> Result<Vec<String>, ReceiptError> {
        let mut comparison = Self { receipt, compared: BTreeSet::new(), missing: BTreeSet::new() };
        comparison.ids(logged)?;
        comparison.notice(logged)?;
        comparison.processes(&logged.terms)?;
        let own = comparison.status(logged)?;
        comparison.provenance(logged, keys)?;
        let mut left = std::mem::take(&mut comparison.missing);
        comparison.collect(receipt, "", "", &own, &mut left);
        Ok(left.into_iter().collect())
    }

    fn text(&self, pointer: &str) -> Option<&'a str> {
        self.receipt.pointer(pointer)?.as_str()
    }

    /// The elements of an array with their pointers. A single value counts as an array of one.
    fn items(&self, pointer: &str) -> Vec<(String, &'a Value)> {
        match self.receipt.pointer(pointer) {
            Some(Value::Array(items)) => {
                items.iter().enumerate().map(|(at, item)| (format!("{pointer}/{at}"), item)).collect()
            }
            Some(one) => vec![(pointer.to_owned(), one)],
            None => Vec::new(),
        }
    }

    /// Requires that a field has this text, or is missing.
    fn require(&mut self, pointer: &str, expected: Option<&str>) -> Result<(), ReceiptError> {
        if self.text(pointer) != expected || (expected.is_none() && self.receipt.pointer(pointer).is_some()) {
            return Err(differs(pointer));
        }
        self.compared.insert(pointer.to_owned());
        Ok(())
    }

    /// Requires that each of these fields has the expected value if a node states it. Notes the fields that a
    /// node leaves out.
    fn agree(&mut self, pointer: &str, expected: &Value) -> Result<(), ReceiptError> {
        let Some(found) = self.receipt.pointer(pointer) else {
            if !expected.is_null() {
                self.missing.insert(format!("{}, which is missing", path_of(pointer)));
            }
            return Ok(());
        };
        match (found, expected) {
            (Value::Object(_), Value::Object(fields)) => {
                fields.iter().try_for_each(|(name, field)| self.agree(&below(pointer, name), field))
            }
            (Value::Array(items), Value::Array(all)) if items.len() == all.len() => {
                all.iter().enumerate().try_for_each(|(at, item)| self.agree(&format!("{pointer}/{at}"), item))
            }
            _ if found == expected => {
                self.compared.insert(pointer.to_owned());
                Ok(())
            }
            _ => Err(differs(pointer)),
        }
    }

    fn ids(&mut self, logged: &Logged) -> Result<(), ReceiptError> {
        let (id, receipt_id) = (&logged.id, format!("receipt-{}", logged.id));
        self.require(&format!("{RECORD}/dct:identifier"), Some(id))?;
        let person = format!("{RECORD}/dpv:hasDataSubject");
        self.require(&format!("{person}/dct:identifier"), Some(&logged.pseudonym))?;
        let expected = json!({
            "@id": format!("urn:uuid:{id}#receipt"),
            "@type": "dpv:ConsentReceipt",
            "dct:identifier": receipt_id,
            "dpv:hasIdentifier": receipt_id,
            "schema:recipient": { "@id": PERSON },
            "dpv:hasRecordOfActivity": {
                "@id": format!("urn:uuid:{id}"),
                "@type": "dpv:ConsentRecord",
                "dpv:hasIdentifier": id,
                "dpv:hasDataSubject": { "@id": PERSON, "@type": "dpv:DataSubject" },
            },
        });
        self.agree("", &expected)
    }

    fn notice(&mut self, logged: &Logged) -> Result<(), ReceiptError> {
        let served = logged.terms.notice.as_ref();
        let digest = served.map(|served| hex::encode(&served.digest));
        self.require(&format!("{RECORD}/dpv:hasNotice/schema:sha256"), digest.as_deref())?;
        let Some(expected) = notice(&logged.terms) else {
            return match self.receipt.pointer(&format!("{RECORD}/dpv:hasNotice")) {
                Some(_) => Err(differs(&format!("{RECORD}/dpv:hasNotice"))),
                None => Ok(()),
            };
        };
        let language = expected.get("dct:language").cloned().unwrap_or_default();
        self.agree(&format!("{RECORD}/dct:language"), &language)?;
        self.agree(&format!("{RECORD}/dpv:hasNotice"), &expected)
    }

    /// Each process has one purpose of the decision, and all of its categories and recipients.
    fn processes(&mut self, terms: &Terms) -> Result<(), ReceiptError> {
        let pointer = format!("{RECORD}/dpv:hasProcess");
        let processes = self.items(&pointer);
        if processes.len() != terms.purposes.len().max(1) {
            return Err(differs(&pointer));
        }
        for (number, (process, _)) in processes.iter().enumerate() {
            let purpose: &[String] = terms.purposes.get(number).map_or(&[], std::slice::from_ref);
            self.names(&format!("{process}/dpv:hasPurpose"), purpose)?;
            self.names(&format!("{process}/dpv:hasPersonalData"), &terms.categories)?;
            self.names(&format!("{process}/dpv:hasRecipient"), &terms.recipients)?;
            self.conversations(&format!("{process}/dpv:hasScope"), &terms.interactions)?;
            for (at, name) in terms.recipients.iter().enumerate() {
                self.agree(&format!("{process}/dpv:hasRecipient/{at}/dpv:hasName"), &json!(name))?;
            }
        }
        Ok(())
    }

    /// Requires that a process names the conversations of the decision. Receipts of early daemons name none.
    fn conversations(&mut self, pointer: &str, names: &[String]) -> Result<(), ReceiptError> {
        match (self.receipt.pointer(pointer), names) {
            (None, names) => {
                if !names.is_empty() {
                    let problem = "which is missing: the decision is limited to conversations";
                    self.missing.insert(format!("dpv:hasScope, {problem}"));
                }
                Ok(())
            }
            (Some(_), []) => Err(differs(pointer)),
            (Some(_), names) => self.names(pointer, names),
        }
    }

    /// Requires that nodes have these identifiers, in order. Without names, there is one node for all, which
    /// has no identifier.
    fn names(&mut self, pointer: &str, names: &[String]) -> Result<(), ReceiptError> {
        let items = self.items(pointer);
        if items.len() != names.len().max(1) {
            return Err(differs(pointer));
        }
        for (number, (item, _)) in items.iter().enumerate() {
            let name = names.get(number).map(String::as_str);
            self.require(&format!("{item}/dct:identifier"), name)?;
        }
        Ok(())
    }

    /// Compares the status of the decision itself. Returns its pointer.
    fn status(&mut self, logged: &Logged) -> Result<String, ReceiptError> {
        let statuses = format!("{RECORD}/dpv:hasConsentStatus");
        let is_own =
            |status: &Value| status.get("dct:identifier").and_then(Value::as_str) == Some(&logged.id);
        // A second status of the same decision could say anything else about it.
        let mut items = self.items(&statuses).into_iter().filter(|(_, status)| is_own(status));
        let (Some((own, _)), None) = (items.next(), items.next()) else { return Err(differs(&statuses)) };
        let terms = &logged.terms;
        let is_yes = logged.decision.is_yes();
        let until = terms.until_ms.filter(|_| is_yes).map(wording::time);
        self.require(&format!("{own}/dct:identifier"), Some(&logged.id))?;
        self.require(&format!("{own}/dpv:isIndicatedAtTime/@value"), Some(&wording::time(logged.about_ms)))?;
        self.require(&format!("{own}/dpv:hasDuration/rdf:value/@value"), until.as_deref())?;
        let types: Vec<&str> = match is_yes {
            true => vec![logged.status(), consent_type(terms)],
            false => vec![logged.status()],
        };
        if self.receipt.pointer(&format!("{own}/@type")) != Some(&json!(types)) {
            return Err(differs(&format!("{own}/@type")));
        }
        let channel = if terms.channel.is_empty() { "not stated" } else { &terms.channel };
        let mut expected = json!({
            "@type": types,
            "dpv:isIndicatedAtTime": date_time(logged.about_ms),
            "dpv:isIndicatedBy": decided_by(terms),
            "dpv:hasIndicationMethod": channel,
            "dct:subject": terms.purposes,
            "dpv:isImplementedByEntity": brought_by(&logged.actor),
        });
        if let (Some(notice), Some(fields)) = (notice(terms), expected.as_object_mut()) {
            fields.insert("dpv:hasNotice".to_owned(), notice);
        }
        self.agree(&own, &expected)?;
        Ok(own)
    }

    /// The properties of the provenance. The caller has verified the proof, the event key and the signature.
    fn provenance(&mut self, logged: &Logged, keys: &KeyChain) -> Result<(), ReceiptError> {
        for (property, _) in self.items(PROPERTIES) {
            let value = format!("{property}/schema:value");
            let is_checked = match self.text(&format!("{property}/schema:propertyID")) {
                Some("position") => {
                    self.require(&value, Some(&logged.position.to_string()))?;
                    true
                }
                Some("verifier-key") => {
                    let key = self.text(&value).and_then(|key| key.parse::<VerifierKey>().ok());
                    key.ok_or_else(|| differs(&value)).map(|key| keys.has(&key))?
                }
                _ => true,
            };
            if is_checked {
                self.compared.extend([value, format!("{property}/schema:propertyID")]);
            }
        }
        Ok(())
    }

    /// Collects the paths of the fields that were not compared, below a value at `pointer`. `own` is the
    /// pointer of the decision's own status. The other statuses are about other entries of the log.
    fn collect(&self, value: &Value, pointer: &str, path: &str, own: &str, left: &mut BTreeSet<String>) {
        let children: Vec<(String, String, &Value)> = match value {
            _ if !self.has_compared(pointer, value) => {
                let is_other = pointer.starts_with(own.trim_end_matches(|c: char| c.is_ascii_digit()));
                let is_status = path.ends_with("dpv:hasConsentStatus");
                let of_others = if is_other && is_status { " of other decisions and requests" } else { "" };
                left.insert(format!("{path}{of_others}"));
                return;
            }
            Value::Object(fields) => {
                let child = |(name, value): (&String, _)| {
                    let separator = if path.is_empty() { "" } else { "/" };
                    (below(pointer, name), format!("{path}{separator}{name}"), value)
                };
                fields.iter().map(|(name, value)| child((name, value))).collect()
            }
            Value::Array(items) => {
                let child = |(at, value)| (format!("{pointer}/{at}"), path.to_owned(), value);
                items.iter().enumerate().map(child).collect()
            }
            _ => return,
        };
        for (pointer, path, value) in children {
            self.collect(value, &pointer, &path, own, left);
        }
    }

    /// Whether this field, or a field below it, was compared.
    fn has_compared(&self, pointer: &str, value: &Value) -> bool {
        let inside = format!("{pointer}/");
        // What is not there can be compared too, but that says nothing about a text in its place.
        let has_fields = matches!(value, Value::Object(_) | Value::Array(_));
        let mut below = self.compared.range(inside.clone()..);
        self.compared.contains(pointer)
            || (has_fields && below.next().is_some_and(|first| first.starts_with(&inside)))
    }
}

/// The pointer of a member of an object.
fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The path of a field, without the indexes of arrays.
fn path_of(pointer: &str) -> String {
    let names =
        pointer.split('/').filter(|name| !name.is_empty() && !name.bytes().all(|b| b.is_ascii_digit()));
    names.collect::<Vec<_>>().join("/")
}

/// The error for a field.
fn differs(pointer: &str) -> ReceiptError {
    ReceiptError::Differs(path_of(pointer))
}
