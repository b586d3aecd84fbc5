//! Checks the commitments to the subject map (a map of all streams, whose root the log records) against the
//! streams in the bundle.
//!
//! `subject-map.bin` has the label of each stream in the map, and the secret that blinds the stream's
//! commitment. So the verifier can rebuild the map as of the newest recorded root. It can also rebuild the
//! map as of an earlier root if nothing was erased since then, because the bundle then has every stream as it
//! was.

use super::given_subjects::{GivenFound, GivenSubjects, Named};
use super::member::{Member, RECORD_BYTES};
use super::rejection::Rejection;
use super::report::{MapReport, VerifyFailure};
use super::spool::{self, Spool};
use crate::entry::Handle;
use crate::event::{EventBody, SubjectMapCommitted, event_body::Event};
use crate::keys::KeyChain;
use crate::merkle::Hash;
use crate::subject_map::{Blinding, Label, Stream, SubjectMap, SubjectProof, Subtree};
use std::collections::BTreeMap;
use std::io;

/// The edition of the rules of decisions that has commitments.
const EDITION: u32 = 4;
/// Bits of a label that choose the part of the map that is built at a time.
const PART_BITS: u32 = 8;
/// Number of such parts.
const PARTS: usize = 1 << PART_BITS;

/// The record of a stream in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRecord {
    /// The stream.
    pub handle: Handle,
    /// Its key in the map.
    pub label: Label,
    /// The secret of its commitment.
    pub blinding: Blinding,
}

impl MapRecord {
    /// The record as `subject-map.bin` has it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.handle.0.as_slice(), &self.label.0, &self.blinding].concat()
    }

    pub(super) fn parse(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let (handle, rest) = bytes.split_first_chunk()?;
        let (label, rest) = rest.split_first_chunk()?;
        Some(Self { handle: Handle(*handle), label: Label(*label), blinding: rest.try_into().ok()? })
    }
}

/// Reads `subject-map.bin` in pieces.
#[derive(Default)]
pub(super) struct Records {
    /// The beginning of a record whose end is in the next piece.
    left: Vec<u8>,
    last: Option<Handle>,
}

impl Records {
    /// Reads the next piece of the file, and passes each whole record to `each`.
    pub fn read(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(&MapRecord) -> io::Result<()>,
    ) -> Result<(), Rejection> {
        self.left.extend_from_slice(piece);
        let (records, rest) = self.left.as_chunks::<RECORD_BYTES>();
        for record in records.iter().filter_map(MapRecord::parse) {
            if self.last.replace(record.handle) >= Some(record.handle) {
                return Err("the handles are not in ascending order".into());
            }
            each(&record).map_err(|error| spool::failed(&error))?;
        }
        self.left = rest.to_vec();
        Ok(())
    }

    /// Checks that the file ends with a whole record.
    pub fn finish(self) -> Result<(), Rejection> {
        match self.left.is_empty() {
            true => Ok(()),
            false => Err("the file does not have 80 bytes for each data subject".into()),
        }
    }
}

/// A commitment that is checked.
struct Commitment {
    position: u64,
    tree_size: u64,
    root: Hash,
    subjects: u64,
    unlinked: u64,
}

/// The commitments read so far.
#[derive(Default)]
pub(super) struct Commitments {
    all: Vec<Commitment>,
    vrf_key: Vec<u8>,
    /// Position of the entry from which on the log follows an edition with commitments.
    adopted: Option<u64>,
    /// Number of entries of data subjects before that. Only their streams can be unlinked.
    early_entries: u64,
    /// The recorded time of the first entry of a data subject after that, milliseconds since the Unix epoch.
    first_later_ms: Option<u64>,
    last_erasure: Option<u64>,
}

impl Commitments {
    /// Bytes in memory.
    pub fn bytes(&self) -> u64 {
        (self.all.len() * size_of::<Commitment>()) as u64
    }

    /// Counts the next entry of a data subject, erased or not.
    pub fn add_subject_entry(&mut self, recorded_at_ms: u64) {
        self.early_entries += u64::from(self.adopted.is_none());
        if self.adopted.is_some() {
            self.first_later_ms.get_or_insert(recorded_at_ms);
        }
    }

    /// If the log has no commitment although its edition has them, the recorded time of the first entry of a
    /// data subject in this edition.
    pub fn first_without_map_ms(&self) -> Option<u64> {
        self.first_later_ms.filter(|_| self.all.is_empty())
    }

    /// Applies the next system event.
    pub fn take(&mut self, position: u64, body: &EventBody) -> Result<(), String> {
        match &body.event {
            Some(Event::SubjectMapCommitted(committed)) => self.add(position, committed),
            Some(Event::ErasureCompleted(_)) => {
                self.last_erasure = Some(position);
                Ok(())
            }
            Some(Event::DecisionRulesAdopted(adopted)) if adopted.edition >= EDITION => {
                self.adopted.get_or_insert(position);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, position: u64, committed: &SubjectMapCommitted) -> Result<(), String> {
        let wrong = |problem: &str| Err(format!("the commitment to the subject map {problem}"));
        let SubjectMapCommitted { root, vrf_public_key, tree_size, subjects, unlinked } = committed;
        let Ok(root) = Hash::try_from(root.as_slice()) else { return wrong("has no root of 32 bytes") };
        if vrf_public_key.len() != 32 {
            return wrong("has no VRF key of 32 bytes");
        }
        if self.adopted.is_none() {
            return wrong("precedes edition 4 of the rules of decisions, which introduces it");
        }
        if *unlinked > self.early_entries {
            return wrong("states more people without a linked id than there can be");
        }
        if *tree_size > position {
            return wrong("describes entries that follow it");
        }
        match self.all.last() {
            None => self.vrf_key.clone_from(vrf_public_key),
            Some(_) if self.vrf_key != *vrf_public_key => {
                return wrong("names another VRF key than the first");
            }
            Some(before) if before.tree_size > *tree_size => {
                return wrong("describes less than the one before");
            }
            Some(before) if before.unlinked < *unlinked => {
                return wrong("has more people without a linked id than the one before");
            }
            Some(_) => {}
        }
        let (tree_size, subjects, unlinked) = (*tree_size, *subjects, *unlinked);
        self.all.push(Commitment { position, tree_size, root, subjects, unlinked });
        Ok(())
    }

    /// Whether the log has the commitment that a subject proof names.
    fn has(&self, named: &Named) -> bool {
        let place = self.all.binary_search_by_key(&named.position, |one| one.position);
        let found = place.ok().and_then(|place| self.all.get(place));
        let is_same =
            |one: &Commitment| one.root.as_slice() == named.root && one.tree_size == named.tree_size;
        named.vrf_public_key == self.vrf_key && found.is_some_and(is_same)
    }

    /// The commitments that can be checked; `None` if the log has no commitment. `has_file` says whether the
    /// bundle has `subject-map.bin`, and `proofs` are those of the ids that the user knows.
    ///
    /// # Errors
    /// Something was erased after the newest commitment; the file is missing although the log has a
    /// commitment, or is there although the log has none; or a proof is not valid for this log.
    pub fn plan(
        self,
        has_file: bool,
        proofs: &[SubjectProof],
        keys: &KeyChain,
    ) -> Result<Option<Plan>, VerifyFailure> {
        let given = GivenSubjects::verify(proofs, keys, |named| self.has(named));
        let given = given.map_err(|reason| VerifyFailure::at("--subject-proof", reason))?;
        let (Some(newest), Some(adopted)) = (self.all.last(), self.adopted) else {
            let reason = "the log has no commitment to a subject map";
            return if has_file { Err(VerifyFailure::at(Member::SubjectMap, reason)) } else { Ok(None) };
        };
        let is_current =
            |commitment: &Commitment| self.last_erasure.is_none_or(|at| at < commitment.tree_size);
        if !is_current(newest) {
            let reason = "entries were erased after the newest commitment to the subject map";
            let position = Some(newest.position);
            return Err(VerifyFailure { position, ..VerifyFailure::at("entries", reason) });
        }
        if !has_file {
            return Err(VerifyFailure::at(Member::SubjectMap, "the file is missing"));
        }
        let unlinked = newest.unlinked;
        let can_check = |one: &Commitment| is_current(one) && one.unlinked == unlinked;
        let count = self.all.len();
        let checked: Vec<Commitment> = self.all.into_iter().filter(can_check).collect();
        let tree_sizes = checked.iter().map(|one| one.tree_size).collect();
        let not_checked = count.saturating_sub(checked.len()) as u64;
        let mut given = Some(given).filter(|_| !proofs.is_empty());
        let is_checked = |at: u64| checked.binary_search_by_key(&at, |one| one.position).is_ok();
        given.iter_mut().for_each(|given| given.note_checked(is_checked));
        Ok(Some(Plan { checked, tree_sizes, not_checked, adopted, given }))
    }
}

/// The commitments to check, oldest first; at least one.
pub(super) struct Plan {
    checked: Vec<Commitment>,
    tree_sizes: Vec<u64>,
    not_checked: u64,
    /// Every stream that begins after this position is linked to an id.
    adopted: u64,
    /// The ids that the user knows, if any are given.
    pub given: Option<GivenSubjects>,
}

impl Plan {
    /// What to report if the check succeeds. `later_entries` is the number of entries of data subjects that
    /// the newest commitment does not describe, and `later_from_ms` is the recorded time of the first one.
    pub fn report(&self, later_entries: u64, later_from_ms: Option<u64>) -> MapReport {
        let newest = self.checked.last();
        MapReport {
            position: newest.map_or(0, |newest| newest.position),
            tree_size: newest.map_or(0, |newest| newest.tree_size),
            subjects: newest.map_or(0, |newest| newest.subjects),
            unlinked: newest.map_or(0, |newest| newest.unlinked),
            checked: self.checked.len() as u64,
            not_checked: self.not_checked,
            later_entries,
            later_from_ms,
        }
    }

    /// Position of the newest commitment.
    pub fn position(&self) -> u64 {
        self.report(0, None).position
    }
}

/// The value that a label has from a commitment on.
#[derive(prost::Message)]
pub(super) struct MapChange {
    /// Number of the commitment in the plan.
    #[prost(uint32, tag = "1")]
    commitment: u32,
    #[prost(bytes = "vec", tag = "2")]
    label: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    value: Vec<u8>,
}

/// What a group of streams adds to the map.
#[derive(Default)]
pub(super) struct MapOutcome {
    pub changes: Vec<MapChange>,
    pub subjects: u64,
    pub unlinked: u64,
    pub later_entries: u64,
    pub later_from_ms: Option<u64>,
    pub given: GivenFound,
    pub broken: Option<(u64, String)>,
}

/// Follows the streams of one group through the commitments.
pub(super) struct GroupMap<'a> {
    plan: Option<&'a Plan>,
    records: BTreeMap<Handle, MapRecord>,
    /// The newest state of each stream, with the number of the first commitment that has it.
    streams: BTreeMap<Handle, (u32, Stream)>,
    outcome: MapOutcome,
}

impl<'a> GroupMap<'a> {
    pub fn new(plan: Option<&'a Plan>) -> Self {
        Self { plan, records: BTreeMap::new(), streams: BTreeMap::new(), outcome: MapOutcome::default() }
    }

    /// Adds a record of the group. All records precede all entries.
    pub fn add_record(&mut self, record: MapRecord) {
        if let Some(given) = self.plan.and_then(|plan| plan.given.as_ref()) {
            given.compare(&record.label, record.handle, &mut self.outcome.given);
        }
        self.records.insert(record.handle, record);
    }

    /// Adds the next entry of the group, at this place: its version and leaf hash.
    pub fn add_entry(
        &mut self,
        (position, recorded_at_ms): (u64, u64),
        handle: Handle,
        version: u64,
        newest_leaf: Hash,
    ) {
        let Some(plan) = self.plan else { return };
        let commitment = plan.tree_sizes.partition_point(|size| *size <= position);
        if commitment == plan.tree_sizes.len() {
            self.outcome.later_entries += 1;
            self.outcome.later_from_ms.get_or_insert(recorded_at_ms);
            return;
        }
        let Some(record) = self.records.get(&handle) else {
            let reason = "the subject map leaves out the stream of this entry";
            self.break_at(position, reason);
            return;
        };
        let present = self.streams.get(&handle).map_or(0, |(_, stream)| stream.present).saturating_add(1);
        let stream = Stream { handle, events: version.saturating_add(1), present, newest_leaf };
        let commitment = commitment as u32;
        match self.streams.insert(handle, (commitment, stream)) {
            None if record.label == Label::unlinked(handle) => {
                self.outcome.unlinked += 1;
                if position > plan.adopted {
                    let reason = "the stream began in edition 4 of the rules, but is linked to no id";
                    self.break_at(position, reason);
                }
            }
            Some((earlier, before)) if earlier < commitment => {
                self.outcome.changes.push(change(earlier, record, &before));
            }
            _ => {}
        }
    }

    fn break_at(&mut self, position: u64, reason: &str) {
        self.outcome.broken.get_or_insert_with(|| (position, reason.to_owned()));
    }

    pub fn finish(mut self) -> MapOutcome {
        let Some(plan) = self.plan else { return self.outcome };
        self.outcome.subjects = self.records.len() as u64;
        if self.records.keys().any(|handle| !self.streams.contains_key(handle)) {
            self.break_at(plan.position(), "`subject-map.bin` has a stream without entries");
        }
        for (handle, (commitment, stream)) in &self.streams {
            if let Some(record) = self.records.get(handle) {
                self.outcome.changes.push(change(*commitment, record, stream));
            }
        }
        self.outcome
    }
}

fn change(commitment: u32, record: &MapRecord, stream: &Stream) -> MapChange {
    let value = stream.commitment(&record.blinding).to_vec();
    MapChange { commitment, label: record.label.0.to_vec(), value }
}

/// Everything that all groups add to the map.
pub(super) struct Changes {
    spool: Spool<MapChange>,
    subjects: u64,
    unlinked: u64,
    /// Number of entries that the newest commitment does not describe.
    pub later_entries: u64,
    /// The recorded time of the first of them, milliseconds since the Unix epoch.
    pub later_from_ms: Option<u64>,
    /// How the streams compare with the given ids.
    pub given: GivenFound,
}

impl Changes {
    /// For a log with this number of entries.
    pub fn new(entries: u64) -> Self {
        Self {
            spool: Spool::new(entries),
            subjects: 0,
            unlinked: 0,
            later_entries: 0,
            later_from_ms: None,
            given: GivenFound::default(),
        }
    }

    /// Adds what a group of streams adds. Returns the first fault in it.
    pub fn add(&mut self, outcome: MapOutcome) -> io::Result<Option<(u64, String)>> {
        self.subjects += outcome.subjects;
        self.unlinked += outcome.unlinked;
        self.later_entries += outcome.later_entries;
        self.later_from_ms = self.later_from_ms.into_iter().chain(outcome.later_from_ms).min();
        self.given.merge(outcome.given);
        for change in outcome.changes {
            let part = change.label.first().copied().unwrap_or_default();
            self.spool.push(&[part], &change)?;
        }
        Ok(outcome.broken)
    }

    /// Builds the map as of each commitment of the plan, one part at a time, and compares the roots. Returns
    /// the first fault.
    pub fn compare(&self, plan: &Plan) -> io::Result<Option<(u64, String)>> {
        let (mut steps, mut labels) = (Vec::new(), 0);
        for group in 0..self.spool.groups() {
            labels += self.parts_of(group, &mut steps)?;
        }
        let fault = |position: u64, reason: &str| Ok(Some((position, reason.to_owned())));
        let newest = plan.report(0, None);
        if labels != self.subjects {
            return fault(newest.position, "two streams have the same label in the subject map");
        }
        steps.sort_by_key(|(commitment, ..)| *commitment);
        let (mut steps, mut nodes) = (steps.into_iter().peekable(), vec![Subtree::Empty; 2 * PARTS]);
        for (number, commitment) in (0..).zip(&plan.checked) {
            while let Some((_, part, subtree)) = steps.next_if(|(at, ..)| *at <= number) {
                set_part(&mut nodes, part, subtree);
            }
            if nodes.get(1).copied().unwrap_or_default().hash() != commitment.root {
                let reason = "the committed root is not that of the map over the streams in this bundle";
                return fault(commitment.position, reason);
            }
        }
        if (newest.subjects, newest.unlinked) != (self.subjects, self.unlinked) {
            return fault(newest.position, "the commitment states other numbers of people than the map has");
        }
        Ok(None)
    }

    /// Adds each state of each part of a group to `steps`: the number of the first commitment with the state,
    /// the number of the part, and its hash. Returns the number of labels.
    fn parts_of(&self, group: usize, steps: &mut Vec<(u32, usize, Subtree)>) -> io::Result<u64> {
        let mut found = Vec::new();
        self.spool.for_each(group, &mut |change| {
            let label: [u8; 32] = change.label.try_into().map_err(|_| io::Error::other("not a label"))?;
            let value: Hash = change.value.try_into().map_err(|_| io::Error::other("not a value"))?;
            found.push((label[0], change.commitment, Label(label), value));
            Ok(())
        })?;
        found.sort_unstable_by_key(|(part, commitment, ..)| (*part, *commitment));
        let mut labels = 0;
        for part in found.chunk_by(|one, other| one.0 == other.0) {
            let mut map = SubjectMap::below(PART_BITS);
            for state in part.chunk_by(|one, other| one.1 == other.1) {
                for (_, _, label, value) in state {
                    map.set(*label, *value);
                }
                let first = state.first().map_or((0, 0), |(part, commitment, ..)| (*commitment, *part));
                steps.push((first.0, usize::from(first.1), map.subtree()));
            }
            labels += map.len();
        }
        Ok(labels)
    }
}

/// Sets a part, and the nodes above it. The parts are the last level of the tree, and the root is node 1.
fn set_part(nodes: &mut [Subtree], part: usize, subtree: Subtree) {
    let (mut number, mut subtree) = (PARTS + part, subtree);
    while let Some(node) = nodes.get_mut(number).filter(|_| number > 0) {
        *node = subtree;
        number /= 2;
        let of = |number: usize| nodes.get(number).copied().unwrap_or_default();
        subtree = Subtree::join(of(2 * number), of(2 * number + 1));
    }
}
