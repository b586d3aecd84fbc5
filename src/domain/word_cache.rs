//! The words of an attribute, kept for the next time that attributes are ranked by relevance.

use std::fmt;
use std::sync::OnceLock;

/// The hashes of the words of an attribute. They are read when the attribute is first ranked, and dropped
/// with it: the allocator overwrites them. They are no part of what an attribute is, so two attributes are
/// equal whether or not their words are read.
#[derive(Clone, Default)]
pub struct WordCache(OnceLock<Box<[u32]>>);

impl WordCache {
    /// The words, which `read` reads if they are not known yet.
    pub fn get_or_read(&self, read: impl FnOnce() -> Box<[u32]>) -> &[u32] {
        self.0.get_or_init(read)
    }

    /// Whether the words are known.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.0.get().is_some()
    }

    /// The bytes of the words.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.get().map_or(0, |words| size_of_val(&**words))
    }
}

impl PartialEq for WordCache {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl fmt::Debug for WordCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WordCache(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_once_and_change_no_equality() {
        let (cache, other) = (WordCache::default(), WordCache::default());
        assert_eq!(cache.get_or_read(|| [1, 2].into()), [1, 2]);
        assert_eq!(cache.get_or_read(|| [3].into()), [1, 2]);
        assert_eq!((cache.bytes(), cache.is_read(), other.is_read()), (8, true, false));
        assert_eq!(cache, other);
        assert_eq!(format!("{cache:?}"), "WordCache(..)");
    }
}
