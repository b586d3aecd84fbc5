//! The public keys that verify the signatures of published rules, one for each tier that is signed.

/// Public keys (Ed25519, raw) that rules must be signed with. Nothing can be published for a tier without a
/// key.
#[derive(Clone, Copy, Debug, Default)]
pub struct TierKeys {
    /// The key of tier 1, public bounds.
    pub authority: Option<[u8; 32]>,
    /// The key of tier 2, provider bounds.
    pub steward: Option<[u8; 32]>,
}
