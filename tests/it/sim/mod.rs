//! The simulation: the real application and sequencer on injected time, randomness, stores and turns. Seeded
//! histories of recording, consent, signals, grants, erasure of all or a part, export, backup and restore,
//! one after the other and several at once, each run again with a fault at every durable step; after each
//! fault an exact model says what must be there.
//!
//! `SAYSO_SEED=n` replays one seed; `SAYSO_ROUNDS=n` tries so many.

mod act;
mod folder;
mod history;
mod late;
mod machine;
mod model;
mod restore;
mod world;

use act::Act;
use folder::Folder;
use history::History;
use machine::Stores;
use sayso::app::Caller;
use sayso::proto::Role;
use sayso::store::faulty::{Fault, Power};
use std::sync::Arc;
use std::time::Instant;
use world::Jump;

const ORIGIN: &str = "sayso.example/sim";
const PURPOSE: &str = "content-relevance";
const TTL_MS: u64 = 600_000;
const STEPS_A_HISTORY: usize = 10;
/// Faults of one seed that are tried on the embedded engine, which is slower.
const FAULTS_IN_A_FOLDER: u64 = 12;

pub fn service() -> Caller {
    Caller { role: Role::Service, channel: false, name: "tutor".into(), subject: None }
}

fn steward() -> Caller {
    Caller { role: Role::Steward, channel: false, name: "sim".into(), subject: None }
}

fn operator() -> Caller {
    Caller { role: Role::Operator, channel: false, name: "sim".into(), subject: None }
}

type MakeStores = fn(&Arc<Power>) -> Stores;

fn in_folder(power: &Arc<Power>) -> Stores {
    Stores::Folder(Folder::new(power))
}

/// What a history came to.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    /// Durable steps.
    steps: u64,
    /// The last checkpoint.
    note: String,
}

/// What goes wrong in a history, each after so many durable steps.
#[derive(Clone, Copy, Debug, Default)]
struct Wrong {
    fault: Option<(u64, Fault)>,
    jump: Option<(u64, Jump)>,
}

impl From<Option<(u64, Fault)>> for Wrong {
    fn from(fault: Option<(u64, Fault)>) -> Self {
        Self { fault, jump: None }
    }
}

/// One history, with what is to go wrong in it.
async fn run(seed: u64, stores: MakeStores, Wrong { fault, jump }: Wrong) -> Came {
    let mut history = History::begin(seed, stores).await;
    for acts in Act::beginnings() {
        history.act(acts, 0).await;
    }
    let first = history.world.power.steps();
    if let Some((after, fault)) = fault {
        history.world.power.plan(after, fault);
    }
    if let Some((after, jump)) = jump {
        history.world.clock.plan(after, jump);
        history.is_faultless = fault.is_none();
    }
    let (dice, clock_dice) = (Power::new(seed ^ 0xac75), Power::new(seed ^ 0xc10c));
    let faults = if fault.is_some() { 4 } else { 0 };
    for number in 0..STEPS_A_HISTORY {
        match dice.below(12) {
            0 => history.back_up().await,
            1 => history.restore(faults).await,
            2..=4 if history.model.waits => history.act(vec![Act::Confirm], faults).await,
            2..=5 => history.act(Act::draw_together(&dice, number), faults).await,
            _ => history.act(vec![Act::draw(&dice, number)], faults).await,
        }
        if fault.is_none() {
            history.model.check(&history.world).await;
        }
        history.mend_clock(&clock_dice, faults).await;
    }
    let steps = history.world.power.steps() - first;
    // Once more from the disk alone.
    history.world.power.turn_on();
    history.world.start(0).await;
    history.model.check(&history.world).await;
    let app = history.world.app();
    let note = app.ledger().checkpoint().note.clone();
    app.shutdown().await;
    Came { steps, note }
}

fn told(seed: u64, stores: MakeStores, wrong: impl Into<Wrong>) -> Came {
    let wrong = wrong.into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = std::panic::AssertUnwindSafe(|| runtime.block_on(run(seed, stores, wrong)));
    std::panic::catch_unwind(told).unwrap_or_else(|_| {
        panic!(
            "SAYSO_SEED={seed} fails with {wrong:?}; SAYSO_SEED={seed} cargo test --test it sim:: replays it"
        )
    })
}

/// Durable steps of one seed's history, `every` so many: a crash there, and another fault that the seed
/// names. Gives how many histories that were.
fn run_seed(seed: u64, stores: MakeStores, every: impl Fn(u64) -> u64) -> u64 {
    let steps = told(seed, stores, None).steps;
    let every = every(steps).max(1);
    let mut count = 1;
    for step in (seed % every..steps).step_by(every as usize) {
        told(seed, stores, Some((step, Fault::Crash)));
        told(seed, stores, Some((step, Fault::ALL[1 + ((seed + step) % 4) as usize])));
        count += 2;
    }
    count
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn run_seeds(few: u64, what: &str, stores: MakeStores, every: impl Fn(u64) -> u64 + Copy) {
    let seeds = match number("SAYSO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("SAYSO_ROUNDS").unwrap_or(few) + 1,
    };
    let began = Instant::now();
    let histories: u64 = seeds.clone().map(|seed| run_seed(seed, stores, every)).sum();
    let a_second = histories as f64 / began.elapsed().as_secs_f64();
    let seeds = seeds.end - seeds.start;
    println!("{histories} histories {what} of {seeds} seeds, {a_second:.1} a second, no failure");
}

#[test]
fn whatever_fails_nothing_acknowledged_is_lost() {
    run_seeds(2, "in memory", Stores::memory, |_| 1);
}

#[test]
fn whatever_fails_nothing_acknowledged_is_lost_from_a_folder() {
    run_seeds(1, "in a folder", in_folder, |steps| steps.div_ceil(FAULTS_IN_A_FOLDER));
}

/// The machine's clock goes an hour back, ten years ahead or stands still at each durable step of a seed's
/// history, and with each a crash some steps later. Nobody is refused a no, an erasure or a yes; nothing is
/// granted in doubt; what has expired never stands again; every start succeeds.
#[test]
fn whatever_the_clock_does_nothing_fails_open_and_nothing_locks() {
    let seeds = match number("SAYSO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("SAYSO_ROUNDS").unwrap_or(2) + 1,
    };
    let (mut histories, count) = (0, seeds.end - seeds.start);
    for seed in seeds {
        let steps = told(seed, Stores::memory, None).steps;
        for (step, jump) in (0..steps).flat_map(|step| Jump::ALL.map(|jump| (step, jump))) {
            let jump = Some((step, jump));
            told(seed, Stores::memory, Wrong { fault: None, jump });
            let fault = Some((step + (seed + step) % 5, Fault::ALL[((seed + step) % 5) as usize]));
            told(seed, Stores::memory, Wrong { fault, jump });
            histories += 2;
        }
    }
    println!("{histories} histories with a clock that jumps, of {count} seeds, no failure");
}

/// The request for one key does not name it; after a second fault nobody knew any more what had begun, and
/// the same request, made again, was answered as done.
#[test]
fn an_erasure_of_one_key_that_was_cut_off_is_carried_out() {
    told(14, Stores::memory, Some((16, Fault::Crash)));
}

/// The keys of a part were gone, the answer was an error, and the same key was recorded again before the next
/// start, which has to finish that erasure and leave what came after it.
#[test]
fn what_is_recorded_after_an_erasure_that_failed_stays() {
    told(48, Stores::memory, Some((17, Fault::Persisted)));
    // And what is granted meanwhile does not have it.
    told(62, Stores::memory, Some((5, Fault::Flush)));
}

#[test]
fn a_seed_says_everything() {
    for seed in [3, 5] {
        let once = told(seed, Stores::memory, Some((9, Fault::Persisted)));
        assert_eq!(told(seed, Stores::memory, Some((9, Fault::Persisted))), once);
    }
}
