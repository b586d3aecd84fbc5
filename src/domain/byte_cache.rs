//! An LRU cache that is limited by bytes, not by the number of entries, so that large entries from callers
//! cannot make it grow.

use lru::LruCache;
use std::borrow::Borrow;
use std::hash::Hash;

/// Approximate overhead of an entry, bytes: its place in the table and in the order of use.
const ENTRY_BYTES: usize = 96;

/// The most recently used values by key, as many as fit.
pub struct ByteCache<K: Hash + Eq, V> {
    entries: LruCache<K, (V, usize)>,
    bytes: usize,
    bytes_max: usize,
}

impl<K: Hash + Eq, V: Clone> ByteCache<K, V> {
    /// Creates a cache that holds at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, bytes_max }
    }

    /// The value of a key; marks it as used.
    pub fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|(value, _)| value.clone())
    }

    /// Inserts a value that takes about `bytes` together with its key. If necessary, the cache evicts the
    /// least recently used entries. A value that would take more than half of the limit by itself is not
    /// kept.
    pub fn put(&mut self, key: K, value: V, bytes: usize) {
        let bytes = bytes.saturating_add(ENTRY_BYTES);
        if bytes > self.bytes_max / 2 {
            return;
        }
        if let Some((_, (_, before))) = self.entries.push(key, (value, bytes)) {
            self.bytes = self.bytes.saturating_sub(before);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        while self.bytes > self.bytes_max
            && let Some((_, (_, oldest))) = self.entries.pop_lru()
        {
            self.bytes = self.bytes.saturating_sub(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_most_recently_used_values_that_fit() {
        let mut cache = ByteCache::new(10 * (ENTRY_BYTES + 100));
        for number in 0..10 {
            cache.put(number, number, 100);
        }
        assert_eq!(cache.get(&0), Some(0), "ten values fit");
        cache.put(10, 10, 100);
        assert_eq!((cache.get(&0), cache.get(&1), cache.get(&10)), (Some(0), None, Some(10)));
        cache.put(0, 7, 400);
        assert_eq!(cache.get(&0), Some(7));
        assert!(cache.entries.len() < 10 && cache.bytes <= cache.bytes_max);
        cache.put(99, 99, cache.bytes_max);
        assert_eq!(cache.get(&99), None, "a value above half of the limit is not kept");
        let counted: usize = cache.entries.iter().map(|(_, (_, bytes))| bytes).sum();
        assert_eq!(counted, cache.bytes);
    }
}
