//! The moment that a read is about: now, or an earlier time or version.

/// The moment that a question is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Moment {
    /// Everything that is recorded.
    #[default]
    Now,
    /// What was recorded by this time, milliseconds since the Unix epoch.
    Time(u64),
    /// This many of the subject's first events.
    Version(u64),
}
