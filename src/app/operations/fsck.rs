//! Everything recomputed from the entries: leaf hashes, the tree against the kept checkpoint, signatures, chains, and
//! whether each person's keys open what is there. Reads a data folder at rest, and changes nothing.

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

/// Faults that are told one by one.
const FAULTS_MAX: usize = 1_000;

/// What is to be examined.
pub struct Examination<'a> {
    /// The log's folder.
    pub log: &'a Path,
    /// An empty folder for copies of what can't be read without writing; others may not enter it.
    pub copies: &'a Path,
    /// The log keys that are held: the one of now, and one that a rotation was about to bring in. What signs entries is what
    /// the log itself says where that can be read.
    pub held: Vec<VerifierKey>,
    /// The last checkpoint that was given out, as it was kept.
    pub kept: Option<&'a str>,
    /// The key tree, where it opens.
    pub keys: Option<&'a KeyCheck>,
}

/// Something that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Which position; none where it is no position's.
    pub position: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// What an examination found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Examined {
    /// Positions, the damaged ones among them.
    pub entries: u64,
    /// Entries whose bytes were destroyed on purpose.
    pub discarded: u64,
    /// Entries whose key opened them.
    pub opened: u64,
    /// Positions of which everything holds that can be checked, as runs (first, last).
    pub intact: Vec<(u64, u64)>,
    /// Leaf hashes below this position are those that the kept checkpoint was signed for.
    pub proven_to: u64,
    /// Damage: of this nothing can be rebuilt.
    pub damaged: Vec<Fault>,
    /// How much damage there is, beyond what is told.
    pub damaged_count: u64,
    /// What is not as it was, and is rebuilt or mended without loss.
    pub rebuildable: Vec<String>,
    /// What is no damage, and worth knowing.
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

    /// Whether nothing is lost.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damaged_count == 0
    }
}

/// Examines a log at rest. `progress` is told how many entries were looked at.
///
/// # Errors
/// [`StoreError::Busy`] where a daemon has it open; or something can't be read at all. Damage is no error: it is found.
pub fn examine(of: &Examination<'_>, progress: &mut dyn FnMut(u64)) -> Result<Examined, StoreError> {
    let mut check = Check::new(of);
    let known = check.kept.as_ref().map_or(0, |kept| kept.size);
    let found = inspect(of.log, known, of.copies, |seen| {
        check.take(seen);
        progress(check.tree.size());
        Ok(())
    })?;
    if let (Some(note), Some(keys)) = (of.kept, &check.signs)
        && let Err(error) = keys.open(note)
    {
        check.examined.fault(None, format!("the kept checkpoint: {error}"));
        check.examined.proven_to = 0;
    }
    if !of.held.is_empty() && check.signs.as_ref().is_some_and(|keys| !of.held.contains(keys.newest())) {
        check.examined.fault(None, "secrets/log.key is not the key of this log");
    }
    Ok(check.finish(found))
}

/// A subject's chain: its newest version and that one's leaf hash.
type Chains = HashMap<Handle, (u64, Hash)>;

struct Check<'a> {
    keys: Option<&'a KeyCheck>,
    is_erasing: bool,
    /// The keys that the log says it had, as far as it was read.
    signs: Option<KeyChain>,
    /// The log keys that are held, for what follows a change of key that can't be read.
    held: &'a [VerifierKey],
    kept: Option<Checkpoint>,
    chains: Chains,
    /// Leaf hashes of what is not there any more, on purpose or not.
    erased_grant_key: HashSet<Hash>,
    /// The leaf hash of something is not known: from there on neither tree nor chains can be compared.
    unknown: bool,
    tree: Frontier,
    examined: Examined,
}

impl<'a> Check<'a> {
    fn new(of: &'a Examination<'a>) -> Self {
        let mut examined = Examined::default();
        let kept = of.kept.and_then(|note| {
            // Who signed it is compared once the log has said what its key is.
            let text = note.split("\n\n").next().map(|text| format!("{text}\n"));
            let parsed = text.and_then(|text| Checkpoint::parse(&text).ok());
            if parsed.is_none() {
                examined.fault(None, "the kept checkpoint is none");
            }
            parsed
        });
        let is_erasing = of.keys.is_some_and(|keys| keys.is_erasing().unwrap_or(false));
        Self {
            keys: of.keys,
            is_erasing,
            signs: of.held.first().map(KeyChain::from),
            held: &of.held,
            kept,
            chains: Chains::new(),
            erased_grant_key: HashSet::new(),
            unknown: false,
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
                        self.erased_grant_key.insert(leaf_hash);
                        self.intact(position);
                    }
                    Some(Ok(())) => self.intact(position),
                    Some(Err(what)) => {
                        self.erased_grant_key.insert(leaf_hash);
                        self.examined.fault(Some(position), what);
                    }
                }
                (position, Some(leaf_hash))
            }
            Seen::Damaged { position, leaf_hash } => {
                self.erased_grant_key.extend(leaf_hash);
                self.examined.fault(Some(position), "its record is not whole");
                (position, leaf_hash)
            }
        };
        self.unknown |= leaf.is_none();
        self.tree.push(leaf.unwrap_or_default());
        let size = position.saturating_add(1);
        if let Some(kept) = self.kept.as_ref().filter(|kept| kept.size == size && !self.unknown) {
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

    fn intact(&mut self, position: u64) {
        match self.examined.intact.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(position) => *last = position,
            _ => self.examined.intact.push((position, position)),
        }
    }

    /// Everything about one entry.
    fn entry(&mut self, position: u64, leaf: Hash, bytes: &[u8]) -> Result<(), String> {
        if leaf_hash(bytes) != leaf {
            return Err("its bytes are not those of its leaf hash".into());
        }
        let entry = Entry::parse(bytes).map_err(|error| error.to_string())?;
        let body = entry.plain_body().map_err(|error| error.to_string())?;
        let event = body.and_then(|body| body.event);
        if let Some(Event::LogOpened(opened)) = event.as_ref().filter(|_| position == 0) {
            self.begins(&opened.origin, &opened.public_key)?;
        }
        let signs = self.signs.as_mut().ok_or("nothing says which key signs")?;
        let held = self.held.iter().find(|held| key_id(&held.key) == entry.key_id);
        let key = held.unwrap_or(signs.newest());
        entry.verify(&key.key).map_err(|error| error.to_string())?;
        if matches!(event, Some(Event::LogKeyRotated(_))) {
            signs.take(position, bytes).map_err(|error| error.to_string())?;
        }
        self.continues(&entry.header, leaf)?;
        self.opens(&entry)
    }

    /// The key that the log says to be its own, to begin with.
    fn begins(&mut self, origin: &str, key: &[u8]) -> Result<(), String> {
        let key: VerifierKey = key
            .try_into()
            .ok()
            .and_then(|key| ed25519_dalek::VerifyingKey::from_bytes(key).ok())
            .map(|key| VerifierKey { name: origin.to_owned(), key })
            .ok_or("the key that it names is none")?;
        self.signs = Some(KeyChain::from(&key));
        Ok(())
    }

    /// That an entry continues its subject's chain, over what is gone where something is.
    fn continues(&mut self, header: &Header, leaf: Hash) -> Result<(), String> {
        let newest = self.chains.insert(header.handle, (header.version, leaf));
        let follows = match (newest, header.previous) {
            (None, None) => header.version == 0,
            (Some((version, before)), Some(previous)) if version.checked_add(1) == Some(header.version) => {
                before == previous
            }
            (newest, Some(previous)) => {
                newest.is_none_or(|(version, _)| version < header.version)
                    && (self.unknown || self.erased_grant_key.contains(&previous))
            }
            (Some(_), None) => false,
        };
        if follows { Ok(()) } else { Err("it does not continue its subject's chain".into()) }
    }

    fn opens(&mut self, entry: &Entry) -> Result<(), String> {
        let Some(keys) = self.keys.filter(|_| entry.header.handle != Handle::SYSTEM) else { return Ok(()) };
        match keys.opens(entry) {
            Ok(true) => {
                self.examined.opened = self.examined.opened.saturating_add(1);
                Ok(())
            }
            Ok(false) if self.is_erasing => Ok(()),
            Ok(false) => Err("there is no key that opens it".into()),
            Err(error) => Err(format!("its key: {error}")),
        }
    }

    fn finish(mut self, found: LogFound) -> Examined {
        self.examined.entries = found.size;
        found.damaged.into_iter().for_each(|what| self.examined.fault(None, what));
        self.examined.rebuildable.extend(found.rebuildable);
        if let Some((segment, offset)) = found.torn {
            self.examined.notes.push(format!(
                "segment {segment}: a torn write from offset {offset} on; the next start cuts it off, none of it was acknowledged"
            ));
        }
        if found.discarding > 0 {
            let count = found.discarding;
            self.examined.notes.push(format!("the next start finishes the erasure of {count} entries"));
        }
        if self.unknown && self.kept.is_some() {
            let note = "leaf hashes are missing, so the tree can't be compared with the kept checkpoint";
            self.examined.notes.push(note.into());
        }
        self.examined
    }
}
