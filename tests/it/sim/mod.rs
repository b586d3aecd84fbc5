//! The simulation: the real application and sequencer on injected time, randomness and stores. Seeded histories of
//! recording, consent, grants, erasure and export, each run again with a fault at every durable step; after each fault
//! an exact model says what must be there.
//!
//! `SAYSO_SEED=n` replays one seed; `SAYSO_ROUNDS=n` tries so many.

mod model;
mod world;

use model::{Granted, Model, Person, name, observe};
use sayso::app::{
    AppError, Caller, Choice, GrantRequest, Issued, NewAttributes, NewRequest, Notice, NoticeServed, UseCase,
    WriteOptions,
};
use sayso::domain::attribute::{Attribute, Secret};
use sayso::domain::erasure::Scope;
use sayso::domain::event::Decision;
use sayso::domain::request::RequestKind;
use sayso::proto::{Provenance, Role};
use sayso::store::LogStore;
use sayso::store::faulty::{Fault, Power};
use std::time::Instant;
use world::World;

pub const CATEGORIES: [&str; 3] = ["interest", "communication-style", "language"];
const PURPOSE: &str = "content-relevance";
const TTL_MS: u64 = 600_000;
const STEPS_A_HISTORY: usize = 10;
const PEOPLE: u64 = 3;

pub fn service() -> Caller {
    Caller { role: Role::Service, name: "tutor".into(), subject: None }
}

fn steward() -> Caller {
    Caller { role: Role::Steward, name: "sim".into(), subject: None }
}

/// One thing that somebody does.
#[derive(Clone, Debug)]
enum Act {
    Record(u8, Vec<(String, &'static str, String)>),
    Consent(u8, &'static str, bool),
    Grant(u8),
    Erase(u8),
    Export,
}

impl Act {
    fn draw(dice: &Power, number: usize) -> Self {
        let person = dice.below(PEOPLE) as u8;
        let category = CATEGORIES[dice.below(3) as usize];
        match dice.below(16) {
            0..=5 => {
                let one = |at: u64| {
                    let which = dice.below(4) as usize % 3;
                    (format!("key-{which}"), CATEGORIES[which], format!("\"{number}-{at}\""))
                };
                Self::Record(person, (0..=dice.below(3)).map(one).collect())
            }
            6..=8 => Self::Consent(person, category, true),
            9 => Self::Consent(person, category, false),
            10..=12 => Self::Grant(person),
            13..=14 => Self::Erase(person),
            _ => Self::Export,
        }
    }

    fn person(&self) -> Option<u8> {
        match self {
            Self::Record(person, _)
            | Self::Consent(person, ..)
            | Self::Grant(person)
            | Self::Erase(person) => Some(*person),
            Self::Export => None,
        }
    }

    /// What it makes of a person, grants apart: those have no ids before they are there.
    fn after(&self, before: &Person) -> Person {
        let mut after = before.clone();
        match self {
            Self::Record(_, facts) => {
                after.known = true;
                for (key, category, value) in facts {
                    after.attributes.insert(key.clone(), (category, value.clone()));
                }
            }
            Self::Consent(_, category, yes) => {
                after.known = true;
                after.decisions.push((category, *yes));
                if !yes {
                    let touched =
                        after.grants.values_mut().filter(|grant| grant.categories.contains(category));
                    touched.for_each(|grant| grant.fallen = true);
                }
            }
            Self::Erase(_) => after = Person::default(),
            Self::Grant(_) | Self::Export => {}
        }
        after
    }
}

struct History {
    world: World,
    model: Model,
    number: usize,
}

impl History {
    async fn begin(seed: u64) -> Self {
        let mut world = World::new(seed);
        world.start(0).await;
        let notice =
            Notice { id: "n".into(), version: "1".into(), language: String::new(), text: "May we?".into() };
        world.app().publish_notice(&steward(), notice, &WriteOptions::default()).await.unwrap();
        Self { world, model: Model::default(), number: 0 }
    }

    /// Does it once. What was acknowledged is known to the model when this returns.
    async fn attempt(&mut self, act: &Act) -> Result<(), AppError> {
        let app = self.world.app();
        let options = WriteOptions {
            idempotency_key: format!("act-{}", self.number),
            request: format!("{act:?}").into_bytes(),
            ..WriteOptions::default()
        };
        let key = app.ledger().verifier_key();
        match act {
            Act::Record(person, facts) => {
                let recorded = app
                    .record_attributes(&steward(), attributes(*person, facts, &self.world), &options)
                    .await?;
                self.model.receipt(*person, &recorded.receipt, &key);
            }
            Act::Consent(person, category, yes) => {
                let choice = choice(category, *yes);
                let served = NoticeServed { id: "n".into(), ..NoticeServed::default() };
                let changed = app
                    .record_consent(&steward(), &name(*person), vec![choice], (&served, ""), false, &options)
                    .await?;
                self.model.receipt(*person, &changed.receipt, &key);
            }
            Act::Grant(person) => {
                let asked = UseCase { purpose: PURPOSE.into(), ..UseCase::default() };
                let request = GrantRequest { asked, ttl_ms: Some(TTL_MS) };
                let issued = app.request_grant(&service(), &name(*person), request, &options).await?;
                let Issued::Grant(grant) = issued else {
                    assert!(!self.model.person(*person).known, "a person is forgotten");
                    return Ok(());
                };
                let named = |id: &String| CATEGORIES.into_iter().find(|known| known == id).unwrap();
                let categories =
                    grant.allowed.iter().map(|allowed| named(&allowed.held.attribute.category)).collect();
                self.model.receipt(*person, &grant.receipt, &key);
                let granted = Granted { categories, expires_at_ms: grant.expires_at_ms, fallen: false };
                let holder = self.model.person(*person);
                let denied = granted.categories.iter().find(|category| !holder.allows(category));
                assert_eq!(denied, None, "granted without consent");
                holder.grants.insert(grant.id, granted);
            }
            Act::Erase(person) => self.erase(*person, &options).await?,
            Act::Export => {
                let mut pieces = app.export_audit(&steward(), false).await?;
                while let Some(piece) = pieces.recv().await {
                    piece?;
                }
            }
        }
        Ok(())
    }

    async fn erase(&mut self, person: u8, options: &WriteOptions) -> Result<(), AppError> {
        let handle = self.model.handle(&self.world, person);
        let caller = Caller { role: Role::Subject, name: String::new(), subject: Some(name(person)) };
        let request = NewRequest {
            kind: RequestKind::Erasure,
            scope: Some(Scope::All),
            keys: Vec::new(),
            purposes: Vec::new(),
            details: String::new(),
            jurisdiction: None,
        };
        match self.world.app().submit_request(&caller, &name(person), request, options).await {
            Ok(_) => {}
            Err(AppError::NotFound("subject")) if !observe(&self.world, person).await.known => {}
            Err(error) => return Err(error),
        }
        self.model.erase(person, handle);
        Ok(())
    }

    /// Does it, with whatever fault is planned, until it is done; and looks after each fault.
    async fn act(&mut self, act: &Act, recovery_faults: u64) {
        self.number += 1;
        self.world.clock.advance(1 + self.world.power.below(90_000));
        let before = act.person().map(|person| self.model.person(person).clone()).unwrap_or_default();
        let after = act.after(&before);
        for attempt in 0..4 {
            let done = self.attempt(act).await;
            // Who replays a seed wants to see what happens.
            if number("SAYSO_SEED").is_some() {
                let (size, steps) = (self.world.log.head().size, self.world.power.steps());
                println!("{}: {act:?}: {done:?}, {size} events, {steps} durable steps", self.number);
            }
            match done {
                Ok(()) => break,
                // An erasure has several steps: of one cut off in the middle, the next start says what became.
                Err(AppError::Unavailable) if !matches!(act, Act::Erase(_)) && attempt == 0 => {
                    self.model.check(&self.world, None).await;
                    continue;
                }
                Err(error) => assert!(attempt < 3, "it never succeeds: {error:?}"),
            }
            let handle = self.keep_handle(act);
            self.world.start(recovery_faults).await;
            self.model_erased_meanwhile(act, handle).await;
            self.model.check(&self.world, act.person()).await;
            if let Some(person) = act.person() {
                let found = Person { grants: before.grants.clone(), ..observe(&self.world, person).await };
                let is_half = !is_same(&found, &before) && !is_same(&found, &after);
                assert!(!is_half, "half of something is there: {found:?}, of {before:?} and {after:?}");
            }
        }
        if let (Some(person), false) = (act.person(), matches!(act, Act::Erase(_))) {
            let grants = self.model.person(person).grants.clone();
            *self.model.person(person) = Person { grants: with_falls(grants, &after), ..after };
            if matches!(act, Act::Grant(_)) {
                self.model.person(person).known = before.known;
            }
        }
    }

    fn keep_handle(&self, act: &Act) -> Option<sayso_proof::entry::Handle> {
        let Act::Erase(person) = act else { return None };
        self.model.handle(&self.world, *person)
    }

    /// An erasure that nobody was told of may have been finished by the start.
    async fn model_erased_meanwhile(&mut self, act: &Act, handle: Option<sayso_proof::entry::Handle>) {
        let Act::Erase(person) = act else { return };
        if self.model.person(*person).known && !observe(&self.world, *person).await.known {
            self.model.erase(*person, handle);
        }
    }
}

/// Grants of a person, those fallen that fell by what was done.
fn with_falls(
    mut grants: std::collections::BTreeMap<sayso::domain::ids::GrantId, Granted>,
    after: &Person,
) -> std::collections::BTreeMap<sayso::domain::ids::GrantId, Granted> {
    for (id, grant) in &mut grants {
        grant.fallen |= after.grants.get(id).is_some_and(|after| after.fallen);
    }
    grants
}

fn is_same(found: &Person, expected: &Person) -> bool {
    found.attributes == expected.attributes
        && found.decisions == expected.decisions
        && found.known == expected.known
}

fn attributes(person: u8, facts: &[(String, &'static str, String)], world: &World) -> NewAttributes {
    let one = |(key, category, value): &(String, &'static str, String)| {
        let attribute = Attribute {
            key: key.clone(),
            value: Secret::new(value.clone()),
            category: (*category).into(),
            provenance: Provenance::Declared,
            evidence: Vec::new(),
            derived_from: Vec::new(),
            confidence: None,
            model: String::new(),
            observed_at_ms: world.app().now_ms(),
            expires_at_ms: None,
            from_replies: Vec::new(),
        };
        (attribute, None)
    };
    NewAttributes { subject: name(person), attributes: facts.iter().map(one).collect() }
}

fn choice(category: &str, yes: bool) -> Choice {
    Choice {
        decision: if yes { Decision::Given } else { Decision::Withdrawn },
        purposes: vec![PURPOSE.into()],
        categories: vec![category.into()],
        recipients: Vec::new(),
        explicit: false,
        until_ms: None,
        interactions: Vec::new(),
    }
}

/// One history; with a fault after so many durable steps, if one is named. Gives how many steps there were.
async fn run(seed: u64, fault: Option<(u64, Fault)>) -> u64 {
    let mut history = History::begin(seed).await;
    let first = history.world.power.steps();
    if let Some((after, fault)) = fault {
        history.world.power.plan(after, fault);
    }
    let dice = Power::new(seed ^ 0xac75);
    for number in 0..STEPS_A_HISTORY {
        let act = Act::draw(&dice, number);
        history.act(&act, if fault.is_some() { 4 } else { 0 }).await;
        if fault.is_none() {
            history.model.check(&history.world, None).await;
        }
    }
    let steps = history.world.power.steps() - first;
    // Once more from the disk alone.
    history.world.start(0).await;
    history.model.check(&history.world, None).await;
    history.world.app().shutdown().await;
    steps
}

/// Every durable step of one seed's history: a crash there, and another fault that the seed names.
fn run_seed(seed: u64) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = |seed, fault| {
        let told = std::panic::AssertUnwindSafe(|| runtime.block_on(run(seed, fault)));
        std::panic::catch_unwind(told).unwrap_or_else(|_| {
            panic!("SAYSO_SEED={seed} fails with {fault:?}; SAYSO_SEED={seed} cargo test --test it sim:: replays it")
        })
    };
    let steps = told(seed, None);
    for step in 0..steps {
        told(seed, Some((step, Fault::Crash)));
        told(seed, Some((step, Fault::ALL[1 + ((seed + step) % 4) as usize])));
    }
    1 + steps * 2
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn whatever_fails_nothing_acknowledged_is_lost() {
    let seeds = match number("SAYSO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("SAYSO_ROUNDS").unwrap_or(4) + 1,
    };
    let began = Instant::now();
    let histories: u64 = seeds.clone().map(run_seed).sum();
    let a_second = histories as f64 / began.elapsed().as_secs_f64();
    println!(
        "{histories} histories of {} seeds, {a_second:.1} a second, no failure",
        seeds.end - seeds.start
    );
}
