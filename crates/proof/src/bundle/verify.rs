//! Checks a bundle from its first file to its last, recomputing everything and trusting nothing but the key.

use super::chain::Chains;
use super::check::{Checked, CheckedFile, Checking, Content};
use super::files::Files;
use super::leaf_hashes::LeafHashes;
use super::member::{MEMBER_BYTES_MAX, Member};
use super::report::{Progress, Report, VerifyFailure};
use super::source::{self, Source, Visitor};
use super::spool;
use super::subjects::People;
use crate::checkpoint::{Checkpoint, VerifierKey};
use crate::keys::KeyChain;
use crate::merkle::{Frontier, Hash};
use crate::witness::{WitnessKey, cosignatures};
use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::sync::Arc;

/// How much of a file is read at once: a multiple of 32.
const PIECE_BYTES: u64 = 256 << 10;

/// What to check besides.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// An older checkpoint of the same log, as a signed note: the bundle has to continue it.
    pub since: Option<String>,
    /// Witnesses that the user trusts.
    pub witnesses: Vec<WitnessKey>,
    /// How many of them must have cosigned the checkpoint.
    pub witnesses_min: usize,
}

/// Verifies a bundle with a key of the log, the newest or an older one: needs no daemon, no network, no store.
///
/// `progress` is told now and then. Grants that should not have been issued are no failure but part of the report.
///
/// Memory does not follow the number of entries or of people, but for two bits an entry: what is needed again later is
/// put aside, without the values of facts, in temporary files that have no names (some 250 bytes an entry, where
/// the environment's `TMPDIR` says). It does follow the entries of one file (16 MiB at most), the number of definitions,
/// versions of bounds and notices, and where entries were erased the number of chains that go on behind them (16 bytes).
///
/// # Errors
/// The first thing that does not hold; what is wrong with an entry comes before what is wrong with a digest of it.
pub fn verify(
    source: Source<'_>,
    key: &VerifierKey,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, VerifyFailure> {
    let mut verifier = Verifier {
        trusted: key,
        keys: Arc::new(KeyChain::from(key)),
        options,
        progress,
        since: None,
        checkpoint_note: String::new(),
        checkpoint: Checkpoint { origin: key.name.clone(), size: 0, root: [0; 32] },
        last: None,
        files: Files::default(),
        leaf_hashes: LeafHashes::default(),
        checking: None,
        given: 0,
        deferred: None,
        next: 0,
        reading: None,
        report: Report::default(),
    };
    let walked = source::walk(source, &mut verifier);
    let last = verifier.checked();
    let walked = verifier.settle(last).and(walked);
    // Whatever failed comes after the entries before it, whose chains are only looked at now.
    verifier.go_through_people()?;
    verifier.finish(walked?)
}

struct Verifier<'a> {
    /// What the user said to trust.
    trusted: &'a VerifierKey,
    /// What the log had, which that is one of.
    keys: Arc<KeyChain>,
    options: &'a Options,
    progress: &'a mut dyn FnMut(Progress),
    since: Option<Checkpoint>,
    /// Believed once the keys are known.
    checkpoint_note: String,
    checkpoint: Checkpoint,
    last: Option<Member>,
    files: Files,
    leaf_hashes: LeafHashes,
    /// The file of entries that was read last, while nobody has looked at what came out of it.
    checking: Option<(Member, Checking)>,
    /// Number of entries given out to be checked.
    given: u64,
    /// A root that does not fit: told only if no single entry is to blame.
    deferred: Option<VerifyFailure>,
    next: u64,
    /// From the first entry to the last.
    reading: Option<Reading>,
    report: Report,
}

/// The log as far as its entries were read.
struct Reading {
    chains: Chains,
    people: People,
    /// Which file of entries each position is in, by the first: to name the one where a chain breaks.
    files: Vec<(u64, Member)>,
}

impl Visitor for Verifier<'_> {
    fn member(&mut self, member: Member, length: u64, data: &mut dyn Read) -> Result<(), VerifyFailure> {
        let seen = self.see(member, length, data);
        if seen.is_err() {
            self.checking = None;
        }
        seen
    }

    fn trailer_key(&self) -> VerifyingKey {
        self.key().key
    }
}

impl Verifier<'_> {
    /// Takes a file: it is read while the entries before it are still being checked, and if it has entries itself, checking
    /// them begins before a look at what came out of those.
    fn see(&mut self, member: Member, length: u64, data: &mut dyn Read) -> Result<(), VerifyFailure> {
        if member == Member::LeafHashes {
            let before = self.checked();
            self.settle(before)?;
            self.in_order(member)?;
            return self.leaf_hashes(length, data);
        }
        let read = self.read(member, length, data).map(Arc::new);
        let before = self.checked();
        if let (Member::Entries(_), Ok(bytes)) = (member, &read) {
            let leaves = |count| self.leaf_hashes.next(count);
            let checking =
                Checking::begin(self.given, bytes, &self.keys, leaves).map_err(set_aside_failed)?;
            self.given += checking.count;
            self.checking = Some((member, checking));
        }
        self.settle(before)?;
        self.in_order(member)?;
        let bytes = read.map_err(|reason| self.unreadable(member, reason))?;
        match member {
            Member::Checkpoint => self.checkpoint(&bytes)?,
            Member::Keys => self.keys(&bytes)?,
            Member::Bounds(position) | Member::Notices(position) => {
                self.files.document(member, position, &bytes)?;
            }
            Member::ManifestNote => return self.note(&bytes),
            Member::Entries(_) | Member::LeafHashes | Member::Report | Member::Manifest => {}
        }
        self.files.take(member, &bytes);
        Ok(())
    }

    /// The key that signed the checkpoint, and the bundle.
    fn key(&self) -> &VerifierKey {
        self.keys.at(self.checkpoint.size)
    }

    /// Refuses files twice, out of order, or before something that they need.
    fn in_order(&mut self, member: Member) -> Result<(), VerifyFailure> {
        let before = self.last.replace(member);
        if before.is_some_and(|before| before >= member) {
            return Err(VerifyFailure::at(member, "out of order or twice"));
        }
        let due = match (before, member) {
            (None, _) => Member::Checkpoint,
            (Some(Member::Checkpoint), _) => Member::Keys,
            (Some(Member::Keys), _) => Member::LeafHashes,
            (Some(Member::LeafHashes), Member::Entries(_)) => Member::Entries(0),
            (Some(Member::Entries(number)), Member::Entries(_)) => Member::Entries(number.saturating_add(1)),
            (Some(Member::Manifest), _) => Member::ManifestNote,
            (Some(_), Member::ManifestNote) => Member::Manifest,
            _ => member,
        };
        if due != member {
            return Err(self.missing(due));
        }
        match member {
            Member::Checkpoint | Member::Keys | Member::LeafHashes | Member::Entries(_) => Ok(()),
            _ => self.entries_end(),
        }
    }

    fn missing(&self, due: Member) -> VerifyFailure {
        let position = matches!(due, Member::Entries(_)).then_some(self.next);
        VerifyFailure { position, ..VerifyFailure::at(due, "the file is missing") }
    }

    fn unreadable(&self, member: Member, reason: String) -> VerifyFailure {
        let position = matches!(member, Member::Entries(_)).then_some(self.next);
        VerifyFailure { position, ..VerifyFailure::at(member, reason) }
    }

    fn read(&self, member: Member, length: u64, data: &mut dyn Read) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::with_capacity(length.min(MEMBER_BYTES_MAX) as usize);
        self.read_by(member, length, data, &mut |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Gives a file to `take` piece by piece; each but the last has a length that is a multiple of 32.
    fn read_by(
        &self,
        member: Member,
        length: u64,
        data: &mut dyn Read,
        take: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let bound = member.bytes_max(self.checkpoint.size);
        if length > bound {
            return Err(format!("more than {bound} bytes"));
        }
        let mut data = data.take(length.saturating_add(1));
        let (mut piece, mut read) = (Vec::new(), 0);
        while read < length {
            piece.clear();
            let more = (&mut data).take(PIECE_BYTES).read_to_end(&mut piece);
            read += more.map_err(|error| format!("can't be read: {error}"))? as u64;
            if piece.is_empty() {
                break;
            }
            take(&piece)?;
        }
        if read == length { Ok(()) } else { Err("not as long as it says".to_owned()) }
    }

    /// Only read here: which key has to have signed it stands in the next file.
    fn checkpoint(&mut self, bytes: &[u8]) -> Result<(), VerifyFailure> {
        let failed = |reason: String| VerifyFailure::at(Member::Checkpoint, reason);
        self.checkpoint_note =
            String::from_utf8(bytes.to_vec()).map_err(|error| failed(error.to_string()))?;
        Ok(())
    }

    fn keys(&mut self, bytes: &[u8]) -> Result<(), VerifyFailure> {
        let failed = |reason: String| VerifyFailure::at(Member::Keys, reason);
        let text = std::str::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
        self.keys = Arc::new(KeyChain::parse(text, self.trusted).map_err(|error| failed(error.to_string()))?);
        let failed = |reason: String| VerifyFailure::at(Member::Checkpoint, reason);
        let checkpoint = self.keys.open(&self.checkpoint_note).map_err(|error| failed(error.to_string()))?;
        if *self.keys != self.keys.of_size(checkpoint.size) {
            return Err(VerifyFailure::at(Member::Keys, "a key from beyond the end of the log"));
        }
        self.checkpoint = checkpoint;
        self.report.signatures += 1 + 2 * self.keys.rotations();
        let cosigned = cosignatures(&self.checkpoint_note, &self.options.witnesses);
        let cosigned = cosigned.map_err(|error| failed(format!("a cosignature: {error}")))?;
        self.report.signatures += cosigned.len() as u64;
        let (found, needed) = (cosigned.len(), self.options.witnesses_min);
        if found < needed {
            return Err(failed(format!(
                "cosigned by {found} of the witnesses given, and {needed} are needed"
            )));
        }
        self.report.witnesses = cosigned;
        let since = self.options.since.as_deref().map(|note| self.keys.open(note)).transpose();
        self.since = since.map_err(|error| VerifyFailure::at("--since", error))?;
        if self.since.as_ref().is_some_and(|since| since.size > self.checkpoint.size) {
            return Err(failed("older than the checkpoint it should continue".to_owned()));
        }
        Ok(())
    }

    fn leaf_hashes(&mut self, length: u64, data: &mut dyn Read) -> Result<(), VerifyFailure> {
        let member = Member::LeafHashes;
        let mut aside = std::mem::take(&mut self.leaf_hashes);
        let (mut tree, mut digest) = (Frontier::new(), Sha256::new());
        let mut continues = self.since.as_ref().filter(|since| since.size == 0).map(|_| tree.root());
        let read = self.read_by(member, length, data, &mut |piece| {
            digest.update(piece);
            for leaf in piece.as_chunks::<32>().0 {
                tree.push(*leaf);
                if self.since.as_ref().is_some_and(|since| since.size == tree.size()) {
                    continues = Some(tree.root());
                }
            }
            aside.push(piece).map_err(|error| spool::failed(&error))
        });
        read.map_err(|reason| VerifyFailure::at(member, reason))?;
        aside.rewind().map_err(set_aside_failed)?;
        self.leaf_hashes = aside;
        self.files.take_digest(member, length, &digest.finalize().into());
        self.compare_tree(length, &tree, continues);
        Ok(())
    }

    /// Leaves what is wrong with the tree to be told after the entries.
    fn compare_tree(&mut self, length: u64, tree: &Frontier, continues: Option<Hash>) {
        let wrong = if length != self.checkpoint.size.saturating_mul(32) {
            Some((Member::LeafHashes.to_string(), "not 32 bytes for each entry of the checkpoint"))
        } else if tree.root() != self.checkpoint.root {
            Some((Member::LeafHashes.to_string(), "the tree's root is not the checkpoint's"))
        } else if self.since.as_ref().map(|since| since.root) != continues {
            Some(("--since".to_owned(), "the log does not continue the older checkpoint"))
        } else {
            None
        };
        self.deferred = wrong.map(|(place, reason)| VerifyFailure::at(place, reason));
    }

    /// What came out of the file of entries before, once it is there.
    fn checked(&mut self) -> Option<(Member, CheckedFile)> {
        self.checking.take().map(|(member, checking)| (member, checking.wait()))
    }

    /// Takes that in.
    fn settle(&mut self, before: Option<(Member, CheckedFile)>) -> Result<(), VerifyFailure> {
        let Some((member, file)) = before else { return Ok(()) };
        let first = self.next;
        self.reading().files.push((first, member));
        for verdict in file.verdicts {
            let taken = verdict.and_then(|checked| self.take(checked));
            taken.map_err(|reason| VerifyFailure::entry(self.next, member, reason))?;
            self.next += 1;
        }
        (self.progress)(Progress::Entries(self.next, self.checkpoint.size));
        if file.ends_whole {
            Ok(())
        } else {
            Err(VerifyFailure::entry(self.next.saturating_sub(1), member, "the line has no end"))
        }
    }

    fn reading(&mut self) -> &mut Reading {
        let entries = self.checkpoint.size;
        self.reading.get_or_insert_with(|| Reading {
            chains: Chains::new(entries),
            people: People::new(entries),
            files: Vec::new(),
        })
    }

    fn take(&mut self, checked: Checked) -> Result<(), String> {
        let keys = Arc::clone(&self.keys);
        self.reading().chains.take(&checked, &keys)?;
        let report = &mut self.report;
        match &checked.content {
            Content::Erased => {
                report.erased += 1;
                return Ok(());
            }
            Content::Withheld(_) => report.withheld += 1,
            Content::Sealed(..) => report.opened += 1,
            Content::Plain(_, body) => {
                report.plain += 1;
                self.files.expect(checked.position, body)?;
            }
        }
        report.entries += 1;
        report.signatures += 1;
        self.reading().people.take(checked).map_err(|error| spool::failed(&error))
    }

    /// Goes through everybody's chain and grants, as far as their entries were read; once.
    fn go_through_people(&mut self) -> Result<(), VerifyFailure> {
        let Some(Reading { chains, people, files }) = self.reading.take() else { return Ok(()) };
        self.report.recorded_to_ms = chains.recorded_at_ms();
        let uncovered = chains.erased.uncovered();
        let outcome = people.go_through(chains.erased, self.progress).map_err(set_aside_failed)?;
        if let Some((position, reason)) = outcome.broken {
            let file = files.iter().rev().find(|(first, _)| *first <= position);
            let member = file.map_or(Member::Entries(0), |(_, member)| *member);
            return Err(VerifyFailure::entry(position, member, reason));
        }
        if let Some(position) = uncovered {
            let reason = "the entry is gone and no erasure accounts for it";
            self.deferred =
                Some(VerifyFailure { position: Some(position), ..VerifyFailure::at("entries", reason) });
        }
        self.report.subjects = outcome.subjects;
        self.report.grants = outcome.replayed;
        Ok(())
    }

    /// After the last entry: none is missing, none was lost, and the tree is the one that was signed.
    fn entries_end(&mut self) -> Result<(), VerifyFailure> {
        self.go_through_people()?;
        if self.next != self.checkpoint.size {
            let reason = "the entry is missing";
            return Err(VerifyFailure { position: Some(self.next), ..VerifyFailure::at("entries", reason) });
        }
        self.deferred.take().map_or(Ok(()), Err)
    }

    fn note(&mut self, bytes: &[u8]) -> Result<(), VerifyFailure> {
        if let Some(member) = self.files.missing() {
            return Err(self.missing(member));
        }
        self.files.signed(bytes, self.key(), self.checkpoint.size)?;
        self.report.signatures += 1;
        Ok(())
    }

    fn finish(mut self, outside: u64) -> Result<Report, VerifyFailure> {
        if self.last != Some(Member::ManifestNote) {
            return Err(VerifyFailure::at(Member::ManifestNote, "the file is missing"));
        }
        self.report.origin = self.checkpoint.origin;
        self.report.tree_size = self.checkpoint.size;
        self.report.key_rotations = self.keys.rotations();
        self.report.root = hex::encode(self.checkpoint.root);
        self.report.signatures += outside;
        self.report.continues = self.since.map(|since| since.size);
        Ok(self.report)
    }
}

fn set_aside_failed(error: io::Error) -> VerifyFailure {
    VerifyFailure::at("temporary file", spool::failed(&error))
}
