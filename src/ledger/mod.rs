//! Sealed entries in order: queue, sequencer, tree, checkpoints.
