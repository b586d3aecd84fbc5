//! Bounds inside the daemon.

use super::ConfigError;
use serde::Deserialize;

/// Bounds of queues, batches and caches.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Writes that may wait for the sequencer; beyond it callers get `RESOURCE_EXHAUSTED`. 1 to 1,000,000.
    pub queue_requests_max: usize,
    /// Events in one durable batch. 512 to 65,536.
    pub batch_events_max: usize,
    /// Grants that one recipient may have open about one person; beyond it a request for another gets `RESOURCE_EXHAUSTED`.
    /// 1 to 100,000.
    pub open_grants_max: usize,
    /// Artifacts of one recipient that may stand about one person, likewise. 1 to 100,000.
    pub artifacts_max: usize,
    /// Folded profiles kept in memory. At least 1,024, so that requests under way are never crowded out.
    pub cached_subjects_max: usize,
    /// What these profiles may take of memory, bytes; beyond it the oldest are let go. At least 1 MiB.
    pub cached_subjects_bytes_max: usize,
    /// Cache of the index database, bytes.
    pub index_cache_bytes: u64,
    /// Largest gRPC message taken, bytes.
    pub message_bytes_max: usize,
    /// Facts that one service may have recorded about one person, of those that are held. 1 to 100,000.
    pub facts_per_service_max: usize,
    /// Their bytes. At least 64 KiB, which is more than one fact can have.
    pub facts_per_service_bytes_max: usize,
    /// Facts that may be held about one person. Services leave an eighth of it to the person and to stewards. As many as
    /// one service may have at least, and at most 100,000.
    pub facts_per_person_max: usize,
    /// Their bytes. As many as one service may have at least, and at most 64 MiB; beyond 3 MiB, one grant does not hold
    /// everything.
    pub facts_per_person_bytes_max: usize,
    /// Connections at once, on each of the two addresses. Further ones take the places of connections that have shown no good
    /// credential, the oldest of the address with the most of them; where all have shown one, they wait. A quarter of all
    /// places is kept for addresses that have shown a good credential within a day. 1 to 1,000,000.
    pub connections_max: usize,
    /// A write whose event was sealed longer ago than this is refused, milliseconds.
    pub sealed_age_ms_max: u64,
    /// How far the machine's clock may be behind the ledger's time before use is denied, milliseconds; 5 seconds more
    /// count as the time that is kept ahead for the next start. Also how far an event's time may be ahead of the sequencer's.
    pub clock_skew_ms_max: u64,
    /// How far the machine's clock may run ahead of a clock that can't be set before use is denied, milliseconds. A machine
    /// that was paused looks like that. At least 1,000.
    pub clock_ahead_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_requests_max: 8_192,
            batch_events_max: 1_024,
            open_grants_max: 1_024,
            artifacts_max: 1_024,
            cached_subjects_max: 20_000,
            cached_subjects_bytes_max: 96 << 20,
            index_cache_bytes: 64 << 20,
            message_bytes_max: 4 << 20,
            facts_per_service_max: 4_000,
            facts_per_service_bytes_max: 1 << 20,
            facts_per_person_max: 10_000,
            facts_per_person_bytes_max: 3 << 20,
            connections_max: 4_096,
            sealed_age_ms_max: 60_000,
            clock_skew_ms_max: 5_000,
            clock_ahead_ms_max: 600_000,
        }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bound = |holds: bool, key, bound| {
            if holds { Ok(()) } else { Err(ConfigError::OutOfBounds { key, bound }) }
        };
        let million = 1..=1_000_000;
        bound(million.contains(&self.connections_max), "limits.connections_max", "1 to 1,000,000")?;
        bound(million.contains(&self.queue_requests_max), "limits.queue_requests_max", "1 to 1,000,000")?;
        let batch = (512..=65_536).contains(&self.batch_events_max);
        bound(batch, "limits.batch_events_max", "512 to 65,536")?;
        let open = (1..=100_000).contains(&self.open_grants_max);
        bound(open, "limits.open_grants_max", "1 to 100,000")?;
        let artifacts = (1..=100_000).contains(&self.artifacts_max);
        bound(artifacts, "limits.artifacts_max", "1 to 100,000")?;
        bound(self.cached_subjects_max >= 1_024, "limits.cached_subjects_max", "at least 1,024")?;
        let bytes = self.cached_subjects_bytes_max;
        bound(bytes >= 1 << 20, "limits.cached_subjects_bytes_max", "at least 1 MiB")?;
        bound(self.clock_ahead_ms_max >= 1_000, "limits.clock_ahead_ms_max", "at least 1,000")?;
        self.check_facts()?;
        let message = (1 << 16..=64 << 20).contains(&self.message_bytes_max);
        bound(message, "limits.message_bytes_max", "64 KiB to 64 MiB")
    }

    fn check_facts(&self) -> Result<(), ConfigError> {
        let bound = |holds: bool, key, bound| {
            if holds { Ok(()) } else { Err(ConfigError::OutOfBounds { key, bound }) }
        };
        let (facts, bytes) = (self.facts_per_service_max, self.facts_per_service_bytes_max);
        bound((1..=100_000).contains(&facts), "limits.facts_per_service_max", "1 to 100,000")?;
        bound(bytes >= 64 << 10, "limits.facts_per_service_bytes_max", "at least 64 KiB")?;
        let person = (facts..=100_000).contains(&self.facts_per_person_max);
        bound(person, "limits.facts_per_person_max", "`limits.facts_per_service_max` to 100,000")?;
        let person = (bytes..=64 << 20).contains(&self.facts_per_person_bytes_max);
        let allowed = "`limits.facts_per_service_bytes_max` to 64 MiB";
        bound(person, "limits.facts_per_person_bytes_max", allowed)
    }
}
