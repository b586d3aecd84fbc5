//! Settings of the gRPC API.

use crate::api::access::credential::Credentials;
use crate::api::access::quota::QuotaOptions;
use crate::roles::RoleTable;
use std::sync::Arc;
use std::time::Duration;

/// Limits of the gRPC API.
#[derive(Clone, Copy, Debug)]
pub struct ApiOptions {
    /// The largest message that is accepted, in bytes.
    pub message_bytes_max: usize,
    /// The largest number of calls of one connection at once.
    pub streams_max: u32,
    /// How long a call may take until its answer begins.
    pub answer_max: Duration,
    /// The quotas of credentials.
    pub calls: QuotaOptions,
}

/// Who may call, and what.
pub struct Access {
    /// The trusted credentials.
    pub credentials: Arc<Credentials>,
    /// The methods that each role may call.
    pub table: Arc<RoleTable>,
}
