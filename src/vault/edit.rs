//! A working copy of the key tree: what several changes touch is read once, changed in memory, and sealed once.
//!
//! A new record rewrites its leaf page under the same key. Destroying marks the leaf page and every page above it: each
//! gets a fresh number and a fresh key, so that nothing that is left of the old ones can be opened from the new.

use super::VaultError;
use super::node::{
    Interior, LEAF_BYTES_MAX, LEVELS_MAX, Link, Page, PageId, Record, RecordKey, Top, Trie, encode_interior,
    encode_leaf, leaf_bytes, nibble,
};
use super::seal::PageSeal;
use super::shelf::{PageWrite, Shelf};
use zeroize::Zeroizing;

/// What becomes of a page when the copy is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// Nothing.
    Stays,
    /// Written again under its key.
    Rewritten,
    /// Written under a fresh key and number; the old one dies.
    Rekeyed,
}

/// A page and what hangs under it.
enum Branch {
    /// Not looked into.
    Closed(Link),
    /// In memory.
    Open(Box<Twig>),
}

struct Twig {
    link: Link,
    /// Whether the store has a page of this number.
    is_stored: bool,
    change: Change,
    content: Content,
}

enum Content {
    Interior(Box<[Option<Branch>; 16]>),
    Leaf(Vec<Record>),
}

/// The working copy.
pub struct Edit<'a> {
    shelf: &'a Shelf,
    subjects: Option<Branch>,
    handles: Option<Branch>,
    /// What becomes of the top page.
    change: Change,
    dead: Vec<PageId>,
}

/// The working copy, sealed.
pub struct Sealed {
    /// Tries and own key of the top page, which is not sealed yet.
    pub top: Top,
    /// Whether the top page changed at all.
    pub is_top_changed: bool,
    /// Whether something was destroyed: then the top page needs a fresh key, and the root key replacing.
    pub is_rekeyed: bool,
    /// Pages of numbers that the store has not: nothing leads there before their parent is written.
    pub fresh: Vec<PageWrite>,
    /// Pages that keep number and key: they count at once, so they go with the write that makes everything count.
    pub in_place: Vec<PageWrite>,
    /// The interior ones among both, for the cache.
    pub interior: Vec<(PageId, Interior)>,
    /// Pages that nothing leads to any more.
    pub dead: Vec<PageId>,
}

impl<'a> Edit<'a> {
    /// Of the tree as it is.
    pub fn new(shelf: &'a Shelf, top: &Top) -> Self {
        let closed = |trie| top.root(trie).cloned().map(Branch::Closed);
        let (subjects, handles) = (closed(Trie::Subjects), closed(Trie::Handles));
        Self { shelf, subjects, handles, change: Change::Stays, dead: Vec::new() }
    }

    fn root(&mut self, trie: Trie) -> &mut Option<Branch> {
        match trie {
            Trie::Subjects => &mut self.subjects,
            Trie::Handles => &mut self.handles,
        }
    }

    /// A record as it is in the copy.
    pub fn get(&mut self, trie: Trie, key: &RecordKey) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let shelf = self.shelf;
        let mut slot = self.root(trie).as_mut();
        for level in 0..=LEVELS_MAX {
            let Some(branch) = slot else { return Ok(None) };
            match &mut open(branch, shelf)?.content {
                Content::Leaf(records) => return Ok(place(records, key).ok().map(|(_, value)| value)),
                Content::Interior(children) => {
                    slot = children.get_mut(nibble(key, level)).and_then(Option::as_mut);
                }
            }
        }
        Err(VaultError::Page)
    }

    /// Puts a record in that is not there yet.
    pub fn insert(&mut self, trie: Trie, record: Record) -> Result<(), VaultError> {
        let shelf = self.shelf;
        if insert(self.root(trie), 0, record, shelf)? {
            self.change = self.change.max(Change::Rewritten);
        }
        Ok(())
    }

    /// Replaces what is kept; what was kept before may be read as long as the page's key is there. Nothing happens where
    /// there is none.
    pub fn replace(
        &mut self,
        trie: Trie,
        key: &RecordKey,
        value: Zeroizing<Vec<u8>>,
    ) -> Result<(), VaultError> {
        let shelf = self.shelf;
        let mut slot = self.root(trie).as_mut();
        for level in 0..=LEVELS_MAX {
            let Some(branch) = slot else { return Ok(()) };
            let twig = open(branch, shelf)?;
            if let Content::Leaf(records) = &mut twig.content {
                if let Ok((place, _)) = place(records, key) {
                    records.get_mut(place).ok_or(VaultError::Page)?.value = value;
                    twig.change = twig.change.max(Change::Rewritten);
                    split(twig, level, shelf);
                }
                return Ok(());
            }
            let Content::Interior(children) = &mut twig.content else { return Err(VaultError::Page) };
            slot = children.get_mut(nibble(key, level)).and_then(Option::as_mut);
        }
        Err(VaultError::Page)
    }

    /// Removes a record that opens nothing; what was kept may be read as long as the page's key is there. Nothing happens
    /// where there is none.
    pub fn remove(&mut self, trie: Trie, key: &RecordKey) -> Result<(), VaultError> {
        let shelf = self.shelf;
        let mut slot = self.root(trie).as_mut();
        for level in 0..=LEVELS_MAX {
            let Some(branch) = slot else { return Ok(()) };
            let twig = open(branch, shelf)?;
            match &mut twig.content {
                Content::Leaf(records) => {
                    if let Ok((place, _)) = place(records, key) {
                        drop(records.remove(place));
                        twig.change = twig.change.max(Change::Rewritten);
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

    /// Removes a record (`None`) or replaces what is kept, for good. Nothing happens where there is none.
    pub fn destroy(
        &mut self,
        trie: Trie,
        key: &RecordKey,
        value: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<(), VaultError> {
        if self.get(trie, key)?.is_none() {
            return Ok(());
        }
        let shelf = self.shelf;
        let mut dead = std::mem::take(&mut self.dead);
        let done = destroy(self.root(trie), 0, (key, value), shelf, &mut dead);
        self.dead = dead;
        self.change = Change::Rekeyed;
        done
    }

    /// Seals every page that changed.
    pub fn seal(self, top: &Top) -> Result<Sealed, VaultError> {
        let mut sealed = Sealed {
            top: Top { own: top.own.clone(), subjects: None, handles: None },
            is_top_changed: self.change > Change::Stays,
            is_rekeyed: self.change == Change::Rekeyed,
            fresh: Vec::new(),
            in_place: Vec::new(),
            interior: Vec::new(),
            dead: self.dead,
        };
        sealed.top.subjects =
            self.subjects.map(|branch| seal(branch, self.shelf, &mut sealed)).transpose()?;
        sealed.top.handles = self.handles.map(|branch| seal(branch, self.shelf, &mut sealed)).transpose()?;
        Ok(sealed)
    }
}

/// Looks into a branch.
fn open<'b>(branch: &'b mut Branch, shelf: &Shelf) -> Result<&'b mut Twig, VaultError> {
    if let Branch::Closed(link) = branch {
        let content = match shelf.page(link)? {
            Page::Leaf(records) => Content::Leaf(records),
            Page::Interior(interior) => {
                let children = interior.children.map(|child| child.map(Branch::Closed));
                Content::Interior(Box::new(children))
            }
        };
        let link = link.clone();
        *branch = Branch::Open(Box::new(Twig { link, is_stored: true, change: Change::Stays, content }));
    }
    match branch {
        Branch::Open(twig) => Ok(twig),
        Branch::Closed(_) => Err(VaultError::Page),
    }
}

/// What is kept under a key, with its place; else where it would be.
fn place(records: &[Record], key: &RecordKey) -> Result<(usize, Zeroizing<Vec<u8>>), usize> {
    let found = records.binary_search_by(|record| record.key.cmp(key))?;
    let value = records.get(found).map(|record| record.value.clone()).unwrap_or_default();
    Ok((found, value))
}

fn new_leaf(records: Vec<Record>, shelf: &Shelf) -> Box<Twig> {
    let link = Link::fresh(shelf.clock.as_ref());
    Box::new(Twig { link, is_stored: false, change: Change::Rewritten, content: Content::Leaf(records) })
}

/// Puts a record in; tells whether the slot was empty, so that the page above changes, too.
fn insert(
    slot: &mut Option<Branch>,
    level: usize,
    record: Record,
    shelf: &Shelf,
) -> Result<bool, VaultError> {
    let Some(branch) = slot else {
        *slot = Some(Branch::Open(new_leaf(vec![record], shelf)));
        return Ok(true);
    };
    let twig = open(branch, shelf)?;
    match &mut twig.content {
        Content::Leaf(records) => {
            if let Err(place) = place(records, &record.key) {
                records.insert(place, record);
            }
            twig.change = twig.change.max(Change::Rewritten);
            split(twig, level, shelf);
        }
        Content::Interior(children) => {
            let child = children.get_mut(nibble(&record.key, level)).ok_or(VaultError::Page)?;
            if insert(child, level.saturating_add(1), record, shelf)? {
                twig.change = twig.change.max(Change::Rewritten);
            }
        }
    }
    Ok(false)
}

/// Turns a leaf page that is too large into an interior page over smaller ones. Its own number and key stay, so the
/// page above does not change.
fn split(twig: &mut Twig, level: usize, shelf: &Shelf) {
    let Content::Leaf(records) = &mut twig.content else { return };
    if records.len() < 2 || leaf_bytes(records) <= LEAF_BYTES_MAX || level >= LEVELS_MAX {
        return;
    }
    let mut children: [Option<Branch>; 16] = std::array::from_fn(|_| None);
    let mut parts: [Vec<Record>; 16] = std::array::from_fn(|_| Vec::new());
    for record in std::mem::take(records) {
        if let Some(part) = parts.get_mut(nibble(&record.key, level)) {
            part.push(record);
        }
    }
    for (child, part) in children.iter_mut().zip(parts) {
        if !part.is_empty() {
            let mut leaf = new_leaf(part, shelf);
            split(&mut leaf, level.saturating_add(1), shelf);
            *child = Some(Branch::Open(leaf));
        }
    }
    twig.content = Content::Interior(Box::new(children));
}

/// Removes or replaces a record that is there, and marks the way to it.
fn destroy(
    slot: &mut Option<Branch>,
    level: usize,
    (key, value): (&RecordKey, Option<Zeroizing<Vec<u8>>>),
    shelf: &Shelf,
    dead: &mut Vec<PageId>,
) -> Result<(), VaultError> {
    let Some(branch) = slot else { return Ok(()) };
    let twig = open(branch, shelf)?;
    twig.change = Change::Rekeyed;
    let is_empty = match &mut twig.content {
        Content::Interior(children) => {
            let child = children.get_mut(nibble(key, level)).ok_or(VaultError::Page)?;
            destroy(child, level.saturating_add(1), (key, value), shelf, dead)?;
            children.iter().all(Option::is_none)
        }
        Content::Leaf(records) => {
            match (place(records, key), value) {
                (Ok((place, _)), None) => drop(records.remove(place)),
                (Ok((place, _)), Some(value)) => {
                    records.get_mut(place).ok_or(VaultError::Page)?.value = value;
                    // A cover grows by being punctured: what shares its page should not have to carry it along.
                    split(twig, level, shelf);
                }
                (Err(_), _) => {}
            }
            matches!(&twig.content, Content::Leaf(records) if records.is_empty())
        }
    };
    if is_empty {
        if twig.is_stored {
            dead.push(twig.link.id);
        }
        *slot = None;
    }
    Ok(())
}

/// Seals a branch, from its leaves up, and tells where it is now.
fn seal(branch: Branch, shelf: &Shelf, sealed: &mut Sealed) -> Result<Link, VaultError> {
    let twig = match branch {
        Branch::Closed(link) => return Ok(link),
        Branch::Open(twig) => *twig,
    };
    let is_in_place = twig.is_stored && twig.change < Change::Rekeyed;
    let link = if twig.is_stored && !is_in_place {
        sealed.dead.push(twig.link.id);
        Link::fresh(shelf.clock.as_ref())
    } else {
        twig.link
    };
    let page = match twig.content {
        Content::Leaf(records) => encode_leaf(&records),
        Content::Interior(children) => {
            let mut interior = Interior::default();
            for (place, child) in interior.children.iter_mut().zip(*children) {
                *place = child.map(|child| seal(child, shelf, sealed)).transpose()?;
            }
            let page = encode_interior(&interior);
            if twig.change > Change::Stays {
                sealed.interior.push((link.id, interior));
            }
            page
        }
    };
    if twig.change > Change::Stays {
        let name = link.name();
        let page = PageSeal::new(&link.key).seal(&name, &page, shelf.clock.as_ref())?;
        if is_in_place { &mut sealed.in_place } else { &mut sealed.fresh }.push((name, Some(page)));
    }
    Ok(link)
}
