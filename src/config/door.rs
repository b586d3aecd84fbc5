//! What the door bears: connections, and calls of one credential.

use super::ConfigError;
use serde::Deserialize;
use std::ops::RangeInclusive;

/// Bounds at the door. A credential is a controller, a role and a name; for a person, a controller and their id.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoorConfig {
    /// Calls of one model service. Default: 200,000 a second, more than one machine answers; 1,024 at once.
    pub service: CallsConfig,
    /// Calls of one person. Default: 50 a second, 200 in one go, 16 at once.
    pub subject: CallsConfig,
    /// Calls of one steward, authority, auditor or operator. Default: 10,000 a second, 256 at once.
    pub staff: CallsConfig,
    /// Calls from one address (IPv6: one /64) that need no credential: health and reflection. Default: 200 a second, 400 in
    /// one go, 64 at once. Raise it behind a proxy.
    pub open: CallsConfig,
    /// Connections at once from one address (IPv6: one /64), on each of the two ports; further ones are closed. 1 to
    /// 1,000,000. Raise it behind a proxy.
    pub connections_per_address_max: usize,
    /// Bad tokens that are looked at from one address (IPv6: one /64) in a minute; beyond them only tokens that were good
    /// before, and certificates, are taken from there, and connections that bring nothing else are closed. 1 to 1,000,000.
    pub refused_per_minute_max: u32,
    /// How long a handshake may take, seconds. 1 to 300.
    pub handshake_s_max: u64,
    /// Requests of one credential under way, decompressed, with pieces of answers above 64 KiB; bytes. Further ones are
    /// refused. 1 MiB to 64 GiB.
    pub request_bytes_max: usize,
    /// The same of everybody together; the last quarter is for calls of at most 16 KiB. 1 MiB to 64 GiB.
    pub all_request_bytes_max: usize,
    /// Calls at once over one connection. 1 to 100,000.
    pub calls_per_connection_max: u32,
    /// How long a connection may stay without a call under way, seconds; then it is closed. 1 to 86,400.
    pub idle_s_max: u64,
    /// How long the reader of an answer may take for one piece of it, seconds; then its connection is closed. 1 to 3,600.
    pub stall_s_max: u64,
    /// How long a call may take until its answer begins, seconds, also where it set a later deadline or none. What is
    /// written by then stays written. 1 to 3,600.
    pub answer_s_max: u64,
}

/// Bounds on the calls of one credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallsConfig {
    /// In the long run, a second. 1 to 1,000,000.
    pub per_second_max: u32,
    /// In one go, after a pause. 1 to 1,000,000.
    pub burst_max: u32,
    /// At once; a stream counts until it ends. 1 to 100,000.
    pub at_once_max: u32,
}

impl Default for DoorConfig {
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

impl DoorConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let within = |value: u64, range: RangeInclusive<u64>, key, bound| {
            if range.contains(&value) { Ok(()) } else { Err(ConfigError::OutOfBounds { key, bound }) }
        };
        let whole = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        for calls in [self.service, self.subject, self.staff, self.open] {
            let million = 1..=1_000_000;
            within(calls.per_second_max.into(), million.clone(), "door.*.per_second_max", "1 to 1,000,000")?;
            within(calls.burst_max.into(), million, "door.*.burst_max", "1 to 1,000,000")?;
            within(calls.at_once_max.into(), 1..=100_000, "door.*.at_once_max", "1 to 100,000")?;
        }
        let connections = whole(self.connections_per_address_max);
        within(connections, 1..=1_000_000, "door.connections_per_address_max", "1 to 1,000,000")?;
        let (bytes, all) = (whole(self.request_bytes_max), whole(self.all_request_bytes_max));
        within(bytes, 1 << 20..=64 << 30, "door.request_bytes_max", "1 MiB to 64 GiB")?;
        within(all, 1 << 20..=64 << 30, "door.all_request_bytes_max", "1 MiB to 64 GiB")?;
        let refused = self.refused_per_minute_max.into();
        within(refused, 1..=1_000_000, "door.refused_per_minute_max", "1 to 1,000,000")?;
        within(self.handshake_s_max, 1..=300, "door.handshake_s_max", "1 to 300")?;
        let calls = self.calls_per_connection_max.into();
        within(calls, 1..=100_000, "door.calls_per_connection_max", "1 to 100,000")?;
        within(self.idle_s_max, 1..=86_400, "door.idle_s_max", "1 to 86,400")?;
        within(self.stall_s_max, 1..=3_600, "door.stall_s_max", "1 to 3,600")?;
        within(self.answer_s_max, 1..=3_600, "door.answer_s_max", "1 to 3,600")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn nothing_is_without_a_bound() {
        DoorConfig::default().check().unwrap();
        for bad in [
            "request_bytes_max",
            "all_request_bytes_max",
            "handshake_s_max",
            "idle_s_max",
            "stall_s_max",
            "answer_s_max",
            "refused_per_minute_max",
        ] {
            let config: DoorConfig = toml::from_str(&format!("{bad} = 0")).unwrap();
            assert!(config.check().is_err(), "{bad}");
        }
        let none = "[subject]\nper_second_max = 5\nburst_max = 0\nat_once_max = 1";
        assert!(toml::from_str::<DoorConfig>(none).unwrap().check().is_err());
        assert!(toml::from_str::<DoorConfig>("[subject]\nper_second_max = 5").is_err());
    }
}
