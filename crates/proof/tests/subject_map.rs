//! Commitments to the subject map in bundles: right ones verify, and every kind of wrong one is found.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod log;

use log::{Log, attribute, recorded, subject};
use proptest::prelude::*;
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

#[test]
fn a_right_map_verifies_as_of_each_commitment() {
    let mut world = world();
    let report = world.verify().unwrap().unwrap();
    assert_eq!((report.subjects, report.checked, report.not_checked, report.unlinked), (4, 2, 0, 0));
    assert_eq!(report.position + 2, world.log.size());
}

#[test]
fn entries_that_no_commitment_describes_are_counted() {
    let mut world = world();
    assert_eq!(world.verify().unwrap().unwrap().later_entries, 1);
    world.append(2);
    assert_eq!(world.verify().unwrap().unwrap().later_entries, 2);
    world.commit();
    assert_eq!(world.verify().unwrap().unwrap().later_entries, 0);
}

#[test]
fn a_commitment_before_edition_4_is_found() {
    let mut world = World::of_edition_3();
    world.append(1);
    world.commit();
    assert!(world.reason().contains("precedes edition 4"));
    world.adopt(4);
    assert!(world.reason().contains("precedes edition 4"));
}

#[test]
fn a_false_commitment_is_found_however_many_follow() {
    let mut world = World::new();
    world.append(1);
    let position = world.log.size();
    world.commit_as(|committed| committed.root[0] ^= 1);
    for _ in 0..400 {
        world.append(1);
        world.commit();
    }
    let failure = world.verify().unwrap_err();
    assert_eq!(
        (failure.position, failure.reason.contains("the committed root is not")),
        (Some(position), true)
    );
}

#[test]
fn unlinked_people_that_cannot_be_there_do_not_keep_a_false_commitment_from_being_checked() {
    let mut world = World::new();
    world.append(1);
    world.commit_as(|committed| (committed.root[0], committed.unlinked) = (1, 1));
    world.commit();
    assert!(world.reason().contains("than there can be"));
}

#[test]
fn a_log_without_a_commitment_verifies_and_shows_nothing_about_completeness() {
    let mut world = World::new();
    world.append(1);
    world.log.map = None;
    let source = Source::Archive(Box::new(std::io::Cursor::new(world.log.bundle())));
    let verified = verify(source, &world.log.verifier(), &Options::default(), &mut |_| ());
    assert_eq!(verified.unwrap().subject_map, None);
    assert!(world.reason().contains("no commitment"), "a file without a commitment");
}

#[test]
fn after_an_erasure_later_commitments_are_checked_and_earlier_ones_are_counted() {
    let mut world = world();
    world.erase(2);
    assert!(world.reason().contains("erased after the newest commitment"));
    world.log.map = None;
    world.commit();
    world.append(3);
    world.commit();
    let report = world.verify().unwrap().unwrap();
    assert_eq!((report.subjects, report.checked, report.not_checked), (3, 2, 2));
}

#[test]
fn a_stream_that_the_map_leaves_out_is_found() {
    let mut world = World::new();
    world.append(1);
    let omitted = world.append(2);
    let kept = world.records.remove(&subject(2)).unwrap();
    let without = {
        let mut map = SubjectMap::new();
        let stream = world.streams(world.log.size())[&subject(1)];
        map.set(record(1).label, stream.commitment(&record(1).blinding));
        map.root().to_vec()
    };
    world.records.insert(kept.handle, kept);
    world.commit_as(|committed| (committed.root, committed.subjects) = (without, 1));
    world.log.map = Some(vec![record(1)]);
    let failure = world.verify().unwrap_err();
    assert_eq!(failure.position, Some(omitted));
    assert!(failure.reason.contains("leaves out the stream"), "{failure}");
    // Listing it does not help, because the root does not have it.
    world.log.map = None;
    assert!(world.reason().contains("the committed root is not"));
}

#[test]
fn two_streams_with_one_label_are_found() {
    let mut world = World::new();
    world.append(1);
    world.append(2);
    let other = MapRecord { label: record(1).label, ..record(2) };
    world.records.insert(subject(2), other);
    for subjects in [1, 2] {
        world.commit_as(|committed| committed.subjects = subjects);
        world.log.map = None;
        let reason = world.reason();
        assert!(reason.contains("two streams have the same label"), "{reason}");
    }
}

#[test]
fn a_second_stream_about_a_person_is_found_by_whoever_knows_the_ids() {
    let mut world = World::new();
    world.append_as(1, "ada");
    world.append_as(2, "bea");
    // The log keeps more about ada in a stream under a label that is nobody's.
    world.append(3);
    world.commit();
    let position = world.log.size() - 1;
    let proof = |id| world.proof(id, position);
    let proofs = vec![proof("ada"), proof("bea"), proof("cleo")];
    assert!(proofs[0].verify(&KeyChain::from(&world.log.verifier())).unwrap().stream.is_some());
    let given = world.verify_knowing(proofs).unwrap().given_subjects.unwrap();
    assert_eq!((given.ids, given.found, given.others), (3, 2, 1));
    assert_eq!(given.other_handles, [subject(3).to_string()]);
    assert_eq!(world.verify_knowing(vec![]).unwrap().given_subjects, None);
}

#[test]
fn a_second_stream_cannot_have_the_label_of_the_same_id() {
    let mut world = World::new();
    world.append_as(1, "ada");
    world.append_as(2, "ada");
    world.commit();
    assert!(world.reason().contains("two streams have the same label"));
}

#[test]
fn a_proof_of_absence_is_one_of_this_log_and_not_of_a_copy_without_the_person() {
    let mut copy = World::new();
    copy.append_as(2, "bea");
    copy.commit();
    let absent = copy.proof("ada", copy.log.size() - 1);
    assert!(absent.verify(&KeyChain::from(&copy.log.verifier())).unwrap().stream.is_none());
    let mut world = World::new();
    world.append_as(1, "ada");
    world.append_as(2, "bea");
    world.commit();
    let failure = world.verify_knowing(vec![absent]).unwrap_err();
    assert_eq!(failure.place, "--subject-proof");
    assert!(failure.reason.contains("does not have the commitment"), "{failure}");
}

#[test]
fn a_false_commitment_is_found_even_if_later_ones_are_right() {
    let changes: [fn(&mut SubjectMapCommitted); 1] = [|committed| committed.root[7] ^= 1];
    for change in changes {
        for false_one in [0, 1] {
            let mut world = World::new();
            world.append(1);
            world.commit_as(|committed| {
                if false_one == 0 {
                    change(committed)
                }
            });
            let position = world.append(2);
            world.commit_as(|committed| {
                if false_one == 1 {
                    change(committed)
                }
            });
            let failure = world.verify().unwrap_err();
            assert!(failure.reason.contains("the committed root is not"), "{failure}");
            assert_eq!(failure.position, Some(if false_one == 0 { position - 1 } else { position + 1 }));
        }
    }
}

#[test]
fn an_older_state_of_a_stream_is_found() {
    let mut world = World::new();
    world.append(1);
    let before = world.committed(world.log.size()).root;
    world.append(1);
    world.commit_as(|committed| committed.root = before);
    assert!(world.reason().contains("the committed root is not"));
}

#[test]
fn a_commitment_that_counts_an_event_as_erased_is_found() {
    let mut world = World::new();
    world.append(1);
    world.append(1);
    let mut map = SubjectMap::new();
    let stream = world.streams(world.log.size())[&subject(1)];
    let fewer = Stream { present: stream.present - 1, ..stream };
    map.set(record(1).label, fewer.commitment(&record(1).blinding));
    world.commit_as(|committed| committed.root = map.root().to_vec());
    assert!(world.reason().contains("the committed root is not"));
}

#[test]
fn a_commitment_counts_the_events_that_a_partial_erasure_left() {
    let mut world = World::new();
    let first = world.append(1);
    world.append(1);
    world.commit();
    world.log.erase(&[first], true);
    world.commit();
    let report = world.verify().unwrap().unwrap();
    assert_eq!((report.checked, report.not_checked), (1, 1));
}

#[test]
fn commitments_that_contradict_each_other_are_found() {
    type Change = fn(&mut SubjectMapCommitted);
    let cases: [(Change, &str); 7] = [
        (|committed| committed.vrf_public_key = vec![6; 32], "another VRF key"),
        (|committed| committed.vrf_public_key.clear(), "no VRF key"),
        (|committed| committed.root.clear(), "no root"),
        (|committed| committed.tree_size = 1, "describes less"),
        (|committed| committed.tree_size += 1, "entries that follow"),
        (|committed| committed.unlinked = 1, "than there can be"),
        (|committed| committed.subjects += 1, "other numbers of people"),
    ];
    for (change, expected) in cases {
        let mut world = world();
        world.commit_as(change);
        let reason = world.reason();
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
}

#[test]
fn a_missing_or_malformed_file_is_found() {
    let mut world = world();
    world.verify().unwrap();
    let records = world.log.map.take().unwrap();
    let source = Source::Archive(Box::new(std::io::Cursor::new(world.log.bundle())));
    let failure = verify(source, &world.log.verifier(), &Options::default(), &mut |_| ()).unwrap_err();
    assert!(failure.place.contains("subject-map.bin") && failure.reason.contains("missing"), "{failure}");
    let mut twice = records.clone();
    twice.insert(1, records[0]);
    let reversed = records.iter().rev().copied().collect();
    for wrong in [twice, reversed] {
        world.log.map = Some(wrong);
        assert!(world.reason().contains("ascending order"));
    }
    world.log.map = Some([records, vec![record(9)]].concat());
    assert!(world.reason().contains("a stream without entries"));
}

#[test]
fn only_streams_from_before_edition_4_may_be_unlinked() {
    let unlinked = |number: u8| MapRecord {
        label: Label::unlinked(subject(number)),
        blinding: [0; 32],
        handle: subject(number),
    };
    let mut world = World::of_edition_3();
    world.records.insert(subject(1), unlinked(1));
    world.append(1);
    world.adopt(4);
    world.commit();
    let report = world.verify().unwrap().unwrap();
    assert_eq!((report.unlinked, report.checked), (1, 1));
    // Somebody writes about the person under their id.
    world.records.insert(subject(1), record(1));
    world.log.map = None;
    world.commit();
    let report = world.verify().unwrap().unwrap();
    assert_eq!((report.unlinked, report.checked, report.not_checked), (0, 1, 1));
    // Nobody who is linked becomes unlinked again.
    world.commit_as(|committed| committed.unlinked = 1);
    assert!(world.reason().contains("more people without a linked id"));
    let mut world = World::of_edition_3();
    world.append(1);
    world.adopt(4);
    world.records.insert(subject(2), unlinked(2));
    world.append(2);
    world.commit();
    assert!(world.reason().contains("linked to no id"));
}

/// Measures what docs/completeness.md says of the cost.
#[test]
#[ignore = "takes a while; see docs/completeness.md"]
fn figures() {
    let handle = |number: u64| {
        let mut handle = [0; 16];
        handle[..8].copy_from_slice(&number.to_be_bytes());
        Label::unlinked(Handle(handle))
    };
    let begun = std::time::Instant::now();
    let mut map = SubjectMap::new();
    (0..1_000_000).for_each(|number| assert!(map.set(handle(number), [1; 32])));
    map.root();
    println!("a map of a million labels: {:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    (0..1_000_000).step_by(100).for_each(|number| assert!(!map.set(handle(number), [2; 32])));
    map.root();
    println!("10,000 changes of it: {:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    (0..1_000).for_each(|number| drop(map.prove(&handle(number))));
    println!("1,000 proofs: {:?}", begun.elapsed());
    let key = VrfKey::from_seed(&[7; 32]).unwrap();
    let begun = std::time::Instant::now();
    (0..1_000).for_each(|number: u32| drop(key.prove(&number.to_string()).unwrap()));
    println!("1,000 labels of ids: {:?}", begun.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn honest_logs_verify(steps in proptest::collection::vec((0_u8..8, 0_u8..12), 1..60)) {
        let mut world = World::new();
        for (step, number) in steps {
            match step {
                0 => world.commit(),
                // Handles are never used twice, so nobody who was erased is recorded again.
                1 if number < 4 && world.records.contains_key(&subject(number + 1)) => world.erase(number + 1),
                _ => {
                    if number >= 4 || !world.log.erased.iter().any(|at| {
                        parse_header(&world.log.entries[*at as usize]).unwrap().handle == subject(number + 1)
                    }) {
                        world.append(number + 1);
                    }
                }
            }
        }
        world.commit();
        let (report, subjects) = (world.verify().unwrap().unwrap(), world.streams(world.log.size()).len());
        prop_assert_eq!(report.subjects, subjects as u64);
        prop_assert!(report.checked >= 1);
    }
}
