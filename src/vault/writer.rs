//! The one writer of the key store: creations that wait together share a flush; everything else takes its turn.

use super::VaultError;
use super::destroy::Erasure;
use super::pages;
use super::shelf::{Page, Shelf};
use super::subjects::PendingErasure;
use super::tree::Node;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Requests that may wait; beyond it, creating a subject fails as overloaded.
const QUEUE_MAX: usize = 4_096;
/// Creations in one flush; each is two pages, and the store's memory follows the size of a batch.
const BATCH_MAX: usize = 64;

type Reply = oneshot::Sender<Result<(), VaultError>>;

enum Work {
    Create(Hash),
    Erase(Box<Erasure>),
    Puncture(Handle, Vec<u64>, Option<PendingErasure>),
    Remove(Vec<u8>),
}

/// Where work is handed in. Dropped, it finishes what was handed in and lets go of the store.
pub struct Writer {
    queue: Option<SyncSender<(Work, Reply)>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the writer.
    pub fn start(shelf: Arc<Shelf>) -> Result<Self, VaultError> {
        let (queue, work) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("vault".into());
        let thread = thread.spawn(move || run(&shelf, &work)).map_err(VaultError::Thread)?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Makes pages for a subject unless there are some; durable when it returns.
    pub async fn create(&self, subject: Hash) -> Result<(), VaultError> {
        self.done(Work::Create(subject)).await
    }

    /// Erases a subject; durable when it returns. Goes on where the caller does not wait for it.
    pub async fn erase(&self, erasure: Erasure) -> Result<(), VaultError> {
        self.done(Work::Erase(Box::new(erasure))).await
    }

    /// Destroys versions; durable when it returns. Goes on where the caller does not wait for it.
    pub async fn puncture(
        &self,
        handle: Handle,
        versions: Vec<u64>,
        intent: Option<PendingErasure>,
    ) -> Result<(), VaultError> {
        self.done(Work::Puncture(handle, versions, intent)).await
    }

    /// Removes a page that holds no key; durable when it returns.
    pub async fn remove(&self, page: Vec<u8>) -> Result<(), VaultError> {
        self.done(Work::Remove(page)).await
    }

    async fn done(&self, work: Work) -> Result<(), VaultError> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(VaultError::Stopped)?;
        queue.try_send((work, reply)).map_err(|error| match error {
            TrySendError::Full(_) => VaultError::Overloaded,
            TrySendError::Disconnected(_) => VaultError::Stopped,
        })?;
        answer.await.map_err(|_| VaultError::Stopped)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the vault's writer ended badly");
        }
    }
}

fn run(shelf: &Shelf, queue: &Receiver<(Work, Reply)>) {
    while let Ok(first) = queue.recv() {
        let others = queue.try_iter().take(BATCH_MAX.saturating_sub(1));
        let mut creations = Vec::new();
        for (work, reply) in std::iter::once(first).chain(others) {
            if let Work::Create(subject) = work {
                creations.push((subject, reply));
                continue;
            }
            // In order: what was asked for before is done before.
            create(shelf, std::mem::take(&mut creations));
            let _gone = reply.send(match work {
                Work::Erase(erasure) => shelf.erase(&erasure),
                Work::Puncture(handle, versions, intent) => shelf.puncture(handle, &versions, intent),
                Work::Remove(page) => shelf.store.write_pages(&[(page, None)]).map_err(VaultError::Store),
                Work::Create(_) => Ok(()),
            });
        }
        create(shelf, creations);
    }
}

fn create(shelf: &Shelf, creations: Vec<(Hash, Reply)>) {
    if creations.is_empty() {
        return;
    }
    let done = write_new(shelf, creations.iter().map(|(subject, _)| *subject));
    for (_, reply) in creations {
        let result = match &done {
            Ok(()) => Ok(()),
            Err(error) => Err(VaultError::Creation(error.to_string())),
        };
        let _gone = reply.send(result);
    }
}

fn write_new(shelf: &Shelf, subjects: impl Iterator<Item = Hash>) -> Result<(), VaultError> {
    let mut pages: BTreeMap<Hash, [Page; 2]> = BTreeMap::new();
    for subject in subjects {
        let there = shelf.store.read_page(&pages::id(pages::SUBJECT, &subject))?.is_some();
        if !there && !pages.contains_key(&subject) {
            pages.insert(subject, new_pages(shelf, &subject)?);
        }
    }
    let pages: Vec<Page> = pages.into_values().flatten().collect();
    if pages.is_empty() { Ok(()) } else { Ok(shelf.store.write_pages(&pages)?) }
}

fn new_pages(shelf: &Shelf, subject: &Hash) -> Result<[Page; 2], VaultError> {
    let mut handle = Handle([0; 16]);
    shelf.clock.fill(&mut handle.0);
    let mut key = Zeroizing::new([0; 32]);
    shelf.clock.fill(key.as_mut());
    let clear = pages::encode_subject(handle, &[Node::root(&key)]);
    Ok([shelf.page(pages::SUBJECT, subject, &clear)?, shelf.page(pages::HANDLE, &handle.0, subject)?])
}
