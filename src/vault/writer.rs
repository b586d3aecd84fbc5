//! The one writer of the key store, on its own thread.
//!
//! Changes that wait together share one write. The destructions among them share one re-keying (replacement
//! of the root key). Changes are carried out in the order in which they were submitted.

use super::batch::{Batch, Creation, Erasure, PendingErasure, Renewal, Work};
use super::error::VaultError;
use super::key_tree::KeyTree;
use super::map_link::MapLink;
use crate::secret;
use crate::store::{Page, StoreError};
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Changes that may wait; further ones fail with [`VaultError::Overloaded`].
const QUEUE_MAX: usize = 4_096;
/// Changes in one batch; memory grows with it.
const BATCH_MAX: usize = 1_024;
/// New subjects in one batch. Each adds two pages to one atomic write, and the store's memory grows with the
/// size of that write.
const CREATIONS_MAX: usize = 64;
/// Words of the writer's stack that are overwritten after each batch.
const STACK_WORDS: usize = (256 << 10) / secret::STACK_WORD_BYTES;

type Reply = oneshot::Sender<Result<(), VaultError>>;

/// An item of the queue.
enum Item {
    Work(Work, Reply),
    /// Returns a copy of every page.
    Copy(oneshot::Sender<Result<Vec<Page>, VaultError>>),
}

/// Handle of the writer's thread. Dropping it waits until everything submitted is done and the store is
/// released.
pub struct Writer {
    queue: Option<SyncSender<Item>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(key_tree: Arc<KeyTree>) -> Result<Self, VaultError> {
        let (queue, work) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("vault".into());
        let thread = thread.spawn(move || run(&key_tree, &work)).map_err(VaultError::Thread)?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Stores a new subject's keys; durable when it returns. [`VaultError::Destroyed`] if the subject has
    /// other keys.
    pub async fn create(&self, creation: Creation) -> Result<(), VaultError> {
        self.carry_out(Work::Create(Box::new(creation))).await
    }

    /// Removes a new subject's handle and key, if nothing was sealed under the key; durable when it returns.
    pub async fn take_back(&self, subject: Hash, handle: Handle) -> Result<(), VaultError> {
        self.carry_out(Work::TakeBack(subject, handle)).await
    }

    /// Erases a subject; durable when it returns. Completes even if the caller stops waiting.
    pub async fn erase(&self, erasure: Erasure) -> Result<(), VaultError> {
        self.carry_out(Work::Erase(Box::new(erasure))).await
    }

    /// Destroys versions' keys; durable when it returns. Completes even if the caller stops waiting.
    pub async fn puncture(
        &self,
        handle: Handle,
        versions: Vec<u64>,
        intent: Option<PendingErasure>,
    ) -> Result<(), VaultError> {
        self.carry_out(Work::Puncture(handle, versions, intent)).await
    }

    /// Removes the intent of a completed erasure; durable when it returns.
    pub async fn complete(&self, request: [u8; 16]) -> Result<(), VaultError> {
        self.carry_out(Work::Complete(request)).await
    }

    /// Gives fresh keys to subjects of a restored log; durable when it returns.
    pub async fn renew(&self, renewals: Vec<Renewal>) -> Result<(), VaultError> {
        self.carry_out(Work::Renew(renewals)).await
    }

    /// Links a subject to the subject map; durable when it returns.
    pub async fn link(&self, subject: Hash, handle: Handle, link: MapLink) -> Result<(), VaultError> {
        self.carry_out(Work::Link(subject, handle, link)).await
    }

    /// Returns a copy of every page, taken between two writes.
    pub async fn copy(&self) -> Result<Vec<Page>, VaultError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Item::Copy(reply))?;
        answer.await.map_err(|_| VaultError::Stopped)?
    }

    async fn carry_out(&self, work: Work) -> Result<(), VaultError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Item::Work(work, reply))?;
        answer.await.map_err(|_| VaultError::Stopped)?
    }

    fn submit(&self, item: Item) -> Result<(), VaultError> {
        let queue = self.queue.as_ref().ok_or(VaultError::Stopped)?;
        queue.try_send(item).map_err(|error| match error {
            TrySendError::Full(_) => VaultError::Overloaded,
            TrySendError::Disconnected(_) => VaultError::Stopped,
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the vault's writer panicked");
        }
    }
}

fn run(key_tree: &KeyTree, queue: &Receiver<Item>) {
    while let Ok(first) = queue.recv() {
        let (mut works, mut creations, mut next) = (Vec::new(), 0_usize, Some(first));
        let copy = loop {
            match next {
                Some(Item::Work(work, reply)) => {
                    creations = creations.saturating_add(usize::from(matches!(work, Work::Create(_))));
                    works.push((work, reply));
                }
                Some(Item::Copy(reply)) => break Some(reply),
                None => break None,
            }
            let is_full = works.len() >= BATCH_MAX || creations >= CREATIONS_MAX;
            next = if is_full { None } else { queue.try_recv().ok() };
        };
        write_batch(key_tree, works);
        secret::clear_stack::<STACK_WORDS>();
        if let Some(reply) = copy {
            // The copy is consistent, because nothing is written meanwhile.
            let pages = key_tree.store.scan_pages(&[], None, usize::MAX).map_err(VaultError::Store);
            let _gone = reply.send(pages);
        }
    }
}

/// Carries out a batch in order, and sends each change its answer.
fn write_batch(key_tree: &KeyTree, works: Vec<(Work, Reply)>) {
    let (works, replies): (Vec<_>, Vec<_>) = works.into_iter().unzip();
    let answers: Vec<Result<(), VaultError>> = match attempt(key_tree, &works) {
        Ok(each) => each,
        Err(VaultError::Halted) => works.iter().map(|_| Err(VaultError::Halted)).collect(),
        Err(VaultError::Store(StoreError::Full)) => {
            works.iter().map(|_| Err(VaultError::Store(StoreError::Full))).collect()
        }
        Err(VaultError::Store(StoreError::Stopped)) => {
            works.iter().map(|_| Err(VaultError::Store(StoreError::Stopped))).collect()
        }
        Err(error) => {
            let reason = error.to_string();
            works.iter().map(|_| Err(VaultError::BatchFailed(reason.clone()))).collect()
        }
    };
    for (answer, reply) in answers.into_iter().zip(replies) {
        let _gone = reply.send(answer);
    }
}

/// Applies and commits all changes as one batch. Returns the answer to each change, or the error if all of
/// them fail.
fn attempt(key_tree: &KeyTree, works: &[Work]) -> Result<Vec<Result<(), VaultError>>, VaultError> {
    let mut batch = Batch::new(key_tree);
    let mut each = Vec::with_capacity(works.len());
    for work in works {
        each.push(match batch.apply(work) {
            Err(error) if !matches!(error, VaultError::Destroyed) => return Err(error),
            answer => answer,
        });
    }
    batch.commit()?;
    Ok(each)
}
