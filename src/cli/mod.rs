//! A file per command; the composition root.
