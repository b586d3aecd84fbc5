//! Everybody's chain, and their grants: what both need of each entry is put aside while the bundle is read, and then gone
//! through some people at a time. So memory follows neither the entries nor the people.
//!
//! What is put aside has no values in it ([`essence`]), but still whose fact is of which category: the temporary file has no
//! name, and is gone with the program.

use super::chain::Tip;
use super::check::{Checked, Content};
use super::erased::{Erased, Gap};
use super::report::Progress;
use super::spool::Spool;
use crate::entry::{Handle, Header};
use crate::event::{EventBody, event_body::Event};
use crate::merkle::Hash;
use crate::replay::{Replay, Replayed, essence, is_unsigned};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// What is put aside of an entry.
#[derive(prost::Message)]
struct Aside {
    #[prost(uint64, tag = "1")]
    position: u64,
    #[prost(bytes = "vec", tag = "2")]
    handle: Vec<u8>,
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(bytes = "vec", optional, tag = "4")]
    previous: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "5")]
    leaf: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    event_id: Vec<u8>,
    #[prost(uint64, tag = "7")]
    sealed_at_ms: u64,
    /// Not withheld.
    #[prost(bool, tag = "8")]
    readable: bool,
    /// As far as grants depend on it.
    #[prost(message, optional, tag = "9")]
    body: Option<EventBody>,
}

impl Aside {
    fn new(position: u64, leaf: Hash, header: &Header, body: Option<EventBody>) -> Self {
        Self {
            position,
            handle: header.handle.0.to_vec(),
            version: header.version,
            previous: header.previous.map(|previous| previous.to_vec()),
            leaf: leaf.to_vec(),
            event_id: header.event_id.to_vec(),
            sealed_at_ms: header.sealed_at_ms,
            readable: body.is_some(),
            body: body.and_then(|body| body.event).and_then(essence).map(bare),
        }
    }

    fn header(&self) -> io::Result<Header> {
        let previous = self.previous.as_deref().map(sized).transpose()?;
        Ok(Header {
            event_id: sized(&self.event_id)?,
            handle: Handle(sized(&self.handle)?),
            version: self.version,
            previous,
            sealed_at_ms: self.sealed_at_ms,
            idempotency: None,
            key_commitment: None,
        })
    }
}

fn bare(event: Event) -> EventBody {
    EventBody { event: Some(event), ..EventBody::default() }
}

fn sized<const N: usize>(bytes: &[u8]) -> io::Result<[u8; N]> {
    bytes.try_into().map_err(io::Error::other)
}

/// Something about nobody that grants depend on.
struct Published {
    position: u64,
    moment: u64,
    event: Event,
}

/// The entries of everybody as far as they were read.
pub(super) struct People {
    aside: Spool<Aside>,
    published: Vec<Published>,
    /// Whether there was an entry about anybody.
    begun: bool,
    unsigned: Replayed,
}

/// What going through everybody showed.
#[derive(Default)]
pub(super) struct Outcome {
    /// People with at least one entry left.
    pub subjects: u64,
    /// The first entry that does not continue its chain, and why.
    pub broken: Option<(u64, String)>,
    pub replayed: Replayed,
    gaps: Vec<Gap>,
}

impl Outcome {
    fn absorb(&mut self, other: Self) {
        self.subjects += other.subjects;
        self.broken = earlier(self.broken.take(), other.broken);
        self.replayed.absorb(other.replayed);
    }
}

fn earlier(one: Option<(u64, String)>, other: Option<(u64, String)>) -> Option<(u64, String)> {
    one.into_iter().chain(other).min_by_key(|(position, _)| *position)
}

impl People {
    /// Of a log of so many entries.
    pub fn new(entries: u64) -> Self {
        let (aside, unsigned) = (Spool::new(entries), Replayed::default());
        Self { aside, published: Vec::new(), begun: false, unsigned }
    }

    /// Takes the next entry.
    pub fn take(&mut self, next: Checked) -> io::Result<()> {
        let (header, body) = match next.content {
            Content::Erased => return Ok(()),
            Content::Withheld(header) => (header, None),
            Content::Sealed(header, body) => (header, Some(body)),
            Content::Plain(header, body) => {
                self.publish(next.position, header.sealed_at_ms, body);
                return Ok(());
            }
        };
        if header.handle == Handle::SYSTEM {
            return Ok(());
        }
        self.begun = true;
        self.aside.put(&header.handle.0, &Aside::new(next.position, next.leaf, &header, body))
    }

    fn publish(&mut self, position: u64, moment: u64, body: EventBody) {
        if is_unsigned(&body, self.begun) {
            self.unsigned.found_unsigned(position);
        }
        let event = body.event.and_then(essence);
        self.published.extend(event.map(|event| Published { position, moment, event }));
    }

    /// Goes through everybody, on all cores.
    pub fn go_through(self, mut erased: Erased, progress: &mut dyn FnMut(Progress)) -> io::Result<Outcome> {
        let groups = self.aside.groups();
        let mut all = Outcome { replayed: self.unsigned.clone(), ..Outcome::default() };
        let next = AtomicUsize::new(0);
        let (done, told) = mpsc::channel();
        thread::scope(|scope| {
            let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
            for _ in 0..cores.min(groups) {
                let done = done.clone();
                scope.spawn(|| {
                    let group = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|group| *group < groups);
                    // Nobody listens any more once a group failed.
                    std::iter::from_fn(group).all(|group| done.send(self.group(group)).is_ok());
                    drop(done);
                });
            }
            drop(done);
            let mut finished = 0;
            for outcome in told {
                let mut outcome = outcome?;
                outcome.gaps.drain(..).try_for_each(|gap| erased.cross(&gap))?;
                all.absorb(outcome);
                finished += 1;
                progress(Progress::Subjects(finished, groups as u64));
            }
            Ok::<_, io::Error>(())
        })?;
        let gap = erased.unaccounted()?.map(|gap| (gap.position, gap.reason()));
        all.broken = earlier(all.broken, gap);
        Ok(all)
    }

    /// Goes through the entries of a group in their order, with what was published meanwhile.
    fn group(&self, number: usize) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut tips: HashMap<Handle, Tip> = HashMap::new();
        let mut replay = Replay::default();
        let mut published = self.published.iter().peekable();
        self.aside.each(number, &mut |aside| {
            if outcome.broken.is_some() {
                return Ok(());
            }
            let (header, leaf) = (aside.header()?, sized(&aside.leaf)?);
            while let Some(before) = published.next_if(|before| before.position < aside.position) {
                replay.publish(before.position, before.moment, &before.event);
            }
            match Tip::link(tips.get(&header.handle), aside.position, &header, leaf) {
                Ok((tip, gap)) => {
                    tips.insert(header.handle, tip);
                    outcome.gaps.extend(gap);
                }
                Err(reason) => outcome.broken = Some((aside.position, reason)),
            }
            let event = aside.body.as_ref().and_then(|body| body.event.as_ref());
            replay.person(aside.position, &header, aside.readable, event);
            Ok(())
        })?;
        outcome.subjects = tips.len() as u64;
        outcome.replayed = replay.finish();
        Ok(outcome)
    }
}
