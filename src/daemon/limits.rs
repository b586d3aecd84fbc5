//! What the configuration's `[door]` and `[limits]` mean to those who keep to them.

use crate::api::{ApiOptions, QuotaLimits, QuotaOptions};
use crate::config::{CallsConfig, Config};
use crate::tls::ConnectionLimits;
use std::num::NonZeroU32;
use std::time::Duration;

/// This part of the places for connections is kept for addresses that have shown a good credential.
const RESERVED_PART: usize = 4;

/// Of a listener over which nobody shows a credential.
pub(crate) fn open_connections(config: &Config) -> ConnectionLimits {
    ConnectionLimits { reserved: 0, ..connections(config) }
}

/// Of a listener over which credentials are shown.
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

pub(crate) fn calls(config: &Config) -> ApiOptions {
    let limits = &config.client_limits;
    ApiOptions {
        message_bytes_max: config.limits.message_bytes_max,
        streams_max: limits.calls_per_connection_max,
        answer_max: Duration::from_secs(limits.answer_s_max),
        calls: QuotaOptions {
            service: of(limits.service),
            subject: of(limits.subject),
            staff: of(limits.staff),
            open: of(limits.open),
            request_bytes_max: limits.request_bytes_max,
            all_request_bytes_max: limits.all_request_bytes_max,
        },
    }
}

fn of(calls: CallsConfig) -> QuotaLimits {
    // Checked with the configuration: none is 0.
    let whole = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    QuotaLimits {
        per_second_max: whole(calls.per_second_max),
        burst_max: whole(calls.burst_max),
        at_once_max: usize::try_from(calls.at_once_max).unwrap_or(usize::MAX),
    }
}
