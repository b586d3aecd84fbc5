//! Limits the number of connections, in total and per address, and decides which connection is evicted for a
//! new one.
//!
//! A connection is *unauthenticated* until its client has presented a valid credential. An address is
//! *unknown* if no client has authenticated from it in the last 24 hours. Some slots are *reserved*:
//! unauthenticated connections from unknown addresses never take them.
//!
//! If no slot that a new connection may take is free, an unauthenticated connection is evicted. Unknown
//! addresses are ordered before known ones, and within each kind, those with more unauthenticated connections
//! come first. The first address in this order loses its oldest unauthenticated connection. If all
//! connections are authenticated, the new one waits.

use crate::clock::Stopwatch;
use lru::LruCache;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// How long an address stays known after a client has authenticated from it, or after an authenticated
/// connection from it has closed.
const KNOWN_FOR: Duration = Duration::from_secs(24 * 3_600);
/// The largest number of known addresses that are kept. Only a valid credential adds one, so clients without
/// a credential cannot displace any.
const KNOWN_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// The slots of one listener's connections.
#[derive(Debug)]
pub struct ConnectionSlots {
    state: Mutex<State>,
    connections_max: usize,
    unknown_unauthenticated_max: usize,
    per_address_max: usize,
    since: Stopwatch,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    addresses: HashMap<IpAddr, Address>,
    /// Addresses with unauthenticated connections, ordered by whether they are unknown and by how many such
    /// connections they have. The last address loses a connection first.
    eviction_order: BTreeSet<(bool, usize, IpAddr)>,
    taken: usize,
    /// Unauthenticated connections of unknown addresses.
    unknown_unauthenticated: usize,
    /// The number of the next connection.
    next: u64,
    /// For each known address, when a client last authenticated from it or closed an authenticated
    /// connection. The time is counted from when [`ConnectionSlots`] was made.
    known: LruCache<IpAddr, Duration>,
}

/// The connections of one address.
#[derive(Debug, Default)]
struct Address {
    is_known: bool,
    /// The numbers of its connections. Newer connections have higher numbers.
    all: HashSet<u64>,
    /// The numbers of its connections that have not authenticated, each with the channel that evicts it.
    unauthenticated: BTreeMap<u64, oneshot::Sender<()>>,
}

/// The answer to a request for a slot.
#[derive(Debug)]
pub enum Admission {
    /// A slot, and a channel that resolves to `Ok` when the connection is evicted. It resolves to an error
    /// once the connection can no longer be evicted.
    Admitted(Slot, oneshot::Receiver<()>),
    /// The address already has all the connections that it may have.
    Refused,
    /// All slots are taken by authenticated connections. Wait for [`ConnectionSlots::freed`] before asking
    /// again.
    Full,
}

/// One connection's slot. It is free again when this value is dropped.
#[derive(Debug)]
pub struct Slot(SlotHandle);

/// Refers to a slot without holding it.
#[derive(Clone, Debug)]
pub struct SlotHandle {
    slots: Arc<ConnectionSlots>,
    address: IpAddr,
    number: u64,
}

impl ConnectionSlots {
    /// Makes slots for at most `connections_max` connections, and at most `per_address_max` from one address.
    /// Unauthenticated connections of unknown addresses never take the last `reserved` slots.
    #[must_use]
    pub fn new(connections_max: usize, reserved: usize, per_address_max: usize) -> Self {
        let state = State {
            addresses: HashMap::new(),
            eviction_order: BTreeSet::new(),
            taken: 0,
            unknown_unauthenticated: 0,
            next: 0,
            known: LruCache::new(KNOWN_MAX),
        };
        let (since, freed) = (Stopwatch::start(), Notify::new());
        let unknown_unauthenticated_max = connections_max.saturating_sub(reserved).max(1);
        let state = Mutex::new(state);
        Self { state, connections_max, unknown_unauthenticated_max, per_address_max, since, freed }
    }

    /// Requests a slot for a connection from an address. If no slot that it may take is free, an
    /// unauthenticated connection is evicted, and the new one gets a slot at once.
    #[must_use]
    pub fn admit(self: &Arc<Self>, from: IpAddr) -> Admission {
        let address = limited_address(from);
        let mut state = self.state();
        let is_known = state.is_known(address, self.since.elapsed());
        state.change(address, |of| of.is_known = is_known);
        if state.addresses.get(&address).is_some_and(|of| of.all.len() >= self.per_address_max) {
            return Admission::Refused;
        }
        let is_crowded = !is_known && state.unknown_unauthenticated >= self.unknown_unauthenticated_max;
        if (is_crowded || state.taken >= self.connections_max) && !state.evict_one() {
            return Admission::Full;
        }
        let number = state.next;
        state.next = state.next.saturating_add(1);
        state.taken = state.taken.saturating_add(1);
        let (evict, evicted) = oneshot::channel();
        state.change(address, |of| {
            of.is_known = is_known;
            of.all.insert(number);
            of.unauthenticated.insert(number, evict);
        });
        Admission::Admitted(Slot(SlotHandle { slots: Arc::clone(self), address, number }), evicted)
    }

    /// Returns when a slot was freed.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_known(&mut self, address: IpAddr, now: Duration) -> bool {
        let has_authenticated =
            self.addresses.get(&address).is_some_and(|of| of.all.len() > of.unauthenticated.len());
        has_authenticated
            || self.known.get(&address).is_some_and(|last| now.saturating_sub(*last) < KNOWN_FOR)
    }

    /// Changes the entry of an address, and keeps the eviction order and the counts in step with it.
    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut Address)) {
        let of = self.addresses.entry(address).or_default();
        let order = |of: &Address| (!of.is_known, of.unauthenticated.len(), address);
        let before = order(of);
        change(of);
        let (after, is_empty) = (order(of), of.all.is_empty());
        if is_empty {
            self.addresses.remove(&address);
        }
        self.eviction_order.remove(&before);
        if after.1 > 0 {
            self.eviction_order.insert(after);
        }
        let unknown = |(is_unknown, count, _): (bool, usize, IpAddr)| if is_unknown { count } else { 0 };
        self.unknown_unauthenticated =
            self.unknown_unauthenticated.saturating_sub(unknown(before)).saturating_add(unknown(after));
    }

    /// Evicts an unauthenticated connection. Returns false if there is none.
    fn evict_one(&mut self) -> bool {
        let Some((_, _, address)) = self.eviction_order.last().copied() else { return false };
        self.change(address, |of| {
            if let Some((number, evict)) = of.unauthenticated.pop_first() {
                of.all.remove(&number);
                // The connection may have closed by itself, and be about to free its slot.
                let _gone = evict.send(());
            }
        });
        self.taken = self.taken.saturating_sub(1);
        true
    }
}

impl Slot {
    /// A handle that protects this slot without holding it.
    #[must_use]
    pub fn handle(&self) -> SlotHandle {
        self.0.clone()
    }
}

impl SlotHandle {
    /// Protects the slot from eviction, because the client has presented a valid credential. Its address
    /// becomes known.
    pub fn protect(&self) {
        let now = self.slots.since.elapsed();
        let mut state = self.slots.state();
        state.known.put(self.address, now);
        let number = self.number;
        if state.addresses.contains_key(&self.address) {
            state.change(self.address, |of| {
                of.is_known = true;
                of.unauthenticated.remove(&number);
            });
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let SlotHandle { slots, address, number } = &self.0;
        let now = slots.since.elapsed();
        let mut state = slots.state();
        let is_taken = state.addresses.get(address).is_some_and(|of| of.all.contains(number));
        if !is_taken {
            return;
        }
        let was_authenticated =
            state.addresses.get(address).is_some_and(|of| !of.unauthenticated.contains_key(number));
        if was_authenticated {
            state.known.put(*address, now);
        }
        state.change(*address, |of| {
            of.all.remove(number);
            of.unauthenticated.remove(number);
        });
        state.taken = state.taken.saturating_sub(1);
        drop(state);
        slots.freed.notify_one();
    }
}

/// The address by which connections are counted. For IPv6 it is the first 64 bits, since one client may use
/// all addresses that share them.
pub(super) fn limited_address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => four.into(),
            None => Ipv6Addr::from_bits(six.to_bits() & (u128::MAX << 64)).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    type Admitted = (Slot, oneshot::Receiver<()>);

    fn admit(slots: &Arc<ConnectionSlots>, from: &str) -> Admitted {
        match slots.admit(address(from)) {
            Admission::Admitted(slot, evicted) => (slot, evicted),
            other => panic!("{other:?}"),
        }
    }

    fn is_evicted(admitted: &mut Admitted) -> bool {
        matches!(admitted.1.try_recv(), Ok(()))
    }

    #[test]
    fn an_address_has_a_limited_number_of_slots_and_gets_them_back() {
        let slots = Arc::new(ConnectionSlots::new(100, 25, 2));
        let first = admit(&slots, "10.0.0.1");
        let _second = admit(&slots, "::ffff:10.0.0.1");
        assert!(matches!(slots.admit(address("10.0.0.1")), Admission::Refused));
        let _other = admit(&slots, "10.0.0.2");
        drop(first);
        let _again = admit(&slots, "10.0.0.1");
        let _one = admit(&slots, "2001:db8::1");
        let _two = admit(&slots, "2001:db8::2");
        assert!(matches!(slots.admit(address("2001:db8::3")), Admission::Refused));
        let _three = admit(&slots, "2001:db8:0:1::3");
    }

    #[test]
    fn the_oldest_unauthenticated_connection_of_the_busiest_address_is_evicted() {
        let slots = Arc::new(ConnectionSlots::new(8, 2, 8));
        let mut crowd: Vec<Admitted> = (0..4).map(|_| admit(&slots, "10.0.0.1")).collect();
        let mut few: Vec<Admitted> = (0..2).map(|_| admit(&slots, "10.0.0.2")).collect();
        // Two of the eight slots are reserved, so all slots for unknown addresses are taken.
        let mut new = admit(&slots, "10.0.0.3");
        let evicted: Vec<bool> = crowd.iter_mut().map(is_evicted).collect();
        assert_eq!(evicted, [true, false, false, false]);
        // Closing an evicted connection does not free a second slot. An authenticated connection is not
        // evicted.
        drop(crowd.remove(0));
        crowd[0].0.handle().protect();
        let _known = admit(&slots, "10.0.0.1");
        assert!(!few.iter_mut().chain(&mut crowd).any(is_evicted), "a known address may use reserved slots");
        let _last = admit(&slots, "10.0.0.1");
        let mut again = admit(&slots, "10.0.0.4");
        assert!(is_evicted(&mut few[0]), "an unknown address loses one, though the known address has more");
        assert!(!crowd.iter_mut().chain([&mut few[1], &mut new, &mut again]).any(is_evicted));
    }

    #[tokio::test]
    async fn an_authenticated_connection_keeps_its_slot_and_others_wait_for_one() {
        let slots = Arc::new(ConnectionSlots::new(2, 0, 2));
        let mut admitted = [admit(&slots, "10.0.0.1"), admit(&slots, "10.0.0.2")];
        admitted.iter().for_each(|(slot, _)| slot.handle().protect());
        assert!(matches!(slots.admit(address("10.0.0.3")), Admission::Full));
        assert!(!admitted.iter_mut().any(is_evicted));
        drop(admitted);
        slots.freed().await;
        let _room = admit(&slots, "10.0.0.3");
        assert_eq!(slots.state().taken, 1);
    }

    #[test]
    fn a_flood_evicts_only_its_own_connections() {
        let slots = Arc::new(ConnectionSlots::new(64, 16, 16));
        admit(&slots, "10.0.1.1").0.handle().protect();
        let mut known = admit(&slots, "10.0.1.1");
        let mut honest = admit(&slots, "10.0.1.2");
        let mut flood = Vec::new();
        for number in 0..10_000 {
            let from = format!("10.0.0.{}", number % 4);
            if let Admission::Admitted(slot, evicted) = slots.admit(address(&from)) {
                flood.push((slot, evicted));
            }
            flood.retain_mut(|admitted| !is_evicted(admitted));
            assert!(flood.len() <= 47);
        }
        assert!(!is_evicted(&mut known) && !is_evicted(&mut honest));
        drop((flood, known, honest));
        let state = slots.state();
        assert_eq!((state.taken, state.unknown_unauthenticated, state.eviction_order.len()), (0, 0, 0));
        assert!(state.addresses.is_empty());
    }
}
