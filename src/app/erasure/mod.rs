//! Erasure of a data subject or of a part, from the request to the certificate.

pub(crate) mod certificate;
pub(crate) mod complete_erasures;
pub(crate) mod erase_subject;
pub(crate) mod resume_erasures;
