//! An operator forges consent receipts, packages and erasure certificates: every claim in them is changed
//! one at a time, and the document is signed again with the log's own key. `sayso verify` detects the
//! change, or lists the claim as one that was not compared with the log. `SAYSO_FORGERIES=n` tries up to
//! 20 × n changes of each receipt and of each member of a package; by default, a fixed number. All changes
//! of certificates are tried.

use crate::erasure::{erasure, hold, record, record_ada};
use crate::harness::{self, Harness, fact};
use crate::package::{Unpacked, export, record_history};
use ed25519_dalek::SigningKey;
use sayso::package::{Zip, sign_receipt, verify_package, verify_receipt};
use sayso::proto::{self, ConsentDecision, ErasureScope, PackageKind, Role};
use sayso_proof::certificate::{self, Statement};
use sayso_proof::checkpoint::{VerifierKey, sign_note};
use sayso_proof::keys::KeyChain;
use sayso_proof::proof::TlogProof;
use sayso_proof::signed_document::{DocumentKind, DocumentStatement};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};

/// The operator of the log, who has its key.
struct Operator {
    key: SigningKey,
    origin: String,
    keys: KeyChain,
}

impl Operator {
    fn of(harness: &Harness) -> Self {
        let seed = std::fs::read(harness.dir.path().join("secrets/log.key")).unwrap();
        let key: VerifierKey = harness.daemon.vkey.parse().unwrap();
        let origin = key.name.clone();
        Self { key: SigningKey::from_bytes(&seed.try_into().unwrap()), origin, keys: KeyChain::from(&key) }
    }

    fn note(&self, kind: DocumentKind, tree_size: u64, digest: [u8; 32]) -> String {
        let statement = DocumentStatement { kind, origin: &self.origin, tree_size, digest };
        sign_note(&statement.to_text(), &self.origin, &self.key)
    }

    /// The receipt with a new signature.
    fn receipt(&self, receipt: &Value) -> Value {
        let mut receipt = receipt.clone();
        let signed = receipt.pointer_mut(PROPERTIES).and_then(Value::as_array_mut);
        if let Some(properties) = signed {
            properties.retain(|property| property["schema:propertyID"] != "signature");
        }
        sign_receipt(receipt.clone(), |digest| self.note(DocumentKind::Receipt, 1_000, digest))
            .unwrap_or(receipt)
    }

    /// A package of these members with a new manifest.
    fn package(&self, members: &[Member]) -> Vec<u8> {
        let mut zip = Zip::new(Vec::new(), 0);
        for (name, text) in members {
            zip.begin(name).unwrap().write_all(text.as_bytes()).unwrap();
        }
        zip.sign(&self.origin, |digest| self.note(DocumentKind::Package, 1_000, digest)).unwrap();
        zip.finish().unwrap()
    }

    /// A certificate with a new note.
    fn certificate(&self, statement: &Value, proof: &str) -> String {
        let text = match serde_json::from_value::<Statement>(statement.clone()) {
            Ok(statement) => statement.to_text().unwrap(),
            Err(_) => format!("{}\n{statement}\n", certificate::FIRST_LINE),
        };
        certificate::document(&sign_note(&text, &self.origin, &self.key), proof)
    }
}

const PROPERTIES: &str = "/dct:provenance/schema:additionalProperty";

/// The name and the text of a member of a package.
type Member = (String, String);

/// One claim of a document that was changed.
struct Change {
    /// What was done.
    what: String,
    /// The path of the claim, without the indexes of arrays.
    path: String,
    document: Value,
}

impl Change {
    /// Whether it leaves out a claim that the honest document only states: that claims nothing else.
    fn leaves_out(&self, stated: &[String]) -> bool {
        self.what.contains(": without ") && names(stated, &self.path)
    }
}

/// Every way to change one claim of a document: each string, number and boolean, each order and each member.
fn changes(document: &Value) -> Vec<Change> {
    let mut all = Vec::new();
    each_claim(document, "", "", &mut |pointer, path, value| {
        for (what, name, changed) in others(value) {
            let path = [path, name.as_str()].into_iter().filter(|part| !part.is_empty());
            let path = path.collect::<Vec<_>>().join("/");
            let mut document = document.clone();
            *document.pointer_mut(pointer).unwrap() = changed;
            all.push(Change { what: format!("{pointer}: {what}"), path, document });
        }
    });
    all
}

fn each_claim(value: &Value, pointer: &str, path: &str, each: &mut impl FnMut(&str, &str, &Value)) {
    each(pointer, path, value);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                each_claim(member, &format!("{pointer}/{escaped}"), &path, each);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                each_claim(item, &format!("{pointer}/{at}"), path, each);
            }
        }
        _ => {}
    }
}

/// Other values in the place of one: what was done, the name of the member that was changed, and the value.
fn others(value: &Value) -> Vec<(String, String, Value)> {
    let whole = |what: &str, value: Value| (what.to_owned(), String::new(), value);
    match value {
        Value::String(text) => {
            let mut digits = text.clone();
            if let Some(at) = text.rfind(|c: char| c.is_ascii_digit()) {
                let other = if text.as_bytes()[at] == b'1' { "2" } else { "1" };
                digits.replace_range(at..=at, other);
            }
            let all = [
                whole("longer", json!(format!("{text}x"))),
                whole("empty", json!("")),
                whole("another number", json!(digits)),
                whole("a list", json!([text])),
                whole("null", Value::Null),
            ];
            all.into_iter().filter(|(_, _, other)| other != value).collect()
        }
        Value::Bool(is) => vec![whole("negated", json!(!*is))],
        Value::Number(number) => match number.as_u64() {
            Some(number) => vec![
                whole("larger", json!(number + 1)),
                whole("much larger", json!(number + 1_000_000)),
                whole("smaller", json!(number.saturating_sub(1))),
                whole("zero", json!(0)),
            ]
            .into_iter()
            .filter(|(_, _, other)| other != value)
            .collect(),
            None => vec![whole("larger", json!(number.as_f64().unwrap() + 1.0))],
        },
        Value::Array(items) => {
            let mut all = vec![whole("no elements", json!([]))];
            let (mut fewer, mut twice, mut reversed) = (items.clone(), items.clone(), items.clone());
            fewer.pop();
            twice.extend(items.first().cloned());
            reversed.reverse();
            all.extend([
                whole("fewer", json!(fewer)),
                whole("twice", json!(twice)),
                whole("reversed", json!(reversed)),
            ]);
            all.into_iter().filter(|(_, _, other)| other != value).collect()
        }
        Value::Object(members) => {
            let mut all: Vec<_> = members
                .keys()
                .map(|name| {
                    let mut fewer = members.clone();
                    fewer.remove(name);
                    (format!("without {name}"), name.clone(), json!(fewer))
                })
                .collect();
            let mut more = members.clone();
            more.insert("schema:name".into(), json!("other"));
            all.push(("with another member".into(), "schema:name".into(), json!(more)));
            all
        }
        Value::Null => vec![whole("a text", json!("x"))],
    }
}

/// Whether a list of what was not compared names the claim, or what it is a part of.
fn names(list: &[String], path: &str) -> bool {
    list.iter().any(|named| {
        let named = named.split(", which is missing").next().unwrap();
        let named = named.split(" of other ").next().unwrap();
        path == named || path.starts_with(&format!("{named}/"))
    })
}

/// As many of these as SAYSO_FORGERIES says, spread evenly.
fn sample<T>(all: Vec<T>, usual: usize) -> impl Iterator<Item = T> {
    let number = std::env::var("SAYSO_FORGERIES").ok().map(|number| number.parse::<usize>().unwrap() * 20);
    let step = all.len().div_ceil(number.unwrap_or(usual)).max(1);
    all.into_iter().step_by(step)
}

/// The members of a package that the log signed, without the manifest.
fn members_of(harness: &Harness, bytes: &[u8], folder: &str) -> Vec<Member> {
    let package = Unpacked::of(bytes, &harness.dir.path().join(folder));
    let manifest: Value = serde_json::from_str(&package.text("manifest.json")).unwrap();
    let files = manifest["files"].as_array().unwrap().iter();
    files
        .map(|file| file["name"].as_str().unwrap().to_owned())
        .map(|name| (name.clone(), package.text(&name)))
        .collect()
}

async fn package_of(harness: &Harness, subject: &str, kind: PackageKind) -> Vec<Member> {
    let mut person = harness.as_role(Role::Subject, subject).await;
    let bytes = export(&mut person, "", kind).await.unwrap();
    members_of(harness, &bytes, &format!("{subject}-{kind:?}"))
}

/// A history of ada, and a consent by a guardian in one conversation.
async fn record_everything(harness: &Harness) {
    record_history(harness).await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let mut yes = harness::choice(ConsentDecision::Given, "tone-adaptation", &["preference"], false);
    yes.interactions = vec!["talk-1".into(), "talk-2".into()];
    let mut no = harness::choice(ConsentDecision::Refused, "analytics", &[], false);
    no.recipients = vec!["lab".into(), "shop".into()];
    let request = proto::RecordConsentRequest { guardian: true, ..harness::consent("ada", vec![yes, no]) };
    steward.consent.record_consent(request).await.unwrap();
}

fn receipts(members: &[Member]) -> Vec<Value> {
    let receipts = members.iter().filter(|(name, _)| name.starts_with("receipts/"));
    receipts.map(|(_, text)| serde_json::from_str(text).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_changed_claim_of_a_receipt_is_detected_or_listed_even_if_the_log_signed_it() {
    let harness = Harness::start().await;
    record_everything(&harness).await;
    let operator = Operator::of(&harness);
    let receipts = receipts(&package_of(&harness, "ada", PackageKind::Portability).await);
    assert_eq!(receipts.len(), 6);
    let (mut missed, mut detected, mut tried) = (Vec::new(), 0, 0);
    for receipt in &receipts {
        let honest = verify_receipt(&operator.receipt(receipt).to_string(), &operator.keys).unwrap();
        assert!(honest.is_signed);
        for change in sample(changes(receipt), 150) {
            tried += 1;
            let forged = operator.receipt(&change.document);
            match verify_receipt(&forged.to_string(), &operator.keys) {
                Err(_) => detected += 1,
                Ok(_) if is_same_receipt(&forged, &operator.receipt(receipt)) => {}
                Ok(_) if change.leaves_out(&honest.not_compared) => {}
                Ok(verified) if names(&verified.not_compared, &change.path) => {}
                Ok(verified) => missed.push(format!("{}: {:?}", change.what, verified.not_compared)),
            }
        }
        // A property of another receipt in its place: its proof, key, position or the whole provenance.
        for other in receipts.iter().filter(|other| *other != receipt) {
            let mut swapped = receipt.clone();
            swapped["dct:provenance"] = other["dct:provenance"].clone();
            assert!(verify_receipt(&operator.receipt(&swapped).to_string(), &operator.keys).is_err());
        }
    }
    assert!(missed.is_empty(), "{} of {tried}:\n{}", missed.len(), missed.join("\n"));
    assert!(detected * 6 > tried, "{detected} of {tried}");
}

/// Whether two receipts have the same claims. The properties of the provenance have no order, and the new
/// signature has the place of a signature that was changed.
fn is_same_receipt(one: &Value, other: &Value) -> bool {
    let in_order = |receipt: &Value| {
        let mut receipt = receipt.clone();
        if let Some(properties) = receipt.pointer_mut(PROPERTIES).and_then(Value::as_array_mut) {
            properties.retain(|property| property["schema:propertyID"] != "signature");
            properties.sort_by_key(|property| property["schema:propertyID"].to_string());
        }
        receipt
    };
    in_order(one) == in_order(other)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_changed_claim_of_a_package_is_detected_or_listed_even_if_the_log_signed_it() {
    let harness = Harness::start().await;
    record_everything(&harness).await;
    let operator = Operator::of(&harness);
    let mut missed = Vec::new();
    for kind in [PackageKind::Access, PackageKind::Portability] {
        let members = package_of(&harness, "ada", kind).await;
        let check =
            |members: &[Member]| verify_package(&mut Cursor::new(operator.package(members)), &operator.keys);
        let honest = check(&members).unwrap();
        assert!(honest.is_signed && honest.other_checkpoints == 0);
        for (at, (name, text)) in members.iter().enumerate() {
            for (change, text) in sample(forged_members(&operator, name, text), 40) {
                let mut members = members.clone();
                members[at].1 = text;
                match check(&members) {
                    Err(_) => {}
                    Ok(_) if change.leaves_out(&honest.not_compared) => {}
                    Ok(verified) if names(&verified.not_compared, &change.path) => {}
                    Ok(verified) => {
                        let (what, listed) = (&change.what, &verified.not_compared);
                        missed.push(format!("{name}: {what} ({}): {listed:?}", change.path));
                    }
                }
            }
        }
    }
    assert!(missed.is_empty(), "{}:\n{}", missed.len(), missed.join("\n"));
}

/// Changes of a member, and its text with each.
fn forged_members(operator: &Operator, name: &str, text: &str) -> Vec<(Change, String)> {
    let change =
        |what: &str, path: &str| Change { what: what.into(), path: path.into(), document: Value::Null };
    if name == "index.html" {
        return vec![(change("longer", name), format!("{text}x"))];
    }
    if name.ends_with(".jsonl") {
        return forged_lines(name, text);
    }
    let document: Value = serde_json::from_str(text).unwrap();
    let forged = changes(&document).into_iter().map(|mut change| {
        let text = match name {
            "package.json" => change.document.to_string(),
            "completeness.json" => in_order(text, &change.document),
            _ => operator.receipt(&change.document).to_string(),
        };
        let member = if name.starts_with("receipts/") { "receipts/" } else { name };
        change.path = format!("{member}: {}", change.path);
        (change, text)
    });
    let is_receipt = name.starts_with("receipts/");
    forged.filter(|(change, _)| !(is_receipt && is_same_receipt(&change.document, &document))).collect()
}

/// Changes of a member with entries: of its lines and of the members of each line.
fn forged_lines(name: &str, text: &str) -> Vec<(Change, String)> {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut all = Vec::new();
    let mut add = |what: String, path: &str, lines: &[String]| {
        let path = format!("{name}: {path}");
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        all.push((Change { what, path, document: Value::Null }, text));
    };
    for at in 0..lines.len() {
        let (mut fewer, mut twice) = (lines.clone(), lines.clone());
        fewer.remove(at);
        twice.insert(at, lines[at].clone());
        add(format!("line {at} removed"), "", &fewer);
        add(format!("line {at} twice"), "", &twice);
        if at > 0 {
            let mut swapped = lines.clone();
            swapped.swap(at - 1, at);
            add(format!("line {at} earlier"), "", &swapped);
        }
        for (what, path, line) in forged_line(&lines[at]) {
            let mut other = lines.clone();
            other[at] = line;
            add(format!("line {at}: {what}"), &path, &other);
        }
    }
    all
}

/// The lines in which one member of an entry line is another.
fn forged_line(line: &str) -> Vec<(String, String, String)> {
    let value: Value = serde_json::from_str(line).unwrap();
    let mut all = Vec::new();
    for (name, number) in value.as_object().unwrap().iter().filter(|(_, value)| value.is_u64()) {
        for (what, _, other) in others(number) {
            let (from, to) = (format!("\"{name}\":{number}"), format!("\"{name}\":{other}"));
            all.push((format!("{name} {what}"), name.clone(), line.replacen(&from, &to, 1)));
        }
    }
    let texts = [
        ("\"present\"", "\"withheld\""),
        ("\"withheld\"", "\"present\""),
        ("\"body\":", "\"bodies\":"),
        ("tone", "tune"),
        ("\"entry\":\"0", "\"entry\":\"1"),
        ("\"key\":\"", "\"key\":\"A"),
    ];
    for (from, to) in texts.into_iter().filter(|(from, _)| line.contains(from)) {
        all.push((format!("{from} is {to}"), "text".into(), line.replacen(from, to, 1)));
    }
    all
}

/// A subject proof with the order of members that it had.
fn in_order(text: &str, changed: &Value) -> String {
    match serde_json::from_value::<sayso_proof::subject_map::SubjectProof>(changed.clone()) {
        Ok(proof) => proof.to_text().unwrap(),
        Err(_) => format!("{text} "),
    }
}

fn with(members: &[Member], name: &str, change: impl FnOnce(String) -> String) -> Vec<Member> {
    let mut members = members.to_vec();
    let member = members.iter_mut().find(|(other, _)| other.starts_with(name)).unwrap();
    member.1 = change(std::mem::take(&mut member.1));
    members
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_other_packages_and_of_other_trees_are_detected_even_if_the_log_signed_them() {
    let harness = Harness::start().await;
    record_everything(&harness).await;
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let yes = harness::choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    tutor.consent.record_consent(harness::consent("bea", vec![yes])).await.unwrap();
    let operator = Operator::of(&harness);
    let check =
        |members: &[Member]| verify_package(&mut Cursor::new(operator.package(members)), &operator.keys);
    let bea = package_of(&harness, "bea", PackageKind::Access).await;
    let others = bea.iter().find(|(name, _)| name.starts_with("receipts/")).unwrap();
    for kind in [PackageKind::Portability, PackageKind::Access] {
        let members = package_of(&harness, "ada", kind).await;
        let receipt = members.iter().position(|(name, _)| name.starts_with("receipts/")).unwrap();
        // The receipt of another person, under its own name or under another.
        for name in [members[receipt].0.clone(), others.0.clone()] {
            let mut forged = members.clone();
            forged[receipt] = (name, others.1.clone());
            assert!(check(&forged).is_err(), "{kind:?}: a receipt of somebody else");
        }
        // A receipt under the name of another decision, or twice.
        let mut forged = members.clone();
        forged[receipt].0 = forged[receipt].0.replace(".jsonld", "0.jsonld");
        assert!(check(&forged).is_err(), "{kind:?}: another name");
        let mut forged = members.clone();
        let copy = ("receipts/copy.jsonld".to_owned(), forged[receipt].1.clone());
        forged.insert(receipt, copy);
        assert!(check(&forged).is_err(), "{kind:?}: a copy");
        // The checkpoint of another tree of the same size, as the operator can sign it.
        let text = &members[receipt].1;
        let json: Value = serde_json::from_str(text).unwrap();
        let proof = json.pointer(PROPERTIES).unwrap()[2]["schema:value"].as_str().unwrap();
        let size = proof.parse::<TlogProof>().unwrap().checkpoint.lines().nth(1).unwrap().to_owned();
        let note = format!("{}\n{size}\n{}\n", operator.origin, "A".repeat(43) + "=");
        let note = sign_note(&note, &operator.origin, &operator.key);
        let forged = with(&members, "package.json", |text| {
            let mut package: Value = serde_json::from_str(&text).unwrap();
            package["ledger"]["checkpoint"] = json!(note);
            package.to_string()
        });
        assert!(check(&forged).is_err(), "{kind:?}: another tree of {size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_changed_claim_of_a_certificate_is_detected_or_listed_even_if_the_log_signed_it() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    service.grant.request_grant(harness::ask("ada")).await.unwrap();
    record(&mut service, fact("ben", "job", "work", "x")).await;
    let operator = Operator::of(&harness);
    let mut certificates = BTreeMap::new();
    for (person, scope) in
        [("ada", ErasureScope::Key), ("ada", ErasureScope::Category), ("ada", ErasureScope::All)]
    {
        if scope == ErasureScope::Category {
            steward.rights.place_hold(hold("ada", &["health"])).await.unwrap();
        }
        let name = if scope == ErasureScope::Key { "job" } else { "work" };
        let answer = steward.rights.submit_request(erasure(person, scope, name)).await.unwrap().into_inner();
        if let Some(certificate) = answer.certificate {
            certificates.insert(format!("{scope:?}"), certificate.document);
        }
    }
    let whole = steward.rights.submit_request(erasure("ben", ErasureScope::All, "")).await.unwrap();
    certificates.insert("ben".into(), whole.into_inner().certificate.unwrap().document);
    assert!(certificates.len() >= 3, "{certificates:?}");
    let mut missed = Vec::new();
    for (name, text) in &certificates {
        let (note, proof) =
            text.split_once("\n\nc2sp.org/").map(|(note, rest)| (note, format!("c2sp.org/{rest}"))).unwrap();
        let statement: Value = serde_json::from_str(note.lines().nth(1).unwrap()).unwrap();
        let verify = |text: &str| certificate::verify(text, &operator.keys);
        assert!(verify(&operator.certificate(&statement, &proof)).is_ok());
        for change in changes(&statement) {
            match verify(&operator.certificate(&change.document, &proof)) {
                Err(_) => {}
                Ok(verified) => {
                    let stated: Vec<String> =
                        verified.stated_only.iter().map(|field| field.replace('.', "/")).collect();
                    if !names(&stated, &change.path) {
                        missed.push(format!("{name}: {}: {stated:?}", change.what));
                    }
                }
            }
        }
        // The proof of another erasure.
        for (_, other) in certificates.iter().filter(|(other, _)| *other != name) {
            let at = other.find("c2sp.org/").unwrap();
            assert!(verify(&operator.certificate(&statement, &other[at..])).is_err());
        }
    }
    assert!(missed.is_empty(), "{}:\n{}", missed.len(), missed.join("\n"));
}
