//! One history: what is done, one thing after the other or several at once, with whatever fault is planned,
//! and done again until it is done.

use super::act::{Act, Fact};
use super::machine::Stores;
use super::model::{Model, Said, Taken, granted, name, observe};
use super::restore::Backup;
use super::world::World;
use super::{PURPOSE, TTL_MS, number, operator, service, steward};
use sayso::app::{
    App, AppError, Caller, Choice, ConsentChanged, DecidedBy, Grant, GrantRequest, Issued, NewAttributes,
    NewRequest, NewSignal, Notice, NoticeServed, Presentation, Receipt, UseCase, WriteOptions,
};
use sayso::clock::Clock;
use sayso::domain::attribute::{Attribute, Secret};
use sayso::domain::consent::Decision;
use sayso::domain::erasure::Scope;
use sayso::domain::request::RequestKind;
use sayso::proto::{Provenance, Reason, Role};
use sayso::store::faulty::Power;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Enough for every task that can go on to come to where it waits.
const SETTLED: usize = 64;

/// What came of an act.
#[derive(Debug)]
pub(super) enum Done {
    Recorded(Receipt),
    Changed(ConsentChanged),
    Granted(Box<Grant>),
    /// Nothing is held of the person, or of what was to be erased.
    Nothing,
    /// The clock is not believed: what had been granted is not said again.
    InDoubt,
    Erased,
    Exported,
    Confirmed,
}

/// An act on its way.
#[derive(Clone)]
struct Pending {
    act: Act,
    number: usize,
    /// The model knows its effect already.
    is_known: bool,
    /// Of the erasure of a part that failed: what it would have taken then. Others may have gone on before
    /// anybody knows.
    then: Option<Taken>,
}

/// One that is under way, and what it was answered.
struct UnderWay {
    pending: Pending,
    task: Option<JoinHandle<Result<Done, AppError>>>,
    failed: Option<AppError>,
}

pub struct History {
    pub world: World,
    pub model: Model,
    pub backup: Option<Backup>,
    number: usize,
    /// Erasures of a part that failed: whose, and what they took, if they were done after all.
    in_doubt: Vec<(u8, Taken)>,
    /// The clock was not believed when what is under way began.
    was_skewed: bool,
    /// No fault is planned: nothing but the erasure of somebody may refuse anything.
    pub is_faultless: bool,
}

impl History {
    pub async fn begin(seed: u64, stores: impl FnOnce(&Arc<Power>) -> Stores) -> Self {
        let mut world = World::new(seed, stores);
        world.start(0).await;
        let notice =
            Notice { id: "n".into(), version: "1".into(), language: String::new(), text: "May we?".into() };
        let app = world.app();
        let publish = async move {
            app.rules.publish_notice(&steward(), notice, &WriteOptions::default()).await.map(|_| ())
        };
        world.drive(publish).await.unwrap();
        Self {
            world,
            model: Model::default(),
            backup: None,
            number: 0,
            in_doubt: Vec::new(),
            was_skewed: false,
            is_faultless: false,
        }
    }

    /// Does these at once, with whatever fault is planned, each until it is done; and looks after each fault.
    pub async fn act(&mut self, acts: Vec<Act>, recovery_faults: u64) {
        self.world.clock.advance(1_000 + self.world.power.below(90_000));
        let pending = acts.into_iter().map(|act| {
            self.number += 1;
            Pending { act, number: self.number, is_known: false, then: None }
        });
        let pending = pending.collect();
        let mut left = self.attempt(pending, 0, recovery_faults).await;
        // Those of whom nobody knows whether they were done come first, as if they had been.
        left.reverse();
        while let Some(next) = left.pop() {
            let mut again = vec![next];
            for attempt in 1.. {
                self.world.clock.advance(1_000);
                again = self.attempt(again, attempt, recovery_faults).await;
                if again.is_empty() {
                    break;
                }
                assert!(attempt < 4, "it never succeeds: {:?}", again[0].act);
            }
        }
    }

    /// Somebody looks after a clock that is not believed, or nobody does: it is set right, or the operator
    /// accepts it; or the daemon starts anew under it.
    pub async fn mend_clock(&mut self, dice: &Power, recovery_faults: u64) {
        if !self.world.app().clock_state().is_skewed() {
            return;
        }
        match dice.below(5) {
            0 => self.world.clock.set_right(),
            1 => {
                let (app, clock_ms) = (self.world.app(), self.world.clock.now_ms());
                let accept = async move {
                    app.operations
                        .accept_clock(&operator(), clock_ms, &WriteOptions::default())
                        .await
                        .map(|_| ())
                };
                let accepted = self.world.drive(accept).await;
                assert!(!self.is_faultless || accepted.is_ok(), "{accepted:?}");
                if accepted.is_err() {
                    self.world.start(recovery_faults).await;
                }
            }
            2 => self.world.start(recovery_faults).await,
            _ => return,
        }
        self.model.check(&self.world).await;
    }

    /// Once; what failed is given back, the doubtful first.
    async fn attempt(&mut self, acts: Vec<Pending>, attempt: u64, recovery_faults: u64) -> Vec<Pending> {
        self.was_skewed = self.world.app().clock_state().is_skewed();
        let mut failed = self.together(acts).await;
        self.in_doubt.clear();
        let is_erased = |(_, error): &(Pending, AppError)| matches!(error, AppError::Erased);
        assert!(!self.is_faultless || failed.iter().all(is_erased), "refused: {:?}", failed[0].1);
        if failed.is_empty() {
            return Vec::new();
        }
        let is_soft = |(pending, error): &(Pending, AppError)| match error {
            // An erasure has several steps: of one cut off in the middle, the next start says what became.
            AppError::Unavailable => attempt == 0 && !matches!(pending.act, Act::Erase(..)),
            // Somebody else erased the person meanwhile.
            AppError::Erased => true,
            _ => false,
        };
        if failed.iter().all(is_soft) {
            self.model.check(&self.world).await;
            return failed.into_iter().map(|(pending, _)| pending).collect();
        }
        self.world.start(recovery_faults).await;
        let is_sure = |error: &AppError| matches!(error, AppError::Erased);
        self.model.waits &= self.world.app().is_restore_unconfirmed();
        let doubtful: BTreeSet<u8> = failed.iter().filter_map(|(pending, _)| pending.act.person()).collect();
        for person in doubtful {
            self.find_out(person, &mut failed).await;
        }
        self.model.check(&self.world).await;
        // An erasure that nobody saw may have been done, before whatever else failed about its person.
        failed.sort_by_key(|(pending, error)| {
            (is_sure(error), !pending.is_known, !matches!(pending.act, Act::Erase(..)))
        });
        failed.into_iter().map(|(pending, _)| pending).collect()
    }

    /// Of somebody about whom acts failed, one may have been done; nothing by half.
    async fn find_out(&mut self, person: u8, failed: &mut Vec<(Pending, AppError)>) {
        let found = observe(&self.world, person).await;
        let before = self.model.person(person).clone();
        let app = self.world.app();
        let is_gone = |position: &u64| app.reports.raw_entry(*position).unwrap().bytes.is_none();
        let took_then = |(Pending { act, is_known, then, .. }, _): &(Pending, AppError)| {
            let Some(then) = then.as_ref().filter(|_| !*is_known && act.person() == Some(person)) else {
                return false;
            };
            let since: BTreeSet<u64> = self.model.going(act).difference(&then.positions).copied().collect();
            let took = !then.positions.is_empty() && then.positions.iter().all(is_gone);
            took && !since.iter().any(is_gone) && found.is_as(&self.model.without(person, then))
        };
        let is_done = |(Pending { act, is_known, .. }, _): &(Pending, AppError)| {
            if *is_known || act.person() != Some(person) {
                return false;
            }
            // An erasure may take what nobody sees: then the log tells.
            let going = self.model.going(act);
            let after = act.on(&before);
            found.is_as(&after) && (going.iter().any(is_gone) || !found.is_as(&before))
        };
        let (then, now) = (failed.iter().position(took_then), failed.iter().position(is_done));
        let Some(place) = then.or(now) else {
            assert!(found.is_as(&before), "half of something is there: {found:?}, not {before:?}");
            return;
        };
        let (mut pending, error) = failed.remove(place);
        match pending.then.as_ref().filter(|_| then.is_some()) {
            Some(taken) => self.took(&pending.act, person, taken),
            None => self.done(&pending.act),
        }
        pending.is_known = true;
        failed.insert(0, (pending, error));
    }

    /// Begins one after the other, each to where it waits, and has what waits written in an order that the
    /// seed says. What was acknowledged is known to the model when this returns; what failed is given back.
    async fn together(&mut self, acts: Vec<Pending>) -> Vec<(Pending, AppError)> {
        let mut all: Vec<UnderWay> = Vec::new();
        // Who waits for the sequencer, as it does.
        let mut queue: Vec<usize> = Vec::new();
        for pending in acts {
            let task = Some(tokio::spawn(perform(self.world.app(), pending.act.clone(), pending.number)));
            let is_behind = follower(&all, pending.act.person()).is_some();
            all.push(UnderWay { pending, task, failed: None });
            let place = all.len() - 1;
            if is_behind {
                self.settle().await;
            } else {
                self.until_it_waits(&mut all, place, &mut queue).await;
            }
        }
        while all.iter().any(|one| one.task.is_some()) {
            let taken = self.choose(&all, &queue);
            if queue.is_empty() {
                // The log has stopped: whoever is left is told so.
                self.settle().await;
                for place in 0..all.len() {
                    self.until_it_waits(&mut all, place, &mut queue).await;
                }
                continue;
            }
            let who: Vec<usize> = taken.iter().map(|place| queue[*place]).collect();
            queue.retain(|one| !who.contains(one));
            self.world.sequencing.take(&taken);
            for place in who {
                let person = all[place].pending.act.person();
                self.until_it_waits(&mut all, place, &mut queue).await;
                if let Some(next) = follower(&all, person)
                    && !queue.contains(&next)
                {
                    self.until_it_waits(&mut all, next, &mut queue).await;
                }
            }
            if self.world.sequencing.waiting() < queue.len() {
                queue.clear();
            }
        }
        let failed = all.into_iter().filter_map(|one| Some((one.pending, one.failed?)));
        failed.collect()
    }

    /// Which of those that wait go next, in which order. Of those that somebody of the same person waits
    /// behind, one at most, so that it is known who comes to wait next; and none beside an erasure, which
    /// goes on in threads of its own.
    fn choose(&self, all: &[UnderWay], queue: &[usize]) -> Vec<usize> {
        let power = &self.world.power;
        let mut places: Vec<usize> = (0..queue.len()).collect();
        for last in (1..places.len()).rev() {
            places.swap(last, power.below(last as u64 + 1) as usize);
        }
        places.truncate(1 + power.below(queue.len() as u64) as usize);
        let act_of = |place: &usize| &all[queue[*place]].pending.act;
        let is_followed = |place: &usize| {
            let person = act_of(place).person();
            all.iter().filter(|one| one.task.is_some() && one.pending.act.person() == person).count() > 1
        };
        let is_erasure = |place: &usize| matches!(act_of(place), Act::Erase(..));
        let mut room_for_followed = !places.iter().any(is_erasure);
        places.retain(|place| {
            if is_erasure(place) || !is_followed(place) {
                return true;
            }
            std::mem::replace(&mut room_for_followed, false)
        });
        places
    }

    async fn settle(&self) {
        for _ in 0..SETTLED {
            tokio::task::yield_now().await;
        }
    }

    /// Until an act is done, or one more waits for the sequencer.
    async fn until_it_waits(&mut self, all: &mut [UnderWay], place: usize, queue: &mut Vec<usize>) {
        let one = &mut all[place];
        let Some(task) = &one.task else { return };
        while !task.is_finished() {
            if self.world.sequencing.waiting() > queue.len() {
                queue.push(place);
                return;
            }
            tokio::task::yield_now().await;
        }
        let answer = one.task.take().expect("it is there").await.unwrap();
        // Who replays a seed wants to see what happens.
        if number("SAYSO_SEED").is_some() {
            let (size, steps) = (self.world.app().ledger().checkpoint().size, self.world.power.steps());
            let Pending { act, number, .. } = &one.pending;
            println!("{number}: {act:?}: {answer:?}, {size} events, {steps} durable steps");
        }
        match answer {
            Ok(done) => self.learn(&one.pending.clone(), done),
            Err(error) => {
                let is_of_a_part = matches!(&one.pending.act, Act::Erase(_, scope) if *scope != Scope::All);
                one.pending.then = is_of_a_part.then(|| self.model.taking(&one.pending.act));
                self.in_doubt.extend(one.pending.act.person().zip(one.pending.then.clone()));
                one.failed = Some(error);
            }
        }
    }

    /// What was acknowledged.
    fn learn(&mut self, pending: &Pending, done: Done) {
        let Pending { act, is_known, .. } = pending;
        let Some(person) = act.person() else { return self.model.done(act) };
        match (act, done) {
            (Act::Record(_, facts), Done::Recorded(receipt)) => {
                let says = facts.iter().map(|(key, category, _)| Said::Fact(key.clone(), category)).collect();
                self.model.receipt(&self.world, person, &receipt, says);
            }
            (_, Done::Changed(changed)) => {
                // Beside the word, and the one that more follow, where they do.
                let (fell, events) = (changed.revoked_grants.len(), changed.receipt.events.len());
                let beside = if fell + 1 > events { events.saturating_sub(2) } else { fell };
                let fell = changed.revoked_grants.iter().take(beside);
                let fell = fell.map(|id| Said::OfGrant(id.parse().unwrap()));
                let says = std::iter::once(Said::Word).chain(fell).collect();
                self.model.receipt(&self.world, person, &changed.receipt, says);
            }
            (_, Done::Granted(grant)) => {
                let says = vec![Said::OfGrant(grant.id)];
                self.model.receipt(&self.world, person, &grant.receipt, says);
                let granted = granted(&grant);
                let is_doubted = grant.withheld.iter().any(|class| class.reason() == Reason::ClockSkewed);
                let may_be_doubted = is_doubted || self.was_skewed;
                assert!(!may_be_doubted || granted.cites.is_empty(), "{granted:?} by a clock in doubt");
                let now = self.model.person(person).clone();
                let of_person = self.in_doubt.iter().filter(|(whose, _)| *whose == person);
                let may_be = of_person.map(|(_, taken)| self.model.without(person, taken));
                let may_be: Vec<_> = may_be.chain([now]).collect();
                let allowed: Vec<_> = may_be.iter().map(|person| self.model.allowed(person)).collect();
                assert!(
                    is_doubted || allowed.contains(&granted.cites),
                    "{granted:?} is granted and may not be: {allowed:?}"
                );
                let holder = self.model.person(person);
                holder.grants.insert(grant.id, granted);
                // Where a log went back, somebody may have keys and no events.
                holder.known = true;
                return;
            }
            (Act::Erase(_, scope), Done::Nothing) => {
                let holder = self.model.person(person);
                let nothing = match scope {
                    Scope::All => !holder.known,
                    _ => act.on(holder) == *holder,
                };
                assert!(nothing || *is_known, "an erasure finds nothing of {holder:?}");
                return;
            }
            (Act::Grant(_), Done::InDoubt) => return,
            (Act::Grant(_), Done::Nothing) => {
                assert!(!self.model.person(person).known, "a person is forgotten");
                return;
            }
            _ => {}
        }
        if !is_known {
            self.done(act);
        }
    }

    /// The model learns that an erasure had been done before others went on.
    fn took(&mut self, act: &Act, person: u8, taken: &Taken) {
        self.model.took(person, taken);
        if let Some(backup) = &mut self.backup {
            backup.note(act);
        }
    }

    /// The model learns it.
    fn done(&mut self, act: &Act) {
        self.model.done(act);
        if let Some(backup) = &mut self.backup {
            backup.note(act);
        }
    }
}

/// Whoever of this person is under way and was the first of those left.
fn follower(all: &[UnderWay], person: Option<u8>) -> Option<usize> {
    all.iter().position(|one| one.task.is_some() && one.pending.act.person() == person)
}

pub(super) async fn perform(app: Arc<App>, act: Act, number: usize) -> Result<Done, AppError> {
    let options = WriteOptions {
        idempotency_key: format!("act-{number}"),
        request: format!("{act:?}").into_bytes(),
        ..WriteOptions::default()
    };
    Ok(match act {
        Act::Record(person, facts) => {
            let attributes = attributes(person, &facts, app.now_ms());
            Done::Recorded(app.profile.record_attributes(&steward(), attributes, &options).await?.receipt)
        }
        Act::Consent(person, category, yes) => {
            let notice = NoticeServed { id: "n".into(), ..NoticeServed::default() };
            let presentation = Presentation { notice, channel: String::new() };
            let choices = vec![choice(category, yes)];
            let at = name(person);
            Done::Changed(
                app.consent
                    .record_consent(&steward(), &at, choices, &presentation, DecidedBy::Subject, &options)
                    .await?,
            )
        }
        Act::Signal(person, kind, lift) => {
            let signal = NewSignal { kind, purposes: Vec::new(), lift, interaction: String::new() };
            Done::Changed(app.consent.record_signal(&steward(), &name(person), signal, &options).await?)
        }
        Act::Grant(person) => {
            let asked = UseCase { purpose: PURPOSE.into(), ..UseCase::default() };
            let request = GrantRequest { asked, ttl_ms: Some(TTL_MS) };
            match app.grants.request_grant(&service(), &name(person), request, &options).await {
                Ok(Issued::Grant(grant)) => Done::Granted(grant),
                Ok(Issued::UnknownSubject) => Done::Nothing,
                Err(AppError::ClockSkewed) => Done::InDoubt,
                Err(error) => return Err(error),
            }
        }
        Act::Erase(person, scope) => {
            let subject = Some(name(person));
            let caller = Caller { role: Role::Subject, channel: false, name: String::new(), subject };
            let request = NewRequest {
                kind: RequestKind::Erasure,
                scope: Some(scope),
                keys: Vec::new(),
                purposes: Vec::new(),
                details: String::new(),
                jurisdiction: None,
            };
            match app.rights.submit_request(&caller, &name(person), request, &options).await {
                Ok(_) => Done::Erased,
                Err(AppError::NotFound(_) | AppError::UnknownSubject) => Done::Nothing,
                Err(error) => return Err(error),
            }
        }
        Act::Export => {
            let mut pieces = app.reports.export_audit(&steward(), false).await?;
            while let Some(piece) = pieces.recv().await {
                piece?;
            }
            Done::Exported
        }
        Act::Confirm => {
            app.operations.confirm_restore(&operator(), &options).await?;
            Done::Confirmed
        }
    })
}

fn attributes(person: u8, facts: &[Fact], observed_at_ms: u64) -> NewAttributes {
    let one = |(key, category, value): &Fact| {
        let attribute = Attribute {
            key: key.clone(),
            value: Secret::new(value.clone()),
            category: (*category).into(),
            provenance: Provenance::Declared,
            evidence: Vec::new(),
            derived_from: Vec::new(),
            confidence: None,
            model: String::new(),
            observed_at_ms,
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
