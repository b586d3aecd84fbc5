//! Requests of data subjects, holds, retention, and the package that a data subject takes away.

pub(crate) mod decide_request;
pub(crate) mod export_subject;
pub(crate) mod holds;
pub(crate) mod list_requests;
pub(crate) mod retention;
pub(crate) mod submit_request;
