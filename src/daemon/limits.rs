//! Converts limits in the configuration to the limits of connections and calls.

use crate::api::{ApiOptions, QuotaLimits, QuotaOptions};
use crate::config::{CallsConfig, Config};
use crate::tls::ConnectionLimits;
use std::num::NonZeroU32;
use std::time::Duration;

/// One in this many connections is reserved for addresses from which a client has presented a valid
/// credential.
const RESERVED_PART: usize = 4;

/// Limits of a listener whose clients present no credential.
pub(crate) fn open_connections(config: &Config) -> ConnectionLimits {
    ConnectionLimits { reserved: 0, ..connections(config) }
}

/// Limits of a listener whose clients present credentials.
pub(crate) fn connections(config: &Config) -> ConnectionLimits {
    let limits = &config.client_limits;
    ConnectionLimits {
        connections_max: config.limits.connections_max,
        reserved: config.limits.connections_max / RESERVED_PART,
        per_address_max: limits.connections_per_address_max,
        handshake_max: Duration::from_secs(limits.handshake_s_max),
        idle_max: Duration::from_secs(limits.idle_s_max),
        stall_max: Duration::from_secs(limits.stall_s_max),
    }
}

/// Limits of gRPC calls.
pub(crate) fn calls(config: &Config) -> ApiOptions {
    let limits = &config.client_limits;
    ApiOptions {
        message_bytes_max: config.limits.message_bytes_max,
        streams_max: limits.calls_per_connection_max,
        answer_max: Duration::from_secs(limits.answer_s_max),
        calls: QuotaOptions {
            service: quota(limits.service),
            subject: quota(limits.subject),
            staff: quota(limits.staff),
            open: quota(limits.open),
            request_bytes_max: limits.request_bytes_max,
            all_request_bytes_max: limits.all_request_bytes_max,
        },
    }
}

fn quota(calls: CallsConfig) -> QuotaLimits {
    // The configuration was checked, so no number is 0.
    let non_zero = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    QuotaLimits {
        per_second_max: non_zero(calls.per_second_max),
        burst_max: non_zero(calls.burst_max),
        at_once_max: usize::try_from(calls.at_once_max).unwrap_or(usize::MAX),
    }
}
