//! What is ranked.

/// A fact to rank.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'a> {
    /// Its words, as [`super::word_reader::WordReader::read_fact`] reads them.
    pub words: &'a [u32],
    /// When it was observed, milliseconds since the Unix epoch.
    pub observed_at_ms: u64,
    /// Its vector of the question's model, if it has one: numbers in half precision, little-endian.
    pub vector: Option<&'a [u8]>,
}
