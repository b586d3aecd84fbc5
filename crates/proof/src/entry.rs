//! One entry: a COSE_Sign1 around a `SealedEvent`.

/// Stands for a subject in the log: 16 random bytes, never derived from the subject's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub [u8; 16]);

impl Handle {
    /// Events about nobody.
    pub const NOBODY: Self = Self([0; 16]);
}
