//! Exports that verify offline.
