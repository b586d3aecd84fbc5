//! The moment that a read is about.

/// As of when something is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Moment {
    /// Everything that is recorded.
    #[default]
    Now,
    /// What had been recorded by then, milliseconds since the Unix epoch.
    Time(u64),
    /// The subject's first events, so many.
    Version(u64),
}
