//! Which connections there may be: so many of one address, and so many of all together.
//!
//! A connection is *silent* until it has shown a good credential. Where all places are taken, a silent connection makes room
//! for the next one: of the address that has the most of them, the oldest. Silent connections of strangers, addresses that have
//! shown no good credential lately, go first, and they never take the places that are reserved for the others.

use crate::clock::Stopwatch;
use lru::LruCache;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// How long an address is known after it has shown a good credential.
const KNOWN_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Known addresses that are remembered. Only good credentials come in here, so strangers push nobody out.
const KNOWN_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Connections by address.
#[derive(Debug)]
pub struct Seats {
    state: Mutex<State>,
    connections_max: usize,
    silent_of_strangers_max: usize,
    per_address_max: usize,
    since: Stopwatch,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    addresses: HashMap<IpAddr, Address>,
    /// Addresses with silent connections, by whether they are strangers' and how many they are: the last one gives one up.
    crowds: BTreeSet<(bool, usize, IpAddr)>,
    taken: usize,
    silent_of_strangers: usize,
    next: u64,
    /// When an address showed a good credential last, since the start of [`Seats`].
    known: LruCache<IpAddr, Duration>,
}

/// What one address has.
#[derive(Debug, Default)]
struct Address {
    is_known: bool,
    /// Its connections, by their numbers, which go up.
    all: HashSet<u64>,
    /// Those that have shown no good credential, and what ends each.
    silent: BTreeMap<u64, oneshot::Sender<()>>,
}

/// What comes of asking for a place.
#[derive(Debug)]
pub enum Taken {
    /// A place; and what says `Ok` when it has to be given up. An error: it is not asked back any more.
    Seat(Seat, oneshot::Receiver<()>),
    /// The address has all that it may have.
    Refused,
    /// All places are taken, by connections that have shown good credentials. [`Seats::freed`] says when to ask again.
    Full,
}

/// One connection's place; free again when it is dropped.
#[derive(Debug)]
pub struct Seat(Place);

/// Says of a connection that it has shown a good credential; does not keep its place.
#[derive(Clone, Debug)]
pub struct Place {
    seats: Arc<Seats>,
    address: IpAddr,
    number: u64,
}

impl Seats {
    /// At most so many connections, of which `reserved` are kept from silent strangers, and so many for each address.
    #[must_use]
    pub fn new(connections_max: usize, reserved: usize, per_address_max: usize) -> Self {
        let state = State {
            addresses: HashMap::new(),
            crowds: BTreeSet::new(),
            taken: 0,
            silent_of_strangers: 0,
            next: 0,
            known: LruCache::new(KNOWN_MAX),
        };
        let (since, freed) = (Stopwatch::start(), Notify::new());
        let silent_of_strangers_max = connections_max.saturating_sub(reserved).max(1);
        let state = Mutex::new(state);
        Self { state, connections_max, silent_of_strangers_max, per_address_max, since, freed }
    }

    /// A place for a connection from an address. Where there is none left, a silent connection is told to end, and its place
    /// is given to this one at once.
    #[must_use]
    pub fn take(self: &Arc<Self>, from: IpAddr) -> Taken {
        let address = whose(from);
        let mut state = self.state();
        let is_known = state.is_known(address, self.since.elapsed());
        state.change(address, |of| of.is_known = is_known);
        if state.addresses.get(&address).is_some_and(|of| of.all.len() >= self.per_address_max) {
            return Taken::Refused;
        }
        let is_crowded = !is_known && state.silent_of_strangers >= self.silent_of_strangers_max;
        if (is_crowded || state.taken >= self.connections_max) && !state.end_a_silent_one() {
            return Taken::Full;
        }
        let number = state.next;
        state.next = state.next.saturating_add(1);
        state.taken = state.taken.saturating_add(1);
        let (end, ending) = oneshot::channel();
        state.change(address, |of| {
            of.is_known = is_known;
            of.all.insert(number);
            of.silent.insert(number, end);
        });
        Taken::Seat(Seat(Place { seats: Arc::clone(self), address, number }), ending)
    }

    /// Until a place was given back.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_known(&mut self, address: IpAddr, now: Duration) -> bool {
        let has_good = self.addresses.get(&address).is_some_and(|of| of.all.len() > of.silent.len());
        has_good || self.known.get(&address).is_some_and(|shown| now.saturating_sub(*shown) < KNOWN_FOR)
    }

    /// Changes what an address has, and what is counted of it.
    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut Address)) {
        let of = self.addresses.entry(address).or_default();
        let counted = |of: &Address| (!of.is_known, of.silent.len(), address);
        let before = counted(of);
        change(of);
        let (after, is_gone) = (counted(of), of.all.is_empty());
        if is_gone {
            self.addresses.remove(&address);
        }
        self.crowds.remove(&before);
        if after.1 > 0 {
            self.crowds.insert(after);
        }
        let strangers =
            |(is_stranger, silent, _): (bool, usize, IpAddr)| if is_stranger { silent } else { 0 };
        self.silent_of_strangers =
            self.silent_of_strangers.saturating_sub(strangers(before)).saturating_add(strangers(after));
    }

    /// False where none is silent.
    fn end_a_silent_one(&mut self) -> bool {
        let Some((_, _, address)) = self.crowds.last().copied() else { return false };
        self.change(address, |of| {
            if let Some((number, end)) = of.silent.pop_first() {
                of.all.remove(&number);
                // It may have ended by itself, and is about to give its place back.
                let _gone = end.send(());
            }
        });
        self.taken = self.taken.saturating_sub(1);
        true
    }
}

impl Seat {
    /// What says of this connection that it has shown a good credential.
    #[must_use]
    pub fn place(&self) -> Place {
        self.0.clone()
    }
}

impl Place {
    /// The connection has shown a good credential: it keeps its place, and its address is known from now on.
    pub fn is_good(&self) {
        let now = self.seats.since.elapsed();
        let mut state = self.seats.state();
        state.known.put(self.address, now);
        let number = self.number;
        if state.addresses.contains_key(&self.address) {
            state.change(self.address, |of| {
                of.is_known = true;
                of.silent.remove(&number);
            });
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Place { seats, address, number } = &self.0;
        let now = seats.since.elapsed();
        let mut state = seats.state();
        let is_taken = state.addresses.get(address).is_some_and(|of| of.all.contains(number));
        if !is_taken {
            return;
        }
        let was_good = state.addresses.get(address).is_some_and(|of| !of.silent.contains_key(number));
        if was_good {
            state.known.put(*address, now);
        }
        state.change(*address, |of| {
            of.all.remove(number);
            of.silent.remove(number);
        });
        state.taken = state.taken.saturating_sub(1);
        drop(state);
        seats.freed.notify_one();
    }
}

/// Of IPv6 the first 64 bits: the rest is its owner's to choose.
pub(super) fn whose(address: IpAddr) -> IpAddr {
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

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    type Held = (Seat, oneshot::Receiver<()>);

    fn take(seats: &Arc<Seats>, from: &str) -> Held {
        match seats.take(at(from)) {
            Taken::Seat(seat, ending) => (seat, ending),
            other => panic!("{other:?}"),
        }
    }

    fn has_to_end(held: &mut Held) -> bool {
        matches!(held.1.try_recv(), Ok(()))
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let seats = Arc::new(Seats::new(100, 25, 2));
        let first = take(&seats, "10.0.0.1");
        let _second = take(&seats, "::ffff:10.0.0.1");
        assert!(matches!(seats.take(at("10.0.0.1")), Taken::Refused));
        let _other = take(&seats, "10.0.0.2");
        drop(first);
        let _again = take(&seats, "10.0.0.1");
        let _one = take(&seats, "2001:db8::1");
        let _two = take(&seats, "2001:db8::2");
        assert!(matches!(seats.take(at("2001:db8::3")), Taken::Refused));
        let _three = take(&seats, "2001:db8:0:1::3");
    }

    #[test]
    fn the_oldest_silent_one_of_the_largest_crowd_makes_room() {
        let seats = Arc::new(Seats::new(8, 2, 8));
        let mut crowd: Vec<Held> = (0..4).map(|_| take(&seats, "10.0.0.1")).collect();
        let mut few: Vec<Held> = (0..2).map(|_| take(&seats, "10.0.0.2")).collect();
        // Two are reserved: the six for strangers are taken.
        let mut new = take(&seats, "10.0.0.3");
        let ended: Vec<bool> = crowd.iter_mut().map(has_to_end).collect();
        assert_eq!(ended, [true, false, false, false]);
        // Its end gives nothing back twice, and one that was good is not asked to end.
        drop(crowd.remove(0));
        crowd[0].0.place().is_good();
        let _known = take(&seats, "10.0.0.1");
        assert!(!few.iter_mut().chain(&mut crowd).any(has_to_end), "a known address has the rest");
        let _last = take(&seats, "10.0.0.1");
        let mut again = take(&seats, "10.0.0.4");
        assert!(has_to_end(&mut few[0]), "a stranger, though the known one has more");
        assert!(!crowd.iter_mut().chain([&mut few[1], &mut new, &mut again]).any(has_to_end));
    }

    #[tokio::test]
    async fn who_has_shown_something_keeps_the_place_and_others_wait_for_one() {
        let seats = Arc::new(Seats::new(2, 0, 2));
        let mut held = [take(&seats, "10.0.0.1"), take(&seats, "10.0.0.2")];
        held.iter().for_each(|(seat, _)| seat.place().is_good());
        assert!(matches!(seats.take(at("10.0.0.3")), Taken::Full));
        assert!(!held.iter_mut().any(has_to_end));
        drop(held);
        seats.freed().await;
        let _room = take(&seats, "10.0.0.3");
        assert_eq!(seats.state().taken, 1);
    }

    #[test]
    fn a_flood_pushes_out_itself_alone() {
        let seats = Arc::new(Seats::new(64, 16, 16));
        take(&seats, "10.0.1.1").0.place().is_good();
        let mut known = take(&seats, "10.0.1.1");
        let mut honest = take(&seats, "10.0.1.2");
        let mut flood = Vec::new();
        for number in 0..10_000 {
            let from = format!("10.0.0.{}", number % 4);
            if let Taken::Seat(seat, ending) = seats.take(at(&from)) {
                flood.push((seat, ending));
            }
            flood.retain_mut(|held| !has_to_end(held));
            assert!(flood.len() <= 47);
        }
        assert!(!has_to_end(&mut known) && !has_to_end(&mut honest));
        drop((flood, known, honest));
        let state = seats.state();
        assert_eq!((state.taken, state.silent_of_strangers, state.crowds.len()), (0, 0, 0));
        assert!(state.addresses.is_empty());
    }
}
