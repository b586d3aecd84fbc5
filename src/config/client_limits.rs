//! Settings: limits on what clients may use, such as the connections from one address and the calls with
//! one credential.

use super::error::{ConfigError, check};
use serde::Deserialize;
use std::ops::RangeInclusive;

/// Limits on what clients may use. Two credentials are the same if they have the same controller, role and
/// name. For a person, the name is the controller's id of the person.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientLimits {
    /// Calls of one model service. Default: 200,000 a second, more than one machine can answer; 1,024 at
    /// once.
    pub service: CallsConfig,
    /// Calls of one person. Default: 50 a second, 200 in a burst, 16 at once.
    pub subject: CallsConfig,
    /// Calls of one steward, authority, auditor or operator. Default: 10,000 a second, 256 at once.
    pub staff: CallsConfig,
    /// Calls from one address (IPv6: one /64) that need no credential: health and reflection. Default: 200 a
    /// second, 400 in a burst, 64 at once. Raise it behind a proxy.
    pub open: CallsConfig,
    /// Connections at once from one address (IPv6: one /64), on each of the two ports. Further connections
    /// are closed. 1 to 1,000,000. Raise it behind a proxy.
    pub connections_per_address_max: usize,
    /// Invalid tokens from one address (IPv6: one /64) that are checked in a minute. Beyond this, only
    /// certificates and tokens that were verified before are accepted from that address. Connections with
    /// other credentials are closed. 1 to 1,000,000.
    pub refused_per_minute_max: u32,
    /// How long a handshake may take, seconds. 1 to 300.
    pub handshake_s_max: u64,
    /// Bytes in progress for one credential: those of its requests after decompression, and those of its
    /// response messages above 64 KiB. Further requests are refused. 1 MiB to 64 GiB.
    pub request_bytes_max: usize,
    /// The same for all credentials together. The last quarter is reserved for calls of at most 16 KiB. 1 MiB
    /// to 64 GiB.
    pub all_request_bytes_max: usize,
    /// Calls at once over one connection. 1 to 100,000.
    pub calls_per_connection_max: u32,
    /// Seconds after which a connection is closed if it has no call in progress. 1 to 86,400.
    pub idle_s_max: u64,
    /// Seconds that a client may take to read one piece of a response. After that, its connection is closed.
    /// 1 to 3,600.
    pub stall_s_max: u64,
    /// Seconds that a call may take until its response begins, even if the caller set a later deadline or
    /// none. What the call has written by then stays written. 1 to 3,600.
    pub answer_s_max: u64,
}

/// Limits on the calls of one credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallsConfig {
    /// Average rate of calls a second. 1 to 1,000,000.
    pub per_second_max: u32,
    /// Calls in a burst after a pause. 1 to 1,000,000.
    pub burst_max: u32,
    /// Calls in progress at once; a stream counts until it ends. 1 to 100,000.
    pub at_once_max: u32,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            service: CallsConfig { per_second_max: 200_000, burst_max: 200_000, at_once_max: 1_024 },
            subject: CallsConfig { per_second_max: 50, burst_max: 200, at_once_max: 16 },
            staff: CallsConfig { per_second_max: 10_000, burst_max: 10_000, at_once_max: 256 },
            open: CallsConfig { per_second_max: 200, burst_max: 400, at_once_max: 64 },
            connections_per_address_max: 1_024,
            refused_per_minute_max: 600,
            handshake_s_max: 10,
            request_bytes_max: 16 << 20,
            all_request_bytes_max: 32 << 20,
            calls_per_connection_max: 1_024,
            idle_s_max: 300,
            stall_s_max: 60,
            answer_s_max: 60,
        }
    }
}

impl ClientLimits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let within = |value: u64, range: RangeInclusive<u64>, key, allowed| {
            check(range.contains(&value), key, allowed)
        };
        let to_u64 = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        for calls in [self.service, self.subject, self.staff, self.open] {
            let million = 1..=1_000_000;
            within(
                calls.per_second_max.into(),
                million.clone(),
                "client_limits.*.per_second_max",
                "1 to 1,000,000",
            )?;
            within(calls.burst_max.into(), million, "client_limits.*.burst_max", "1 to 1,000,000")?;
            within(calls.at_once_max.into(), 1..=100_000, "client_limits.*.at_once_max", "1 to 100,000")?;
        }
        let connections = to_u64(self.connections_per_address_max);
        within(connections, 1..=1_000_000, "client_limits.connections_per_address_max", "1 to 1,000,000")?;
        let (bytes, all) = (to_u64(self.request_bytes_max), to_u64(self.all_request_bytes_max));
        within(bytes, 1 << 20..=64 << 30, "client_limits.request_bytes_max", "1 MiB to 64 GiB")?;
        within(all, 1 << 20..=64 << 30, "client_limits.all_request_bytes_max", "1 MiB to 64 GiB")?;
        let refused = self.refused_per_minute_max.into();
        within(refused, 1..=1_000_000, "client_limits.refused_per_minute_max", "1 to 1,000,000")?;
        within(self.handshake_s_max, 1..=300, "client_limits.handshake_s_max", "1 to 300")?;
        let calls = self.calls_per_connection_max.into();
        within(calls, 1..=100_000, "client_limits.calls_per_connection_max", "1 to 100,000")?;
        within(self.idle_s_max, 1..=86_400, "client_limits.idle_s_max", "1 to 86,400")?;
        within(self.stall_s_max, 1..=3_600, "client_limits.stall_s_max", "1 to 3,600")?;
        within(self.answer_s_max, 1..=3_600, "client_limits.answer_s_max", "1 to 3,600")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_value_has_a_limit() {
        ClientLimits::default().check().unwrap();
        for bad in [
            "request_bytes_max",
            "all_request_bytes_max",
            "handshake_s_max",
            "idle_s_max",
            "stall_s_max",
            "answer_s_max",
            "refused_per_minute_max",
        ] {
            let config: ClientLimits = toml::from_str(&format!("{bad} = 0")).unwrap();
            assert!(config.check().is_err(), "{bad}");
        }
        let no_burst = "[subject]\nper_second_max = 5\nburst_max = 0\nat_once_max = 1";
        assert!(toml::from_str::<ClientLimits>(no_burst).unwrap().check().is_err());
        assert!(toml::from_str::<ClientLimits>("[subject]\nper_second_max = 5").is_err());
    }
}
