//! A forensic tool, as an attacker could build it. Its input is copies of the data folder, made at different
//! times, and the keys that the attacker has: the root keys and key files in some of the copies. The tool is
//! written from the description in `docs/erasure.md`, not from the code of the vault (the module that keeps
//! the keys).
//!
//! The tool finds key pages, wrapped keys and entries at any offset of any file. It decrypts everything that
//! the attacker's keys open, and collects the keys in the decrypted pages. It repeats this until nothing more
//! opens. Then it takes every sequence of 32 bytes (a window) in and around the pages that are still
//! encrypted, and tries the window as each kind of key.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hkdf::Hkdf;
use sayso::vault::puncturable::{Node, PuncturableTree};
use sayso_proof::entry::{Entry, EventKey};
use sha2::Sha256;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Secret = [u8; 32];

/// The number of bytes before a page, and after it, in which windows are also tried.
const AROUND: usize = 64;
/// A window is tried as the key of a subject only on entries with a version below this number.
const VERSIONS_TRIED: u64 = 64;

/// Copies of files at one or more times.
#[derive(Clone, Default)]
pub struct Image {
    files: Vec<(PathBuf, Arc<Vec<u8>>)>,
}

impl Image {
    /// Copies all files below a folder.
    pub fn of(dir: &Path) -> Self {
        let files = crate::harness::files_below(dir).into_iter();
        // A file may be removed during the copy, because sled removes old files.
        let read = |path: PathBuf| std::fs::read(&path).ok().map(|bytes| (path, Arc::new(bytes)));
        Self { files: files.filter_map(read).collect() }
    }

    /// The image without the files in folders of this name.
    pub fn without(mut self, folder: &str) -> Self {
        self.files.retain(|(path, _)| !path.components().any(|part| part.as_os_str() == folder));
        self
    }

    pub fn and(mut self, other: &Self) -> Self {
        self.files.extend(other.files.iter().cloned());
        self
    }

    /// All entries in the segments of the log, in their order, with their lengths.
    pub fn entries(&self) -> Vec<(Entry, usize)> {
        let segments = self.files.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "seg"));
        let found = segments.flat_map(|(_, bytes)| {
            offsets(bytes, &[0xd2, 0x84]).filter_map(|at| entry_at(&bytes[at..])).collect::<Vec<_>>()
        });
        found.map(|bytes| (Entry::parse(bytes).unwrap(), bytes.len())).collect()
    }

    /// Those of the ids of 16 bytes (UUIDv7) in some file that `matches` accepts.
    pub fn ids(&self, matches: impl Fn(&[u8; 16]) -> bool) -> BTreeSet<[u8; 16]> {
        let windows = self.files.iter().flat_map(|(_, bytes)| bytes.windows(16));
        let ids = windows.filter(|id| id[6] >> 4 == 7 && id[8] >> 6 == 2);
        ids.map(|id| id.try_into().unwrap()).filter(matches).collect()
    }

    /// Those of the needles that some file contains.
    pub fn all_found(&self, needles: &BTreeSet<Secret>) -> BTreeSet<Secret> {
        let mut starts = vec![false; 1 << 24];
        let start =
            |bytes: &[u8]| usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        needles.iter().for_each(|needle| starts[start(needle)] = true);
        let windows = self.files.iter().flat_map(|(_, bytes)| bytes.windows(32));
        let found = windows.filter(|window| starts[start(window)]);
        found.filter_map(|window| needles.get(window).copied()).collect()
    }

    /// The files that contain these bytes.
    pub fn files_with(&self, needle: &[u8]) -> Vec<&Path> {
        let found = self.files.iter().filter(|(_, bytes)| crate::harness::contains(bytes, needle));
        found.map(|(path, _)| path.as_path()).collect()
    }
}

/// The offsets of `needle` in `bytes`.
fn offsets<'a>(bytes: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    bytes.windows(needle.len()).enumerate().filter(move |(_, window)| *window == needle).map(|(at, _)| at)
}

/// An encrypted key page: header, nonce and ciphertext.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Sealed {
    header: Vec<u8>,
    nonce: [u8; 12],
    cipher: Vec<u8>,
}

impl Sealed {
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let name = usize::from(*bytes.get(8)?);
        let length = u32::from_be_bytes(bytes.get(9 + name..13 + name)?.try_into().ok()?) as usize;
        let nonce = bytes.get(13 + name..25 + name)?.try_into().ok()?;
        let cipher = bytes.get(25 + name..25 + name + length)?.to_vec();
        Some((Self { header: bytes[..13 + name].to_vec(), nonce, cipher }, 25 + name + length))
    }

    fn open(&self, key: &Secret) -> Option<Vec<u8>> {
        let payload = Payload { msg: &self.cipher, aad: &self.header };
        Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)).decrypt(&Nonce::from(self.nonce), payload).ok()
    }
}

/// The key of the top page, wrapped with a root key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wrapped {
    epoch: [u8; 8],
    nonce: [u8; 12],
    cipher: Vec<u8>,
}

impl Wrapped {
    fn read(bytes: &[u8]) -> Option<Self> {
        let epoch = bytes.get(8..16)?.try_into().ok()?;
        let nonce = bytes.get(32..44)?.try_into().ok()?;
        Some(Self { epoch, nonce, cipher: bytes.get(44..92)?.to_vec() })
    }

    fn open(&self, root: &Secret) -> Option<Secret> {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, root).expand(b"sayso top page key v1", &mut key).unwrap();
        let payload = Payload { msg: &self.cipher, aad: &self.epoch };
        let opened = Aes256Gcm::new(&Key::<Aes256Gcm>::from(key)).decrypt(&Nonce::from(self.nonce), payload);
        opened.ok()?.try_into().ok()
    }
}

/// What the tool found, and what it could decrypt.
#[derive(Default)]
pub struct Findings {
    /// Pages that no known key opens.
    closed: BTreeSet<Sealed>,
    wrapped: BTreeSet<Wrapped>,
    entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Each page, and the bytes from which windows are cut: those of the page and those around it.
    near: Vec<(Sealed, Vec<u8>)>,
    /// The given keys, and the keys in decrypted pages.
    pub keys: BTreeSet<Secret>,
    /// Where some of the keys were found, for messages.
    places: BTreeMap<Secret, &'static str>,
    nodes: BTreeMap<(u8, u64, Secret), Node>,
    /// The decrypted bodies of entries, in debug format.
    pub texts: Vec<String>,
    /// The decrypted pages, each with its name.
    pub pages: BTreeSet<(Vec<u8>, Vec<u8>)>,
    pub pages_found: usize,
    pub windows_tried: usize,
    /// The number of root keys that were given.
    pub roots: usize,
}

impl Findings {
    /// Finds all pages, wrapped keys and entries in an image, and decrypts everything that the root keys and
    /// key files in `keys` open.
    pub fn of(image: &Image, keys: &Image) -> Self {
        let mut findings = Self::default();
        for (_, bytes) in &image.files {
            findings.scan(bytes);
        }
        findings.pages_found = findings.closed.len();
        for (_, bytes) in &keys.files {
            for at in offsets(bytes, b"saysoRK1") {
                let slot: Option<Secret> = bytes.get(at + 16..at + 48).and_then(|key| key.try_into().ok());
                // A slot contains its root key twice.
                findings.roots += usize::from(slot.is_some_and(|key| findings.add("root key", key)));
            }
            if let Ok(key) = Secret::try_from(bytes.as_slice()) {
                findings.add("key file", key);
            }
        }
        findings.open_all();
        findings
    }

    /// Finds pages, wrapped keys and entries in the bytes of a file.
    fn scan(&mut self, bytes: &[u8]) {
        for at in offsets(bytes, b"saysoKP1") {
            let Some((page, length)) = Sealed::read(&bytes[at..]) else { continue };
            let end = bytes.len().min(at + length + AROUND);
            self.near.push((page.clone(), bytes[at.saturating_sub(AROUND)..end].to_vec()));
            self.closed.insert(page);
        }
        self.wrapped.extend(offsets(bytes, b"saysoKR1").filter_map(|at| Wrapped::read(&bytes[at..])));
        for at in offsets(bytes, &[0xd2, 0x84]) {
            if let Some(entry) = entry_at(&bytes[at..]) {
                self.entries.entry(entry.to_vec()).or_insert(None);
            }
        }
    }

    /// Decrypts pages with the known keys until no further key appears, and then the entries.
    fn open_all(&mut self) {
        loop {
            let before = self.keys.len();
            for root in self.keys.clone() {
                let opened: Vec<Secret> =
                    self.wrapped.iter().filter_map(|wrapped| wrapped.open(&root)).collect();
                opened.into_iter().for_each(|key| _ = self.add("key of the top page", key));
            }
            let keys = self.keys.clone();
            for page in self.closed.clone() {
                if let Some(clear) = keys.iter().find_map(|key| page.open(key)) {
                    self.closed.remove(&page);
                    self.collect_keys(&clear);
                    self.pages.insert((page.header[9..page.header.len() - 4].to_vec(), clear));
                }
            }
            if self.keys.len() == before {
                break;
            }
        }
        let mut trees: Vec<PuncturableTree> =
            self.nodes.values().map(|node| PuncturableTree::new(vec![node.clone()])).collect();
        let closed: Vec<Vec<u8>> = self.entries.keys().cloned().collect();
        for bytes in closed {
            let entry = Entry::parse(&bytes).unwrap();
            let opened = trees.iter_mut().find_map(|tree| {
                let key = tree.key(entry.header.version)?;
                opens(&entry, &EventKey::derive(&key, &entry.header.event_id))
            });
            self.texts.extend(opened.clone());
            self.entries.insert(bytes, opened.map(String::into_bytes));
        }
    }

    /// Adds a key. Returns whether it was unknown.
    fn add(&mut self, place: &'static str, key: Secret) -> bool {
        self.places.entry(key).or_insert(place);
        self.keys.insert(key)
    }

    /// Where a key was found.
    pub fn place_of(&self, key: &[u8]) -> &'static str {
        self.places.get(key).copied().unwrap_or("derived key")
    }

    /// Collects the keys in a decrypted page.
    fn collect_keys(&mut self, page: &[u8]) {
        let links = |bytes: &[u8]| -> Vec<(&'static str, Secret)> {
            bytes.chunks_exact(48).map(|link| ("link", link[16..].try_into().unwrap())).collect()
        };
        let key = |bytes: &[u8]| bytes.try_into().unwrap();
        let found: Vec<(&'static str, Secret)> = match page {
            [1, rest @ ..] if rest.len() % 48 == 33 => {
                let own = ("key of the vault's own pages", key(&rest[..32]));
                [vec![own], links(&rest[33..])].concat()
            }
            // The top page after an erasure: its own key, the moments key with its day, links.
            [4, rest @ ..] if rest.len() % 48 == 73 % 48 => {
                let own = ("key of the vault's own pages", key(&rest[..32]));
                [vec![own, ("moments key", key(&rest[32..64]))], links(&rest[73..])].concat()
            }
            [2, rest @ ..] if rest.len() % 48 == 2 => links(&rest[2..]),
            [3, rest @ ..] => return self.collect_subject_keys(rest),
            other => other.try_into().into_iter().map(|key| ("page of 32 bytes", key)).collect(),
        };
        found.into_iter().for_each(|(place, key)| _ = self.add(place, key));
    }

    /// Collects the keys in the records of a leaf page, one record a subject.
    fn collect_subject_keys(&mut self, mut rest: &[u8]) {
        while let Some((head, after)) = rest.split_first_chunk::<36>() {
            let length = u32::from_be_bytes(head[32..].try_into().unwrap()) as usize;
            let (value, after) = after.split_at(length);
            for node in value.get(16..).unwrap_or_default().chunks_exact(41) {
                let index = u64::from_be_bytes(node[1..9].try_into().unwrap());
                let key = node[9..].try_into().unwrap();
                if matches!(node[0], 0xfd | 0xfe) {
                    // The label of the subject map, or the secret of its commitment.
                    self.add(if node[0] == 0xfe { "label" } else { "secret of the commitment" }, key);
                    continue;
                }
                // A renewed key is the root of a whole tree of keys. The tool ignores from which version on
                // the key is used.
                let (depth, index) = if node[0] == 0xff { (0, 0) } else { (node[0], index) };
                let node = Node { depth, index, key, renewed_from: None };
                self.add("node of a subject", node.key);
                self.nodes.insert((node.depth, node.index, node.key), node);
            }
            rest = after;
        }
    }

    /// Whether a decrypted entry contains the text.
    pub fn has(&self, text: &str) -> bool {
        self.texts.iter().any(|opened| opened.contains(text))
    }

    /// The number of pages that no known key opens.
    pub fn closed(&self) -> usize {
        self.closed.len()
    }

    /// The keys that decrypt the entries with this text: nodes, version keys and event keys.
    pub fn keys_of(&self, text: &str) -> Vec<Secret> {
        let mut found = Vec::new();
        for bytes in self.entries.iter().filter_map(|(entry, opened)| {
            opened.as_ref().filter(|body| crate::harness::contains(body, text.as_bytes())).map(|_| entry)
        }) {
            let entry = Entry::parse(bytes).unwrap();
            for node in self.nodes.values() {
                let Some(key) = PuncturableTree::new(vec![node.clone()]).key(entry.header.version) else {
                    continue;
                };
                let event_key = EventKey::derive(&key, &entry.header.event_id);
                if opens(&entry, &event_key).is_some() {
                    found.extend([node.key, *key, *event_key.as_bytes()]);
                }
            }
        }
        found
    }

    /// The secrets of the data subjects whose keys are gone in the later findings. Keyed hashes of their data
    /// are made with these secrets.
    pub fn secrets_gone_in(&self, later: &Self) -> Vec<Secret> {
        let gone = self.nodes.values().filter(|node| !later.keys.contains(&node.key));
        gone.filter_map(|node| PuncturableTree::new(vec![node.clone()]).secret().map(|secret| *secret))
            .collect()
    }

    /// Tries every 32-byte window in and around every unopened page as a key, on everything that is not
    /// decrypted yet. Each window is tried as a root key, a page key, an event key, a version key and a
    /// subject's key.
    pub fn try_windows(&mut self) {
        let near = self.near.iter().filter(|(page, _)| self.closed.contains(page));
        let windows: BTreeSet<Secret> =
            near.flat_map(|(_, near)| near.windows(32).map(|window| window.try_into().unwrap())).collect();
        self.windows_tried = windows.len();
        let closed: Vec<Sealed> = self.closed.iter().cloned().collect();
        let blocks: Vec<_> = closed.iter().map(first_block).collect();
        let still_closed = self.entries.iter().filter(|(_, opened)| opened.is_none());
        let entries: Vec<Entry> = still_closed
            .filter_map(|(bytes, _)| Entry::parse(bytes).ok())
            .filter(|entry| entry.header.key_commitment.is_some())
            .collect();
        for window in windows {
            // To exclude most windows quickly, decrypt one block first. Decrypt the whole page only if that
            // block is plausible.
            let is_page_key =
                plausible_pages(&window, &blocks).any(|page| closed[page].open(&window).is_some());
            let is_root = self.wrapped.iter().any(|wrapped| wrapped.open(&window).is_some());
            if is_page_key || is_root || opens_an_entry(&window, &entries) {
                self.keys.insert(window);
                self.open_all();
                self.texts.push("a window near a page is a key".into());
            }
        }
    }
}

/// The first counter block and the first byte of ciphertext of a page (NIST SP 800-38D section 7.1).
fn first_block(page: &Sealed) -> ([u8; 16], u8) {
    let mut counter = [0; 16];
    counter[..12].copy_from_slice(&page.nonce);
    counter[15] = 2;
    (counter, page.cipher[0])
}

/// The pages whose first byte, decrypted with this key, is a valid kind of page.
fn plausible_pages<'a>(key: &Secret, blocks: &'a [([u8; 16], u8)]) -> impl Iterator<Item = usize> + 'a {
    use aes_gcm::aes::cipher::{BlockCipherEncrypt, KeyInit};
    let aes = aes_gcm::aes::Aes256::new(&(*key).into());
    let found = blocks.iter().enumerate().filter(move |(_, (counter, cipher))| {
        let mut block = (*counter).into();
        aes.encrypt_block(&mut block);
        (1..=4).contains(&(block[0] ^ cipher))
    });
    found.map(|(page, _)| page)
}

/// Whether a window decrypts an entry as its event key, its version key or its subject's key.
fn opens_an_entry(window: &Secret, entries: &[Entry]) -> bool {
    let mut tree = PuncturableTree::new(vec![Node::root(window)]);
    entries.iter().any(|entry| {
        let header = &entry.header;
        let is = |key: EventKey| Some(key.commitment()) == header.key_commitment;
        let as_version = EventKey::derive(window, &header.event_id);
        let in_reach = header.version < VERSIONS_TRIED;
        let as_subject = in_reach.then(|| tree.key(header.version)).flatten();
        is(EventKey::from_bytes(*window))
            || is(as_version)
            || as_subject.is_some_and(|key| is(EventKey::derive(&key, &header.event_id)))
    })
}

fn opens(entry: &Entry, key: &EventKey) -> Option<String> {
    let body = entry.open(key).ok()?;
    Some(format!("{body:?}"))
}

/// The entry at the start of these bytes. The heads of its CBOR byte strings give its length (RFC 8949).
fn entry_at(bytes: &[u8]) -> Option<&[u8]> {
    let string = |at: usize| {
        let (length, head) = match *bytes.get(at)? {
            short @ 0x40..=0x57 => (usize::from(short - 0x40), 1),
            0x58 => (usize::from(*bytes.get(at + 1)?), 2),
            0x59 => (usize::from(u16::from_be_bytes(bytes.get(at + 1..at + 3)?.try_into().ok()?)), 3),
            0x5a => (u32::from_be_bytes(bytes.get(at + 1..at + 5)?.try_into().ok()?) as usize, 5),
            _ => return None,
        };
        at.checked_add(head)?.checked_add(length)
    };
    let payload = string(2)? + 1;
    let end = string(string(payload)?)?;
    let entry = bytes.get(..end)?;
    Entry::parse(entry).is_ok().then_some(entry)
}

/// Finds the needles in all writable memory of a running process: heap, stacks and anonymous maps. Returns
/// the index of each needle that it finds, and its place.
pub fn find_in_memory(pid: u32, needles: &[Vec<u8>]) -> Vec<(usize, String)> {
    use std::os::unix::fs::FileExt;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut prefixes = vec![false; 1 << 16];
    for needle in needles {
        prefixes[usize::from(u16::from_be_bytes([needle[0], needle[1]]))] = true;
    }
    let mut found: Vec<(usize, String)> = Vec::new();
    for map in maps.lines() {
        let mut words = map.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        let name = words.nth(3).unwrap_or("anonymous");
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // The map may be gone by now.
        let Ok(count) = memory.read_at(&mut bytes, start) else { continue };
        bytes.truncate(count);
        for page in (0..bytes.len())
            .step_by(PAGE)
            .filter(|page| !is_zero(&bytes[*page..bytes.len().min(page + PAGE)]))
        {
            for at in page..bytes.len().saturating_sub(1).min(page + PAGE) {
                if prefixes[usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))] {
                    let here =
                        needles.iter().enumerate().filter(|(_, needle)| bytes[at..].starts_with(needle));
                    let thread = stack_owner(pid, start..end).unwrap_or_default();
                    let place = format!("{name} {:x} {thread}", start + at as u64);
                    found.extend(here.map(|(number, _)| (number, place.clone())));
                }
            }
        }
    }
    found
}

/// The name of the waiting thread whose stack this map is.
fn stack_owner(pid: u32, map: std::ops::Range<u64>) -> Option<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let is_owner = |task: &PathBuf| {
        // The number of the system call, its arguments, the stack pointer and the program counter.
        let call = std::fs::read_to_string(task.join("syscall")).unwrap_or_default();
        let pointer = call.split_whitespace().rev().nth(1).and_then(|word| word.strip_prefix("0x"));
        pointer.and_then(|word| u64::from_str_radix(word, 16).ok()).is_some_and(|at| map.contains(&at))
    };
    let owner = threads.flatten().map(|thread| thread.path()).find(is_owner)?;
    std::fs::read_to_string(owner.join("comm")).ok().map(|name| format!("stack of {}", name.trim_end()))
}

const PAGE: usize = 4096;

fn is_zero(page: &[u8]) -> bool {
    page == &[0; PAGE][..page.len()]
}
