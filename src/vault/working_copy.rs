//! A working copy of the key tree (the encrypted pages with people's keys, see `mod.rs`). Pages that a
//! batch of changes touches are read once, changed in memory and sealed once.
//!
//! Adding a record rewrites its leaf page under the same key. Destroying a record gives a fresh number and
//! a fresh key to its leaf page and to every page above it. So no key of the new tree opens the remains of
//! the old pages.

use super::error::VaultError;
use super::fences::MomentsKey;
use super::key_tree::{KeyTree, PageWrite};
use super::pages::{PageId, RecordKey};
use super::seal::PageSeal;
use super::tree_pages::{
    Interior, LEAF_BYTES_MAX, LEVELS_MAX, Link, Page, Record, TopPage, Trie, encode_interior, encode_leaf,
    leaf_bytes, nibble,
};
use zeroize::Zeroizing;

/// What happens to a page when the copy is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// The page stays as it is.
    Stays,
    /// The page is written again under its number and key.
    Rewritten,
    /// The page is written under a fresh number and key, and the old one is removed.
    Rekeyed,
}

/// A page and everything below it.
enum Subtree {
    /// Not read yet.
    Stored(Link),
    /// Read into memory.
    Loaded(Box<LoadedPage>),
}

struct LoadedPage {
    link: Link,
    /// Whether the store has a page with this number.
    is_stored: bool,
    change: Change,
    content: Content,
}

enum Content {
    Interior(Box<[Option<Subtree>; 16]>),
    Leaf(Vec<Record>),
}

/// The working copy.
pub struct WorkingCopy<'a> {
    key_tree: &'a KeyTree,
    subjects: Option<Subtree>,
    handles: Option<Subtree>,
    /// What happens to the top page.
    change: Change,
    /// Pages that no link leads to after the change.
    dead: Vec<PageId>,
}

/// A sealed working copy: what has to be written.
pub struct Sealed {
    /// Content of the new top page, which is not sealed yet.
    pub top: TopPage,
    /// Whether the top page changed.
    pub is_top_changed: bool,
    /// Whether a key was destroyed: then the top page needs a fresh key, and the root key must be replaced.
    pub is_rekeyed: bool,
    /// Pages with new numbers: no link leads to them before their parent is written.
    pub fresh: Vec<PageWrite>,
    /// Pages that keep their number and key. They are in force as soon as they are written, so they are
    /// written together with the new top page, in one atomic write (step 3 in `rekey.rs`).
    pub in_place: Vec<PageWrite>,
    /// The interior pages among `fresh` and `in_place`, for the cache.
    pub interior: Vec<(PageId, Interior)>,
    /// Pages that no link leads to after the change.
    pub dead: Vec<PageId>,
}

impl<'a> WorkingCopy<'a> {
    /// A working copy of the current tree.
    pub fn new(key_tree: &'a KeyTree, top: &TopPage) -> Self {
        let stored = |trie| top.root(trie).cloned().map(Subtree::Stored);
        let (subjects, handles) = (stored(Trie::Subjects), stored(Trie::Handles));
        Self { key_tree, subjects, handles, change: Change::Stays, dead: Vec::new() }
    }

    fn root(&mut self, trie: Trie) -> &mut Option<Subtree> {
        match trie {
            Trie::Subjects => &mut self.subjects,
            Trie::Handles => &mut self.handles,
        }
    }

    /// Returns the value of a record in the copy.
    pub fn get(&mut self, trie: Trie, key: &RecordKey) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let key_tree = self.key_tree;
        let mut slot = self.root(trie).as_mut();
        for level in 0..=LEVELS_MAX {
            let Some(subtree) = slot else { return Ok(None) };
            match &mut load(subtree, key_tree)?.content {
                Content::Leaf(records) => return Ok(place(records, key).ok().map(|(_, value)| value)),
                Content::Interior(children) => {
                    slot = children.get_mut(nibble(key, level)).and_then(Option::as_mut);
                }
            }
        }
        Err(VaultError::Page)
    }

    /// Adds a record that does not exist yet.
    pub fn insert(&mut self, trie: Trie, record: Record) -> Result<(), VaultError> {
        let key_tree = self.key_tree;
        if insert(self.root(trie), 0, record, key_tree)? {
            self.change = self.change.max(Change::Rewritten);
        }
        Ok(())
    }

    /// Replaces the value of a record; does nothing if there is no such record. The old value stays readable
    /// in old copies of the page as long as the page's key exists.
    pub fn replace(
        &mut self,
        trie: Trie,
        key: &RecordKey,
        value: Zeroizing<Vec<u8>>,
    ) -> Result<(), VaultError> {
        let key_tree = self.key_tree;
        let mut slot = self.root(trie).as_mut();
        for level in 0..=LEVELS_MAX {
            let Some(subtree) = slot else { return Ok(()) };
            let page = load(subtree, key_tree)?;
            if let Content::Leaf(records) = &mut page.content {
                if let Ok((place, _)) = place(records, key) {
                    records.get_mut(place).ok_or(VaultError::Page)?.value = value;
                    page.change = page.change.max(Change::Rewritten);
                    split(page, level, key_tree);
                }
                return Ok(());
            }
            let Content::Interior(children) = &mut page.content else { return Err(VaultError::Page) };
            slot = children.get_mut(nibble(key, level)).and_then(Option::as_mut);
        }
        Err(VaultError::Page)
    }

    /// Removes a record under which nothing was sealed; does nothing if there is no such record. The old
    /// value stays readable in old copies of the page as long as the page's key exists.
    pub fn remove(&mut self, trie: Trie, key: &RecordKey) -> Result<(), VaultError> {
        let key_tree = self.key_tree;
        let mut slot = self.root(trie).as_mut();
        for level in 0..=LEVELS_MAX {
            let Some(subtree) = slot else { return Ok(()) };
            let page = load(subtree, key_tree)?;
            match &mut page.content {
                Content::Leaf(records) => {
                    if let Ok((place, _)) = place(records, key) {
                        drop(records.remove(place));
                        page.change = page.change.max(Change::Rewritten);
                    }
                    return Ok(());
                }
                Content::Interior(children) => {
                    slot = children.get_mut(nibble(key, level)).and_then(Option::as_mut);
                }
            }
        }
        Err(VaultError::Page)
    }

    /// Removes a record (`None`) or replaces its value, so that no copy of the store reveals the old value.
    /// Does nothing if there is no such record.
    pub fn destroy(
        &mut self,
        trie: Trie,
        key: &RecordKey,
        value: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<(), VaultError> {
        if self.get(trie, key)?.is_none() {
            return Ok(());
        }
        let key_tree = self.key_tree;
        let mut dead = std::mem::take(&mut self.dead);
        let done = destroy(self.root(trie), 0, (key, value), key_tree, &mut dead);
        self.dead = dead;
        self.change = Change::Rekeyed;
        done
    }

    /// Seals every changed page. `moments` becomes the moments key of the top page. It may differ from the
    /// current one only if a record was destroyed.
    pub fn seal(self, top: &TopPage, moments: Option<MomentsKey>) -> Result<Sealed, VaultError> {
        let mut sealed = Sealed {
            top: TopPage { moments, own: top.own.clone(), subjects: None, handles: None },
            is_top_changed: self.change > Change::Stays,
            is_rekeyed: self.change == Change::Rekeyed,
            fresh: Vec::new(),
            in_place: Vec::new(),
            interior: Vec::new(),
            dead: self.dead,
        };
        sealed.top.subjects =
            self.subjects.map(|subtree| seal(subtree, self.key_tree, &mut sealed)).transpose()?;
        sealed.top.handles =
            self.handles.map(|subtree| seal(subtree, self.key_tree, &mut sealed)).transpose()?;
        Ok(sealed)
    }
}

/// Reads a page into memory if it is not there yet.
fn load<'b>(subtree: &'b mut Subtree, key_tree: &KeyTree) -> Result<&'b mut LoadedPage, VaultError> {
    if let Subtree::Stored(link) = subtree {
        let content = match key_tree.page(link)? {
            Page::Leaf(records) => Content::Leaf(records),
            Page::Interior(interior) => {
                let children = interior.children.map(|child| child.map(Subtree::Stored));
                Content::Interior(Box::new(children))
            }
        };
        let link = link.clone();
        *subtree =
            Subtree::Loaded(Box::new(LoadedPage { link, is_stored: true, change: Change::Stays, content }));
    }
    match subtree {
        Subtree::Loaded(page) => Ok(page),
        Subtree::Stored(_) => Err(VaultError::Page),
    }
}

/// Returns the place and value of a record. If there is no such record, the error is the place where it would
/// be inserted.
fn place(records: &[Record], key: &RecordKey) -> Result<(usize, Zeroizing<Vec<u8>>), usize> {
    let found = records.binary_search_by(|record| record.key.cmp(key))?;
    let value = records.get(found).map(|record| record.value.clone()).unwrap_or_default();
    Ok((found, value))
}

fn new_leaf(records: Vec<Record>, key_tree: &KeyTree) -> Box<LoadedPage> {
    let link = Link::fresh(key_tree.clock.as_ref());
    Box::new(LoadedPage {
        link,
        is_stored: false,
        change: Change::Rewritten,
        content: Content::Leaf(records),
    })
}

/// Adds a record. Returns whether the slot was empty, so that the page above changes too.
fn insert(
    slot: &mut Option<Subtree>,
    level: usize,
    record: Record,
    key_tree: &KeyTree,
) -> Result<bool, VaultError> {
    let Some(subtree) = slot else {
        *slot = Some(Subtree::Loaded(new_leaf(vec![record], key_tree)));
        return Ok(true);
    };
    let page = load(subtree, key_tree)?;
    match &mut page.content {
        Content::Leaf(records) => {
            if let Err(place) = place(records, &record.key) {
                records.insert(place, record);
            }
            page.change = page.change.max(Change::Rewritten);
            split(page, level, key_tree);
        }
        Content::Interior(children) => {
            let child = children.get_mut(nibble(&record.key, level)).ok_or(VaultError::Page)?;
            if insert(child, level.saturating_add(1), record, key_tree)? {
                page.change = page.change.max(Change::Rewritten);
            }
        }
    }
    Ok(false)
}

/// Turns a leaf page that is too large into an interior page above smaller leaf pages. The page keeps its
/// number and key, so the page above it does not change.
fn split(page: &mut LoadedPage, level: usize, key_tree: &KeyTree) {
    let Content::Leaf(records) = &mut page.content else { return };
    if records.len() < 2 || leaf_bytes(records) <= LEAF_BYTES_MAX || level >= LEVELS_MAX {
        return;
    }
    let mut children: [Option<Subtree>; 16] = std::array::from_fn(|_| None);
    let mut parts: [Vec<Record>; 16] = std::array::from_fn(|_| Vec::new());
    for record in std::mem::take(records) {
        if let Some(part) = parts.get_mut(nibble(&record.key, level)) {
            part.push(record);
        }
    }
    for (child, part) in children.iter_mut().zip(parts) {
        if !part.is_empty() {
            let mut leaf = new_leaf(part, key_tree);
            split(&mut leaf, level.saturating_add(1), key_tree);
            *child = Some(Subtree::Loaded(leaf));
        }
    }
    page.content = Content::Interior(Box::new(children));
}

/// Removes or replaces an existing record, and marks every page on the path to it.
fn destroy(
    slot: &mut Option<Subtree>,
    level: usize,
    (key, value): (&RecordKey, Option<Zeroizing<Vec<u8>>>),
    key_tree: &KeyTree,
    dead: &mut Vec<PageId>,
) -> Result<(), VaultError> {
    let Some(subtree) = slot else { return Ok(()) };
    let page = load(subtree, key_tree)?;
    page.change = Change::Rekeyed;
    let is_empty = match &mut page.content {
        Content::Interior(children) => {
            let child = children.get_mut(nibble(key, level)).ok_or(VaultError::Page)?;
            destroy(child, level.saturating_add(1), (key, value), key_tree, dead)?;
            children.iter().all(Option::is_none)
        }
        Content::Leaf(records) => {
            match (place(records, key), value) {
                (Ok((place, _)), None) => drop(records.remove(place)),
                (Ok((place, _)), Some(value)) => {
                    records.get_mut(place).ok_or(VaultError::Page)?.value = value;
                    // Puncturing makes a cover larger; a large cover should not share a page with many
                    // records.
                    split(page, level, key_tree);
                }
                (Err(_), _) => {}
            }
            matches!(&page.content, Content::Leaf(records) if records.is_empty())
        }
    };
    if is_empty {
        if page.is_stored {
            dead.push(page.link.id);
        }
        *slot = None;
    }
    Ok(())
}

/// Seals a subtree from its leaves up, and returns the link to it.
fn seal(subtree: Subtree, key_tree: &KeyTree, sealed: &mut Sealed) -> Result<Link, VaultError> {
    let page = match subtree {
        Subtree::Stored(link) => return Ok(link),
        Subtree::Loaded(page) => *page,
    };
    let is_in_place = page.is_stored && page.change < Change::Rekeyed;
    let link = if page.is_stored && !is_in_place {
        sealed.dead.push(page.link.id);
        Link::fresh(key_tree.clock.as_ref())
    } else {
        page.link
    };
    let clear = match page.content {
        Content::Leaf(records) => encode_leaf(&records),
        Content::Interior(children) => {
            let mut interior = Interior::default();
            for (place, child) in interior.children.iter_mut().zip(*children) {
                *place = child.map(|child| seal(child, key_tree, sealed)).transpose()?;
            }
            let clear = encode_interior(&interior);
            if page.change > Change::Stays {
                sealed.interior.push((link.id, interior));
            }
            clear
        }
    };
    if page.change > Change::Stays {
        let name = link.name();
        let bytes = PageSeal::new(&link.key).seal(&name, &clear, key_tree.clock.as_ref())?;
        if is_in_place { &mut sealed.in_place } else { &mut sealed.fresh }.push((name, Some(bytes)));
    }
    Ok(link)
}
