//! The state of the machine's clock: whether it is trusted, how far it may be off, and which difference from
//! the ledger's time an operator has accepted.

/// While the ledger's time is ahead of an accepted clock, the ledger's time runs slower than that clock, by 1
/// part in this many. So the ledger's time and the clock agree in the end.
const SLOWDOWN: u64 = 128;

/// How far the machine's clock may be off before it is no longer trusted.
#[derive(Clone, Copy, Debug)]
pub struct ClockLimits {
    /// How far the clock may be behind the latest time that the ledger's clock has returned, in milliseconds.
    /// The ledger's time is saved 5 seconds ahead for the next start, so these 5 seconds are added to this
    /// limit.
    pub behind_ms_max: u64,
    /// How far the clock may run ahead of the monotonic clock, in milliseconds. After a pause
    /// that stops the monotonic clock, such as that of a virtual machine, the clock is ahead by the length of
    /// the pause.
    pub ahead_ms_max: u64,
}

impl Default for ClockLimits {
    fn default() -> Self {
        Self { behind_ms_max: 5_000, ahead_ms_max: 600_000 }
    }
}

/// Whether the machine's clock is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockState {
    /// It is trusted.
    #[default]
    Steady,
    /// It went back or has stopped: it is behind by this many milliseconds.
    Behind(u64),
    /// It is ahead by this many milliseconds.
    Ahead(u64),
    /// It may be right, but the ledger's time cannot be saved for the next start.
    Unsaved,
}

impl ClockState {
    /// Whether use has to be denied.
    #[must_use]
    pub fn is_skewed(self) -> bool {
        self != Self::Steady
    }

    /// The error of the clock in milliseconds, positive if it is ahead.
    #[must_use]
    pub fn skew_ms(self) -> i64 {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        match self {
            Self::Steady | Self::Unsaved => 0,
            Self::Behind(ms) => -signed(ms),
            Self::Ahead(ms) => signed(ms),
        }
    }
}

impl std::fmt::Display for ClockState {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Steady => write!(out, "the clock is steady"),
            Self::Behind(ms) => write!(out, "the clock is {} s behind the ledger's time", ms.div_ceil(1_000)),
            Self::Ahead(ms) => {
                write!(out, "the clock is {} s ahead of the ledger's time", ms.div_ceil(1_000))
            }
            Self::Unsaved => write!(out, "the ledger's time cannot be saved to its file"),
        }
    }
}

/// The ledger's time, the machine's clock, and whether the clock is trusted, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading {
    /// The ledger's time, milliseconds since the Unix epoch.
    pub ledger_ms: u64,
    /// The machine's clock, milliseconds since the Unix epoch.
    pub clock_ms: u64,
    /// Whether the machine's clock is trusted.
    pub state: ClockState,
}

/// The machine's clock at the moment when an operator accepted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The machine's clock, milliseconds since the Unix epoch.
    pub clock_ms: u64,
    /// The ledger's time at that moment, milliseconds since the Unix epoch; never earlier than `clock_ms`.
    pub ledger_ms: u64,
}

impl Accepted {
    /// The ledger's time when the machine's clock reads `clock_ms`, milliseconds since the Unix epoch.
    pub(super) fn ledger_ms_at(self, clock_ms: u64) -> u64 {
        let since_ms = clock_ms.saturating_sub(self.clock_ms);
        let ahead_ms = self.ledger_ms.saturating_sub(self.clock_ms).saturating_sub(since_ms / SLOWDOWN);
        clock_ms.saturating_add(ahead_ms)
    }
}
