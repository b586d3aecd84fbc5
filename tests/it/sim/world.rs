//! A machine with the real application on it: injected time, randomness and stores, and power that goes.

use sayso::app::{App, ReportSettings, RightsSettings, Settings, TierKeys};
use sayso::clock::Clock;
use sayso::domain::attribute::InferenceTerms;
use sayso::domain::request::Jurisdiction;
use sayso::ledger::{LedgerOptions, LogKeys};
use sayso::store::faulty::{Fault, FaultyKeys, FaultyLog, Power};
use sayso::vault::MemoryCustody;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Time that moves when it is told to, and randomness that a seed repeats.
pub struct Injected {
    now_ms: AtomicU64,
    dice: Power,
}

impl Injected {
    pub fn advance(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Injected {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.dice.below(256) as u8);
    }
}

/// The machine: what survives a crash, and what is running on it.
pub struct World {
    pub power: Arc<Power>,
    pub clock: Arc<Injected>,
    pub log: Arc<FaultyLog>,
    keys: Arc<FaultyKeys>,
    custody: Arc<MemoryCustody>,
    running: Option<Arc<App>>,
    /// Starts so far, those that failed included.
    pub starts: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let power = Arc::new(Power::new(seed));
        let clock =
            Injected { now_ms: AtomicU64::new(1_760_000_000_000), dice: Power::new(seed ^ 0x005e_ed0f) };
        Self {
            clock: Arc::new(clock),
            log: Arc::new(FaultyLog::new(Arc::clone(&power))),
            keys: Arc::new(FaultyKeys::new(Arc::clone(&power))),
            custody: Arc::default(),
            running: None,
            power,
            starts: 0,
        }
    }

    pub fn app(&self) -> Arc<App> {
        Arc::clone(self.running.as_ref().expect("started"))
    }

    fn settings(&self) -> Settings {
        Settings {
            ledger: LedgerOptions {
                origin: "sayso.example/sim".into(),
                queue_max: 64,
                batch_events_max: 256,
                clock_skew_max_ms: 5_000,
                sealed_age_max_ms: 60_000,
                checkpoint_file: None,
                is_restored: false,
            },
            log_keys: LogKeys::Seed([42; 32]),
            custody: Arc::clone(&self.custody) as _,
            log: Arc::clone(&self.log) as _,
            keys: Arc::clone(&self.keys) as _,
            clock: Arc::clone(&self.clock) as _,
            tier_keys: TierKeys::default(),
            cached_subjects_max: 2,
            cached_subjects_bytes_max: 1 << 20,
            controller: sayso::package::Controller::default(),
            restored: None,
            witnesses: Vec::new(),
            rights: RightsSettings { jurisdiction: Jurisdiction::Gdpr, steward_decides_erasures: false },
            inferences: InferenceTerms { lasts_ms: 365 * 86_400_000, lasts_ms_by_category: BTreeMap::new() },
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

    /// Starts, again and again: each of the first `faults` starts may be cut off by a fault of its own.
    pub async fn start(&mut self, faults: u64) {
        for attempt in 0.. {
            assert!(attempt < 12, "a machine without faults starts");
            if let Some(app) = self.running.take() {
                app.shutdown().await;
            }
            self.power.turn_on();
            if self.starts > 0 {
                self.log = Arc::new(self.log.restart().unwrap());
                self.keys = Arc::new(self.keys.restart().unwrap());
            }
            self.starts += 1;
            self.clock.advance(1);
            if attempt < faults && self.power.below(3) == 0 {
                let kind = Fault::ALL[self.power.below(5) as usize];
                self.power.plan(self.power.below(5), kind);
            }
            let opened = App::open(self.settings()).await;
            let struck = self.power.is_off();
            match opened {
                Ok(app) if !struck && app.is_ready() => {
                    self.power.turn_on();
                    self.running = Some(app);
                    return;
                }
                Ok(app) => app.shutdown().await,
                Err(error) => assert!(attempt < faults, "a start without a fault failed: {error}"),
            }
        }
    }
}
