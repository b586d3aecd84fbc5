//! What auditors and the public are given: exports, proofs, transparency reports, the record of processing.

pub(crate) mod export_audit;
pub(crate) mod proofs;
pub(crate) mod record_of_processing;
pub(crate) mod transparency_report;
