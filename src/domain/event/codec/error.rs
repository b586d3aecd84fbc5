//! Why a message of the log cannot be decoded into an event.

/// Why a message is not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A field is missing or has a value that is not allowed.
    #[error("the event's `{0}` is malformed")]
    Malformed(&'static str),
    /// The kind of event is unknown to this version.
    #[error("this version does not know the kind of event")]
    Unknown,
}
