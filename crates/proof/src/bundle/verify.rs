//! Verifies a bundle from its first file to its last. It recomputes everything and trusts only the log's key.

mod context;
mod hashes;
pub(super) mod recording;
mod stated_counts;

use super::allowance::BytesRead;
use super::chain::Chains;
use super::check::{CheckedEntry, CheckedFile, Content, FileCheck};
use super::earlier::{Comparison, Recorder};
use super::files::Files;
use super::leaf_hashes::LeafHashes;
use super::left_out::EntriesByEdition;
use super::member::{MEMBER_BYTES_MAX, Member};
use super::rejection::{self, Rejection};
use super::report::{Progress, Report, VerifyFailure};
use super::source::{self, Source, Visitor};
use super::spool;
use super::subject_map::Commitments;
use super::subjects::Subjects;
use super::time_bounds::TimeBounds;
use super::timestamps::Timestamps;
use super::usage::{Flags, Query, UsageBuilder};
use crate::checkpoint::{Checkpoint, VerifierKey};
use crate::context::Options;
use crate::keys::KeyChain;
use ed25519_dalek::VerifyingKey;
use stated_counts::StatedCounts;
use std::io::{self, Read};
use std::sync::Arc;

/// Number of bytes read at a time; a multiple of 32.
const PIECE_BYTES: u64 = 256 << 10;

/// Verifies a bundle with a key of the log, the newest or an older one. It needs no daemon, no network and no
/// store.
///
/// `progress` is called from time to time. A grant that should not have been issued is part of the report,
/// and does not make the verification fail.
///
/// Memory grows by two bits for each entry. Apart from that, it does not grow with the number of entries or
/// data subjects. Data that is needed later goes to unnamed temporary files: about 380 bytes for each entry,
/// without the values of attributes. The files are in the folder that the environment variable `TMPDIR`
/// names. Memory also holds two files of entries (16 MiB each at most), the definitions, and the versions of
/// bounds and notices. For each stream that continues after erased entries, it holds 16 bytes. It also holds
/// 16 bytes for each erased entry, and about 120 more if a partial erasure states what the entry was. All of
/// this is limited by the size of the bundle as stored: leaf hashes to 2 times this size, and the rest to 4
/// times.
///
/// # Errors
/// The first check that fails. A fault in an entry is reported before a fault in a digest that covers the
/// entry.
pub fn verify(
    source: Source<'_>,
    key: &VerifierKey,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, VerifyFailure> {
    run(source, key, options, None, progress).map(|(report, _)| report)
}

/// Verifies a bundle, and puts aside what a record of uses needs, if there is a query.
pub(super) fn run<'a>(
    source: Source<'_>,
    key: &'a VerifierKey,
    options: &'a Options,
    query: Option<&'a Query>,
    progress: &'a mut dyn FnMut(Progress),
) -> Result<(Report, Option<UsageBuilder<'a>>), VerifyFailure> {
    let mut verifier = Verifier::new(key, options, progress);
    verifier.query = query;
    verifier.run(source).map(|verified| (verified.report, verified.usage))
}

struct Verifier<'a> {
    /// The bytes of the bundle that were read so far.
    read: BytesRead,
    /// The key that the user trusts; none if any key of the log will do.
    trusted: Option<&'a VerifierKey>,
    /// The log's keys, one of which is the trusted one.
    keys: Arc<KeyChain>,
    options: &'a Options,
    progress: &'a mut dyn FnMut(Progress),
    since: Option<Checkpoint>,
    /// Counts that the user gave.
    counts: Option<StatedCounts>,
    /// The comparisons with earlier exports that the user gave.
    earlier: Vec<Comparison>,
    /// Notes what the entries are, for a comparison with a later export.
    recorder: Option<Recorder>,
    records_entries: bool,
    /// The checkpoint. It is not verified before the keys are known.
    checkpoint_note: String,
    checkpoint: Checkpoint,
    last_member: Option<Member>,
    files: Files,
    timestamps: Timestamps,
    time_bounds: TimeBounds,
    leaf_hashes: LeafHashes,
    /// The check of the last file of entries, whose results were not applied yet.
    running_check: Option<(Member, FileCheck)>,
    /// Number of entries whose check was started.
    entries_started: u64,
    /// A fault that is reported only if every entry passes its own checks and the checks of its chain.
    deferred: Option<VerifyFailure>,
    /// Whether the root of the leaf hashes differs from that of the checkpoint. If so, nothing of the entries
    /// is kept.
    is_root_wrong: bool,
    next_position: u64,
    /// Whether the bundle has the file `subject-map.bin`.
    has_subject_map: bool,
    /// Which grants to record, if any.
    query: Option<&'a Query>,
    /// Set from the first entry on, if grants are recorded.
    usage: Option<UsageBuilder<'a>>,
    /// Set from the first entry to the last.
    entries: Option<EntriesState>,
    report: Report,
}

/// The state of the log up to the last entry applied.
struct EntriesState {
    chains: Chains,
    subjects: Subjects,
    /// The commitments to the subject map.
    commitments: Commitments,
    by_edition: EntriesByEdition,
    /// First position of each file of entries, to name the file in which a chain breaks.
    files: Vec<(u64, Member)>,
}

impl Visitor for Verifier<'_> {
    fn member(&mut self, member: Member, length: u64, data: &mut dyn Read) -> Result<(), VerifyFailure> {
        let outcome = self.process_member(member, length, data);
        if outcome.is_err() {
            self.running_check = None;
        }
        outcome
    }

    fn trailer_key(&self) -> VerifyingKey {
        self.bundle_key().key
    }
}

/// What remains of a verification whose checks all passed.
struct Verified<'a> {
    report: Report,
    usage: Option<UsageBuilder<'a>>,
    keys: Arc<KeyChain>,
    recorder: Option<Recorder>,
}

impl<'a> Verifier<'a> {
    fn new(key: &'a VerifierKey, options: &'a Options, progress: &'a mut dyn FnMut(Progress)) -> Self {
        Self {
            read: BytesRead::default(),
            trusted: Some(key),
            keys: Arc::new(KeyChain::from(key)),
            options,
            progress,
            since: None,
            counts: None,
            earlier: Vec::new(),
            recorder: None,
            records_entries: false,
            checkpoint_note: String::new(),
            checkpoint: Checkpoint { origin: key.name.clone(), size: 0, root: [0; 32] },
            last_member: None,
            files: Files::default(),
            timestamps: Timestamps::default(),
            time_bounds: TimeBounds::default(),
            leaf_hashes: LeafHashes::default(),
            running_check: None,
            entries_started: 0,
            deferred: None,
            is_root_wrong: false,
            next_position: 0,
            has_subject_map: false,
            query: None,
            usage: None,
            entries: None,
            report: Report::default(),
        }
    }

    fn run(mut self, source: Source<'_>) -> Result<Verified<'a>, VerifyFailure> {
        let read = self.read.clone();
        let walked = source::walk(source, &read, &mut self);
        let last_file = self.finish_running_check();
        let walked = self.apply_file(last_file).and(walked);
        // If reading stopped early, a broken chain in the entries read before is the earlier fault.
        self.check_subjects()?;
        self.finish(walked?)
    }

    /// Processes one file. The file is read while the previous file of entries is still being checked. The
    /// check of a new file of entries starts before the results of the previous one are applied.
    fn process_member(
        &mut self,
        member: Member,
        length: u64,
        data: &mut dyn Read,
    ) -> Result<(), VerifyFailure> {
        if member == Member::LeafHashes {
            let previous = self.finish_running_check();
            self.apply_file(previous)?;
            self.check_order(member)?;
            return self.read_leaf_hashes(length, data);
        }
        if member == Member::SubjectMap {
            self.check_order(member)?;
            return self.read_subject_map(length, data);
        }
        let read = self.read_member(member, length, data).map(Arc::new);
        let previous = self.finish_running_check();
        if let (Member::Entries(_), Ok(bytes)) = (member, &read) {
            let leaves = |count| self.leaf_hashes.read_next(count);
            let check =
                FileCheck::start(self.entries_started, bytes, &self.keys, leaves).map_err(spool_failure)?;
            self.entries_started += check.count;
            self.running_check = Some((member, check));
        }
        self.apply_file(previous)?;
        self.check_order(member)?;
        let bytes = read.map_err(|reason| self.read_failure(member, reason))?;
        match member {
            Member::Checkpoint => self.keep_checkpoint(&bytes)?,
            Member::Keys => self.check_keys(&bytes)?,
            Member::Bounds(position) | Member::Notices(position) => {
                self.files.check_document(member, position, &bytes)?;
            }
            Member::ManifestNote => return self.check_manifest_note(&bytes),
            Member::Report => self.report.stated_only.push(member.to_string()),
            Member::Timestamps(size) => self.timestamps.add(size, &bytes)?,
            Member::Entries(_) | Member::LeafHashes | Member::SubjectMap | Member::Manifest => {}
        }
        self.files.add(member, &bytes);
        Ok(())
    }

    /// The key that signed the checkpoint and the bundle.
    fn bundle_key(&self) -> &VerifierKey {
        self.keys.at(self.checkpoint.size)
    }

    /// Rejects files that are repeated, out of order, or before a required file.
    fn check_order(&mut self, member: Member) -> Result<(), VerifyFailure> {
        let previous = self.last_member.replace(member);
        if previous.is_some_and(|previous| previous >= member) {
            return Err(VerifyFailure::at(member, "the file is out of order or repeated"));
        }
        let expected = member.expected_after(previous);
        if expected != member {
            return Err(self.missing_file(expected));
        }
        match member {
            Member::Checkpoint | Member::Keys | Member::Timestamps(_) => Ok(()),
            Member::LeafHashes | Member::SubjectMap | Member::Entries(_) => Ok(()),
            _ => self.finish_entries(),
        }
    }

    fn missing_file(&self, expected: Member) -> VerifyFailure {
        self.read_failure(expected, "the file is missing".into())
    }

    /// The failure to report if a file can't be read. For a file of entries, it names the next position.
    fn read_failure(&self, member: Member, rejection: Rejection) -> VerifyFailure {
        let position = matches!(member, Member::Entries(_)).then_some(self.next_position);
        VerifyFailure { position, ..VerifyFailure::rejected(member, rejection) }
    }

    fn read_member(&self, member: Member, length: u64, data: &mut dyn Read) -> Result<Vec<u8>, Rejection> {
        let mut bytes = Vec::with_capacity(length.min(MEMBER_BYTES_MAX) as usize);
        self.read_pieces(member, length, data, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Passes a file to `process` in pieces. The length of each piece except the last is a multiple of 32.
    fn read_pieces(
        &self,
        member: Member,
        length: u64,
        data: &mut dyn Read,
        process: &mut dyn FnMut(&[u8]) -> Result<(), Rejection>,
    ) -> Result<(), Rejection> {
        let bytes_max = member.bytes_max(self.checkpoint.size);
        if length > bytes_max {
            return Err(format!("the file is larger than {bytes_max} bytes").into());
        }
        let mut data = data.take(length.saturating_add(1));
        let (mut piece, mut read) = (Vec::new(), 0);
        while read < length {
            piece.clear();
            let more = (&mut data).take(PIECE_BYTES).read_to_end(&mut piece);
            read += more.map_err(|error| Rejection::io("cannot read the file", &error))? as u64;
            if piece.is_empty() {
                break;
            }
            process(&piece)?;
        }
        if read == length { Ok(()) } else { Err("the file does not have its stated length".into()) }
    }

    /// Waits for the running check of a file of entries, if there is one.
    fn finish_running_check(&mut self) -> Option<(Member, CheckedFile)> {
        self.running_check.take().map(|(member, check)| (member, check.wait()))
    }

    /// Applies the results of a file of entries.
    fn apply_file(&mut self, checked: Option<(Member, CheckedFile)>) -> Result<(), VerifyFailure> {
        let Some((member, file)) = checked else { return Ok(()) };
        let first = self.next_position;
        self.entries_state().files.push((first, member));
        for verdict in file.verdicts {
            let applied = verdict.and_then(|checked| self.apply_entry(checked));
            applied.map_err(|rejection| {
                let failure = VerifyFailure::rejected(member, rejection);
                VerifyFailure { position: Some(self.next_position), ..failure }
            })?;
            self.next_position += 1;
        }
        (self.progress)(Progress::Entries(self.next_position, self.checkpoint.size));
        if file.ends_with_newline {
            Ok(())
        } else {
            let position = self.next_position.saturating_sub(1);
            Err(VerifyFailure::entry(position, member, "the line does not end with a newline"))
        }
    }

    fn entries_state(&mut self) -> &mut EntriesState {
        let entries = self.checkpoint.size;
        let options = self.options;
        self.entries.get_or_insert_with(|| EntriesState {
            chains: Chains::new(entries),
            subjects: Subjects::new(entries, options),
            commitments: Commitments::default(),
            by_edition: EntriesByEdition::default(),
            files: Vec::new(),
        })
    }

    fn apply_entry(&mut self, checked: CheckedEntry) -> Result<(), Rejection> {
        let keys = Arc::clone(&self.keys);
        self.entries_state().chains.check_next(&checked, &keys)?;
        self.compare_and_record(&checked)?;
        // The time of an erased entry is only that of the entry before it.
        if !matches!(checked.content, Content::Erased) {
            self.time_bounds.check(checked.position, checked.recorded_at_ms);
        }
        let report = &mut self.report;
        match &checked.content {
            Content::Erased => {
                report.erased += 1;
                let state = self.entries_state();
                state.subjects.add_erased();
                state.commitments.add_subject_entry(checked.recorded_at_ms);
                return Ok(());
            }
            Content::Withheld(_) => report.withheld += 1,
            Content::Sealed(..) => report.opened += 1,
            Content::Plain(_, body) => {
                report.plain += 1;
                if let Some(edition) = rejection::newer_edition(body) {
                    return Err(Rejection::too_new(edition));
                }
                self.files.expect_document(checked.position, body)?;
                let (position, state) = (checked.position, &mut self.entries);
                let counted = self.counts.as_mut().zip(body.event.as_ref());
                counted.into_iter().for_each(|(counts, event)| counts.add(position, event));
                state.as_mut().map_or(Ok(()), |state| state.commitments.take(position, body))?;
            }
        }
        report.entries += 1;
        report.signatures += 1;
        if self.is_root_wrong {
            return Ok(());
        }
        self.record(&checked)?;
        let state = self.entries_state();
        if !matches!(checked.content, Content::Plain(..)) {
            state.by_edition.add(state.chains.erased.statements.whole.edition());
            state.commitments.add_subject_entry(checked.recorded_at_ms);
        }
        state.subjects.add(checked).map_err(|error| spool::failed(&error))?;
        let kept = state.subjects.bytes().saturating_add(state.commitments.bytes());
        let flags = state.subjects.take_flags();
        self.usage.iter_mut().for_each(|usage| usage.flags.add(&flags));
        let kept = self.recorder.as_ref().map_or(kept, |recorder| kept.saturating_add(recorder.bytes()));
        Ok(self.read.allow_entries(kept)?)
    }

    /// Puts aside what the record of uses needs of an entry.
    fn record(&mut self, checked: &CheckedEntry) -> Result<(), Rejection> {
        let (Some(query), CheckedEntry { position, recorded_at_ms, content, .. }) = (self.query, checked)
        else {
            return Ok(());
        };
        let (Content::Sealed(header, body) | Content::Plain(header, body)) = content else { return Ok(()) };
        let (tier_keys, entries) = (&self.options.tier_keys, self.checkpoint.size);
        let usage = self.usage.get_or_insert_with(|| UsageBuilder::new(query, tier_keys, entries));
        usage.add(*position, *recorded_at_ms, header, body).map_err(|error| spool::failed(&error))?;
        Ok(self.read.allow_entries(usage.bytes())?)
    }

    /// Checks the chains and grants of all data subjects in the entries read so far. This runs once.
    fn check_subjects(&mut self) -> Result<(), VerifyFailure> {
        let Some(EntriesState { chains, subjects, files, commitments, by_edition }) = self.entries.take()
        else {
            return Ok(());
        };
        // The map is built from all entries.
        let is_whole = self.next_position == self.checkpoint.size && self.deferred.is_none();
        let proofs = self.options.subject_proofs.as_slice();
        self.report.not_in_map_from_ms = commitments.first_without_map_ms();
        let plan = match is_whole {
            true => commitments.plan(self.has_subject_map, proofs, &self.keys)?,
            false => None,
        };
        self.report.recorded_to_ms = chains.recorded_at_ms();
        self.report.left_out = by_edition.left_out();
        let uncovered = chains.erased.uncovered();
        let falsely_dated = chains.falsely_dated();
        let mut unused = Flags::default();
        let flags = self.usage.as_mut().map_or(&mut unused, |usage| &mut usage.flags);
        let outcome = subjects.check_all(chains.erased, plan.as_ref(), flags, self.progress);
        let outcome = outcome.map_err(spool_failure)?;
        if let Some((position, reason)) = outcome.broken {
            let file = files.iter().rev().find(|(first, _)| *first <= position);
            let member = file.map_or(Member::Entries(0), |(_, member)| *member);
            return Err(VerifyFailure::entry(position, member, reason));
        }
        if let Some(position) = uncovered {
            let reason = "the entry is erased, but no `ErasureCompleted` lists it";
            self.deferred =
                Some(VerifyFailure { position: Some(position), ..VerifyFailure::at("entries", reason) });
        }
        if let (Some(position), None) = (falsely_dated, &self.deferred) {
            let reason = "`recorded_at_ms` of the erased entry is not that of the entry before it";
            self.deferred =
                Some(VerifyFailure { position: Some(position), ..VerifyFailure::at("entries", reason) });
        }
        let given = plan.as_ref().and_then(|plan| plan.given.as_ref());
        self.report.given_subjects = given.map(|given| outcome.given.report(given));
        self.report.subject_map = plan.map(|plan| plan.report(outcome.later_entries, outcome.later_from_ms));
        self.report.subjects = outcome.subjects;
        self.report.grants = outcome.replayed;
        self.report.rules = outcome.rules;
        Ok(())
    }

    /// Runs the checks that need all entries: that no entry is missing, and that no fault was deferred.
    fn finish_entries(&mut self) -> Result<(), VerifyFailure> {
        self.check_subjects()?;
        if self.next_position != self.checkpoint.size {
            let position = Some(self.next_position);
            return Err(VerifyFailure { position, ..VerifyFailure::at("entries", "the entry is missing") });
        }
        self.deferred.take().map_or(Ok(()), Err)?;
        if let Some(counts) = self.counts.take() {
            self.report.counts = Some(counts.compare()?);
        }
        self.finish_comparisons()
    }

    fn check_manifest_note(&mut self, bytes: &[u8]) -> Result<(), VerifyFailure> {
        if let Some(document) = self.files.missing_document() {
            return Err(self.missing_file(document));
        }
        self.files.check_manifest(bytes, self.bundle_key(), self.checkpoint.size)?;
        self.report.signatures += 1;
        Ok(())
    }

    fn finish(mut self, signatures_of_source: u64) -> Result<Verified<'a>, VerifyFailure> {
        if self.last_member != Some(Member::ManifestNote) {
            return Err(self.missing_file(Member::ManifestNote));
        }
        self.report.origin = self.checkpoint.origin;
        self.report.tree_size = self.checkpoint.size;
        self.report.key_rotations = self.keys.rotations();
        self.report.root = hex::encode(self.checkpoint.root);
        self.report.signatures += signatures_of_source;
        self.report.continues = self.since.map(|since| since.size);
        let Self { report, usage, keys, recorder, .. } = self;
        Ok(Verified { report, usage, keys, recorder })
    }
}

pub(super) fn spool_failure(error: io::Error) -> VerifyFailure {
    VerifyFailure::rejected("temporary file", spool::failed(&error))
}
