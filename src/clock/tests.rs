//! Tests of the ledger's time: while the machine's clock jumps or stops, and after a restart.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use super::credential_clock::CredentialClock;
use super::ledger_clock::LedgerClock;
use super::source::Clock;
use super::state::{Accepted, ClockLimits, ClockState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const START: u64 = 1_760_000_000_000;
const HOUR: u64 = 3_600_000;
const YEAR: u64 = 365 * 24 * HOUR;

/// A machine with a clock that can be set, and a monotonic clock.
struct Machine {
    wall_ms: AtomicU64,
    steady_ms: AtomicU64,
}

impl Machine {
    fn new() -> Arc<Self> {
        Arc::new(Self { wall_ms: AtomicU64::new(START), steady_ms: AtomicU64::new(77) })
    }

    fn pass(&self, ms: u64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.steady_ms.fetch_add(ms, Ordering::SeqCst);
    }

    fn set(&self, ms: u64) {
        self.wall_ms.store(ms, Ordering::SeqCst);
    }

    fn wall(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn clock(self: &Arc<Self>, recorded_ms: u64, accepted: Option<Accepted>) -> Arc<LedgerClock> {
        let clock = LedgerClock::new(Arc::clone(self) as _, ClockLimits::default());
        clock.begin(recorded_ms, accepted);
        Arc::new(clock)
    }

    fn clock_with_file(self: &Arc<Self>, file: &Path) -> LedgerClock {
        let clock = LedgerClock::open(Arc::clone(self) as _, ClockLimits::default(), file).unwrap();
        clock.begin(0, None);
        clock
    }
}

impl Clock for Machine {
    fn now_ms(&self) -> u64 {
        self.wall()
    }

    fn steady_ms(&self) -> u64 {
        self.steady_ms.load(Ordering::SeqCst)
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

#[test]
fn the_ledgers_time_is_a_trusted_clock() {
    let machine = Machine::new();
    let clock = machine.clock(0, None);
    for step in [0, 1, 999, 1_001, 60_000, 30 * 24 * HOUR] {
        machine.pass(step);
        assert_eq!(clock.now_ms(), machine.wall());
        assert_eq!(clock.state(), ClockState::Steady);
    }
}

#[test]
fn a_clock_that_goes_back_is_not_trusted_and_the_time_does_not_go_back() {
    let machine = Machine::new();
    let clock = machine.clock(0, None);
    machine.pass(HOUR);
    let before = clock.now_ms();
    machine.set(START);
    assert_eq!(clock.read().ledger_ms, before);
    assert_eq!(clock.state(), ClockState::Behind(HOUR));
    machine.pass(5_000);
    assert_eq!(clock.now_ms(), before + 5_000, "time continues while the clock is not trusted");
    machine.set(START + HOUR + 5_000);
    assert_eq!((clock.state(), clock.now_ms()), (ClockState::Steady, before + 5_000));
}

#[test]
fn a_clock_that_jumps_ahead_is_not_trusted_and_has_no_lasting_effect() {
    let machine = Machine::new();
    let clock = machine.clock(0, None);
    let before = clock.now_ms();
    machine.set(START + 10 * YEAR);
    assert_eq!(clock.now_ms(), before);
    assert!(matches!(clock.state(), ClockState::Ahead(_)));
    machine.pass(7_000);
    assert_eq!(clock.now_ms(), before + 7_000);
    machine.set(START + 7_000);
    assert_eq!((clock.state(), clock.now_ms()), (ClockState::Steady, before + 7_000));
}

#[test]
fn a_clock_that_creeps_ahead_is_detected() {
    let machine = Machine::new();
    let clock = machine.clock(0, None);
    // Each jump is smaller than what a single comparison would reject.
    for _ in 0..2_000 {
        machine.set(machine.wall() + 900);
        machine.pass(1);
        let _read = clock.now_ms();
    }
    assert!(matches!(clock.state(), ClockState::Ahead(_)));
    assert!(clock.now_ms() < START + 2_000 + 620_000, "{}", clock.now_ms() - START);
}

#[test]
fn a_stopped_clock_is_detected_and_time_continues() {
    let machine = Machine::new();
    let clock = machine.clock(0, None);
    machine.pass(60_000);
    let before = clock.now_ms();
    machine.steady_ms.fetch_add(30_000, Ordering::SeqCst);
    assert_eq!(clock.state(), ClockState::Behind(30_000));
    assert_eq!(clock.now_ms(), before + 30_000);
}

#[test]
fn small_jumps_and_a_paused_machine_are_trusted_and_do_not_add_up() {
    let machine = Machine::new();
    let clock = machine.clock(0, None);
    machine.set(START + 300_000);
    assert_eq!((clock.state(), clock.now_ms()), (ClockState::Steady, START + 300_000));
    // After a while the offset has followed the clock.
    for _ in 0..60_000 {
        machine.pass(1_000);
        assert_eq!(clock.now_ms(), machine.wall());
    }
    machine.set(machine.wall() + 500_000);
    assert_eq!(clock.state(), ClockState::Steady);
}

#[test]
fn time_continues_from_the_log_after_a_start_and_an_earlier_clock_is_not_trusted() {
    let machine = Machine::new();
    let clock = machine.clock(START + 10 * YEAR, None);
    assert_eq!(clock.state(), ClockState::Behind(10 * YEAR));
    assert_eq!(clock.now_ms(), START + 10 * YEAR);
    machine.pass(4_000);
    assert_eq!(clock.now_ms(), START + 10 * YEAR + 4_000);
}

#[test]
fn a_clock_far_ahead_of_the_log_is_not_trusted_at_the_start_but_a_long_stop_is_allowed() {
    let machine = Machine::new();
    let stopped = machine.clock(START - YEAR, None);
    assert_eq!((stopped.state(), stopped.now_ms()), (ClockState::Steady, START));
    let jumped = machine.clock(START - 10 * YEAR, None);
    assert!(matches!(jumped.state(), ClockState::Ahead(_)));
    assert_eq!(jumped.now_ms(), START - 10 * YEAR);
    // The jump has no effect after the clock is corrected.
    machine.set(START - 10 * YEAR + HOUR);
    assert_eq!((jumped.state(), jumped.now_ms()), (ClockState::Steady, START - 10 * YEAR + HOUR));
}

#[test]
fn the_time_does_not_go_back_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clock");
    let machine = Machine::new();
    let clock = machine.clock_with_file(&file);
    machine.pass(HOUR);
    clock.save_ahead();
    let before = clock.now_ms();
    // The daemon was killed, and the clock was set back while it was down.
    drop(clock);
    machine.set(START);
    let clock = machine.clock_with_file(&file);
    assert!(clock.now_ms() >= before && clock.now_ms() <= before + 5_000);
    assert!(matches!(clock.state(), ClockState::Behind(_)));
    clock.close();
    let before = clock.now_ms();
    drop(clock);
    assert_eq!(
        machine.clock_with_file(&file).now_ms(),
        before,
        "a stop saves exactly the latest time that was returned"
    );
}

#[test]
fn a_kill_alone_does_not_put_the_clock_in_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clock");
    let machine = Machine::new();
    for _ in 0..20 {
        let clock = machine.clock_with_file(&file);
        let first = clock.now_ms();
        machine.pass(1);
        clock.save_ahead();
        assert_eq!(clock.state(), ClockState::Steady);
        assert!((first..=machine.wall() + 5_000).contains(&clock.now_ms()));
    }
}

#[test]
fn a_damaged_file_does_not_prevent_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clock");
    let machine = Machine::new();
    machine.clock_with_file(&file).save_ahead();
    let intact = std::fs::read(&file).unwrap();
    for at in 0..intact.len() {
        let mut bytes = intact.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&file, bytes).unwrap();
        let clock = machine.clock_with_file(&file);
        assert_eq!(clock.state(), ClockState::Steady, "byte {at}");
        assert!(clock.now_ms() <= START + 10_000, "byte {at}");
    }
}

#[test]
fn a_time_that_cannot_be_saved_denies_use() {
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::new();
    let clock = machine.clock_with_file(&dir.path().join("clock"));
    clock.fail_writes();
    machine.pass(60_000);
    assert_eq!(clock.state(), ClockState::Unsaved);
    assert_eq!(clock.now_ms(), machine.wall(), "time continues");
    assert_eq!(clock.acceptable(), None, "there is nothing to accept");
}

#[test]
fn an_accepted_clock_is_trusted_and_the_difference_shrinks() {
    let machine = Machine::new();
    let clock = machine.clock(START + 10 * YEAR, None);
    let accepted = clock.acceptable().unwrap();
    assert_eq!(accepted, Accepted { clock_ms: START, ledger_ms: START + 10 * YEAR });
    clock.accept(accepted);
    assert_eq!((clock.state(), clock.now_ms()), (ClockState::Steady, START + 10 * YEAR));
    let mut last = clock.now_ms();
    for _ in 0..1_000 {
        machine.pass(60_000);
        let now = clock.now_ms();
        let passed = now - last;
        assert!((59_500..=60_000).contains(&passed), "{passed}");
        last = now;
        assert_eq!(clock.state(), ClockState::Steady);
    }
    // A restart changes nothing.
    let again = machine.clock(last, Some(accepted));
    assert_eq!((again.state(), again.now_ms()), (ClockState::Steady, last));
    // A difference of an hour is gone after a week.
    let machine = Machine::new();
    let clock = machine.clock(START + HOUR, None);
    clock.accept(clock.acceptable().unwrap());
    for _ in 0..7 * 24 * 60 {
        machine.pass(60_000);
        let _read = clock.now_ms();
    }
    assert_eq!((clock.state(), clock.now_ms()), (ClockState::Steady, machine.wall()));
}

#[test]
fn a_correct_clock_that_jumped_ahead_can_be_accepted() {
    let machine = Machine::new();
    let clock = machine.clock(0, None);
    machine.set(START + 24 * HOUR);
    assert!(clock.state().is_skewed());
    let accepted = clock.acceptable().unwrap();
    clock.accept(accepted);
    assert_eq!((clock.state(), clock.now_ms()), (ClockState::Steady, START + 24 * HOUR));
    assert_eq!(clock.acceptable(), None);
}

#[test]
fn a_wrong_clock_does_not_invalidate_valid_credentials() {
    let machine = Machine::new();
    let clock = machine.clock(0, None);
    let credentials = CredentialClock::of(&clock);
    assert_eq!(
        (credentials.now_ms(), credentials.strict_ms(), credentials.latest_ms()),
        (START, START, START)
    );
    // Ahead: a credential that was valid stays valid.
    machine.set(START + 10 * YEAR);
    let _compared = clock.state();
    assert_eq!((credentials.now_ms(), credentials.strict_ms()), (START, START));
    assert_eq!(credentials.latest_ms(), START + 10 * YEAR);
    // Behind: an expired credential is known to have expired, and a new one may be valid.
    machine.set(START - HOUR);
    let _compared = clock.state();
    assert_eq!((credentials.now_ms(), credentials.strict_ms()), (START - HOUR, START));
    // Accepted: the machine's clock decides about credentials, even if the ledger's time is far ahead.
    clock.accept(clock.acceptable().unwrap());
    assert_eq!((clock.now_ms(), credentials.strict_ms()), (START, START - HOUR));
    assert_eq!(credentials.now_ms(), START - HOUR);
}

#[test]
fn time_never_goes_back() {
    use proptest::prelude::*;
    let step = prop_oneof![
        (0_u64..3_000).prop_map(|ms| (0, ms)),
        (0_u64..20 * YEAR).prop_map(|ms| (1, ms)),
        (0_u64..100_000).prop_map(|ms| (2, ms)),
        Just((3, 0)),
        Just((4, 0)),
    ];
    proptest!(|(steps in proptest::collection::vec(step, 1..60))| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clock");
        let machine = Machine::new();
        let (mut clock, mut accepted) = (machine.clock_with_file(&file), None);
        let mut last = clock.now_ms();
        for (kind, ms) in steps {
            match kind {
                0 => machine.pass(ms),
                1 => machine.set(START - 10 * YEAR + ms),
                2 => { machine.steady_ms.fetch_add(ms, Ordering::SeqCst); }
                3 => {
                    if let Some(found) = clock.acceptable() {
                        clock.accept(found);
                        accepted = Some(found);
                        prop_assert_eq!(clock.state(), ClockState::Steady);
                    }
                }
                _ => {
                    drop(clock);
                    clock = LedgerClock::open(Arc::clone(&machine) as _, ClockLimits::default(), &file).unwrap();
                    clock.begin(0, accepted);
                }
            }
            for now in [clock.now_ms(), clock.read().ledger_ms, clock.now_ms()] {
                prop_assert!(now >= last, "{now} after {last}");
                last = now;
            }
        }
    });
}
