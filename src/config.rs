//! Typed configuration, validated once.
