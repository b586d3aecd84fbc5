//! What is ranked.

/// A fact to rank.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its value, as JSON text.
    pub value_json: &'a str,
    /// When it was observed, milliseconds since the Unix epoch.
    pub observed_at_ms: u64,
}
