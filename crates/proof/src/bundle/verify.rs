//! Checks a bundle from its first file to its last, recomputing everything and trusting nothing but the key.

use super::chain::Chains;
use super::check::{Checked, CheckedFile, Checking, Content, Log};
use super::manifest::{self, Manifest, ManifestFile};
use super::member::Member;
use super::report::{Report, VerifyFailure};
use super::source::{self, Source, Visitor};
use crate::checkpoint::{Checkpoint, VerifierKey, open_note};
use crate::keys::KeyChain;
use crate::merkle::{Frontier, Hash};
use crate::replay::Replay;
use crate::witness::{WitnessKey, cosignatures};
use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

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
/// `progress` is told (entries done, entries in all) now and then. Memory follows the number of leaf hashes (32 bytes
/// each), subjects and attributes. Grants that should not have been issued are no failure but part of the report.
///
/// # Errors
/// The first thing that does not hold; what is wrong with an entry comes before what is wrong with a digest of it.
pub fn verify(
    source: Source<'_>,
    key: &VerifierKey,
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, VerifyFailure> {
    let mut verifier = Verifier {
        trusted: key,
        keys: KeyChain::from(key),
        options,
        progress,
        since: None,
        checkpoint_note: String::new(),
        checkpoint: Checkpoint { origin: key.name.clone(), size: 0, root: [0; 32] },
        last: None,
        files: Vec::new(),
        manifest: Vec::new(),
        log: Arc::new(Log { keys: KeyChain::from(key), leaf_hashes: Arc::default() }),
        checking: None,
        given: 0,
        deferred: None,
        next: 0,
        chains: Chains::default(),
        replay: Replay::default(),
        documents: BTreeMap::new(),
        report: Report::default(),
    };
    let walked = source::walk(source, &mut verifier);
    let last = verifier.checked();
    verifier.settle(last)?;
    verifier.finish(walked?)
}

struct Verifier<'a> {
    /// What the user said to trust.
    trusted: &'a VerifierKey,
    /// What the log had, which that is one of.
    keys: KeyChain,
    options: &'a Options,
    progress: &'a mut dyn FnMut(u64, u64),
    since: Option<Checkpoint>,
    /// Believed once the keys are known.
    checkpoint_note: String,
    checkpoint: Checkpoint,
    last: Option<Member>,
    /// Digests as computed here, for comparison with the manifest.
    files: Vec<ManifestFile>,
    manifest: Vec<u8>,
    log: Arc<Log>,
    /// The file of entries that was read last, while nobody has looked at what came out of it.
    checking: Option<(Member, Checking)>,
    /// Number of entries given out to be checked.
    given: u64,
    /// A root that does not fit: told only if no single entry is to blame.
    deferred: Option<VerifyFailure>,
    next: u64,
    chains: Chains,
    replay: Replay,
    /// Digest of each file of bounds and notices that has to come.
    documents: BTreeMap<Member, Hash>,
    report: Report,
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
        let read = self.read(member, length, data).map(Arc::new);
        let before = self.checked();
        if let (Member::Entries(_), Ok(bytes)) = (member, &read) {
            let checking = Checking::begin(self.given, bytes, &self.log);
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
                self.document(member, position, &bytes)?;
            }
            Member::ManifestNote => return self.note(&bytes),
            Member::Entries(_) | Member::LeafHashes | Member::Report | Member::Manifest => {}
        }
        if member != Member::Manifest {
            let digest = Sha256::digest(bytes.as_slice()).into();
            self.files.push(ManifestFile::of(member, bytes.len() as u64, &digest));
        }
        match member {
            Member::LeafHashes => self.leaf_hashes(bytes),
            Member::Manifest => self.manifest = bytes.to_vec(),
            _ => {}
        }
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
        let bound = member.bytes_max(self.checkpoint.size);
        if length > bound {
            return Err(format!("more than {bound} bytes"));
        }
        let mut bytes = Vec::new();
        let read = data.take(bound.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| format!("can't be read: {error}"))?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err("not as long as it says".to_owned()) }
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
        self.keys = KeyChain::parse(text, self.trusted).map_err(|error| failed(error.to_string()))?;
        let failed = |reason: String| VerifyFailure::at(Member::Checkpoint, reason);
        let checkpoint = self.keys.open(&self.checkpoint_note).map_err(|error| failed(error.to_string()))?;
        if self.keys != self.keys.of_size(checkpoint.size) {
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

    fn leaf_hashes(&mut self, bytes: Arc<Vec<u8>>) {
        let (leaves, rest) = bytes.as_chunks::<32>();
        if leaves.len() as u64 != self.checkpoint.size || !rest.is_empty() {
            let failure =
                VerifyFailure::at(Member::LeafHashes, "not 32 bytes for each entry of the checkpoint");
            self.deferred.get_or_insert(failure);
        }
        let mut tree = Frontier::new();
        let mut continues = self.since.as_ref().filter(|since| since.size == 0).map(|_| tree.root());
        for leaf in leaves {
            tree.push(*leaf);
            if self.since.as_ref().is_some_and(|since| since.size == tree.size()) {
                continues = Some(tree.root());
            }
        }
        if tree.root() != self.checkpoint.root {
            let failure = VerifyFailure::at(Member::LeafHashes, "the tree's root is not the checkpoint's");
            self.deferred.get_or_insert(failure);
        }
        if self.since.as_ref().map(|since| since.root) != continues {
            let failure = VerifyFailure::at("--since", "the log does not continue the older checkpoint");
            self.deferred.get_or_insert(failure);
        }
        self.log = Arc::new(Log { keys: self.keys.clone(), leaf_hashes: bytes });
    }

    /// What came out of the file of entries before, once it is there.
    fn checked(&mut self) -> Option<(Member, CheckedFile)> {
        self.checking.take().map(|(member, checking)| (member, checking.wait()))
    }

    /// Takes that in.
    fn settle(&mut self, before: Option<(Member, CheckedFile)>) -> Result<(), VerifyFailure> {
        let Some((member, file)) = before else { return Ok(()) };
        for verdict in file.verdicts {
            let taken = verdict.and_then(|checked| self.take(&checked));
            taken.map_err(|reason| VerifyFailure::entry(self.next, member, reason))?;
            self.next += 1;
        }
        (self.progress)(self.next, self.checkpoint.size);
        if file.ends_whole {
            Ok(())
        } else {
            Err(VerifyFailure::entry(self.next.saturating_sub(1), member, "the line has no end"))
        }
    }

    fn take(&mut self, checked: &Checked) -> Result<(), String> {
        self.chains.take(checked, &self.keys)?;
        let report = &mut self.report;
        let (header, body) = match &checked.content {
            Content::Erased => {
                report.erased += 1;
                return Ok(());
            }
            Content::Withheld(header) => {
                report.withheld += 1;
                (header, None)
            }
            Content::Sealed(header, body) => {
                report.opened += 1;
                (header, Some(body))
            }
            Content::Plain(header, body) => {
                report.plain += 1;
                if let Some(member) = manifest::document_member(checked.position, body) {
                    let document = manifest::document(body).map_err(|error| error.to_string())?;
                    self.documents.insert(member, Sha256::digest(document).into());
                }
                (header, Some(body))
            }
        };
        report.entries += 1;
        report.signatures += 1;
        self.replay.take(checked.position, header, body);
        Ok(())
    }

    /// After the last entry: none is missing, none was lost, and the tree is the one that was signed.
    fn entries_end(&mut self) -> Result<(), VerifyFailure> {
        if self.next != self.checkpoint.size {
            let reason = "the entry is missing";
            return Err(VerifyFailure { position: Some(self.next), ..VerifyFailure::at("entries", reason) });
        }
        if let Some(position) = self.chains.uncovered() {
            let reason = "the entry is gone and no erasure accounts for it";
            return Err(VerifyFailure { position: Some(position), ..VerifyFailure::at("entries", reason) });
        }
        self.deferred.take().map_or(Ok(()), Err)
    }

    fn document(&mut self, member: Member, position: u64, bytes: &[u8]) -> Result<(), VerifyFailure> {
        let digest: Hash = Sha256::digest(bytes).into();
        match self.documents.remove(&member) {
            Some(due) if due == digest => Ok(()),
            Some(_) => {
                Err(VerifyFailure::entry(position, member, "not what the entry at this position says"))
            }
            None => Err(VerifyFailure::entry(position, member, "no such event at this position")),
        }
    }

    fn note(&mut self, bytes: &[u8]) -> Result<(), VerifyFailure> {
        let failed = |reason: String| VerifyFailure::at(Member::ManifestNote, reason);
        if let Some((missing, _)) = self.documents.first_key_value() {
            return Err(self.missing(*missing));
        }
        let note = std::str::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
        let text = open_note(note, self.key()).map_err(|error| failed(error.to_string()))?;
        // A second signature would be bytes that nothing checks.
        if note.lines().count() != text.lines().count() + 2 {
            return Err(failed("more than one signature".to_owned()));
        }
        if text != manifest::note_text(self.keys.origin(), &self.manifest) {
            return Err(failed("the manifest is not the one that was signed".to_owned()));
        }
        self.report.signatures += 1;
        self.compare()
    }

    /// Each file against the signed manifest.
    fn compare(&self) -> Result<(), VerifyFailure> {
        let failed = |reason: String| VerifyFailure::at(Member::Manifest, reason);
        let said: Manifest =
            serde_json::from_slice(&self.manifest).map_err(|error| failed(error.to_string()))?;
        for file in &self.files {
            if !said.files.contains(file) {
                return Err(VerifyFailure::at(&file.name, "its digest or length is not the manifest's"));
            }
        }
        if let Some(file) = said.files.iter().find(|file| !self.files.contains(file)) {
            return Err(VerifyFailure::at(&file.name, "in the manifest, but missing"));
        }
        let again = Manifest::new(self.keys.origin(), self.checkpoint.size, self.files.clone()).to_bytes();
        if again.map_err(|error| failed(error.to_string()))? != self.manifest {
            return Err(failed("not in the form of a manifest of this log".to_owned()));
        }
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
        self.report.subjects = self.chains.subjects();
        self.report.signatures += outside;
        self.report.continues = self.since.map(|since| since.size);
        self.report.recorded_to_ms = self.chains.recorded_at_ms();
        self.report.grants = self.replay.finish();
        Ok(self.report)
    }
}
