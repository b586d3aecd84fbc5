//! The one writer of the key store: what waits together shares a write, and destructions share a re-keying.

use super::batch::{Batch, Creation, Erasure, PendingErasure, Renewal, Work};
use super::error::VaultError;
use super::key_tree::KeyTree;
use crate::secret;
use crate::store::{Page, StoreError};
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Requests that may wait; beyond it, further ones fail as overloaded.
const QUEUE_MAX: usize = 4_096;
/// Requests in one batch; memory follows it.
const BATCH_MAX: usize = 1_024;
/// New subjects in one batch; each is two pages of one atomic write, and the store's memory follows the size of that.
const CREATIONS_MAX: usize = 64;
/// Of its stack, what is overwritten after each batch.
const STACK_WORDS: usize = (256 << 10) / secret::STACK_WORD_BYTES;

type Reply = oneshot::Sender<Result<(), VaultError>>;

/// What waits.
enum Item {
    Work(Work, Reply),
    /// A copy of every page.
    Copy(oneshot::Sender<Result<Vec<Page>, VaultError>>),
}

/// Where work is handed in. Dropped, it finishes what was handed in and lets go of the store.
pub struct Writer {
    queue: Option<SyncSender<Item>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the writer.
    pub fn start(key_tree: Arc<KeyTree>) -> Result<Self, VaultError> {
        let (queue, work) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("vault".into());
        let thread = thread.spawn(move || run(&key_tree, &work)).map_err(VaultError::Thread)?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Makes pages for a subject; durable when it returns. [`VaultError::Destroyed`] where it has others.
    pub async fn create(&self, creation: Creation) -> Result<(), VaultError> {
        self.done(Work::Create(Box::new(creation))).await
    }

    /// Takes a creation back under which nothing was sealed; durable when it returns.
    pub async fn take_back(&self, subject: Hash, handle: Handle) -> Result<(), VaultError> {
        self.done(Work::TakeBack(subject, handle)).await
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

    /// Removes the intent of an erasure that is complete; durable when it returns.
    pub async fn complete(&self, request: [u8; 16]) -> Result<(), VaultError> {
        self.done(Work::Complete(request)).await
    }

    /// Fresh keys for subjects of a log that went back; durable when it returns.
    pub async fn renew(&self, renewals: Vec<Renewal>) -> Result<(), VaultError> {
        self.done(Work::Renew(renewals)).await
    }

    /// Every page as it is between two writes.
    pub async fn copy(&self) -> Result<Vec<Page>, VaultError> {
        let (reply, answer) = oneshot::channel();
        self.hand_in(Item::Copy(reply))?;
        answer.await.map_err(|_| VaultError::Stopped)?
    }

    async fn done(&self, work: Work) -> Result<(), VaultError> {
        let (reply, answer) = oneshot::channel();
        self.hand_in(Item::Work(work, reply))?;
        answer.await.map_err(|_| VaultError::Stopped)?
    }

    fn hand_in(&self, item: Item) -> Result<(), VaultError> {
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
            tracing::error!("the vault's writer ended badly");
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
        carry_out(key_tree, works);
        secret::clear_stack::<STACK_WORDS>();
        if let Some(reply) = copy {
            // Whole, because nothing is written meanwhile.
            let pages = key_tree.store.scan_pages(&[], None, usize::MAX).map_err(VaultError::Store);
            let _gone = reply.send(pages);
        }
    }
}

/// In order: what was asked for before is done before.
fn carry_out(key_tree: &KeyTree, works: Vec<(Work, Reply)>) {
    let (works, replies): (Vec<_>, Vec<_>) = works.into_iter().unzip();
    let answers: Vec<Result<(), VaultError>> = match attempt(key_tree, &works) {
        Ok(own) => own,
        Err(VaultError::Halted) => works.iter().map(|_| Err(VaultError::Halted)).collect(),
        Err(VaultError::Store(StoreError::Full)) => {
            works.iter().map(|_| Err(VaultError::Store(StoreError::Full))).collect()
        }
        Err(VaultError::Store(StoreError::Stopped)) => {
            works.iter().map(|_| Err(VaultError::Store(StoreError::Stopped))).collect()
        }
        Err(error) => {
            let shared = error.to_string();
            works.iter().map(|_| Err(VaultError::Shared(shared.clone()))).collect()
        }
    };
    for (answer, reply) in answers.into_iter().zip(replies) {
        let _gone = reply.send(answer);
    }
}

/// One batch of everything; gives what each one's own answer is, unless all fail together.
fn attempt(key_tree: &KeyTree, works: &[Work]) -> Result<Vec<Result<(), VaultError>>, VaultError> {
    let mut batch = Batch::new(key_tree);
    let mut own = Vec::with_capacity(works.len());
    for work in works {
        own.push(match batch.apply(work) {
            Err(error) if !matches!(error, VaultError::Destroyed) => return Err(error),
            answer => answer,
        });
    }
    batch.commit()?;
    Ok(own)
}
