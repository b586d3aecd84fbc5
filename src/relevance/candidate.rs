//! An attribute as the ranking sees it.

/// An attribute that may be used, and could be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its words, as [`super::word_reader::WordReader::read_attribute`] reads them.
    pub words: &'a [u32],
    /// When it was observed, milliseconds since the Unix epoch.
    pub observed_at_ms: u64,
    /// Its vector of the question's model, if it has one: numbers in half precision, little-endian.
    pub vector: Option<&'a [u8]>,
}
