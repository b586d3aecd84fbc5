//! Consent receipts: JSON-LD documents with the fields of ISO/IEC TS 27560:2023. The W3C guide "Consent
//! Records and Receipts as per ISO/IEC TS 27560:2023 using DPV" (2024-08-01,
//! `https://w3id.org/dpv/guides/consent-27560`) says which term represents each field.
//! `docs/access-package.md` lists the fields and their terms.
//!
//! The terms for the fields come from the Data Privacy Vocabulary (DPV) 2 and its extensions PD, LOC, EU and
//! EU-GDPR. Each was looked up in release 2.3. What Sayso adds, such as the proof, is stated with terms of
//! Dublin Core and schema.org. Sayso defines no terms of its own. A receipt contains its JSON-LD context, so
//! software can expand the receipt without a network.

use super::controller::Controller;
use super::receipt_nodes::{
    CONTROLLER, PERSON, brought_by, consent_type, conversations, date_time, decided_by, iri, notice,
};
use super::signed_receipt::property;
use crate::domain::consent::Decision;
use crate::domain::consent::{ConsentRecord, Terms};
use crate::domain::event::Actor;
use crate::domain::ids::EventId;
use crate::domain::vocabulary::Vocabulary;
use serde_json::{Value, json};

/// The most status changes of a consent record that a receipt contains. If there are more, the receipt
/// contains the newest changes, and always the decision that it is for.
const EVENTS_MAX: usize = 64;

/// A request for the person's consent.
#[derive(Clone, Debug)]
pub struct ConsentRequest {
    /// The event that recorded it.
    pub event_id: EventId,
    /// When the ledger recorded it, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// When the person was asked, as the writer stated it, milliseconds since the Unix epoch.
    pub about_ms: u64,
    /// What consent was requested for.
    pub terms: Terms,
    /// Who asked.
    pub actor: Actor,
}

/// What makes a receipt verifiable without trust in the ledger.
#[derive(Clone, Debug)]
pub struct ReceiptProof {
    /// The log's verifier key in C2SP form.
    pub verifier_key: String,
    /// Position of the decision's event in the log.
    pub position: u64,
    /// The `c2sp.org/tlog-proof` text of that event.
    pub tlog_proof: String,
    /// The key of this one event, in hex: it decrypts that event and nothing else.
    pub event_key: String,
}

/// The contents of a receipt.
#[derive(Clone, Copy, Debug)]
pub struct Receipt<'a> {
    /// The controller.
    pub controller: &'a Controller,
    /// The ledger's pseudonym of the person, in hex.
    pub pseudonym: &'a str,
    /// The decision that the receipt is for.
    pub record: &'a ConsentRecord,
    /// Every decision of the person.
    pub decisions: &'a [ConsentRecord],
    /// Every request for the person's consent.
    pub requests: &'a [ConsentRequest],
    /// The vocabulary that the decision was made in.
    pub vocabulary: &'a Vocabulary,
    /// When the receipt is made, milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The proof that the decision is in the log.
    pub proof: &'a ReceiptProof,
}

/// A request or a decision, as a status of the consent record.
struct StatusChange<'a> {
    event_id: EventId,
    /// When it happened, as the writer stated it in the signed event, milliseconds since the Unix epoch.
    at_ms: u64,
    order: (u64, EventId),
    status: &'static str,
    terms: &'a Terms,
    actor: &'a Actor,
    by_person: bool,
}

fn context() -> Value {
    json!({
        "dpv": "https://w3id.org/dpv#",
        "pd": "https://w3id.org/dpv/pd#",
        "loc": "https://w3id.org/dpv/loc#",
        "legal-eu": "https://w3id.org/dpv/legal/eu#",
        "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
        "dct": "http://purl.org/dc/terms/",
        "schema": "https://schema.org/",
        "skos": "http://www.w3.org/2004/02/skos/core#",
        "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "xsd": "http://www.w3.org/2001/XMLSchema#"
    })
}

/// Whether a text that a steward wrote is an absolute IRI. A JSON-LD processor would drop anything else, or
/// resolve it against some base.
fn is_iri(text: &str) -> bool {
    let absolute = ["https://", "http://", "urn:"].iter().any(|scheme| text.starts_with(scheme));
    absolute && !text.chars().any(|c| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c))
}

impl Receipt<'_> {
    /// The receipt as a JSON-LD document, not signed yet.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let id = format!("urn:uuid:{}", self.record.event_id);
        json!({
            "@context": context(),
            "@id": format!("{id}#receipt"),
            "@type": "dpv:ConsentReceipt",
            "dct:conformsTo": iri("https://w3id.org/dpv/schema/dpv-27560#receipt"),
            "dct:identifier": format!("receipt-{}", self.record.event_id),
            "dpv:hasIdentifier": format!("receipt-{}", self.record.event_id),
            "dct:created": date_time(self.now_ms),
            "dct:publisher": iri(CONTROLLER),
            "schema:recipient": iri(PERSON),
            "dpv:hasRecordOfActivity": self.record_json(&id),
            "dct:provenance": self.provenance(),
        })
    }

    fn record_json(&self, id: &str) -> Value {
        let jurisdiction = format!("loc:{}", self.controller.jurisdiction);
        let mut record = json!({
            "@id": id,
            "@type": "dpv:ConsentRecord",
            "dct:conformsTo": iri("https://w3id.org/dpv/schema/dpv-27560#record"),
            "dct:identifier": self.record.event_id.to_string(),
            "dpv:hasIdentifier": self.record.event_id.to_string(),
            "dct:created": date_time(self.record.recorded_at_ms),
            "dpv:hasDataSubject": {
                "@id": PERSON,
                "@type": "dpv:DataSubject",
                "dct:identifier": self.pseudonym,
            },
            "dpv:hasDataController": self.controller_json(),
            "dpv:hasJurisdiction": iri(&jurisdiction),
            "dpv:hasProcess": self.processes(),
            "dpv:hasConsentControl": self.control(),
            "dpv:hasConsentStatus": self.statuses(),
        });
        let mut set = |name: &str, value: Value| {
            if let Some(fields) = record.as_object_mut() {
                fields.insert(name.to_owned(), value);
            }
        };
        if self.is_under_gdpr() {
            set("dpv:hasApplicableLaw", iri("legal-eu:law-GDPR"));
        }
        set("dpv:hasRight", self.rights());
        if let Some(notice) = notice(&self.record.terms) {
            set("dct:language", notice.get("dct:language").cloned().unwrap_or_default());
            set("dpv:hasNotice", notice);
        }
        record
    }

    fn is_under_gdpr(&self) -> bool {
        const MEMBERS: [&str; 32] = [
            "EU", "EEA", "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU",
            "IE", "IS", "IT", "LI", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
        ];
        MEMBERS.contains(&self.controller.jurisdiction.as_str())
    }

    fn controller_json(&self) -> Value {
        let of = self.controller;
        let stated = |text: &str| if text.is_empty() { "not stated".to_owned() } else { text.to_owned() };
        let mut contact = json!({
            "@type": "schema:ContactPoint",
            "schema:contactType": "privacy",
            "schema:description": stated(&of.contact),
        });
        if of.contact.contains('@')
            && let Some(fields) = contact.as_object_mut()
        {
            fields.insert("schema:email".into(), of.contact.clone().into());
        }
        let mut party = json!({
            "@id": CONTROLLER,
            "@type": "dpv:DataController",
            "dpv:hasIdentifier": of.id,
            "dct:identifier": of.id,
            "dpv:hasName": if of.name.is_empty() { &of.id } else { &of.name },
            "dpv:hasContact": stated(&of.contact),
            "dpv:hasAddress": stated(&of.address),
            "schema:contactPoint": contact,
            "schema:address": { "@type": "schema:PostalAddress", "schema:streetAddress": stated(&of.address) },
        });
        if is_iri(&of.url)
            && let Some(fields) = party.as_object_mut()
        {
            fields.insert("schema:url".into(), iri(&of.url));
        }
        party
    }

    /// One process for each purpose, with the categories and recipients of the decision.
    fn processes(&self) -> Value {
        let terms = &self.record.terms;
        let purposes: Vec<Value> = if terms.purposes.is_empty() {
            vec![json!({ "@type": "dpv:Purpose", "dct:title": "every purpose" })]
        } else {
            terms.purposes.iter().map(|id| self.purpose(id)).collect()
        };
        let process = |purpose: Value| {
            let mut process = json!({
                "@type": "dpv:Process",
                "dpv:hasPurpose": purpose,
                "dpv:hasPersonalData": self.personal_data(),
                "dpv:hasDataController": iri(CONTROLLER),
                "dpv:hasRecipient": self.recipients(),
                "dpv:hasStorageCondition": self.storage(),
                "dpv:hasProcessing": [iri("dpv:Store"), iri("dpv:Use")],
            });
            if let Some(fields) = process.as_object_mut() {
                fields.insert("dpv:hasLegalBasis".into(), self.legal_basis());
                fields.extend(conversations(terms).map(|scope| ("dpv:hasScope".to_owned(), scope)));
            }
            process
        };
        purposes.into_iter().map(process).collect()
    }

    fn purpose(&self, id: &str) -> Value {
        let defined = self.vocabulary.purposes().find(|purpose| purpose.id == id);
        let title = defined.map_or(id, |purpose| purpose.title.as_str());
        let broader = defined.map_or("", |purpose| purpose.iri.as_str());
        node("dpv:Purpose", id, title, broader)
    }

    /// Special categories are marked as such (GDPR Art. 9).
    fn personal_data(&self) -> Value {
        let terms = &self.record.terms;
        if terms.categories.is_empty() {
            let all = match self.record.decision.is_yes() {
                true => "every category except special ones (GDPR Art. 9)",
                false => "every category",
            };
            return json!([{ "@type": "dpv:PersonalData", "dct:title": all }]);
        }
        let category = |id: &String| {
            let defined = self.vocabulary.categories().find(|category| category.id == *id);
            let title = defined.map_or(id.as_str(), |category| category.title.as_str());
            let broader = defined.map_or("", |category| category.iri.as_str());
            let kind = match self.vocabulary.is_special(id) {
                true => "dpv:SpecialCategoryPersonalData",
                false => "dpv:PersonalData",
            };
            node(kind, id, title, broader)
        };
        terms.categories.iter().map(category).collect()
    }

    fn recipients(&self) -> Value {
        let recipient =
            |name: &str| json!({ "@type": "dpv:Recipient", "dct:identifier": name, "dpv:hasName": name });
        match self.record.terms.recipients.as_slice() {
            [] => json!([{
                "@type": "dpv:Recipient",
                "dct:title": "every service that the controller admits; the access package names each one that \
                              received data",
            }]),
            names => names.iter().map(|name| recipient(name)).collect(),
        }
    }

    fn storage(&self) -> Value {
        let places: Vec<Value> = match self.controller.storage_locations.as_slice() {
            [] => vec![json!({ "@type": "dpv:Location", "dct:title": "not stated" })],
            codes => codes.iter().map(|code| iri(&format!("loc:{code}"))).collect(),
        };
        json!([
            { "@type": "dpv:StorageLocation", "dpv:hasLocation": places },
            { "@type": "dpv:StorageDuration", "dpv:hasDuration": {
                "@type": "dpv:UntilEventDuration",
                "rdf:value": "each attribute until it expires, the person or the controller removes it, or it is erased",
            }},
        ])
    }

    fn legal_basis(&self) -> Value {
        let terms = &self.record.terms;
        let special = terms.categories.iter().any(|id| self.vocabulary.is_special(id));
        let mut bases = vec![iri(consent_type(terms))];
        if self.is_under_gdpr() {
            bases.push(iri("eu-gdpr:A6-1-a"));
            if special && terms.explicit {
                bases.push(iri("eu-gdpr:A9-2-a"));
            }
        }
        bases.into()
    }

    fn control(&self) -> Value {
        let mut control = json!({
            "@type": ["dpv:ProvideConsent", "dpv:WithdrawConsent", "dpv:ReaffirmConsent"],
            "dct:description": "A consent can be withdrawn as easily as it was given, at any time, with immediate \
                                effect, by telling the service or the controller.",
        });
        self.exercised(&mut control);
        control
    }

    fn exercised(&self, node: &mut Value) {
        let url = &self.controller.rights_url;
        if is_iri(url)
            && let Some(fields) = node.as_object_mut()
        {
            fields.insert("dpv:isExercisedAt".into(), iri(url));
        }
    }

    fn rights(&self) -> Value {
        const RIGHTS: [(&str, &str); 8] = [
            ("eu-gdpr:A7-3", "Right to withdraw consent"),
            ("eu-gdpr:A15", "Right of access"),
            ("eu-gdpr:A16", "Right to rectification"),
            ("eu-gdpr:A17", "Right to erasure"),
            ("eu-gdpr:A18", "Right to restriction"),
            ("eu-gdpr:A20", "Right to data portability"),
            ("eu-gdpr:A21", "Right to object"),
            ("eu-gdpr:A77", "Right to complain to a supervisory authority"),
        ];
        let right = |(term, title): (&str, &str)| {
            let types = match self.is_under_gdpr() {
                true => json!(["dpv:DataSubjectRight", term]),
                false => json!("dpv:DataSubjectRight"),
            };
            let mut right = json!({ "@type": types, "dct:title": title });
            self.exercised(&mut right);
            right
        };
        RIGHTS.map(right).to_vec().into()
    }

    /// The history of the consent record, oldest first. It has the requests and decisions that name a purpose
    /// of this decision, or a purpose above or below one. Terms without purposes concern all purposes.
    fn statuses(&self) -> Value {
        let own = &self.record.terms.purposes;
        let related = |terms: &Terms| {
            let touches = |id: &String| {
                let ancestry = self.vocabulary.purpose_ancestry(id);
                own.iter().any(|mine| {
                    ancestry.contains(&mine.as_str())
                        || self.vocabulary.purpose_ancestry(mine).contains(&id.as_str())
                })
            };
            own.is_empty() || terms.purposes.is_empty() || terms.purposes.iter().any(touches)
        };
        let decided =
            self.decisions.iter().filter(|record| related(&record.terms)).map(|record| StatusChange {
                event_id: record.event_id,
                at_ms: record.about_ms,
                order: (record.recorded_at_ms, record.event_id),
                status: match record.decision {
                    Decision::Given => "dpv:ConsentGiven",
                    Decision::Refused => "dpv:ConsentRefused",
                    Decision::Renewed => "dpv:RenewedConsentGiven",
                    Decision::Withdrawn => "dpv:ConsentWithdrawn",
                },
                terms: &record.terms,
                actor: &record.actor,
                by_person: true,
            });
        let requested = self.requests.iter().filter(|of| related(&of.terms)).map(|of| StatusChange {
            event_id: of.event_id,
            at_ms: of.about_ms,
            order: (of.recorded_at_ms, of.event_id),
            status: "dpv:ConsentRequested",
            terms: &of.terms,
            actor: &of.actor,
            by_person: false,
        });
        let mut changes: Vec<StatusChange<'_>> = decided.chain(requested).collect();
        changes.sort_by_key(|change| change.order);
        let newest = changes.len().saturating_sub(EVENTS_MAX);
        let kept = changes.iter().enumerate();
        let kept = kept.filter(|(number, of)| *number >= newest || of.event_id == self.record.event_id);
        let mut statuses: Vec<Value> = kept.map(|(_, of)| self.status(of)).collect();
        let until_ms = self.record.terms.until_ms.filter(|until| *until <= self.now_ms);
        if let Some(until_ms) = until_ms.filter(|_| self.record.decision.is_yes()) {
            statuses.push(json!({
                "@type": "dpv:ConsentExpired",
                "dpv:isIndicatedAtTime": date_time(until_ms),
                "dpv:isIndicatedBy": iri(CONTROLLER),
                "dpv:hasDuration": endless("until consent is renewed"),
            }));
        }
        statuses.into()
    }

    fn status(&self, of: &StatusChange<'_>) -> Value {
        let is_yes = matches!(of.status, "dpv:ConsentGiven" | "dpv:RenewedConsentGiven");
        let types = match is_yes {
            true => json!([of.status, consent_type(of.terms)]),
            false => json!([of.status]),
        };
        let duration = match of.terms.until_ms {
            Some(until_ms) if is_yes => {
                json!({ "@type": "dpv:UntilTimeDuration", "rdf:value": date_time(until_ms) })
            }
            _ if is_yes => endless("until consent is withdrawn"),
            _ if of.by_person => endless("until the person consents again"),
            _ => endless("until the person answers"),
        };
        let channel = if of.terms.channel.is_empty() { "not stated" } else { &of.terms.channel };
        let purposes: Vec<&str> = of.terms.purposes.iter().map(String::as_str).collect();
        let mut status = json!({
            "@type": types,
            "dct:identifier": of.event_id.to_string(),
            "dpv:isIndicatedAtTime": date_time(of.at_ms),
            "dpv:isIndicatedBy": if of.by_person { decided_by(of.terms) } else { iri(CONTROLLER) },
            "dpv:hasIndicationMethod": channel,
            "dpv:hasDuration": duration,
            "dct:subject": purposes,
            "dpv:isImplementedByEntity": brought_by(of.actor),
        });
        if let Some(notice) = notice(of.terms)
            && let Some(fields) = status.as_object_mut()
        {
            fields.insert("dpv:hasNotice".into(), notice);
        }
        status
    }

    fn provenance(&self) -> Value {
        let proof = self.proof;
        json!({
            "@type": "dct:ProvenanceStatement",
            "dct:description": "The decision is recorded in an append-only log. `tlog-proof` (c2sp.org/tlog-proof) proves \
                                that the signed entry is in the log; `event-key` decrypts that entry and nothing else. \
                                `sayso verify` checks both, and this receipt against them. `signature` signs the whole \
                                receipt with the log's key. Take the verifier key from a source that you trust.",
            "schema:additionalProperty": [
                property("verifier-key", &proof.verifier_key),
                property("position", &proof.position.to_string()),
                property("tlog-proof", &proof.tlog_proof),
                property("event-key", &proof.event_key),
            ],
        })
    }
}

fn endless(until: &str) -> Value {
    json!({ "@type": "dpv:UntilEventDuration", "rdf:value": until })
}

fn node(kind: &str, id: &str, title: &str, broader: &str) -> Value {
    let mut node = json!({ "@type": kind, "dct:identifier": id, "dct:title": title });
    if is_iri(broader)
        && let Some(fields) = node.as_object_mut()
    {
        fields.insert("skos:broader".into(), iri(broader));
    }
    node
}
