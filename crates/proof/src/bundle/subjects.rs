//! Checks each data subject's chain of entries, and replays their grants (checks again whether each could be
//! issued).
//!
//! While the bundle is read, the needed parts of each entry go to a spool, which uses a temporary file.
//! Afterward the spool is processed one group of subjects at a time, so memory grows neither with the entries
//! nor with the subjects.
//!
//! Spooled events are minimized (see `replay/minimize.rs`): they have no values, but they still show which
//! handle had an attribute of which category. The temporary file has no name, and the operating system frees
//! it when the program ends.

use super::chain::ChainTip;
use super::check::{CheckedEntry, Content};
use super::erased::{Erased, Gap};
use super::event_ids::EventIds;
use super::gap_lookups::{GapLookups, MissingVersions};
use super::given_subjects::GivenFound;
use super::report::Progress;
use super::spool::Spool;
use super::statements::Statements;
use super::subject_map::{Changes, GroupMap, MapOutcome, MapRecord, Plan};
use super::usage::Flags;
use crate::context::Options;
use crate::entry::{Handle, Header, SchemaVersion};
use crate::event::{Actor, EventBody, event_body::Event};
use crate::merkle::Hash;
use crate::replay::{
    Fault, Flag, LogChecks, MissingEntries, Replay, Replayed, RuleEvent, RuleSignatures, SignedRules,
    SubjectEntry, minimize,
};
use crate::subject_map::Label;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// The parts of an entry that go to the spool.
#[derive(prost::Message)]
struct SpooledEntry {
    #[prost(uint64, tag = "1")]
    position: u64,
    #[prost(bytes = "vec", tag = "2")]
    handle: Vec<u8>,
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(bytes = "vec", optional, tag = "4")]
    previous: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "5")]
    leaf: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    event_id: Vec<u8>,
    #[prost(uint64, tag = "7")]
    sealed_at_ms: u64,
    /// Whether the bundle has the body.
    #[prost(bool, tag = "8")]
    readable: bool,
    /// The minimized event, if a check depends on it.
    #[prost(message, optional, tag = "9")]
    body: Option<EventBody>,
    #[prost(uint64, tag = "10")]
    recorded_at_ms: u64,
    /// Whether this is a record of the subject map instead of an entry. Then `leaf` is the label, and
    /// `previous` the blinding.
    #[prost(bool, tag = "11")]
    is_map_record: bool,
}

/// Where an entry is in the log, and when it was recorded.
struct Place {
    position: u64,
    recorded_at_ms: u64,
    leaf: Hash,
}

impl SpooledEntry {
    fn new(next: &Place, header: &Header, body: Option<EventBody>) -> Self {
        let Place { position, recorded_at_ms, leaf } = *next;
        Self {
            position,
            recorded_at_ms,
            handle: header.handle.0.to_vec(),
            version: header.version,
            previous: header.previous.map(|previous| previous.to_vec()),
            leaf: leaf.to_vec(),
            event_id: header.event_id.to_vec(),
            sealed_at_ms: header.sealed_at_ms,
            readable: body.is_some(),
            body: body.and_then(minimized),
            is_map_record: false,
        }
    }

    fn of_map(record: &MapRecord) -> Self {
        Self {
            handle: record.handle.0.to_vec(),
            leaf: record.label.0.to_vec(),
            previous: Some(record.blinding.to_vec()),
            is_map_record: true,
            ..Self::default()
        }
    }

    /// The record of the subject map, if this is one.
    fn map_record(&self) -> io::Result<Option<MapRecord>> {
        if !self.is_map_record {
            return Ok(None);
        }
        let blinding = to_array(self.previous.as_deref().unwrap_or_default())?;
        let (handle, label) = (Handle(to_array(&self.handle)?), Label(to_array(&self.leaf)?));
        Ok(Some(MapRecord { handle, label, blinding }))
    }

    fn header(&self) -> io::Result<Header> {
        let previous = self.previous.as_deref().map(to_array).transpose()?;
        Ok(Header {
            event_id: to_array(&self.event_id)?,
            handle: Handle(to_array(&self.handle)?),
            version: self.version,
            previous,
            sealed_at_ms: self.sealed_at_ms,
            idempotency: None,
            key_commitment: None,
            schema_version: SchemaVersion::One,
        })
    }
}

/// The minimized event with the time that it states; none if no check depends on it.
fn minimized(body: EventBody) -> Option<EventBody> {
    let event = body.event.and_then(minimize)?;
    // The role of the recorder. Its name is compared with the recipient of a grant, and else left out.
    let actor = body.actor.map(|actor| match &event {
        Event::GrantUsed(_) => actor,
        _ => Actor { role: actor.role, ..Actor::default() },
    });
    Some(EventBody { about_ms: body.about_ms, actor, event: Some(event), ..EventBody::default() })
}

fn to_array<const N: usize>(bytes: &[u8]) -> io::Result<[u8; N]> {
    bytes.try_into().map_err(io::Error::other)
}

/// A system event that a check of data subjects depends on.
struct SystemEvent {
    position: u64,
    event_id: [u8; 16],
    sealed_at_ms: u64,
    is_first: bool,
    event: Event,
}

/// The entries read so far, of all data subjects.
pub(super) struct Subjects {
    /// Number of entries of the log.
    entries: u64,
    spool: Spool<SpooledEntry>,
    system_events: Vec<SystemEvent>,
    /// Whether the log has an entry of a data subject.
    has_subject_entry: bool,
    signed_rules: SignedRules,
    log_checks: LogChecks,
    event_ids: EventIds,
    /// Findings that concern no grant.
    findings: Replayed,
    /// Bytes of the system events that are kept.
    system_bytes: u64,
}

/// The result of checking all data subjects.
#[derive(Default)]
pub(super) struct Outcome {
    /// Data subjects with at least one entry that is not erased.
    pub subjects: u64,
    /// The first entry that breaks its chain, and why.
    pub broken: Option<(u64, String)>,
    pub replayed: Replayed,
    pub rules: RuleSignatures,
    gaps: Vec<Gap>,
    lookups: GapLookups,
    flags: Vec<Flag>,
    map: MapOutcome,
    /// Number of entries of data subjects that no commitment to the subject map describes.
    pub later_entries: u64,
    /// The recorded time of the first of these entries, milliseconds since the Unix epoch.
    pub later_from_ms: Option<u64>,
    /// How the streams compare with the ids that the user knows.
    pub given: GivenFound,
}

impl Outcome {
    fn merge(&mut self, other: Self) {
        self.subjects += other.subjects;
        self.broken = earlier(self.broken.take(), other.broken);
        self.replayed.merge(other.replayed);
    }
}

fn earlier(left: Option<(u64, String)>, right: Option<(u64, String)>) -> Option<(u64, String)> {
    left.into_iter().chain(right).min_by_key(|(position, _)| *position)
}

impl Subjects {
    /// The state before the first entry of a log with this number of entries. `options` has the keys that the
    /// user trusts to sign rules.
    pub fn new(entries: u64, options: &Options) -> Self {
        Self {
            entries,
            spool: Spool::new(entries),
            system_events: Vec::new(),
            has_subject_entry: false,
            signed_rules: SignedRules::trusting(options),
            log_checks: LogChecks::default(),
            event_ids: EventIds::new(entries),
            findings: Replayed::default(),
            system_bytes: 0,
        }
    }

    /// Bytes that are kept, in memory and in temporary files.
    pub fn bytes(&self) -> u64 {
        self.spool.bytes().saturating_add(self.system_bytes)
    }

    /// Notes that the next entry is erased. System events are never erased, so it was an entry of a data
    /// subject.
    pub fn add_erased(&mut self) {
        self.has_subject_entry = true;
    }

    /// Adds a record of the subject map. All records precede all entries.
    pub fn add_map_record(&mut self, record: &MapRecord) -> io::Result<()> {
        self.spool.push(&record.handle.0, &SpooledEntry::of_map(record))
    }

    /// Adds the next entry.
    pub fn add(&mut self, next: CheckedEntry) -> io::Result<()> {
        let CheckedEntry { position, recorded_at_ms, leaf, .. } = next;
        let (header, body) = match next.content {
            Content::Erased => return Ok(()),
            Content::Withheld(header) => (header, None),
            Content::Sealed(header, body) | Content::Plain(header, body) => (header, Some(body)),
        };
        self.event_ids.add(next.position, &header.event_id)?;
        let faults = body.iter().flat_map(|body| self.log_checks.check_next(next.position, &header, body));
        faults.for_each(|fault| self.findings.add_fault_at(next.position, fault));
        self.findings.check_time(position, header.sealed_at_ms, recorded_at_ms);
        if header.handle == Handle::SYSTEM {
            body.into_iter().for_each(|body| self.add_system_event(position, recorded_at_ms, &header, body));
            return Ok(());
        }
        self.has_subject_entry = true;
        let place = Place { position, recorded_at_ms, leaf };
        self.spool.push(&header.handle.0, &SpooledEntry::new(&place, &header, body))
    }

    fn add_system_event(&mut self, position: u64, recorded_at_ms: u64, header: &Header, body: EventBody) {
        let Header { event_id, sealed_at_ms, .. } = *header;
        let has_subject_entry = self.has_subject_entry;
        let next = RuleEvent { position, recorded_at_ms, sealed_at_ms, body: &body, has_subject_entry };
        self.findings.add_rule_faults(self.signed_rules.check(&next));
        let is_first = self.signed_rules.is_at_beginning();
        let event = body.event.and_then(minimize);
        let bytes = event.as_ref().map_or(0, Event::encoded_len) as u64;
        self.system_bytes = self.system_bytes.saturating_add(bytes);
        let next = event.map(|event| SystemEvent { position, event_id, sealed_at_ms, is_first, event });
        self.system_events.extend(next);
    }

    /// The flags of the findings so far that concern no grant.
    pub fn take_flags(&mut self) -> Vec<Flag> {
        std::mem::take(&mut self.findings.flags)
    }

    /// Checks all data subjects, on all cores. `plan` says which commitments to the subject map are checked.
    /// Adds what is found to `flags`.
    pub fn check_all(
        mut self,
        mut erased: Erased,
        plan: Option<&Plan>,
        flags: &mut Flags,
        progress: &mut dyn FnMut(Progress),
    ) -> io::Result<Outcome> {
        let groups = self.spool.groups();
        let mut statements = std::mem::take(&mut erased.statements);
        statements.finish();
        let statements = &statements;
        let (faults, rules) = std::mem::take(&mut self.signed_rules).finish();
        let mut replayed = std::mem::take(&mut self.findings);
        replayed.add_rule_faults(faults);
        let mut repeated = Replayed::default();
        self.event_ids
            .for_each_repeated(&mut |position| repeated.add_fault_at(position, Fault::EventIdReused))?;
        replayed.merge(repeated);
        let mut all = Outcome { replayed, rules, ..Outcome::default() };
        let mut map = Changes::new(self.entries);
        let mut lookups = GapLookups::default();
        let next_group = AtomicUsize::new(0);
        let (sender, outcomes) = mpsc::channel();
        thread::scope(|scope| {
            let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
            for _ in 0..cores.min(groups) {
                let sender = sender.clone();
                scope.spawn(|| {
                    let next = || {
                        let group = next_group.fetch_add(1, Ordering::Relaxed);
                        Some(group).filter(|group| *group < groups)
                    };
                    // Sending fails once a group has failed, because the receiver is gone then.
                    std::iter::from_fn(next)
                        .all(|group| sender.send(self.check_group(group, statements, plan)).is_ok());
                    drop(sender);
                });
            }
            drop(sender);
            let mut finished = 0;
            for outcome in outcomes {
                let mut outcome = outcome?;
                outcome.gaps.drain(..).try_for_each(|gap| erased.add_gap(&gap))?;
                lookups.extend(std::mem::take(&mut outcome.lookups));
                flags.add(&std::mem::take(&mut outcome.flags));
                let fault = map.add(std::mem::take(&mut outcome.map))?;
                all.broken = earlier(all.broken.take(), fault);
                all.merge(outcome);
                finished += 1;
                progress(Progress::Subjects(finished, groups as u64));
            }
            Ok::<_, io::Error>(())
        })?;
        let rest = |erasure| statements.may_have_erased_the_rest(erasure);
        let mut false_erasures = lookups.false_erasures(statements.stated(), rest);
        false_erasures.extend(statements.false_erasures());
        false_erasures.into_iter().for_each(|at| all.replayed.add_fault_at(at, Fault::FalseErasure));
        flags.add(&std::mem::take(&mut all.replayed.flags));
        let gap = erased.first_unaccounted_gap()?.map(|gap| (gap.position, gap.reason()));
        all.broken = earlier(all.broken, gap);
        (all.later_entries, all.later_from_ms) = (map.later_entries, map.later_from_ms);
        all.given = std::mem::take(&mut map.given);
        if let (Some(plan), None) = (plan, &all.broken) {
            all.broken = map.compare(plan)?;
        }
        Ok(all)
    }

    /// Checks the entries of one group in order of position, together with the system events between them.
    fn check_group(
        &self,
        number: usize,
        statements: &Statements,
        plan: Option<&Plan>,
    ) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut tips: HashMap<Handle, ChainTip> = HashMap::new();
        let mut replay = Replay::default();
        let mut map = GroupMap::new(plan);
        let mut system_events = self.system_events.iter().peekable();
        self.spool.for_each(number, &mut |spooled| {
            if outcome.broken.is_some() {
                return Ok(());
            }
            if let Some(record) = spooled.map_record()? {
                map.add_record(record);
                return Ok(());
            }
            let (header, leaf) = (spooled.header()?, to_array(&spooled.leaf)?);
            let place = (spooled.position, spooled.recorded_at_ms);
            map.add_entry(place, header.handle, header.version, leaf);
            while let Some(earlier) = system_events.next_if(|event| event.position < spooled.position) {
                replay.apply_system_event(
                    earlier.position,
                    earlier.event_id,
                    earlier.sealed_at_ms,
                    earlier.is_first,
                    &earlier.event,
                );
            }
            let mut missing = MissingEntries::default();
            let tip = tips.get(&header.handle);
            match ChainTip::advance(tip, spooled.position, &header, leaf) {
                Ok((next, gap)) => {
                    if let Some(gap) = &gap {
                        let versions = missing_versions(tip, &header, gap);
                        missing = statements.missing(&versions, &mut outcome.lookups);
                    }
                    tips.insert(header.handle, next);
                    outcome.gaps.extend(gap);
                }
                Err(reason) => outcome.broken = Some((spooled.position, reason)),
            }
            replay.apply_subject_entry(&SubjectEntry {
                position: spooled.position,
                recorded_at_ms: spooled.recorded_at_ms,
                header: &header,
                readable: spooled.readable,
                body: spooled.body.as_ref(),
                missing: &missing,
            });
            Ok(())
        })?;
        outcome.subjects = tips.len() as u64;
        (outcome.replayed, outcome.flags) = replay.finish_with_flags();
        outcome.map = map.finish();
        Ok(outcome)
    }
}

/// The versions that a stream skips after `tip` and before the entry with this header.
fn missing_versions(tip: Option<&ChainTip>, header: &Header, gap: &Gap) -> MissingVersions {
    MissingVersions {
        handle: header.handle,
        after: tip.map(|tip| tip.position),
        before: gap.position,
        version: header.version,
        count: gap.missing,
        last: gap.previous,
    }
}
