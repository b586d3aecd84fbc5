//! The clock that decides whether credentials have expired. An operator can accept that the ledger's time
//! differs from the machine's clock. Credentials are checked without this difference, because their
//! issuers have their own clocks.

use super::ledger_clock::LedgerClock;
use super::source::Clock;
use std::sync::Arc;

/// The clock that decides whether credentials have expired. An operator can accept that the ledger's time
/// differs from the machine's clock. This clock does not include the accepted difference, because issuers of
/// credentials have their own clocks.
///
/// While the machine's clock is in doubt, there are two possible times: that of the machine's clock, and the
/// ledger's. [`Clock::now_ms`] is the earlier one. So a credential counts as expired only if it has expired
/// by both times, and a data subject can still refuse or withdraw. [`CredentialClock::strict_ms`] shows which
/// credentials may have expired.
pub struct CredentialClock(Arc<LedgerClock>);

impl CredentialClock {
    /// The clock for the credentials of one ledger.
    #[must_use]
    pub fn of(ledger: &Arc<LedgerClock>) -> Self {
        Self(Arc::clone(ledger))
    }

    /// Whether the machine's clock is not trusted.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        !self.0.is_trusted()
    }

    /// The ledger's time without an accepted difference, in milliseconds since the Unix epoch. It goes back
    /// only when an operator accepts the clock.
    #[must_use]
    pub fn strict_ms(&self) -> u64 {
        self.read().0
    }

    /// Reads two times. The first is the ledger's time without an accepted difference. The second is the time
    /// of the machine's clock, and is returned only while that clock is in doubt.
    fn read(&self) -> (u64, Option<u64>) {
        let ledger = &self.0;
        let now_ms = ledger.now_ms();
        let is_trusted = ledger.is_trusted();
        if is_trusted && !ledger.has_accepted_difference() {
            return (now_ms, None);
        }
        let clock_ms = ledger.machine_ms();
        let ahead_ms = ledger.ledger_ms_at(clock_ms).saturating_sub(clock_ms);
        (now_ms.saturating_sub(ahead_ms), (!is_trusted).then_some(clock_ms))
    }
}

impl Clock for CredentialClock {
    fn now_ms(&self) -> u64 {
        let (strict_ms, in_doubt) = self.read();
        in_doubt.map_or(strict_ms, |clock_ms| clock_ms.min(strict_ms))
    }

    fn latest_ms(&self) -> u64 {
        let (strict_ms, in_doubt) = self.read();
        in_doubt.map_or(strict_ms, |clock_ms| clock_ms.max(strict_ms))
    }

    fn steady_ms(&self) -> u64 {
        self.0.steady_ms()
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}
