//! Opens the key tree (people's keys, in encrypted pages) when the daemon starts: for the first time,
//! after an ordinary stop, or after a crash during a re-keying (replacement of the root key).

use super::cache::Cache;
use super::custody::{KeyEpoch, RootCustody};
use super::error::VaultError;
use super::key_tree::KeyTree;
use super::pages::{self, PageId, RecordKey, RootPage};
use super::path_cache::{PathCache, TreeRoot};
use super::rekey::removals;
use super::seal::PageSeal;
use super::tree_pages::{self, Link, Page, Record, TopPage, Trie};
use crate::clock::{Clock, SharedClock};
use crate::secret::{self, SecretBytes};
use crate::store::{KeyStore, StoreError};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Subjects whose keys stay in memory without references.
const CACHED_MAX: NonZeroUsize = NonZeroUsize::new(32_768).expect("not zero");
/// Words of stack that are overwritten after the tree was opened.
const STACK_WORDS: usize = (128 << 10) / secret::STACK_WORD_BYTES;
/// Pages in one listing while unreachable ones are removed.
const SCAN_COUNT: usize = 1_024;

/// Opens the key tree, or makes one on the first start. An interrupted re-keying is completed or undone, so
/// that exactly one root key exists afterwards.
pub fn open(
    store: Arc<dyn KeyStore>,
    custody: Arc<dyn RootCustody>,
    clock: SharedClock,
) -> Result<KeyTree, VaultError> {
    secret::with_cleared_stack::<STACK_WORDS, _>(|| open_root(store, custody, clock))
}

fn open_root(
    store: Arc<dyn KeyStore>,
    custody: Arc<dyn RootCustody>,
    clock: SharedClock,
) -> Result<KeyTree, VaultError> {
    let roots = custody.key_epochs()?;
    let root = match store.read_page(pages::ROOT)? {
        Some(page) => page,
        None => create(store.as_ref(), custody.as_ref(), clock.as_ref(), &roots)?,
    };
    let epoch = RootPage::decode(&root)?.epoch;
    let tree_root = read_root(store.as_ref(), custody.as_ref(), &root)?;
    let (cache, paths) = (Cache::new(CACHED_MAX), PathCache::new(tree_root));
    let (halted, subjects) = (AtomicBool::new(false), AtomicU64::new(0));
    let key_tree = KeyTree { store, custody, clock, cache, paths, halted, subjects };
    if roots.iter().any(|root| *root != epoch) {
        finish_rekeying(&key_tree, root, epoch, &roots)?;
    }
    key_tree.custody.clear_remains()?;
    let dead = key_tree.store.read_page(pages::DEAD)?.unwrap_or_default();
    key_tree.store.stage_pages(&removals(dead.as_chunks().0))?;
    let count = key_tree.number(pages::OWN, pages::COUNT)?.unwrap_or(0);
    key_tree.subjects.store(count, Ordering::SeqCst);
    Ok(key_tree)
}

/// Writes an empty tree under the first root key, and returns its root page.
fn create(
    store: &dyn KeyStore,
    custody: &dyn RootCustody,
    clock: &dyn Clock,
    roots: &[KeyEpoch],
) -> Result<Vec<u8>, VaultError> {
    // A root key that replaced others had a tree. The tree was lost, so refuse to start instead of making an
    // empty tree.
    if let Some(root) = roots.iter().find(|root| **root > 0) {
        return Err(VaultError::KeyTreeMissing(*root));
    }
    if roots.is_empty() {
        custody.make(0, clock)?;
    }
    let (top, link) = (TopPage::fresh(clock), Link::fresh(clock));
    let hashing_secret = SecretBytes::random(clock);
    let wrapped = custody.wrap(0, &link.key, clock)?;
    let root = RootPage { epoch: 0, top: link.id, wrapped }.encode();
    let hashing = pages::id(pages::OWN, pages::HASHING);
    let top_page = PageSeal::new(&link.key).seal(&link.name(), &top.encode(), clock)?;
    let hashing_page = PageSeal::new(&top.own).seal(&hashing, hashing_secret.as_slice(), clock)?;
    store.write_pages(&[
        (link.name(), Some(top_page)),
        (hashing, Some(hashing_page)),
        (pages::ROOT.to_vec(), Some(root.clone())),
    ])?;
    Ok(root)
}

/// Opens the top page that a root page names.
pub(super) fn read_root(
    store: &dyn KeyStore,
    custody: &dyn RootCustody,
    root: &[u8],
) -> Result<TreeRoot, VaultError> {
    let root = RootPage::decode(root)?;
    if !custody.key_epochs()?.contains(&root.epoch) {
        return Err(VaultError::RootKeyMissing(root.epoch));
    }
    let key = custody.unwrap(root.epoch, &root.wrapped)?;
    let link = Link { id: root.top, key: SecretBytes::copy_of(&key) };
    let missing = || StoreError::Damaged { what: "key tree", place: "the top page is missing".into() };
    let sealed = store.read_page(&link.name())?.ok_or_else(missing)?;
    let top = TopPage::decode(&PageSeal::new(&link.key).open(&link.name(), &sealed)?)?;
    Ok(TreeRoot::new(root.epoch, link, top))
}

/// Makes sure that the tree under the root key in force is complete and durable. Then destroys all other root
/// keys.
fn finish_rekeying(
    key_tree: &KeyTree,
    root: Vec<u8>,
    epoch: KeyEpoch,
    roots: &[KeyEpoch],
) -> Result<(), VaultError> {
    tracing::warn!(
        "the last run ended while it replaced the root key; completing or undoing the replacement"
    );
    let reachable = reachable_pages(key_tree)?;
    // The root page that was found may not be durable yet.
    key_tree.store.write_pages(&[(pages::ROOT.to_vec(), Some(root))])?;
    remove_unreachable(key_tree, &reachable)?;
    key_tree.store.write_pages(&[])?;
    for other in roots.iter().filter(|root| **root != epoch) {
        key_tree.custody.destroy(*other)?;
    }
    Ok(())
}

/// Opens every page of the tree, and returns their numbers.
pub(super) fn reachable_pages(key_tree: &KeyTree) -> Result<BTreeSet<PageId>, VaultError> {
    let tree_root = key_tree.paths.root();
    let mut reachable = BTreeSet::from([tree_root.link.id]);
    let mut next: Vec<Link> =
        [&tree_root.top.subjects, &tree_root.top.handles].into_iter().flatten().cloned().collect();
    while let Some(link) = next.pop() {
        if let Page::Interior(interior) = key_tree.page(&link)? {
            next.extend(interior.children.into_iter().flatten());
        }
        reachable.insert(link.id);
    }
    Ok(reachable)
}

/// Removes the tree pages that no link leads to.
fn remove_unreachable(key_tree: &KeyTree, reachable: &BTreeSet<PageId>) -> Result<(), VaultError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let found = key_tree.store.scan_pages(&[pages::TREE], after.as_deref(), SCAN_COUNT)?;
        let Some((last, _)) = found.last() else { return Ok(()) };
        after = Some(last.clone());
        let ids = found.iter().filter_map(|(name, _)| PageId::try_from(name.get(1..)?).ok());
        let dead: Vec<PageId> = ids.filter(|id| !reachable.contains(id)).collect();
        key_tree.store.stage_pages(&removals(&dead))?;
    }
}

/// Returns records of a trie in ascending order of their keys: those with keys greater than `after`, at most
/// `count`.
pub fn records_after(
    key_tree: &KeyTree,
    trie: Trie,
    after: Option<&RecordKey>,
    count: usize,
) -> Result<Vec<Record>, VaultError> {
    loop {
        let (version, tree_root) = key_tree.paths.current();
        let mut found = Vec::new();
        let result = match tree_root.top.root(trie) {
            Some(link) => collect(key_tree, link, 0, after, count, &mut found),
            None => Ok(()),
        };
        match result {
            // The writer replaced a page on the way.
            Err(_) if !key_tree.paths.is_current(version) => {}
            result => return result.map(|()| found),
        }
    }
}

fn collect(
    key_tree: &KeyTree,
    link: &Link,
    level: usize,
    after: Option<&RecordKey>,
    count: usize,
    found: &mut Vec<Record>,
) -> Result<(), VaultError> {
    match key_tree.page(link)? {
        Page::Leaf(records) => {
            let room = count.saturating_sub(found.len());
            let is_after = |record: &Record| after.is_none_or(|after| record.key > *after);
            found.extend(records.into_iter().filter(is_after).take(room));
        }
        Page::Interior(interior) => {
            let first = after.map_or(0, |after| tree_pages::nibble(after, level));
            for (place, child) in interior.children.iter().enumerate().skip(first) {
                // Only the first child can still have records before `after`.
                let after = after.filter(|_| place == first);
                if let Some(child) = child.as_ref().filter(|_| found.len() < count) {
                    collect(key_tree, child, level.saturating_add(1), after, count, found)?;
                }
            }
        }
    }
    Ok(())
}
