//! A small in-memory log with real keys, for tests.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests; not every test uses every function"
)]

pub mod forge;

use ed25519_dalek::SigningKey;
use sayso_proof::bundle::{self, BundleWriter, EntryLine, MapRecord, Options, Report, Source};
use sayso_proof::certificate::request_hash;
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use sayso_proof::entry::{self, EventKey, Handle, Header, SchemaVersion};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sayso_proof::keys::KeyChain;
use sayso_proof::merkle::{self, Frontier, Hash, Nodes};
use sayso_proof::replay::Fault;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

pub const ORIGIN: &str = "sayso.example/acme";
pub const START_MS: u64 = 1_750_000_000_000;

pub struct Log {
    pub key: SigningKey,
    pub chain: KeyChain,
    pub entries: Vec<Vec<u8>>,
    pub leaves: Vec<Hash>,
    pub keys: Vec<Option<EventKey>>,
    pub recorded: Vec<u64>,
    pub erased: HashSet<u64>,
    pub withheld: bool,
    /// The records of `subject-map.bin`, in order; without any, the bundle does not have the file.
    pub map: Option<Vec<MapRecord>>,
    tips: HashMap<Handle, (u64, Hash)>,
    pub now: u64,
    /// The time that events of data subjects state; by default, the time at which they are sealed.
    pub about_ms: Option<u64>,
    /// The id of the next event; by default, an id that contains its position.
    pub next_event_id: Option<[u8; 16]>,
    /// The `idempotency_hash` of the next entry, in clear; by default, none.
    pub next_hash_in_clear: Option<[u8; 32]>,
    /// The edition of the rules that the log follows by now.
    pub edition: u32,
}

impl Nodes for Log {
    type Error = String;
    fn nodes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, String> {
        assert_eq!(level, 0);
        Ok(self.leaves[start as usize..start as usize + count].to_vec())
    }
}

pub fn subject(number: u8) -> Handle {
    Handle([number; 16])
}

pub fn event_id(position: u64) -> [u8; 16] {
    let mut id = [0x70; 16];
    id[8..].copy_from_slice(&position.to_be_bytes());
    id
}

impl Log {
    /// A log that has only been opened.
    pub fn new() -> Self {
        Self::opened_by(Role::Unspecified)
    }

    /// A log that somebody in this role opened.
    pub fn opened_by(role: Role) -> Self {
        Self::opened_with(role, SigningKey::from_bytes(&[4; 32]))
    }

    /// A log with another key.
    pub fn with_key(key: SigningKey) -> Self {
        Self::opened_with(Role::Unspecified, key)
    }

    fn opened_with(role: Role, key: SigningKey) -> Self {
        let public_key = key.verifying_key().to_bytes().to_vec();
        let verifier = VerifierKey { name: ORIGIN.into(), key: key.verifying_key() };
        let mut log = Self {
            chain: KeyChain::from(&verifier),
            key,
            entries: vec![],
            leaves: vec![],
            keys: vec![],
            recorded: vec![],
            erased: HashSet::new(),
            withheld: false,
            map: None,
            tips: HashMap::new(),
            now: START_MS,
            about_ms: None,
            next_event_id: None,
            next_hash_in_clear: None,
            edition: 0,
        };
        let opened = body(Event::LogOpened(LogOpened { origin: ORIGIN.into(), public_key }));
        let known = (role != Role::Unspecified).then_some(role);
        let actor = known.map(|role| Actor { role: role.into(), ..Actor::default() });
        log.append_body(Handle::SYSTEM, START_MS + 1000, &EventBody { actor, ..opened });
        log
    }

    /// A log with a few purposes and categories.
    pub fn with_vocabulary() -> Self {
        let mut log = Self::new();
        for (id, parent) in
            [("personalization", ""), ("tone-adaptation", "personalization"), ("advertising", "")]
        {
            log.append_system_event(Event::PurposeDefined(PurposeDefined {
                id: id.into(),
                parent: parent.into(),
                ..PurposeDefined::default()
            }));
        }
        let categories = [("preference", "", false), ("food", "preference", false), ("work", "", false)];
        for (id, parent, special) in
            categories.into_iter().chain([("health", "", true), ("allergy", "health", false)])
        {
            log.append_system_event(Event::CategoryDefined(CategoryDefined {
                id: id.into(),
                parent: parent.into(),
                special,
                ..CategoryDefined::default()
            }));
        }
        log
    }

    /// Publishes bounds and a notice.
    pub fn publish_documents(&mut self) {
        let policies = "permit(principal, action, resource);".to_owned();
        self.append_system_event(Event::BoundsPublished(BoundsPublished {
            policies,
            ..BoundsPublished::default()
        }));
        let notice = Some(published_notice());
        self.append_system_event(Event::NoticePublished(NoticePublished { notice, text: "We ask.".into() }));
    }

    pub fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    pub fn verifier(&self) -> VerifierKey {
        VerifierKey { name: ORIGIN.into(), key: self.key.verifying_key() }
    }

    /// The version of the next entry of a handle.
    pub fn next_version(&self, handle: Handle) -> u64 {
        self.tips.get(&handle).map_or(0, |tip| tip.0 + 1)
    }

    fn header(&mut self, handle: Handle) -> Header {
        self.now += 1000;
        let event_id = self.next_event_id.take().unwrap_or_else(|| event_id(self.size()));
        let tip = self.tips.get(&handle);
        Header {
            event_id,
            handle,
            version: tip.map_or(0, |tip| tip.0 + 1),
            previous: tip.map(|tip| tip.1),
            sealed_at_ms: self.now,
            idempotency: self.next_hash_in_clear.take(),
            key_commitment: None,
            schema_version: self.schema_version(handle),
        }
    }

    /// The version of the next entry's form.
    fn schema_version(&self, handle: Handle) -> SchemaVersion {
        let is_padded = handle != Handle::SYSTEM && self.edition >= 5;
        if is_padded { SchemaVersion::Two } else { SchemaVersion::One }
    }

    fn note_edition(&mut self, event: Option<&Event>) {
        if let Some(Event::DecisionRulesAdopted(adopted)) = event {
            self.edition = self.edition.max(adopted.edition);
        }
    }

    fn push(&mut self, header: &Header, payload: Vec<u8>, key: Option<EventKey>) -> [u8; 16] {
        let bytes = entry::sign(payload, ORIGIN, &self.key).unwrap();
        let leaf = merkle::leaf_hash(&bytes);
        self.tips.insert(header.handle, (header.version, leaf));
        self.entries.push(bytes);
        self.leaves.push(leaf);
        self.keys.push(key);
        self.recorded.push(self.recorded.last().copied().unwrap_or(0).max(header.sealed_at_ms));
        header.event_id
    }

    pub fn append_system_event(&mut self, event: Event) -> [u8; 16] {
        let header = self.header(Handle::SYSTEM);
        self.note_edition(Some(&event));
        let payload = entry::plain(&header, &body(event)).unwrap();
        self.push(&header, payload, None)
    }

    /// Appends a system event by an author in this role, with a publisher's signature.
    pub fn append_rule(&mut self, role: Role, event: Event, signature: Option<WriterSignature>) -> [u8; 16] {
        let header = self.header(Handle::SYSTEM);
        self.note_edition(Some(&event));
        let actor = Some(Actor { role: role.into(), ..Actor::default() });
        let body = EventBody { actor, writer_signature: signature, ..body(event) };
        let payload = entry::plain(&header, &body).unwrap();
        self.push(&header, payload, None)
    }

    pub fn append(&mut self, handle: Handle, event: Event) -> [u8; 16] {
        let header = self.header(handle);
        self.seal(&header, event)
    }

    /// Appends an event with the same time as the previous event.
    pub fn append_at_same_time(&mut self, handle: Handle, event: Event) -> [u8; 16] {
        self.now -= 1000;
        self.append(handle, event)
    }

    /// Appends an event that states an earlier time.
    pub fn append_late(&mut self, handle: Handle, event: Event, late_ms: u64) -> [u8; 16] {
        let header = self.header(handle);
        self.seal_about(&header, event, header.sealed_at_ms - late_ms)
    }

    pub fn seal(&mut self, header: &Header, event: Event) -> [u8; 16] {
        self.seal_about(header, event, self.about_ms.unwrap_or(header.sealed_at_ms))
    }

    /// Gives a grant without an end the earliest one, so that it is not open at the next entry.
    fn with_end(&self, event: Event) -> Event {
        let recorded_ms = self.recorded.last().copied().unwrap_or(0);
        match event {
            Event::GrantIssued(issued) if issued.expires_at_ms == 0 => {
                let expires_at_ms = self.now.max(recorded_ms) + 1;
                Event::GrantIssued(GrantIssued { expires_at_ms, ..issued })
            }
            other => other,
        }
    }

    fn seal_about(&mut self, header: &Header, event: Event, about_ms: u64) -> [u8; 16] {
        let event = self.with_end(event);
        let key = EventKey::derive(&[8; 32], &header.event_id);
        let body = EventBody { about_ms, ..body(event) };
        let payload = entry::seal(header, &body, &key).unwrap();
        self.push(header, payload, Some(key))
    }

    /// Appends an entry with this body, sealed at this time.
    pub fn append_body(&mut self, handle: Handle, sealed_at_ms: u64, body: &EventBody) -> [u8; 16] {
        let header = Header { sealed_at_ms, ..self.header(handle) };
        if handle == Handle::SYSTEM {
            self.note_edition(body.event.as_ref());
            let payload = entry::plain(&header, body).unwrap();
            return self.push(&header, payload, None);
        }
        let key = EventKey::derive(&[8; 32], &header.event_id);
        let payload = entry::seal(&header, body, &key).unwrap();
        self.push(&header, payload, Some(key))
    }

    /// Appends a key rotation. The new key signs all later entries.
    pub fn rotate(&mut self, new: &SigningKey) {
        let position = self.size();
        let statement = self.chain.next(position + 1, new).sign(&self.key, new);
        self.append_system_event(Event::LogKeyRotated(LogKeyRotated { statement, old_key_until_ms: 0 }));
        self.chain.take(position, &self.entries[position as usize]).unwrap();
        self.key = new.clone();
    }

    /// How an erasure names its request by the rules that the log follows.
    fn request_hash(&self) -> Vec<u8> {
        if self.edition >= 5 { request_hash(&[7; 16]).to_vec() } else { Vec::new() }
    }

    /// Erases positions, and records an `ErasureCompleted` if `recorded`.
    pub fn erase(&mut self, positions: &[u64], recorded: bool) {
        self.erased.extend(positions);
        if recorded {
            let discarded = positions.iter().map(|at| PositionRange { first: *at, last: *at }).collect();
            let request_hash = self.request_hash();
            self.append_system_event(Event::ErasureCompleted(ErasureCompleted {
                discarded,
                request_hash,
                ..Default::default()
            }));
        }
    }

    /// Erases positions of one data subject, and states what each of them was. As the daemon does, it first
    /// records that an erasure begins if nothing else of the stream would come after them.
    pub fn erase_stating(&mut self, positions: &[(u64, ErasedKind)]) {
        let header = |position: &u64| entry::parse_header(&self.entries[*position as usize]).unwrap();
        let last = positions.iter().map(|(position, _)| position).max().map(header);
        if let Some(last) = last.filter(|last| self.next_version(last.handle) == last.version + 1) {
            let begun =
                ErasureRequested { scope: ErasureScope::Retention.into(), ..ErasureRequested::default() };
            self.append(last.handle, Event::ErasureRequested(begun));
        }
        self.state_erased(positions);
    }

    /// Like [`Self::erase_stating`], without that event.
    pub fn state_erased(&mut self, positions: &[(u64, ErasedKind)]) {
        self.erased.extend(positions.iter().map(|(position, _)| position));
        let version = |position: u64| entry::parse_header(&self.entries[position as usize]).unwrap().version;
        let erasure = ErasureCompleted {
            discarded: positions.iter().map(|(at, _)| PositionRange { first: *at, last: *at }).collect(),
            kinds: positions.iter().map(|(_, kind)| (*kind).into()).collect(),
            versions: positions.iter().map(|(position, _)| version(*position)).collect(),
            request_hash: self.request_hash(),
            ..ErasureCompleted::default()
        };
        self.append_system_event(Event::ErasureCompleted(erasure));
    }

    pub fn checkpoint(&self, size: u64) -> String {
        let mut tree = Frontier::new();
        self.leaves[..size as usize].iter().for_each(|leaf| tree.push(*leaf));
        Checkpoint { origin: ORIGIN.into(), size, root: tree.root() }.sign(&self.key)
    }

    pub fn line(&self, position: u64) -> EntryLine<'static> {
        let at = position as usize;
        if self.erased.contains(&position) {
            return EntryLine::erased(position, self.recorded[at]);
        }
        let key = self.keys[at].as_ref().filter(|_| !self.withheld);
        EntryLine::new(position, self.recorded[at], &self.entries[at], key).unwrap()
    }

    pub fn bundle(&self) -> Vec<u8> {
        let mut writer = BundleWriter::new(Vec::new(), &self.checkpoint(self.size()), &self.chain).unwrap();
        writer.leaf_hashes(self).unwrap();
        if let Some(records) = &self.map {
            writer.subject_map(records.len() as u64, records.iter().copied().map(Ok)).unwrap();
        }
        for position in 0..self.size() {
            writer.entry(&self.line(position)).unwrap();
        }
        writer.finish(&self.key).unwrap()
    }
}

/// The notice of `publish_documents`.
pub fn published_notice() -> NoticeRef {
    let digest = Sha256::digest("We ask.").to_vec();
    NoticeRef { id: "n".into(), version: "1".into(), language: "en".into(), digest }
}

pub fn body(event: Event) -> EventBody {
    EventBody { about_ms: 7, event: Some(event), ..EventBody::default() }
}

pub fn attribute(key: &str, category: &str) -> Attribute {
    Attribute {
        key: key.into(),
        value_json: "\"x\"".into(),
        category: category.into(),
        provenance: Provenance::Declared.into(),
        confidence: Some(0.1 + 0.2),
        ..Attribute::default()
    }
}

pub fn recorded(attribute: Attribute) -> Event {
    Event::AttributeRecorded(AttributeRecorded { attribute: Some(attribute) })
}

pub fn terms(purposes: &[&str], categories: &[&str], recipients: &[&str]) -> ConsentTerms {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    ConsentTerms {
        purposes: owned(purposes),
        categories: owned(categories),
        recipients: owned(recipients),
        ..ConsentTerms::default()
    }
}

pub fn given(terms: ConsentTerms) -> Event {
    Event::ConsentGiven(ConsentGiven { terms: Some(terms) })
}

pub fn refused(terms: ConsentTerms) -> Event {
    Event::ConsentRefused(ConsentRefused { terms: Some(terms) })
}

pub fn withdrawn(terms: ConsentTerms) -> Event {
    Event::ConsentWithdrawn(ConsentWithdrawn { terms: Some(terms) })
}

/// A grant of one attribute to `bot` for tone adaptation.
pub fn grant(attribute: [u8; 16], consent: [u8; 16], key: &str, category: &str) -> Event {
    Event::GrantIssued(GrantIssued {
        recipient: "bot".into(),
        purpose: "tone-adaptation".into(),
        allowed: vec![GrantedAttribute {
            attribute: attribute.to_vec(),
            consent: consent.to_vec(),
            key: key.into(),
            category: category.into(),
            ..GrantedAttribute::default()
        }],
        ..GrantIssued::default()
    })
}

/// What the verifier found in a log, as positions and faults.
pub fn findings(log: &Log) -> Vec<(u64, Fault)> {
    let report = report(log);
    report.grants.findings.iter().map(|finding| (finding.position, finding.fault)).collect()
}

/// The verifier's report on a log without broken entries.
pub fn report(log: &Log) -> Report {
    let bytes = log.bundle();
    let source = Source::Archive(Box::new(bytes.as_slice()));
    let report = bundle::verify(source, &log.verifier(), &Options::default(), &mut |_| ()).unwrap();
    assert_eq!(report.grants_hold(), report.grants.findings.is_empty());
    report
}
