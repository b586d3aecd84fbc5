//! Opening the key tree: the first start, an ordinary one, and one after a crash in the middle of a re-keying.

use super::VaultError;
use super::cache::Cache;
use super::custody::{Generation, RootCustody};
use super::node::{self, Link, Page, PageId, Record, RecordKey, Top, Trie};
use super::pages::{self, RootPage};
use super::paths::{Paths, Trunk};
use super::rekey::removals;
use super::seal::PageSeal;
use super::shelf::Shelf;
use crate::clock::{Clock, SharedClock};
use crate::store::{KeyStore, StoreError};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Subjects whose keys stay in memory while nobody uses them.
const CACHED_MAX: NonZeroUsize = NonZeroUsize::new(32_768).expect("not zero");
/// Pages looked at in one piece while those that nothing leads to are removed.
const SWEEP_COUNT: usize = 1_024;

/// Opens the key tree, or begins one, and completes or takes back a re-keying that was interrupted: afterwards there is
/// exactly one root key.
pub fn open(
    store: Arc<dyn KeyStore>,
    custody: Arc<dyn RootCustody>,
    clock: SharedClock,
) -> Result<Shelf, VaultError> {
    let roots = custody.generations()?;
    let root = match store.read_page(pages::ROOT)? {
        Some(page) => page,
        None => begin(store.as_ref(), custody.as_ref(), clock.as_ref(), &roots)?,
    };
    let generation = RootPage::decode(&root)?.generation;
    let trunk = read_trunk(store.as_ref(), custody.as_ref(), &root)?;
    let (cache, paths) = (Cache::new(CACHED_MAX), Paths::new(trunk));
    let (halted, subjects) = (AtomicBool::new(false), AtomicU64::new(0));
    let shelf = Shelf { store, custody, clock, cache, paths, halted, subjects };
    if roots.iter().any(|root| *root != generation) {
        finish(&shelf, root, generation, &roots)?;
    }
    shelf.custody.clear_remains()?;
    let dead = shelf.store.read_page(pages::DEAD)?.unwrap_or_default();
    shelf.store.stage_pages(&removals(dead.as_chunks().0))?;
    let count = shelf.number(pages::OWN, pages::COUNT)?.unwrap_or(0);
    shelf.subjects.store(count, Ordering::SeqCst);
    Ok(shelf)
}

/// A tree with nobody in it, under the first root key.
fn begin(
    store: &dyn KeyStore,
    custody: &dyn RootCustody,
    clock: &dyn Clock,
    roots: &[Generation],
) -> Result<Vec<u8>, VaultError> {
    // One that has replaced others had a tree: whoever lost that should be told, and not be given an empty one.
    if let Some(root) = roots.iter().find(|root| **root > 0) {
        return Err(VaultError::NoTree(*root));
    }
    if roots.is_empty() {
        custody.make(0, clock)?;
    }
    let (top, link) = (Top::fresh(clock), Link::fresh(clock));
    let mut secret = Zeroizing::new([0; 32]);
    clock.fill(secret.as_mut());
    let wrapped = custody.wrap(0, &link.key, clock)?;
    let root = RootPage { generation: 0, top: link.id, wrapped }.encode();
    let hashing = pages::id(pages::OWN, pages::HASHING);
    let top_page = PageSeal::new(&link.key).seal(&link.name(), &top.encode(), clock)?;
    let hashing_page = PageSeal::new(&top.own).seal(&hashing, secret.as_ref(), clock)?;
    store.write_pages(&[
        (link.name(), Some(top_page)),
        (hashing, Some(hashing_page)),
        (pages::ROOT.to_vec(), Some(root.clone())),
    ])?;
    Ok(root)
}

pub(super) fn read_trunk(
    store: &dyn KeyStore,
    custody: &dyn RootCustody,
    root: &[u8],
) -> Result<Trunk, VaultError> {
    let root = RootPage::decode(root)?;
    if !custody.generations()?.contains(&root.generation) {
        return Err(VaultError::OtherRoot(root.generation));
    }
    let key = custody.unwrap(root.generation, &root.wrapped)?;
    let link = Link { id: root.top, key: *key };
    let missing = || StoreError::Damaged { what: "key tree", place: "its top page is missing".into() };
    let sealed = store.read_page(&link.name())?.ok_or_else(missing)?;
    let top = Top::decode(&PageSeal::new(&link.key).open(&link.name(), &sealed)?)?;
    Ok(Trunk::new(root.generation, link, top))
}

/// Destroys the root keys that do not count, once it is certain that the tree under the one that does is whole and
/// durable.
fn finish(
    shelf: &Shelf,
    root: Vec<u8>,
    generation: Generation,
    roots: &[Generation],
) -> Result<(), VaultError> {
    tracing::warn!("the root key was being replaced when the daemon ended; completing or taking it back");
    let reached = reach(shelf)?;
    // What was found may not have been durable yet.
    shelf.store.write_pages(&[(pages::ROOT.to_vec(), Some(root))])?;
    sweep(shelf, &reached)?;
    shelf.store.write_pages(&[])?;
    for other in roots.iter().filter(|root| **root != generation) {
        shelf.custody.destroy(*other)?;
    }
    Ok(())
}

/// Every page that the trunk leads to, each opened.
pub(super) fn reach(shelf: &Shelf) -> Result<BTreeSet<PageId>, VaultError> {
    let trunk = shelf.paths.trunk();
    let mut reached = BTreeSet::from([trunk.link.id]);
    let mut next: Vec<Link> =
        [&trunk.top.subjects, &trunk.top.handles].into_iter().flatten().cloned().collect();
    while let Some(link) = next.pop() {
        if let Page::Interior(interior) = shelf.page(&link)? {
            next.extend(interior.children.into_iter().flatten());
        }
        reached.insert(link.id);
    }
    Ok(reached)
}

/// Removes the tree pages that nothing leads to.
fn sweep(shelf: &Shelf, reached: &BTreeSet<PageId>) -> Result<(), VaultError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let found = shelf.store.scan_pages(&[pages::TREE], after.as_deref(), SWEEP_COUNT)?;
        let Some((last, _)) = found.last() else { return Ok(()) };
        after = Some(last.clone());
        let ids = found.iter().filter_map(|(name, _)| PageId::try_from(name.get(1..)?).ok());
        let dead: Vec<PageId> = ids.filter(|id| !reached.contains(id)).collect();
        shelf.store.stage_pages(&removals(&dead))?;
    }
}

/// Records of a trie in their order: those with keys greater than `after`, at most `count`.
pub fn records_after(
    shelf: &Shelf,
    trie: Trie,
    after: Option<&RecordKey>,
    count: usize,
) -> Result<Vec<Record>, VaultError> {
    loop {
        let (turn, trunk) = shelf.paths.now();
        let mut found = Vec::new();
        let walked = match trunk.top.root(trie) {
            Some(link) => gather(shelf, link, 0, after, count, &mut found),
            None => Ok(()),
        };
        match walked {
            // The pages on the way died meanwhile.
            Err(_) if !shelf.paths.is_now(turn) => {}
            walked => return walked.map(|()| found),
        }
    }
}

fn gather(
    shelf: &Shelf,
    link: &Link,
    level: usize,
    after: Option<&RecordKey>,
    count: usize,
    found: &mut Vec<Record>,
) -> Result<(), VaultError> {
    match shelf.page(link)? {
        Page::Leaf(records) => {
            let room = count.saturating_sub(found.len());
            let behind = |record: &Record| after.is_none_or(|after| record.key > *after);
            found.extend(records.into_iter().filter(behind).take(room));
        }
        Page::Interior(interior) => {
            let first = after.map_or(0, |after| node::nibble(after, level));
            for (place, child) in interior.children.iter().enumerate().skip(first) {
                // Only on the way to `after` itself it still parts what is before from what is behind.
                let after = after.filter(|_| place == first);
                if let Some(child) = child.as_ref().filter(|_| found.len() < count) {
                    gather(shelf, child, level.saturating_add(1), after, count, found)?;
                }
            }
        }
    }
    Ok(())
}
