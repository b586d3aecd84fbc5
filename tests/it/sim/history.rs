//! Runs the actions of one history, one at a time or several at once. Planned faults may interrupt the
//! actions. Each action is repeated until it succeeds.

use super::action::{Action, NewAttribute};
use super::machine::Stores;
use super::model::{Content, ErasedPart, Model, granted, name, observe};
use super::restore::Backup;
use super::world::World;
use super::{PURPOSE, TTL_MS, env_number, operator, service, steward};
use sayso::app::{
    App, AppError, Caller, Choice, ConsentChanged, DecidedBy, Grant, GrantRequest, Issued, NewAttributes,
    NewRequest, NewSignal, Notice, NoticeServed, Presentation, Recording, UseCase, WriteOptions,
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

/// How often `yield_to_tasks` yields. This is enough for every task to run until it waits.
const YIELDS: usize = 64;

/// The reply to an action.
#[derive(Debug)]
pub(super) enum Reply {
    Recorded(Recording),
    Changed(ConsentChanged),
    Granted(Box<Grant>),
    /// The subject does not exist, or the ledger has nothing to erase.
    Nothing,
    /// The clock is in doubt, so the existing grant is not returned again.
    ClockInDoubt,
    Erased,
    Exported,
    Confirmed,
}

/// An action that has not succeeded yet.
#[derive(Clone)]
struct Pending {
    action: Action,
    number: usize,
    /// Whether the model already has the effect of the action.
    is_applied: bool,
    /// For a partial erasure that failed: what it would have erased when it failed. Other actions may succeed
    /// before the test finds out whether the erasure was done.
    at_failure: Option<ErasedPart>,
}

/// A running action, with its error if it failed.
struct Running {
    pending: Pending,
    task: Option<JoinHandle<Result<Reply, AppError>>>,
    failed: Option<AppError>,
}

pub struct History {
    pub world: World,
    pub model: Model,
    pub backup: Option<Backup>,
    number: usize,
    /// Partial erasures that failed but may have been done: the subject, and what they would have erased.
    doubtful_erasures: Vec<(u8, ErasedPart)>,
    /// Whether the clock was in doubt when the running actions began.
    was_skewed: bool,
    /// Whether no fault is planned. Then an action may fail only because its subject was erased meanwhile.
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
            doubtful_erasures: Vec::new(),
            was_skewed: false,
            is_faultless: false,
        }
    }

    /// Runs these actions at once, with the planned fault, and repeats each until it succeeds. Checks the
    /// model after each fault.
    pub async fn run(&mut self, actions: Vec<Action>, recovery_faults: u64) {
        self.world.clock.advance(1_000 + self.world.power.below(90_000));
        let pending = actions.into_iter().map(|action| {
            self.number += 1;
            Pending { action, number: self.number, is_applied: false, at_failure: None }
        });
        let pending = pending.collect();
        let mut left = self.attempt(pending, 0, recovery_faults).await;
        // `pop` takes the last action. Reverse the list, so that actions that may have been done come first.
        left.reverse();
        while let Some(next) = left.pop() {
            let mut retry = vec![next];
            for attempt in 1.. {
                self.world.clock.advance(1_000);
                retry = self.attempt(retry, attempt, recovery_faults).await;
                if retry.is_empty() {
                    break;
                }
                assert!(attempt < 4, "the action never succeeds: {:?}", retry[0].action);
            }
        }
    }

    /// If the clock is in doubt, the seed chooses: the clock is corrected, the operator accepts the clock as
    /// it is, the daemon restarts with this clock, or nothing happens.
    pub async fn repair_clock(&mut self, dice: &Power, recovery_faults: u64) {
        if !self.world.app().clock_state().is_skewed() {
            return;
        }
        match dice.below(5) {
            0 => self.world.clock.correct(),
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

    /// Tries the actions once. Returns the actions that failed. Those that may have been done come first.
    async fn attempt(&mut self, actions: Vec<Pending>, attempt: u64, recovery_faults: u64) -> Vec<Pending> {
        self.was_skewed = self.world.app().clock_state().is_skewed();
        let mut failed = self.run_together(actions).await;
        self.doubtful_erasures.clear();
        let is_erased = |(_, error): &(Pending, AppError)| matches!(error, AppError::Erased);
        assert!(
            !self.is_faultless || failed.iter().all(is_erased),
            "an action failed without a fault: {:?}",
            failed[0].1
        );
        if failed.is_empty() {
            return Vec::new();
        }
        let needs_no_restart = |(pending, error): &(Pending, AppError)| match error {
            // An erasure has several steps. If it was interrupted, the next start completes or forgets it.
            AppError::Unavailable => attempt == 0 && !matches!(pending.action, Action::Erase(..)),
            // Another action erased the subject meanwhile.
            AppError::Erased => true,
            _ => false,
        };
        if failed.iter().all(needs_no_restart) {
            self.model.check(&self.world).await;
            return failed.into_iter().map(|(pending, _)| pending).collect();
        }
        self.world.start(recovery_faults).await;
        let is_known_error = |error: &AppError| matches!(error, AppError::Erased);
        self.model.awaits_confirmation &= self.world.app().is_restore_unconfirmed();
        let doubtful: BTreeSet<u8> =
            failed.iter().filter_map(|(pending, _)| pending.action.subject()).collect();
        for subject in doubtful {
            self.resolve_failed(subject, &mut failed).await;
        }
        self.model.check(&self.world).await;
        // Actions that were done come first, then other erasures. Such an erasure may have been done before
        // the other failed actions of its subject, so it is repeated before them. Actions that failed because
        // their subject was erased come last.
        failed.sort_by_key(|(pending, error)| {
            (is_known_error(error), !pending.is_applied, !matches!(pending.action, Action::Erase(..)))
        });
        failed.into_iter().map(|(pending, _)| pending).collect()
    }

    /// Finds out which of a subject's failed actions was done. At most one of them may have been done, and no
    /// action in part.
    async fn resolve_failed(&mut self, subject: u8, failed: &mut Vec<(Pending, AppError)>) {
        let found = observe(&self.world, subject).await;
        let before = self.model.subject(subject).clone();
        let app = self.world.app();
        let is_erased_at = |position: &u64| app.reports.raw_entry(*position).unwrap().bytes.is_none();
        let was_done_at_failure =
            |(Pending { action, is_applied, at_failure, .. }, _): &(Pending, AppError)| {
                let Some(at_failure) =
                    at_failure.as_ref().filter(|_| !*is_applied && action.subject() == Some(subject))
                else {
                    return false;
                };
                let since: BTreeSet<u64> =
                    self.model.erased_by(action).difference(&at_failure.positions).copied().collect();
                let all_erased =
                    !at_failure.positions.is_empty() && at_failure.positions.iter().all(is_erased_at);
                all_erased
                    && !since.iter().any(is_erased_at)
                    && found.equals_except_grants(&self.model.without(subject, at_failure))
            };
        let is_done = |(Pending { action, is_applied, .. }, _): &(Pending, AppError)| {
            if *is_applied || action.subject() != Some(subject) {
                return false;
            }
            // An erasure may change nothing that the profile shows. Then the log shows whether it was done.
            let erased = self.model.erased_by(action);
            let after = action.apply_to(&before);
            found.equals_except_grants(&after)
                && (erased.iter().any(is_erased_at) || !found.equals_except_grants(&before))
        };
        let (earlier, now) = (failed.iter().position(was_done_at_failure), failed.iter().position(is_done));
        let Some(place) = earlier.or(now) else {
            assert!(
                found.equals_except_grants(&before),
                "an action was partly done: {found:?}, not {before:?}"
            );
            return;
        };
        let (mut pending, error) = failed.remove(place);
        match pending.at_failure.as_ref().filter(|_| earlier.is_some()) {
            Some(erased) => self.apply_earlier_erasure(&pending.action, subject, erased),
            None => self.apply(&pending.action),
        }
        pending.is_applied = true;
        failed.insert(0, (pending, error));
    }

    /// Starts the actions one after the other, and runs each until it waits for the sequencer (the thread
    /// that writes all events). Then lets the sequencer take the waiting writes in an order that the seed
    /// determines. Applies acknowledged actions to the model, and returns the actions that failed.
    async fn run_together(&mut self, actions: Vec<Pending>) -> Vec<(Pending, AppError)> {
        let mut all: Vec<Running> = Vec::new();
        // The actions that wait for the sequencer, in the order of its queue.
        let mut queue: Vec<usize> = Vec::new();
        for pending in actions {
            let task = Some(tokio::spawn(perform(self.world.app(), pending.action.clone(), pending.number)));
            let is_behind = next_running(&all, pending.action.subject()).is_some();
            all.push(Running { pending, task, failed: None });
            let place = all.len() - 1;
            if is_behind {
                self.yield_to_tasks().await;
            } else {
                self.run_until_queued(&mut all, place, &mut queue).await;
            }
        }
        while all.iter().any(|one| one.task.is_some()) {
            let taken = self.choose(&all, &queue);
            if queue.is_empty() {
                // The log has stopped, so the remaining actions fail.
                self.yield_to_tasks().await;
                for place in 0..all.len() {
                    self.run_until_queued(&mut all, place, &mut queue).await;
                }
                continue;
            }
            let chosen: Vec<usize> = taken.iter().map(|place| queue[*place]).collect();
            queue.retain(|one| !chosen.contains(one));
            self.world.sequencing.take(&taken);
            for place in chosen {
                let subject = all[place].pending.action.subject();
                self.run_until_queued(&mut all, place, &mut queue).await;
                if let Some(next) = next_running(&all, subject)
                    && !queue.contains(&next)
                {
                    self.run_until_queued(&mut all, next, &mut queue).await;
                }
            }
            if self.world.sequencing.waiting() < queue.len() {
                queue.clear();
            }
        }
        let failed = all.into_iter().filter_map(|one| Some((one.pending, one.failed?)));
        failed.collect()
    }

    /// Chooses which queued actions to write next, and their order. After a write, the next running action of
    /// the same subject enters the queue. To know the order of the queue, choose at most one action whose
    /// subject has a next action. Choose none if an erasure is chosen too, because the erasure continues in
    /// other threads.
    fn choose(&self, all: &[Running], queue: &[usize]) -> Vec<usize> {
        let power = &self.world.power;
        let mut places: Vec<usize> = (0..queue.len()).collect();
        for last in (1..places.len()).rev() {
            places.swap(last, power.below(last as u64 + 1) as usize);
        }
        places.truncate(1 + power.below(queue.len() as u64) as usize);
        let action_of = |place: &usize| &all[queue[*place]].pending.action;
        let is_followed = |place: &usize| {
            let subject = action_of(place).subject();
            all.iter().filter(|one| one.task.is_some() && one.pending.action.subject() == subject).count() > 1
        };
        let is_erasure = |place: &usize| matches!(action_of(place), Action::Erase(..));
        let mut room_for_followed = !places.iter().any(is_erasure);
        places.retain(|place| {
            if is_erasure(place) || !is_followed(place) {
                return true;
            }
            std::mem::replace(&mut room_for_followed, false)
        });
        places
    }

    async fn yield_to_tasks(&self) {
        for _ in 0..YIELDS {
            tokio::task::yield_now().await;
        }
    }

    /// Runs an action until it ends or waits for the sequencer.
    async fn run_until_queued(&mut self, all: &mut [Running], place: usize, queue: &mut Vec<usize>) {
        let one = &mut all[place];
        let Some(task) = &one.task else { return };
        while !task.is_finished() {
            if self.world.sequencing.waiting() > queue.len() {
                queue.push(place);
                return;
            }
            tokio::task::yield_now().await;
        }
        let answer = one.task.take().expect("the task is running").await.unwrap();
        // A replay of one seed prints every action.
        if env_number("SAYSO_SEED").is_some() {
            let (size, steps) = (self.world.app().ledger().checkpoint().size, self.world.power.steps());
            let Pending { action, number, .. } = &one.pending;
            println!("{number}: {action:?}: {answer:?}, {size} events, {steps} durable steps");
        }
        match answer {
            Ok(reply) => self.note_reply(&one.pending.clone(), reply),
            Err(error) => {
                let is_partial =
                    matches!(&one.pending.action, Action::Erase(_, scope) if *scope != Scope::All);
                one.pending.at_failure = is_partial.then(|| self.model.erased_part(&one.pending.action));
                self.doubtful_erasures
                    .extend(one.pending.action.subject().zip(one.pending.at_failure.clone()));
                one.failed = Some(error);
            }
        }
    }

    /// Applies an acknowledged action to the model, and checks the reply.
    fn note_reply(&mut self, pending: &Pending, reply: Reply) {
        let Pending { action, is_applied, .. } = pending;
        let Some(subject) = action.subject() else { return self.model.apply(action) };
        match (action, reply) {
            (Action::Record(_, attributes), Reply::Recorded(recorded)) => {
                let contents =
                    attributes.iter().map(|(key, category, _)| Content::Attribute(key.clone(), category));
                let events = recorded.receipt.events.len().saturating_sub(attributes.len());
                let revocations = revocations_in_receipt(&recorded.revoked_grants, events);
                let contents = contents.chain(revocations).collect();
                self.model.add_receipt(&self.world, subject, &recorded.receipt, contents);
            }
            (_, Reply::Changed(changed)) => {
                let events = changed.receipt.events.len().saturating_sub(1);
                let revocations = revocations_in_receipt(&changed.revoked_grants, events);
                // Lifting a signal of an unknown person records nothing.
                let contents = std::iter::once(Content::Other).chain(revocations).collect();
                self.model.add_receipt(&self.world, subject, &changed.receipt, contents);
            }
            (_, Reply::Granted(grant)) => {
                let contents = vec![Content::Grant(grant.id)];
                self.model.add_receipt(&self.world, subject, &grant.receipt, contents);
                let granted = granted(&grant);
                let is_doubted = grant.withheld.iter().any(|class| class.reason == Reason::ClockSkewed);
                let may_be_doubted = is_doubted || self.was_skewed;
                assert!(
                    !may_be_doubted || granted.cites.is_empty(),
                    "{granted:?} while the clock is in doubt"
                );
                let now = self.model.subject(subject).clone();
                let doubtful = self.doubtful_erasures.iter().filter(|(erased, _)| *erased == subject);
                let possible = doubtful.map(|(_, part)| self.model.without(subject, part));
                let possible: Vec<_> = possible.chain([now]).collect();
                let allowed: Vec<_> = possible.iter().map(|subject| self.model.allowed(subject)).collect();
                assert!(
                    is_doubted || allowed.contains(&granted.cites),
                    "{granted:?} is granted, but only one of these is allowed: {allowed:?}"
                );
                let in_model = self.model.subject(subject);
                in_model.grants.insert(grant.id, granted);
                // After a restore, a subject may have keys but no events.
                in_model.exists = true;
                return;
            }
            (Action::Erase(_, scope), Reply::Nothing) => {
                let in_model = self.model.subject(subject);
                let has_nothing = match scope {
                    Scope::All => !in_model.exists,
                    _ => action.apply_to(in_model) == *in_model,
                };
                assert!(has_nothing || *is_applied, "an erasure finds nothing of {in_model:?}");
                return;
            }
            (Action::Grant(_), Reply::ClockInDoubt) => return,
            (Action::Grant(_), Reply::Nothing) => {
                assert!(!self.model.subject(subject).exists, "a subject is lost");
                return;
            }
            _ => {}
        }
        if !is_applied {
            self.apply(action);
        }
    }

    /// Applies to the model an erasure that, as it turns out, was done before later actions.
    fn apply_earlier_erasure(&mut self, action: &Action, subject: u8, erased: &ErasedPart) {
        self.model.apply_earlier_erasure(subject, erased);
        if let Some(backup) = &mut self.backup {
            backup.note(action);
        }
    }

    /// Applies an action to the model.
    fn apply(&mut self, action: &Action) {
        self.model.apply(action);
        if let Some(backup) = &mut self.backup {
            backup.note(action);
        }
    }
}

/// The contents of the events that follow a change in its receipt: the revocations and, if more revocations
/// follow later, a marker for them.
fn revocations_in_receipt(revoked: &[String], events: usize) -> impl Iterator<Item = Content> {
    let in_receipt = if revoked.len() > events { events.saturating_sub(1) } else { revoked.len() };
    revoked.iter().take(in_receipt).map(|id| Content::Grant(id.parse().unwrap()))
}

/// The first action about this subject that is still running.
fn next_running(all: &[Running], subject: Option<u8>) -> Option<usize> {
    all.iter().position(|one| one.task.is_some() && one.pending.action.subject() == subject)
}

pub(super) async fn perform(app: Arc<App>, action: Action, number: usize) -> Result<Reply, AppError> {
    let options = WriteOptions {
        idempotency_key: format!("act-{number}"),
        request: format!("{action:?}").into_bytes(),
        ..WriteOptions::default()
    };
    Ok(match action {
        Action::Record(subject, attributes) => {
            let attributes = new_attributes(subject, &attributes, app.now_ms());
            Reply::Recorded(app.profile.record_attributes(&steward(), attributes, &options).await?)
        }
        Action::Consent(subject, category, is_given) => {
            let notice = NoticeServed { id: "n".into(), ..NoticeServed::default() };
            let presentation = Presentation { notice, channel: String::new() };
            let choices = vec![choice(category, is_given)];
            let id = name(subject);
            Reply::Changed(
                app.consent
                    .record_consent(&steward(), &id, choices, &presentation, DecidedBy::Subject, &options)
                    .await?,
            )
        }
        Action::Signal(subject, kind, lift) => {
            let signal = NewSignal { kind, purposes: Vec::new(), lift, interaction: String::new() };
            Reply::Changed(app.consent.record_signal(&steward(), &name(subject), signal, &options).await?)
        }
        Action::Grant(subject) => {
            let asked = UseCase { purpose: PURPOSE.into(), ..UseCase::default() };
            let request = GrantRequest { asked, ttl_ms: Some(TTL_MS), relevance: None };
            match app.grants.request_grant(&service(), &name(subject), request, &options).await {
                Ok(Issued::Grant(grant)) => Reply::Granted(grant),
                Ok(Issued::UnknownSubject) => Reply::Nothing,
                Err(AppError::ClockSkewed) => Reply::ClockInDoubt,
                Err(error) => return Err(error),
            }
        }
        Action::Erase(subject, scope) => {
            let own_id = Some(name(subject));
            let caller = Caller { role: Role::Subject, channel: false, name: String::new(), subject: own_id };
            let request = NewRequest {
                kind: RequestKind::Erasure,
                scope: Some(scope),
                keys: Vec::new(),
                purposes: Vec::new(),
                details: String::new(),
                jurisdiction: None,
            };
            match app.rights.submit_request(&caller, &name(subject), request, &options).await {
                Ok(_) => Reply::Erased,
                Err(AppError::NotFound(_) | AppError::NothingToErase | AppError::UnknownSubject) => {
                    Reply::Nothing
                }
                Err(error) => return Err(error),
            }
        }
        Action::Export => {
            let mut pieces = app.reports.export_audit(&steward(), false).await?;
            while let Some(piece) = pieces.recv().await {
                piece?;
            }
            Reply::Exported
        }
        Action::Confirm => {
            app.operations.confirm_restore(&operator(), &options).await?;
            Reply::Confirmed
        }
    })
}

fn new_attributes(subject: u8, attributes: &[NewAttribute], observed_at_ms: u64) -> NewAttributes {
    let one = |(key, category, value): &NewAttribute| {
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
            claimed_provenance: Provenance::Unspecified,
            embedding: None,
        };
        (attribute, None)
    };
    let attributes = attributes.iter().map(one).collect();
    NewAttributes { subject: name(subject), attributes, stated: BTreeSet::new() }
}

fn choice(category: &str, is_given: bool) -> Choice {
    Choice {
        decision: if is_given { Decision::Given } else { Decision::Withdrawn },
        purposes: vec![PURPOSE.into()],
        categories: vec![category.into()],
        recipients: Vec::new(),
        explicit: false,
        until_ms: None,
        interactions: Vec::new(),
    }
}
