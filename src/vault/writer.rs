//! The one writer of the key store: creations that wait together share a flush; everything else takes its turn.

use super::VaultError;
use super::pages::{self, PageSeal};
use super::tree::Node;
use crate::clock::SharedClock;
use crate::store::KeyStore;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use tokio::sync::oneshot;

/// Requests that may wait; beyond it, creating a subject fails as overloaded.
const QUEUE_MAX: usize = 4_096;
/// Creations in one flush.
const BATCH_MAX: usize = 256;

/// A page to write (`Some`) or to remove.
pub type Page = (Vec<u8>, Option<Vec<u8>>);
type Reply<T> = oneshot::Sender<Result<T, VaultError>>;

enum Work {
    Create(Hash, Reply<()>),
    Write(Vec<Page>, Reply<()>),
}

/// Where work is handed in.
pub struct Writer {
    queue: SyncSender<Work>,
}

impl Writer {
    /// Starts the writer; it ends when the vault is dropped.
    pub fn start(
        store: Arc<dyn KeyStore>,
        seal: Arc<PageSeal>,
        clock: SharedClock,
    ) -> Result<Self, VaultError> {
        let (queue, work) = sync_channel(QUEUE_MAX);
        let keeper = Keeper { store, seal, clock };
        let thread = std::thread::Builder::new().name("vault".into());
        thread.spawn(move || keeper.run(&work)).map_err(VaultError::RootKey)?;
        Ok(Self { queue })
    }

    /// Makes pages for a subject unless there are some; durable when it returns.
    pub async fn create(&self, subject: Hash) -> Result<(), VaultError> {
        let (reply, answer) = oneshot::channel();
        self.send(Work::Create(subject, reply))?;
        answer.await.map_err(|_| VaultError::Stopped)?
    }

    /// Writes pages, all or none; durable when it returns.
    pub async fn write(&self, pages: Vec<Page>) -> Result<(), VaultError> {
        let (reply, answer) = oneshot::channel();
        self.send(Work::Write(pages, reply))?;
        answer.await.map_err(|_| VaultError::Stopped)?
    }

    fn send(&self, work: Work) -> Result<(), VaultError> {
        self.queue.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) => VaultError::Overloaded,
            TrySendError::Disconnected(_) => VaultError::Stopped,
        })
    }
}

struct Keeper {
    store: Arc<dyn KeyStore>,
    seal: Arc<PageSeal>,
    clock: SharedClock,
}

impl Keeper {
    fn run(&self, queue: &Receiver<Work>) {
        while let Ok(first) = queue.recv() {
            let mut waiting = vec![first];
            waiting.extend(queue.try_iter().take(BATCH_MAX));
            let mut creations: Vec<(Hash, Reply<()>)> = Vec::new();
            for work in waiting {
                match work {
                    Work::Create(subject, reply) => creations.push((subject, reply)),
                    Work::Write(pages, reply) => {
                        // In order: what was asked for before is done before.
                        self.create(std::mem::take(&mut creations));
                        let _gone = reply.send(self.store.write_pages(&pages).map_err(VaultError::Store));
                    }
                }
            }
            self.create(creations);
        }
    }

    fn create(&self, creations: Vec<(Hash, Reply<()>)>) {
        if creations.is_empty() {
            return;
        }
        let done = self.write_new(creations.iter().map(|(subject, _)| *subject));
        for (_, reply) in creations {
            let result = match &done {
                Ok(()) => Ok(()),
                Err(error) => Err(VaultError::Creation(error.to_string())),
            };
            let _gone = reply.send(result);
        }
    }

    fn write_new(&self, subjects: impl Iterator<Item = Hash>) -> Result<(), VaultError> {
        let mut pages: BTreeMap<Hash, [Page; 2]> = BTreeMap::new();
        for subject in subjects {
            let there = self.store.read_page(&pages::id(pages::SUBJECT, &subject))?.is_some();
            if !there && !pages.contains_key(&subject) {
                pages.insert(subject, self.new_pages(&subject)?);
            }
        }
        let pages: Vec<Page> = pages.into_values().flatten().collect();
        if pages.is_empty() { Ok(()) } else { Ok(self.store.write_pages(&pages)?) }
    }

    fn new_pages(&self, subject: &Hash) -> Result<[Page; 2], VaultError> {
        let mut handle = Handle([0; 16]);
        self.clock.fill(&mut handle.0);
        let mut key = [0; 32];
        self.clock.fill(&mut key);
        let clear = pages::encode_subject(handle, &[Node::root(key)]);
        let page = pages::id(pages::SUBJECT, subject);
        let sealed = self.seal.seal(&page, &clear, self.clock.as_ref())?;
        let back = pages::id(pages::HANDLE, &handle.0);
        let sealed_back = self.seal.seal(&back, subject, self.clock.as_ref())?;
        Ok([(page, Some(sealed)), (back, Some(sealed_back))])
    }
}
