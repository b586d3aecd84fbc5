//! Settings: limits of the daemon's queues, batches and caches, and of what is kept about one person.

use super::error::{ConfigError, check};
use serde::Deserialize;

/// Limits of queues, batches and caches, and on what is kept about one person.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Writes that may wait for the sequencer; beyond this, callers get `RESOURCE_EXHAUSTED`. 1 to 1,000,000.
    pub queue_requests_max: usize,
    /// Events in one durable batch. 1,024 to 65,536.
    pub batch_events_max: usize,
    /// Open grants of one recipient about one person; beyond this, a request for another gets
    /// `RESOURCE_EXHAUSTED`. 1 to 100,000.
    pub open_grants_max: usize,
    /// Artifacts of one recipient about one person that have not ended. Beyond this, registering another gets
    /// `RESOURCE_EXHAUSTED`. 1 to 100,000.
    pub artifacts_max: usize,
    /// Profiles kept in memory. At least 1,024, so that a profile is never evicted while a request uses it.
    pub cached_subjects_max: usize,
    /// Bytes of memory that these profiles may take. Beyond this, the least recently used ones are evicted.
    /// At least 1 MiB.
    pub cached_subjects_bytes_max: usize,
    /// Cache of the index database, bytes.
    pub index_cache_bytes: u64,
    /// Largest gRPC message that is accepted, bytes. 64 KiB to 64 MiB.
    pub message_bytes_max: usize,
    /// How many of the attributes kept about one person may come from one service. 1 to 100,000.
    #[serde(alias = "facts_per_service_max")]
    pub attributes_per_service_max: usize,
    /// How many bytes the attributes from one service may have. At least 64 KiB, which is more than one
    /// attribute can have.
    #[serde(alias = "facts_per_service_bytes_max")]
    pub attributes_per_service_bytes_max: usize,
    /// Attributes kept about one person. An eighth is reserved for the person and for stewards. At least
    /// `attributes_per_service_max`, at most 100,000.
    #[serde(alias = "facts_per_person_max")]
    pub attributes_per_person_max: usize,
    /// Bytes of these attributes. At least `attributes_per_service_bytes_max`, at most 64 MiB. With more than
    /// 3 MiB, one grant cannot contain everything.
    #[serde(alias = "facts_per_person_bytes_max")]
    pub attributes_per_person_bytes_max: usize,
    /// How many bytes the embeddings of the attributes from one service may have. At least 16 KiB, which is
    /// more than one embedding can have.
    pub embeddings_per_service_bytes_max: usize,
    /// Bytes of the embeddings of all attributes kept about one person. At least
    /// `embeddings_per_service_bytes_max`, at most 256 MiB.
    pub embeddings_per_person_bytes_max: usize,
    /// Connections at once, on each of the two addresses. A further connection evicts an unauthenticated
    /// connection: the oldest one from the address that has the most unauthenticated connections. If all
    /// connections have authenticated, the new one waits. For gRPC, a quarter of the connections is reserved
    /// for addresses from which a client has authenticated within a day. 1 to 1,000,000.
    pub connections_max: usize,
    /// A write is refused if its event was sealed (encrypted) longer ago than this, milliseconds. At most
    /// 60,000, so that a verifier can rely on times.
    pub sealed_age_ms_max: u64,
    /// How far the machine's clock may be behind the ledger's time before use is denied, milliseconds. The
    /// ledger's time is saved 5 seconds ahead for the next start, so the daemon adds these 5 seconds to this
    /// limit. The same value limits how far an event's time may be ahead of the sequencer's.
    /// At most 60,000.
    pub clock_skew_ms_max: u64,
    /// How far the machine's clock may run ahead of the monotonic clock before use is denied, in
    /// milliseconds. A pause of the machine that stops the monotonic clock also puts the machine's clock
    /// ahead. At least 1,000.
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
            attributes_per_service_max: 4_000,
            attributes_per_service_bytes_max: 1 << 20,
            attributes_per_person_max: 10_000,
            attributes_per_person_bytes_max: 3 << 20,
            embeddings_per_service_bytes_max: 4 << 20,
            embeddings_per_person_bytes_max: 12 << 20,
            connections_max: 4_096,
            sealed_age_ms_max: 60_000,
            clock_skew_ms_max: 5_000,
            clock_ahead_ms_max: 600_000,
        }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let million = 1..=1_000_000;
        check(million.contains(&self.connections_max), "limits.connections_max", "1 to 1,000,000")?;
        check(million.contains(&self.queue_requests_max), "limits.queue_requests_max", "1 to 1,000,000")?;
        let batch = (1_024..=65_536).contains(&self.batch_events_max);
        check(batch, "limits.batch_events_max", "1,024 to 65,536")?;
        let open = (1..=100_000).contains(&self.open_grants_max);
        check(open, "limits.open_grants_max", "1 to 100,000")?;
        let artifacts = (1..=100_000).contains(&self.artifacts_max);
        check(artifacts, "limits.artifacts_max", "1 to 100,000")?;
        check(self.cached_subjects_max >= 1_024, "limits.cached_subjects_max", "at least 1,024")?;
        let bytes = self.cached_subjects_bytes_max;
        check(bytes >= 1 << 20, "limits.cached_subjects_bytes_max", "at least 1 MiB")?;
        // `sayso verify` reports entries that were sealed more than two minutes before they were recorded.
        check(self.sealed_age_ms_max <= 60_000, "limits.sealed_age_ms_max", "at most 60,000")?;
        check(self.clock_skew_ms_max <= 60_000, "limits.clock_skew_ms_max", "at most 60,000")?;
        check(self.clock_ahead_ms_max >= 1_000, "limits.clock_ahead_ms_max", "at least 1,000")?;
        self.check_attributes()?;
        let message = (1 << 16..=64 << 20).contains(&self.message_bytes_max);
        check(message, "limits.message_bytes_max", "64 KiB to 64 MiB")
    }

    fn check_attributes(&self) -> Result<(), ConfigError> {
        let (count, bytes) = (self.attributes_per_service_max, self.attributes_per_service_bytes_max);
        check((1..=100_000).contains(&count), "limits.attributes_per_service_max", "1 to 100,000")?;
        check(bytes >= 64 << 10, "limits.attributes_per_service_bytes_max", "at least 64 KiB")?;
        let person = (count..=100_000).contains(&self.attributes_per_person_max);
        check(person, "limits.attributes_per_person_max", "`limits.attributes_per_service_max` to 100,000")?;
        let person = (bytes..=64 << 20).contains(&self.attributes_per_person_bytes_max);
        let allowed = "`limits.attributes_per_service_bytes_max` to 64 MiB";
        check(person, "limits.attributes_per_person_bytes_max", allowed)?;
        let bytes = self.embeddings_per_service_bytes_max;
        check(bytes >= 16 << 10, "limits.embeddings_per_service_bytes_max", "at least 16 KiB")?;
        let person = (bytes..=256 << 20).contains(&self.embeddings_per_person_bytes_max);
        let allowed = "`limits.embeddings_per_service_bytes_max` to 256 MiB";
        check(person, "limits.embeddings_per_person_bytes_max", allowed)
    }
}
