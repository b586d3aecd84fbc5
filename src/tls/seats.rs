//! How many connections one address may have.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections by address.
#[derive(Debug)]
pub struct Seats {
    taken: Mutex<HashMap<IpAddr, usize>>,
    per_address_max: usize,
}

/// One connection's place; free again when it is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    address: IpAddr,
}

impl Seats {
    /// At most so many connections for each address.
    #[must_use]
    pub fn new(per_address_max: usize) -> Self {
        Self { taken: Mutex::default(), per_address_max }
    }

    /// A place for a connection from an address; none where it has all that it may have.
    #[must_use]
    pub fn take(self: &Arc<Self>, from: IpAddr) -> Option<Seat> {
        let address = whose(from);
        let mut taken = self.taken();
        let count = taken.entry(address).or_default();
        if *count >= self.per_address_max {
            return None;
        }
        *count += 1;
        Some(Seat { seats: Arc::clone(self), address })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        if let Some(count) = taken.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
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
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let seats = Arc::new(Seats::new(2));
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = seats.take(at("10.0.0.1")).unwrap();
        let _second = seats.take(at("::ffff:10.0.0.1")).unwrap();
        assert!(seats.take(at("10.0.0.1")).is_none());
        assert!(seats.take(at("10.0.0.2")).is_some());
        drop(first);
        assert!(seats.take(at("10.0.0.1")).is_some());
        let _one = seats.take(at("2001:db8::1")).unwrap();
        let _two = seats.take(at("2001:db8::2")).unwrap();
        assert!(seats.take(at("2001:db8::3")).is_none());
        assert!(seats.take(at("2001:db8:0:1::3")).is_some());
    }
}
