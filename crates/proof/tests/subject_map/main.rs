//! Tests of commitments to the subject map in bundles: right ones verify, and every kind of wrong one is
//! found.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod commitments;
#[path = "../log/mod.rs"]
mod log;
mod random_maps;
mod streams;

use log::{Log, attribute, recorded, subject};
use sayso_proof::bundle::{MapRecord, MapReport, Options, Report, Source, VerifyFailure, verify};
use sayso_proof::entry::{Handle, parse_header};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{DecisionRulesAdopted, SubjectMapCommitted};
use sayso_proof::keys::KeyChain;
use sayso_proof::merkle::inclusion_proof;
use sayso_proof::proof::TlogProof;
use sayso_proof::subject_map::{Label, Stream, SubjectMap, SubjectProof, VrfKey};
use std::collections::BTreeMap;

fn vrf_key() -> VrfKey {
    VrfKey::from_seed(&[7; 32]).unwrap()
}

/// A log with the state of each stream.
struct World {
    log: Log,
    /// How each stream is in the map.
    records: BTreeMap<Handle, MapRecord>,
}

fn record(number: u8) -> MapRecord {
    // Labels that share their first bits and labels that do not.
    let mut label = [number / 3; 32];
    label[31] = number;
    MapRecord { handle: subject(number), label: Label(label), blinding: [number; 32] }
}

impl World {
    fn new() -> Self {
        let mut world = Self::of_edition_3();
        world.adopt(4);
        world
    }

    /// A log that follows no edition yet that has a subject map.
    fn of_edition_3() -> Self {
        let mut world = Self { log: Log::with_vocabulary(), records: BTreeMap::new() };
        world.adopt(3);
        world
    }

    fn adopt(&mut self, edition: u32) {
        self.log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
    }

    /// Records something about a person under the label of their id.
    fn append_as(&mut self, number: u8, id: &str) {
        let label = vrf_key().prove(id).unwrap().0;
        self.records.insert(subject(number), MapRecord { label, ..record(number) });
        self.append(number);
    }

    /// The subject proof for an id, from the commitment at `position`, which describes all entries before it.
    fn proof(&self, id: &str, position: u64) -> SubjectProof {
        let (label, vrf_proof) = vrf_key().prove(id).unwrap();
        let (streams, mut map) = (self.streams(position), SubjectMap::new());
        for (handle, stream) in &streams {
            let record = self.records[handle];
            map.set(record.label, stream.commitment(&record.blinding));
        }
        let record = self.records.values().find(|record| record.label == label);
        let stream = record.and_then(|record| Some((*streams.get(&record.handle)?, record.blinding)));
        let hashes = inclusion_proof(position, self.log.size(), &self.log).unwrap();
        let extra = Some(self.log.entries[position as usize].clone());
        let checkpoint = self.log.checkpoint(self.log.size());
        let commitment = TlogProof { extra, index: position, hashes, checkpoint }.to_string();
        SubjectProof::new(id, &vrf_proof, &map.prove(&label), stream, commitment)
    }

    fn append(&mut self, number: u8) -> u64 {
        let handle = subject(number);
        self.records.entry(handle).or_insert_with(|| record(number));
        self.log.append(handle, recorded(attribute("tone", "food")));
        self.log.size() - 1
    }

    /// The newest entry of each stream that is not erased, among the first `size` entries.
    fn streams(&self, size: u64) -> BTreeMap<Handle, Stream> {
        let mut streams = BTreeMap::new();
        for position in (0..size).filter(|position| !self.log.erased.contains(position)) {
            let header = parse_header(&self.log.entries[position as usize]).unwrap();
            let newest_leaf = self.log.leaves[position as usize];
            let present = 1 + streams.get(&header.handle).map_or(0, |stream: &Stream| stream.present);
            let (handle, events) = (header.handle, header.version + 1);
            let stream = Stream { handle, events, present, newest_leaf };
            streams.insert(header.handle, stream);
        }
        streams.remove(&Handle::SYSTEM);
        streams
    }

    /// What a right commitment over the first `size` entries says.
    fn committed(&self, size: u64) -> SubjectMapCommitted {
        let (mut map, mut unlinked) = (SubjectMap::new(), 0);
        for (handle, stream) in self.streams(size) {
            let record = self.records[&handle];
            map.set(record.label, stream.commitment(&record.blinding));
            unlinked += u64::from(record.label == Label::unlinked(handle));
        }
        SubjectMapCommitted {
            root: map.root().to_vec(),
            vrf_public_key: vrf_key().public().to_vec(),
            tree_size: size,
            subjects: map.len(),
            unlinked,
        }
    }

    fn commit(&mut self) {
        self.commit_as(|_| {});
    }

    fn commit_as(&mut self, change: impl FnOnce(&mut SubjectMapCommitted)) {
        let mut committed = self.committed(self.log.size());
        change(&mut committed);
        self.log.append_system_event(Event::SubjectMapCommitted(committed));
    }

    /// Erases a person as a whole.
    fn erase(&mut self, number: u8) {
        let handle = subject(number);
        let is_theirs = |bytes: &Vec<u8>| parse_header(bytes).unwrap().handle == handle;
        let entries = (0..).zip(&self.log.entries).filter(|(_, bytes)| is_theirs(bytes));
        let positions: Vec<u64> = entries.map(|(position, _)| position).collect();
        self.records.remove(&handle);
        self.log.erase(&positions, true);
    }

    fn verify(&mut self) -> Result<Option<MapReport>, VerifyFailure> {
        self.verify_knowing(vec![]).map(|report| report.subject_map)
    }

    /// Verifies the bundle with the proofs of the ids that an auditor knows.
    fn verify_knowing(&mut self, subject_proofs: Vec<SubjectProof>) -> Result<Report, VerifyFailure> {
        self.log.map.get_or_insert_with(|| self.records.values().copied().collect());
        let bundle = self.log.bundle();
        let source = Source::Archive(Box::new(std::io::Cursor::new(bundle)));
        let options = Options { subject_proofs, ..Options::default() };
        verify(source, &self.log.verifier(), &options, &mut |_| ())
    }

    fn reason(&mut self) -> String {
        self.verify().unwrap_err().to_string()
    }
}

/// Three people, a commitment, more entries, another commitment, and an entry after it.
fn world() -> World {
    let mut world = World::new();
    for number in [1, 2, 1, 3] {
        world.append(number);
    }
    world.commit();
    world.append(2);
    world.append(4);
    world.commit();
    world.append(1);
    world
}
