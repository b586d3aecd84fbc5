//! What a scrape reads from a log.

/// The state of one controller's log at the moment of a scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogStatus {
    /// Entries in the log.
    pub entries: u64,
    /// Bytes of the entries that are kept.
    pub entry_bytes: u64,
    /// Data subjects with data in the ledger.
    pub subjects: u64,
    /// Writes are accepted.
    pub ready: bool,
    /// Erasures whose keys are destroyed and that are not yet complete.
    pub erasures_unfinished: u64,
    /// Recipients that were notified of an erasure and have not reported what they did.
    pub erasures_outstanding: u64,
    /// Recipients of [`Self::erasures_outstanding`] whose deadline has passed.
    pub erasures_overdue: u64,
    /// A backup was restored, and use is denied until the restore is confirmed.
    pub restore_unconfirmed: bool,
    /// The machine's clock is not trusted, and use is denied.
    pub clock_skewed: bool,
    /// The error of the clock in milliseconds, positive if it is ahead.
    pub clock_skew_ms: i64,
}
