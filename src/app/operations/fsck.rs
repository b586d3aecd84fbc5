//! Checks a data folder for damage, without changing it, while no daemon has it open. The check computes the
//! hash tree from the entries, and compares its root with the last published checkpoint. It verifies
//! signatures and the chain of each stream, and checks whether each subject's keys open their entries.

use crate::store::StoreError;
use crate::store::embedded::{LogFound, Seen, inspect};
use crate::vault::KeyCheck;
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use sayso_proof::entry::{Entry, Handle, Header, key_id};
use sayso_proof::event::event_body::Event;
use sayso_proof::keys::KeyChain;
use sayso_proof::merkle::{Frontier, Hash, leaf_hash};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The most faults that are listed; further faults are only counted.
const FAULTS_MAX: usize = 1_000;

/// What to examine.
pub struct Examination<'a> {
    /// The log's folder.
    pub log: &'a Path,
    /// An empty, private folder for copies of files that can't be read without writing to them.
    pub copies: &'a Path,
    /// The log keys in the data folder: the current key, and a new key if a rotation had begun. They are used
    /// if the log's own statement of its keys can't be read.
    pub log_keys: Vec<VerifierKey>,
    /// The last published checkpoint, from its file.
    pub kept_checkpoint: Option<&'a str>,
    /// The key tree, if it can be opened.
    pub keys: Option<&'a KeyCheck>,
}

/// One place of damage that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The position of the damaged entry; none if the fault does not concern one entry.
    pub position: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// Positions that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Positions {
    /// The first position.
    pub first: u64,
    /// The last position.
    pub last: u64,
}

/// The result of an examination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Examined {
    /// Entries, including damaged ones.
    pub entries: u64,
    /// Entries that were discarded by erasures.
    pub discarded: u64,
    /// Entries that could be opened with their key.
    pub opened: u64,
    /// Positions that passed every check.
    pub intact: Vec<Positions>,
    /// Leaf hashes below this position match the kept checkpoint.
    pub proven_to: u64,
    /// Damage that can't be repaired by rebuilding, at most 1,000 faults.
    pub damaged: Vec<Fault>,
    /// The number of faults, including those that are not listed.
    pub damaged_count: u64,
    /// What is wrong but can be rebuilt without loss.
    pub rebuildable: Vec<String>,
    /// What is not damage but worth knowing.
    pub notes: Vec<String>,
}

impl Examined {
    /// Adds damage.
    pub fn fault(&mut self, position: Option<u64>, what: impl Into<String>) {
        self.damaged_count = self.damaged_count.saturating_add(1);
        if self.damaged.len() < FAULTS_MAX {
            self.damaged.push(Fault { position, what: what.into() });
        }
    }

    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damaged_count == 0
    }
}

/// Examines a log. `progress` is called with the number of entries read so far.
///
/// # Errors
/// A daemon has the log open ([`StoreError::Busy`]), or something can't be read at all ([`StoreError::Io`]).
/// Damage is part of the result, not an error.
pub fn examine(of: &Examination<'_>, progress: &mut dyn FnMut(u64)) -> Result<Examined, StoreError> {
    let mut check = Check::new(of);
    let size_min = check.kept.as_ref().map_or(0, |kept| kept.size);
    let found = inspect(of.log, size_min, of.copies, |seen| {
        check.take(seen);
        progress(check.tree.size());
        Ok(())
    })?;
    if let (Some(note), Some(keys)) = (of.kept_checkpoint, &check.key_chain)
        && let Err(error) = keys.open(note)
    {
        check.examined.fault(None, format!("the kept checkpoint: {error}"));
        check.examined.proven_to = 0;
    }
    // The names of the keys are not compared: the configuration states them, and may be absent.
    let is_own = |newest: &VerifierKey| of.log_keys.iter().any(|own| own.key == newest.key);
    if !of.log_keys.is_empty() && check.key_chain.as_ref().is_some_and(|keys| !is_own(keys.newest())) {
        check.examined.fault(None, "secrets/log.key is not the key of this log");
    }
    Ok(check.finish(found))
}

/// The newest version of each stream, with its leaf hash.
type Chains = HashMap<Handle, (u64, Hash)>;

struct Check<'a> {
    keys: Option<&'a KeyCheck>,
    is_erasing: bool,
    /// The log keys that the entries read so far state.
    key_chain: Option<KeyChain>,
    /// The log keys in the data folder. They check entries after a rotation whose event can't be read.
    log_keys: &'a [VerifierKey],
    kept: Option<Checkpoint>,
    chains: Chains,
    /// Leaf hashes of entries that are discarded or damaged.
    missing_leaves: HashSet<Hash>,
    /// Whether a leaf hash is unknown. From there on neither the tree nor chains can be compared.
    has_unknown_leaf: bool,
    tree: Frontier,
    examined: Examined,
}

impl<'a> Check<'a> {
    fn new(of: &'a Examination<'a>) -> Self {
        let mut examined = Examined::default();
        let kept = of.kept_checkpoint.and_then(|note| {
            // The signature of the checkpoint is checked later, when the log has stated its key.
            let text = note.split("\n\n").next().map(|text| format!("{text}\n"));
            let parsed = text.and_then(|text| Checkpoint::parse(&text).ok());
            if parsed.is_none() {
                examined.fault(None, "the kept checkpoint is malformed");
            }
            parsed
        });
        let is_erasing = of.keys.is_some_and(|keys| keys.is_erasing().unwrap_or(false));
        Self {
            keys: of.keys,
            is_erasing,
            key_chain: of.log_keys.first().map(KeyChain::from),
            log_keys: &of.log_keys,
            kept,
            chains: Chains::new(),
            missing_leaves: HashSet::new(),
            has_unknown_leaf: false,
            tree: Frontier::new(),
            examined,
        }
    }

    fn take(&mut self, seen: Seen<'_>) {
        let (position, leaf) = match seen {
            Seen::Entry { position, leaf_hash, bytes } => {
                match bytes.map(|bytes| self.entry(position, leaf_hash, bytes)) {
                    None => {
                        self.examined.discarded = self.examined.discarded.saturating_add(1);
                        self.missing_leaves.insert(leaf_hash);
                        self.intact(position);
                    }
                    Some(Ok(())) => self.intact(position),
                    Some(Err(what)) => {
                        self.missing_leaves.insert(leaf_hash);
                        self.examined.fault(Some(position), what);
                    }
                }
                (position, Some(leaf_hash))
            }
            Seen::Damaged { position, leaf_hash } => {
                self.missing_leaves.extend(leaf_hash);
                self.examined.fault(Some(position), "its record is incomplete or damaged");
                (position, leaf_hash)
            }
        };
        self.has_unknown_leaf |= leaf.is_none();
        self.tree.push(leaf.unwrap_or_default());
        let size = position.saturating_add(1);
        if let Some(kept) = self.kept.as_ref().filter(|kept| kept.size == size && !self.has_unknown_leaf) {
            if kept.root == self.tree.root() {
                self.examined.proven_to = size;
            } else {
                self.examined.fault(
                    None,
                    format!("the first {size} leaf hashes are not those of the kept checkpoint"),
                );
            }
        }
    }

    /// Notes a position that passed every check.
    fn intact(&mut self, position: u64) {
        match self.examined.intact.last_mut() {
            Some(run) if run.last.checked_add(1) == Some(position) => run.last = position,
            _ => self.examined.intact.push(Positions { first: position, last: position }),
        }
    }

    /// Checks one entry.
    fn entry(&mut self, position: u64, leaf: Hash, bytes: &[u8]) -> Result<(), String> {
        if leaf_hash(bytes) != leaf {
            return Err("its bytes do not match its leaf hash".into());
        }
        let entry = Entry::parse(bytes).map_err(|error| error.to_string())?;
        let body = entry.plain_body().map_err(|error| error.to_string())?;
        let event = body.and_then(|body| body.event);
        if let Some(Event::LogOpened(opened)) = event.as_ref().filter(|_| position == 0) {
            self.start_key_chain(&opened.origin, &opened.public_key)?;
        }
        let key_chain = self.key_chain.as_mut().ok_or("no log key is known to verify its signature")?;
        let named = self.log_keys.iter().find(|own| key_id(&own.key) == entry.key_id);
        let key = named.unwrap_or(key_chain.newest());
        entry.verify(&key.key).map_err(|error| error.to_string())?;
        if matches!(event, Some(Event::LogKeyRotated(_))) {
            key_chain.take(position, bytes).map_err(|error| error.to_string())?;
        }
        self.check_chain(&entry.header, leaf)?;
        self.check_key(&entry)
    }

    /// Starts the chain of log keys with the key that the first entry names.
    fn start_key_chain(&mut self, origin: &str, key: &[u8]) -> Result<(), String> {
        let key: VerifierKey = key
            .try_into()
            .ok()
            .and_then(|key| ed25519_dalek::VerifyingKey::from_bytes(key).ok())
            .map(|key| VerifierKey { name: origin.to_owned(), key })
            .ok_or("the log key that it names is malformed")?;
        self.key_chain = Some(KeyChain::from(&key));
        Ok(())
    }

    /// Checks that an entry continues its stream's chain. Missing entries in between are allowed.
    fn check_chain(&mut self, header: &Header, leaf: Hash) -> Result<(), String> {
        let newest = self.chains.insert(header.handle, (header.version, leaf));
        let follows = match (newest, header.previous) {
            (None, None) => header.version == 0,
            (Some((version, before)), Some(previous)) if version.checked_add(1) == Some(header.version) => {
                before == previous
            }
            (newest, Some(previous)) => {
                newest.is_none_or(|(version, _)| version < header.version)
                    && (self.has_unknown_leaf || self.missing_leaves.contains(&previous))
            }
            (Some(_), None) => false,
        };
        if follows { Ok(()) } else { Err("it does not continue its stream's chain".into()) }
    }

    /// Checks that the entry's key opens it. While an erasure is in progress, keys may be missing.
    fn check_key(&mut self, entry: &Entry) -> Result<(), String> {
        let Some(keys) = self.keys.filter(|_| entry.header.handle != Handle::SYSTEM) else { return Ok(()) };
        match keys.opens(entry) {
            Ok(true) => {
                self.examined.opened = self.examined.opened.saturating_add(1);
                Ok(())
            }
            Ok(false) if self.is_erasing => Ok(()),
            Ok(false) => Err("no key opens it".into()),
            Err(error) => Err(format!("its key: {error}")),
        }
    }

    fn finish(mut self, found: LogFound) -> Examined {
        self.examined.entries = found.size;
        found.damaged.into_iter().for_each(|what| self.examined.fault(None, what));
        self.examined.rebuildable.extend(found.rebuildable);
        if let Some((segment, offset)) = found.torn {
            self.examined.notes.push(format!(
                "segment {segment}: a torn, unacknowledged write from offset {offset} on; the next start removes it"
            ));
        }
        if found.discarding > 0 {
            let count = found.discarding;
            self.examined.notes.push(format!("the next start finishes the erasure of {count} entries"));
        }
        if self.has_unknown_leaf && self.kept.is_some() {
            let note = "leaf hashes are missing, so the tree can't be compared with the kept checkpoint";
            self.examined.notes.push(note.into());
        }
        self.examined
    }
}
