//! Keys: sealing, opening, destroying.
