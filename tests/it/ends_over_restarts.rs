//! Tests what ends by time, such as a consent or an attribute: the ledger records each end, and only once,
//! however often the daemon restarts, crashes or fails to write.

use crate::harness::{Clients, Harness, config, fact};
use crate::rights::AdvancedClock;
use crate::side_channel;
use sayso::app::{
    App, AppError, Caller, Choice, DecidedBy, Notice, NoticeServed, Presentation, WriteOptions,
};
use sayso::clock::{Clock, ClockLimits, LedgerClock};
use sayso::daemon::Daemon;
use sayso::domain::consent::Decision;
use sayso::domain::event::Event;
use sayso::domain::ids::SubjectId;
use sayso::proto::{self, RetentionClass, Role};
use sayso::store::faulty::{Fault, FaultyLog, Power};
use sayso::store::memory::MemoryKeys;
use sayso::store::{KeyStore, LogStore};
use sayso::vault::{MemoryCustody, RootCustody};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const HOUR_MS: u64 = 3_600_000;

/// Runs one retention pass in each start.
async fn start_for_one_pass(dir: tempfile::TempDir) -> Harness {
    let mut config = config(dir.path());
    config.rights.expiry_interval_ms = HOUR_MS;
    let daemon = Daemon::start(&config).await.unwrap();
    Harness { dir, daemon }
}

/// The number of people who have two attributes.
async fn unfinished(steward: &mut Clients, people: usize) -> usize {
    let mut count = 0;
    for person in 0..people {
        let request = proto::GetProfileRequest { subject: format!("p{person}"), ..Default::default() };
        let profile = steward.profile.get_profile(request).await.unwrap().into_inner();
        count += usize::from(profile.attributes.len() == 2);
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retention_rule_reaches_everybody_even_if_the_daemon_restarts_after_every_pass() {
    const PEOPLE: usize = 150;
    // A pass has 64 people. The first one of a pass after a start can be the last one of the pass before.
    const IN_A_PASS: usize = 63;
    let mut harness = start_for_one_pass(tempfile::tempdir().unwrap()).await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    for person in 0..PEOPLE {
        for (key, category) in [("job", "work"), ("music", "preference")] {
            let request = fact(&format!("p{person}"), key, category, "x");
            steward.profile.record_attributes(request).await.unwrap();
        }
    }
    let rule = proto::SetRetentionRequest {
        class: RetentionClass::Profile.into(),
        category: "work".into(),
        keep: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    steward.rights.set_retention(rule).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    for pass in 1..=PEOPLE.div_ceil(IN_A_PASS) {
        harness = start_for_one_pass(harness.stop().await).await;
        let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
        let (expected, begun) = (PEOPLE.saturating_sub(pass * IN_A_PASS), Instant::now());
        while unfinished(&mut steward, PEOPLE).await > expected {
            assert!(begun.elapsed() < Duration::from_secs(30), "pass {pass} went over the same people again");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What outlives a crash of the machine.
struct Machine {
    log: Arc<dyn LogStore>,
    keys: Arc<dyn KeyStore>,
    custody: Arc<dyn RootCustody>,
    clock: Arc<AdvancedClock>,
}

impl Machine {
    fn new(log: Arc<dyn LogStore>, keys: Arc<dyn KeyStore>) -> Self {
        Self { log, keys, custody: Arc::<MemoryCustody>::default(), clock: Arc::default() }
    }

    async fn open(&self) -> Arc<App> {
        let time = Arc::new(LedgerClock::new(Arc::clone(&self.clock) as _, ClockLimits::default()));
        let settings = sayso::app::Settings {
            log: Arc::clone(&self.log),
            keys: Arc::clone(&self.keys),
            custody: Arc::clone(&self.custody),
            ..side_channel::settings("dev", &Arc::default(), &time)
        };
        App::open(settings).await.unwrap()
    }

    /// Records a consent of each person; that of person n ends after n hours.
    async fn consent(&self, app: &Arc<App>, people: u64) {
        let (caller, options) = (steward(), WriteOptions::default());
        let notice =
            Notice { id: "n".into(), version: "1".into(), language: String::new(), text: "May we?".into() };
        app.rules.publish_notice(&caller, notice, &options).await.unwrap();
        for person in 1..=people {
            let choice = Choice {
                decision: Decision::Given,
                purposes: vec!["memory".into()],
                categories: vec!["work".into()],
                recipients: Vec::new(),
                explicit: false,
                until_ms: Some(self.clock.now_ms() + person * HOUR_MS),
                interactions: Vec::new(),
            };
            let notice = NoticeServed { id: "n".into(), ..NoticeServed::default() };
            let shown = Presentation { notice, channel: String::new() };
            let (subject, by) = (name(person), DecidedBy::Subject);
            app.consent.record_consent(&caller, &subject, vec![choice], &shown, by, &options).await.unwrap();
        }
    }

    fn advance(&self, hours: u64) {
        self.clock.0.fetch_add(hours * HOUR_MS, Ordering::SeqCst);
    }
}

fn steward() -> Caller {
    Caller { role: Role::Steward, channel: false, name: "sim".into(), subject: None }
}

fn name(person: u64) -> SubjectId {
    SubjectId::new(&format!("p{person}")).unwrap()
}

async fn run_passes(app: &App) -> Result<(), AppError> {
    while app.run_maintenance().await? {}
    Ok(())
}

/// How often the end of each person's consent is recorded.
async fn ends(app: &Arc<App>, people: u64) -> Vec<usize> {
    let mut counts = Vec::new();
    for person in 1..=people {
        let page = app.profile.list_events(&name(person), 0, 100).await.unwrap();
        let is_end =
            |event: &&sayso::domain::event::Recorded| matches!(event.event, Event::ConsentExpired { .. });
        counts.push(page.events.iter().filter(is_end).count());
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_is_recorded_once_whichever_write_of_a_pass_fails_and_however() {
    const PEOPLE: u64 = 12;
    let mut hit = 0;
    for step in 0..u64::MAX {
        let power = Arc::new(Power::new(step));
        let log = Arc::new(FaultyLog::new(Arc::clone(&power)));
        let mut machine = Machine::new(Arc::clone(&log) as _, Arc::<MemoryKeys>::default());
        let app = machine.open().await;
        machine.consent(&app, PEOPLE).await;
        // The first half ended in an earlier pass, whose progress is stored.
        machine.advance(PEOPLE / 2);
        run_passes(&app).await.unwrap();
        machine.advance(PEOPLE);
        let fault = Fault::ALL[usize::try_from(step).unwrap() % Fault::ALL.len()];
        let steps = power.steps();
        power.plan(step, fault);
        let result = run_passes(&app).await;
        let was_hit = power.steps() > steps + step;
        drop(app);
        power.turn_on();
        machine.log = Arc::new(log.restart().unwrap());
        let app = machine.open().await;
        run_passes(&app).await.unwrap();
        assert_eq!(ends(&app, PEOPLE).await, vec![1; PEOPLE as usize], "step {step}, {fault:?}: {result:?}");
        app.shutdown().await;
        hit += u64::from(was_hit);
        if !was_hit {
            break;
        }
    }
    // Each end of the second half is a write, and so is the progress.
    assert!(hit > PEOPLE / 2, "{hit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_does_not_look_again_at_what_ended_before() {
    const PEOPLE: u64 = 200;
    let work = Arc::<AtomicU64>::default();
    let time = Arc::new(LedgerClock::new(Arc::<AdvancedClock>::default(), ClockLimits::default()));
    let counted = side_channel::settings("dev", &work, &time);
    let machine = Machine::new(counted.log, counted.keys);
    let app = machine.open().await;
    machine.consent(&app, PEOPLE).await;
    machine.advance(PEOPLE + 1);
    run_passes(&app).await.unwrap();
    assert_eq!(ends(&app, PEOPLE).await, vec![1; PEOPLE as usize]);
    drop(app);
    let app = machine.open().await;
    let before = work.load(Ordering::SeqCst);
    run_passes(&app).await.unwrap();
    let used = work.load(Ordering::SeqCst) - before;
    assert!(used < PEOPLE / 2, "{used} operations of the stores for {PEOPLE} consents that ended before");
}
