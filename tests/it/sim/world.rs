//! A simulated machine that runs the real application, with injected time, randomness and stores, and with
//! power cuts.

use super::folder::scratch;
use super::machine::{FaultyCustody, Stores};
use sayso::app::{App, ReportSettings, Restored, RightsSettings, Settings, TierKeys, UseLimits};
use sayso::clock::{Clock, ClockLimits, LedgerClock};
use sayso::domain::attribute::InferenceTerms;
use sayso::domain::recorder_usage::AttributeLimits;
use sayso::domain::request::Jurisdiction;
use sayso::ledger::{LedgerOptions, LogKeys, ManualSequencing};
use sayso::store::faulty::{Fault, Power};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const BEGINNING_MS: u64 = 1_760_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const YEAR_MS: u64 = 365 * 24 * HOUR_MS;

/// A fault of the machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// The clock jumps an hour back.
    Back,
    /// The clock jumps ten years ahead.
    Ahead,
    /// The clock stops.
    Frozen,
}

impl Jump {
    pub const ALL: [Self; 3] = [Self::Back, Self::Ahead, Self::Frozen];
}

/// The source of time and randomness. Only `advance` moves the clock, except for a planned jump. The
/// randomness comes from the seed.
pub struct SimulatedClock {
    /// The time that the clock shows.
    now_ms: AtomicU64,
    /// The time that really passed.
    passed_ms: AtomicU64,
    is_frozen: AtomicBool,
    /// The number of durable steps of the machine after which the clock jumps.
    plan: Mutex<Option<(u64, Jump)>>,
    power: Arc<Power>,
    dice: Power,
}

impl SimulatedClock {
    pub fn advance(&self, ms: u64) {
        self.passed_ms.fetch_add(ms, Ordering::SeqCst);
        if !self.is_frozen.load(Ordering::SeqCst) {
            self.now_ms.fetch_add(ms, Ordering::SeqCst);
        }
    }

    pub fn plan(&self, steps: u64, jump: Jump) {
        *self.plan.lock().unwrap() = Some((self.power.steps() + steps, jump));
    }

    /// Sets the clock to the right time.
    pub fn correct(&self) {
        self.is_frozen.store(false, Ordering::SeqCst);
        self.now_ms.store(BEGINNING_MS + self.passed_ms.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    fn jump_if_due(&self) {
        let is_due = |(at, _): &mut (u64, Jump)| *at <= self.power.steps();
        let jump = self.plan.lock().unwrap().take_if(is_due);
        match jump {
            Some((_, Jump::Back)) => drop(self.now_ms.fetch_sub(HOUR_MS, Ordering::SeqCst)),
            Some((_, Jump::Ahead)) => drop(self.now_ms.fetch_add(10 * YEAR_MS, Ordering::SeqCst)),
            Some((_, Jump::Frozen)) => self.is_frozen.store(true, Ordering::SeqCst),
            None => {}
        }
    }
}

impl Clock for SimulatedClock {
    fn now_ms(&self) -> u64 {
        self.jump_if_due();
        self.now_ms.load(Ordering::SeqCst)
    }

    fn steady_ms(&self) -> u64 {
        self.passed_ms.load(Ordering::SeqCst)
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.dice.below(256) as u8);
    }
}

/// The machine: what survives a crash, and the application that runs on it.
pub struct World {
    pub power: Arc<Power>,
    pub clock: Arc<SimulatedClock>,
    pub stores: Option<Stores>,
    pub custody: Arc<FaultyCustody>,
    /// A restore that the next start records. Kept until the log has it.
    pub restored: Option<Restored>,
    /// The folder with the file of the ledger's time.
    time: TempDir,
    running: Option<Arc<App>>,
    /// Decides when the sequencer of the running application writes.
    pub sequencing: Arc<ManualSequencing>,
    /// The number of starts so far, including failed ones.
    pub starts: u64,
}

impl World {
    pub fn new(seed: u64, stores: impl FnOnce(&Arc<Power>) -> Stores) -> Self {
        let power = Arc::new(Power::new(seed));
        let clock = SimulatedClock {
            now_ms: AtomicU64::new(BEGINNING_MS),
            passed_ms: AtomicU64::new(0),
            is_frozen: AtomicBool::new(false),
            plan: Mutex::new(None),
            power: Arc::clone(&power),
            dice: Power::new(seed ^ 0x005e_ed0f),
        };
        Self {
            clock: Arc::new(clock),
            stores: Some(stores(&power)),
            custody: Arc::new(FaultyCustody::new(Arc::clone(&power))),
            restored: None,
            time: scratch(),
            running: None,
            sequencing: Arc::default(),
            power,
            starts: 0,
        }
    }

    pub fn app(&self) -> Arc<App> {
        Arc::clone(self.running.as_ref().expect("started"))
    }

    pub fn stores(&self) -> &Stores {
        self.stores.as_ref().expect("the machine has stores")
    }

    /// Runs a future. The sequencer takes its writes as they come.
    pub async fn drive<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let task = tokio::spawn(work);
        while !task.is_finished() {
            let waiting = self.sequencing.waiting();
            self.sequencing.take(&(0..waiting).collect::<Vec<_>>());
            tokio::task::yield_now().await;
        }
        task.await.unwrap()
    }

    fn ledger_clock(&self) -> LedgerClock {
        let file = self.time.path().join("clock");
        LedgerClock::open(Arc::clone(&self.clock) as _, ClockLimits::default(), &file).unwrap()
    }

    fn settings(&self) -> Settings {
        Settings {
            ledger: LedgerOptions {
                origin: super::ORIGIN.into(),
                queue_max: 64,
                batch_events_max: 256,
                clock_skew_ms_max: 5_000,
                sealed_age_ms_max: 60_000,
                checkpoint_file: None,
                is_restored: self.restored.is_some(),
                manual: Some(Arc::clone(&self.sequencing)),
            },
            log_keys: LogKeys::Seed([42; 32]),
            custody: Arc::clone(&self.custody) as _,
            log: self.stores().log(),
            keys: self.stores().keys(),
            clock: Arc::new(self.ledger_clock()),
            tier_keys: TierKeys::default(),
            cached_subjects_max: 2,
            cached_subjects_bytes_max: 1 << 20,
            controller: sayso::package::Controller::default(),
            restored: self.restored.clone(),
            witnesses: Vec::new(),
            rights: RightsSettings { jurisdiction: Jurisdiction::Gdpr, steward_decides_erasures: false },
            erasures: sayso::app::ErasureSettings::default(),
            ranking: sayso::relevance::rank::RankingSettings::default(),
            use_limits: UseLimits {
                open_grants_max: 1_024,
                artifacts_max: 1_024,
                revocations_at_once_max: 1,
            },
            inferences: InferenceTerms { lasts_ms: 365 * 86_400_000, lasts_ms_by_category: BTreeMap::new() },
            attribute_limits: AttributeLimits::default(),
            report: ReportSettings {
                differences_allowed: false,
                k_min: 10,
                epsilon_max: 1.0,
                noise_required: false,
                releases_a_day: None,
                processing: Default::default(),
            },
        }
    }

    /// Stops the application. A planned fault can still occur.
    pub async fn stop(&mut self) {
        if let Some(app) = self.running.take() {
            app.shutdown().await;
        }
        if self.starts > 0 {
            self.stores = self.stores.take().map(Stores::restart);
        }
    }

    /// Starts the application, and repeats this until it succeeds. Each of the first `faults` starts may get
    /// a fault of its own.
    pub async fn start(&mut self, faults: u64) {
        for attempt in 0.. {
            assert!(attempt < 12, "a start without a fault failed");
            if attempt > 0 || self.power.is_off() {
                self.power.turn_on();
            }
            self.stop().await;
            self.starts += 1;
            self.sequencing = Arc::default();
            self.clock.advance(1);
            if attempt < faults && self.power.below(3) == 0 {
                let kind = Fault::ALL[self.power.below(5) as usize];
                self.power.plan(self.power.below(5), kind);
            }
            let opened = self.drive(App::open(self.settings())).await;
            let had_fault = self.power.is_off();
            match opened {
                Ok(app) if !had_fault && app.takes_writes() => {
                    // The real daemon removes the file that describes the restore a moment later, or crashes
                    // before that. The seed decides which of these happens here.
                    self.restored = self.restored.take().filter(|_| self.power.below(2) == 0);
                    self.running = Some(app);
                    return;
                }
                Ok(app) => app.shutdown().await,
                Err(error) => assert!(attempt < faults, "a start without a fault failed: {error}"),
            }
        }
    }
}
