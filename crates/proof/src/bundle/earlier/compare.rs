//! Compares a log, entry by entry, with an earlier export of it.

use super::kind::ExportedKind;
use super::record::{AboutAttribute, Earlier, Inner, Record};
use crate::bundle::check::{CheckedEntry, Content};
use crate::bundle::rejection::Rejection;
use crate::bundle::report::{EarlierReport, VerifyFailure};
use crate::bundle::whole_erasures::WholeErasures;
use crate::event::event_body::Event;
use crate::event::{ErasedKind, ErasureCompleted};
use crate::keys::KeyChain;
use crate::replay::Fault;
use std::collections::HashMap;
use std::io;

const PLACE: &str = "--earlier";
/// Number of records read at a time.
const BLOCK_RECORDS: usize = 4096;
/// Stands for no erasure. Positions are smaller.
const NEVER: u64 = u64::MAX;

/// An entry that the earlier export has or states as erased, and that the log has not.
struct Gone {
    position: u64,
    kind: ExportedKind,
    /// Whom it was about, and its version in their stream.
    handle: [u8; 16],
    version: u64,
    /// The position of the first erasure that lists it.
    erased_at: u64,
    /// The position of the first erasure that states that it was an attribute.
    attribute_at: u64,
    /// The position of the last erasure that states that it was a decision, plus one; 0 if none does.
    decision_before: u64,
    /// Whether an erasure states any kind of it.
    is_stated: bool,
    /// Whether a stated kind is not what the export shows.
    is_false: bool,
    /// Whether its recorded time is now stated to be later than in the export.
    is_later: bool,
}

/// The comparison with one earlier export. Memory: 88 bytes for each erased entry, and about 40 for each
/// stream that it was in.
pub(in crate::bundle) struct Comparison {
    earlier: Earlier,
    /// The records of the positions from `first` on.
    block: Vec<Record>,
    first: u64,
    /// The first position at which the log has another entry.
    fork_at: Option<u64>,
    /// In order of position.
    gone: Vec<Gone>,
    /// For each of them, an index that is not above that of the next one whose `erased_at` is not set.
    uncovered: Vec<usize>,
    /// The streams of these entries, each with whether the log has a later entry of it.
    // Unordered: looked up, never iterated.
    continued: HashMap<[u8; 16], bool>,
    whole: WholeErasures,
}

impl Comparison {
    /// Begins the comparison with a log that has these keys and this number of entries.
    ///
    /// # Errors
    /// The export is of another log, or it has more entries or other keys than the log.
    pub fn begin(earlier: &Earlier, keys: &KeyChain, entries: u64) -> Result<Self, VerifyFailure> {
        let Inner { keys: earlier_keys, checkpoint, .. } = earlier.0.as_ref();
        if earlier_keys.first() != keys.first() {
            let reason = format!(
                "the earlier export is of another log: its first key is {}, and that of this log is {}",
                earlier_keys.first(),
                keys.first()
            );
            return Err(VerifyFailure::rejected(PLACE, Rejection::machine(reason)));
        }
        if checkpoint.size > entries {
            let reason = format!(
                "the earlier export has {} entries, and the log that must continue it has only {entries}",
                checkpoint.size
            );
            return Err(VerifyFailure::at(PLACE, reason));
        }
        if *earlier_keys != keys.of_size(checkpoint.size) {
            let reason = "the log does not continue the earlier export: it changed its key otherwise";
            return Err(VerifyFailure::at(PLACE, reason));
        }
        let earlier = earlier.clone();
        let (block, gone, uncovered) = (Vec::new(), Vec::new(), Vec::new());
        let (continued, whole) = (HashMap::new(), WholeErasures::default());
        Ok(Self { earlier, block, first: 0, fork_at: None, gone, uncovered, continued, whole })
    }

    fn record(&mut self, position: u64) -> io::Result<Option<Record>> {
        if position >= self.earlier.0.checkpoint.size {
            return Ok(None);
        }
        let index = |first: u64| usize::try_from(position.saturating_sub(first)).unwrap_or(usize::MAX);
        if index(self.first) >= self.block.len() {
            (self.first, self.block) = (position, self.earlier.0.read(position, BLOCK_RECORDS)?);
        }
        self.block.get(index(self.first)).copied().map(Some).ok_or_else(|| io::Error::other("a short file"))
    }

    /// Compares the next entry of the log.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub fn add(&mut self, next: &CheckedEntry) -> io::Result<()> {
        if let Content::Plain(_, body) = &next.content {
            body.event.iter().for_each(|event| self.whole.note(next.position, event));
            if let Some(Event::ErasureCompleted(erasure)) = &body.event {
                self.add_erasure(next.position, erasure);
            }
        }
        let handle = next.content.header().map(|header| header.handle.0);
        if let Some(continued) = handle.and_then(|handle| self.continued.get_mut(&handle)) {
            *continued = true;
        }
        let Some(record) = self.record(next.position)? else { return Ok(()) };
        if record.leaf != next.leaf {
            self.fork_at.get_or_insert(next.position);
        }
        if matches!(next.content, Content::Erased) {
            self.uncovered.push(self.gone.len());
            if record.kind != ExportedKind::Erased {
                self.continued.entry(record.handle).or_default();
            }
            self.gone.push(Gone {
                position: next.position,
                kind: record.kind,
                handle: record.handle,
                version: record.version,
                erased_at: NEVER,
                attribute_at: NEVER,
                decision_before: 0,
                is_stated: false,
                is_false: false,
                is_later: next.recorded_at_ms > record.recorded_at_ms,
            });
        }
        Ok(())
    }

    /// Compares what an erasure states about the entries that it lists.
    fn add_erasure(&mut self, erasure: u64, event: &ErasureCompleted) {
        let (mut kinds, mut versions) = (event.kinds(), event.versions.iter());
        let mut of_stream = None;
        for range in &event.discarded {
            let from = self.gone.partition_point(|gone| gone.position < range.first);
            let to = self.gone.partition_point(|gone| gone.position <= range.last);
            self.cover(from, to, erasure);
            if event.kinds.is_empty() && event.versions.is_empty() {
                continue;
            }
            for position in range.first..=range.last {
                let (kind, version) = (kinds.next(), versions.next());
                let found = self.gone.binary_search_by_key(&position, |gone| gone.position);
                let Some(gone) = found.ok().and_then(|index| self.gone.get_mut(index)) else { continue };
                kind.into_iter().for_each(|kind| gone.state(erasure, kind));
                if let Some(version) = version.filter(|_| gone.kind != ExportedKind::Erased) {
                    // An erasure that states versions is of one stream.
                    let handle = *of_stream.get_or_insert(gone.handle);
                    gone.is_false |= gone.version != *version || gone.handle != handle;
                }
            }
        }
    }

    /// Notes the first erasure of entries with these indices. Each entry is looked at only once, however many
    /// erasures list it.
    fn cover(&mut self, from: usize, to: usize, erasure: u64) {
        let mut index = self.next_uncovered(from);
        while index < to {
            self.gone.get_mut(index).into_iter().for_each(|gone| gone.erased_at = erasure);
            self.uncovered.get_mut(index).into_iter().for_each(|next| *next = index + 1);
            index = self.next_uncovered(index);
        }
    }

    fn next_uncovered(&mut self, from: usize) -> usize {
        let mut end = from;
        while let Some(next) = self.uncovered.get(end).filter(|next| **next > end) {
            end = *next;
        }
        // Later searches skip what this one found to be covered.
        let mut index = from;
        while index < end {
            let Some(next) = self.uncovered.get_mut(index) else { break };
            index = std::mem::replace(next, end);
        }
        end
    }

    /// Ends the comparison, after the last entry of the log. Returns what is false, each with its position.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub fn finish(mut self) -> io::Result<Compared> {
        self.compare_with_attributes()?;
        self.compare_whole_erasures()?;
        let Inner { checkpoint, findings, .. } = self.earlier.0.as_ref();
        let mut report =
            EarlierReport { tree_size: checkpoint.size, findings: *findings, ..EarlierReport::default() };
        let mut faults = Vec::new();
        for gone in &self.gone {
            let false_kind = gone.is_false.then_some(Fault::FalseErasedKind);
            let later = gone.is_later.then_some(Fault::RecordedLater);
            faults.extend(false_kind.into_iter().chain(later).map(|fault| (gone.position, fault)));
            if gone.kind == ExportedKind::Erased {
                continue;
            }
            report.erased_since += 1;
            report.not_known += u64::from(gone.kind == ExportedKind::Withheld);
            report.not_stated += u64::from(gone.kind != ExportedKind::Withheld && !gone.is_stated);
        }
        Ok(Compared { report, faults, fork: self.fork_at.map(fork) })
    }

    /// Finds entries that an erasure of everything lists, although something of their stream remains.
    fn compare_whole_erasures(&mut self) -> io::Result<()> {
        let is_whole = |gone: &Gone| gone.kind != ExportedKind::Erased && self.whole.contains(gone.erased_at);
        let streams = self.gone.iter().filter(|gone| is_whole(gone)).map(|gone| gone.handle);
        // Unordered: looked up, never iterated.
        let mut remains: HashMap<[u8; 16], bool> = streams
            .map(|handle| (handle, self.continued.get(&handle).copied().unwrap_or_default()))
            .collect();
        if remains.is_empty() {
            return Ok(());
        }
        let Inner { checkpoint, .. } = self.earlier.0.as_ref();
        let (mut position, mut gone) = (0, self.gone.iter().map(|gone| gone.position).peekable());
        while position < checkpoint.size {
            let records = self.earlier.0.read(position, BLOCK_RECORDS)?;
            if records.is_empty() {
                return Err(io::Error::other("a short file"));
            }
            for record in records {
                let is_gone = gone.next_if_eq(&position).is_some();
                if let Some(remains) = remains.get_mut(&record.handle).filter(|_| !is_gone) {
                    *remains = true;
                }
                position += 1;
            }
        }
        let whole = &self.whole;
        let is_whole = |gone: &&mut Gone| gone.kind != ExportedKind::Erased && whole.contains(gone.erased_at);
        for gone in self.gone.iter_mut().filter(is_whole) {
            gone.is_false |= remains.get(&gone.handle).copied().unwrap_or_default();
        }
        Ok(())
    }

    /// Whether an event about an attribute was erased as what it was depends on whether the attribute had
    /// been erased by then.
    fn compare_with_attributes(&mut self) -> io::Result<()> {
        if !self.gone.iter().any(|gone| gone.kind == ExportedKind::AboutAttribute) {
            return Ok(());
        }
        let Inner { attributes, .. } = self.earlier.0.as_ref();
        for group in 0..attributes.groups() {
            let (mut recorded, mut about) = (HashMap::new(), Vec::new());
            attributes.for_each(group, &mut |AboutAttribute { id, position, is_recorded }| {
                match is_recorded {
                    true => drop(recorded.insert(id, position)),
                    false => about.push((id, position)),
                }
                Ok(())
            })?;
            for (id, position) in about {
                // The attribute had been erased before the earlier export, or its content was withheld there.
                let Some(attribute) = recorded.get(&id) else { continue };
                let erased_at = self.index(*attribute).and_then(|index| self.gone.get(index));
                let erased_at = erased_at.map_or(NEVER, |gone| gone.erased_at);
                let gone = self.index(position).and_then(|index| self.gone.get_mut(index));
                gone.into_iter().for_each(|gone| {
                    gone.is_false |= gone.attribute_at < erased_at || gone.decision_before > erased_at;
                });
            }
        }
        Ok(())
    }

    fn index(&self, position: u64) -> Option<usize> {
        self.gone.binary_search_by_key(&position, |gone| gone.position).ok()
    }
}

/// The result of a comparison.
pub(in crate::bundle) struct Compared {
    pub report: EarlierReport,
    pub faults: Vec<(u64, Fault)>,
    /// The failure, if the log does not continue the export.
    pub fork: Option<VerifyFailure>,
}

fn fork(position: u64) -> VerifyFailure {
    let reason = "the log does not continue the earlier export, which has another entry at this position";
    VerifyFailure { position: Some(position), ..VerifyFailure::at(PLACE, reason) }
}

impl Gone {
    /// Compares the kind that an erasure states.
    fn state(&mut self, erasure: u64, kind: ErasedKind) {
        self.is_stated |= kind != ErasedKind::Unspecified;
        let right = match self.kind {
            ExportedKind::Erased | ExportedKind::Withheld => return,
            ExportedKind::Attribute => ErasedKind::Attribute,
            ExportedKind::Decision => ErasedKind::Decision,
            // Whether it still forbids a use depends on everything else that the person has.
            ExportedKind::RefusedErasure if kind == ErasedKind::Decision => ErasedKind::Decision,
            ExportedKind::RefusedErasure | ExportedKind::Other | ExportedKind::System => ErasedKind::Other,
            ExportedKind::AboutAttribute => {
                match kind {
                    ErasedKind::Attribute => self.attribute_at = self.attribute_at.min(erasure),
                    ErasedKind::Decision => {
                        self.decision_before = self.decision_before.max(erasure.saturating_add(1));
                    }
                    ErasedKind::Unspecified => {}
                    ErasedKind::Other => self.is_false = true,
                }
                return;
            }
        };
        self.is_false |= kind != ErasedKind::Unspecified && kind != right;
    }
}
