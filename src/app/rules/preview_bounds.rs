//! What other bounds would change for the people held: whose grants would fall, which uses would be refused or allowed.
//!
//! Goes through everybody once, a page of handles at a time, on as many threads as there are processors: each person is
//! folded once, by one of them. A person is decided for as under bounds in force: by class, and what a class gave under
//! the same circumstances is remembered across people.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::rules::RuleChanges;
use crate::bounds::decide::Case;
use crate::bounds::decision::Decision;
use crate::bounds::invalidation::contradiction;
use crate::bounds::policy_text::scan::POLICIES_BYTES_MAX;
use crate::bounds::rulebook::Rules;
use crate::clock::Stopwatch;
use crate::domain::event::BoundsPublished;
use crate::domain::ids::Handle;
use crate::domain::profile::SubjectState;
use sayso_proof::event::Tier;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// People whom a thread takes at once, and between two messages of progress.
const PAGE_PEOPLE: usize = 128;
/// Threads at most: they share the machine with those that answer.
const THREADS_MAX: usize = 8;
/// Stack of each, as the threads that answer have it: what a policy may need to be evaluated fits, by a test.
const STACK_BYTES: usize = 2 << 20;
/// Previews of a controller at once.
pub(crate) const AT_ONCE_MAX: usize = 2;
/// How long a preview may go on.
const PREVIEW_MAX: Duration = Duration::from_secs(600);
const PACKS_MAX: usize = 16;
/// Bytes of the policies of all of them together.
const PACKS_BYTES_MAX: usize = 4 * POLICIES_BYTES_MAX;
const NAMES_MAX: usize = 16;
/// Purposes × recipients that are decided for one person.
const PAIRS_MAX: usize = 64;
const LINES_MAX: usize = 1_000;
const EXAMPLES_MAX: usize = 10;
const LINE_EXAMPLES_MAX: usize = 3;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct PreviewAsked {
    /// 1 to 16 packs.
    pub bounds: Vec<BoundsPublished>,
    /// Recipients besides those that grants and consents name.
    pub recipients: Vec<String>,
    /// Purposes besides those that grants and consents name.
    pub purposes: Vec<String>,
}

/// How far it is, and at the end the result.
#[derive(Clone, Debug)]
pub struct PreviewStep {
    /// People looked at.
    pub people_done: u64,
    /// Of how many, about.
    pub people_total: u64,
    /// At the end.
    pub result: Option<Preview>,
}

/// What would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// Open grants.
    pub grants_open: u64,
    /// Of them, those that would fall.
    pub grants_falling: u64,
    /// People whose grants would fall.
    pub people_falling: u64,
    /// People for whom any use would be decided otherwise.
    pub people_changed: u64,
    /// People whose grants would fall, the first ten.
    pub examples: Vec<Handle>,
    /// By purpose, recipient, category and policy; at most a thousand.
    pub lines: BTreeMap<LineOf, Line>,
    /// What would have been in further lines.
    pub left_out: u64,
}

/// What a line is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineOf {
    /// What for.
    pub purpose: String,
    /// By whom; empty: anybody.
    pub recipient: String,
    /// What kind of data.
    pub category: String,
    /// What would refuse it, or refuses it now.
    pub policy: String,
}

/// How many people and facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// (People, facts) refused that are allowed now.
    pub refused: (u64, u64),
    /// (People, facts) allowed that are refused now.
    pub allowed: (u64, u64),
    /// The first three.
    pub examples: Vec<Handle>,
}

type Steps = mpsc::Sender<Result<PreviewStep, AppError>>;

/// What is compared.
struct Previewing {
    now: Arc<Rules>,
    then: Arc<Rules>,
    asked: PreviewAsked,
    now_ms: u64,
    people_total: u64,
    running: Stopwatch,
}

/// Who comes next, for all threads.
struct Pages {
    /// The last handle that was taken; none: nobody yet.
    taken: Mutex<Option<Handle>>,
    people_done: AtomicU64,
    /// Nobody listens any more, or a thread failed.
    stopped: AtomicBool,
}

/// What one thread found.
struct Comparing<'a> {
    what: &'a Previewing,
    found: Preview,
}

impl RuleChanges {
    /// Begins a preview, which is recorded before it looks at people; steps come as it goes on. It ends when no caller listens,
    /// or after ten minutes.
    ///
    /// # Errors
    /// Out of bounds, or policies that are beyond a limit or do not validate (with line and column); too many previews at once; or
    /// it can't be recorded.
    pub async fn preview_bounds(
        self: &Arc<Self>,
        caller: &Caller,
        asked: PreviewAsked,
    ) -> Result<mpsc::Receiver<Result<PreviewStep, AppError>>, AppError> {
        self.check_preview(&asked)?;
        let one_of = Arc::clone(&self.previews).try_acquire_owned().map_err(|_| AppError::Overloaded)?;
        let now_ms = self.core.now_ms();
        let now = self.core.rules_at(now_ms);
        let then = self.rules_instead(caller, &asked.bounds, now_ms).await?;
        self.core.record_view_of_all(caller, "PreviewBounds").await?;
        let (sender, receiver) = mpsc::channel(4);
        let rule_changes = Arc::clone(self);
        let people_total = self.core.vault.subject_count();
        let previewing = Previewing { now, then, asked, now_ms, people_total, running: Stopwatch::start() };
        // It computes for seconds: not on a thread that answers others.
        tokio::task::spawn_blocking(move || {
            let _gone = match previewing.run(&rule_changes, &sender) {
                Ok(Some(step)) => sender.blocking_send(Ok(step)),
                Ok(None) => Ok(()),
                Err(error) => sender.blocking_send(Err(error)),
            };
            drop(one_of);
        });
        Ok(receiver)
    }

    /// Policies of a caller take long to read: neither under the lock that decisions wait for, nor on a thread that answers.
    async fn rules_instead(
        &self,
        caller: &Caller,
        bounds: &[BoundsPublished],
        now_ms: u64,
    ) -> Result<Arc<Rules>, AppError> {
        let history = self.core.rules.read().unwrap_or_else(PoisonError::into_inner).copy();
        let (caller, bounds) = (caller.clone(), bounds.to_vec());
        let reading = tokio::task::spawn_blocking(move || history.instead(&caller, &bounds, now_ms));
        reading.await.map_err(|_| AppError::Internal(Cause::Task))?
    }

    fn check_preview(&self, asked: &PreviewAsked) -> Result<(), AppError> {
        if !(1..=PACKS_MAX).contains(&asked.bounds.len()) {
            return Err(AppError::invalid("bounds", "must have 1 to 16"));
        }
        if asked.bounds.iter().map(|pack| pack.policies.len()).sum::<usize>() > PACKS_BYTES_MAX {
            return Err(AppError::invalid("bounds", "must have at most 1 MiB of policies together"));
        }
        if asked.bounds.iter().any(|pack| !matches!(pack.tier(), Tier::Public | Tier::Provider)) {
            return Err(AppError::invalid("bounds.tier", "must be public (1) or provider (2)"));
        }
        if asked.recipients.len() > NAMES_MAX || asked.purposes.len() > NAMES_MAX {
            return Err(AppError::invalid("recipients", "recipients and purposes must each have at most 16"));
        }
        let rules = self.core.rules();
        if let Some(unknown) = asked.purposes.iter().find(|id| !rules.vocabulary.has_purpose(id)) {
            let near = rules.vocabulary.near_purposes(unknown);
            let problem = crate::domain::vocabulary::unknown("purpose", &near);
            return Err(AppError::invalid("purposes", problem));
        }
        Ok(())
    }
}

impl Previewing {
    /// The last step; none where nobody listens any more.
    fn run(&self, rule_changes: &RuleChanges, steps: &Steps) -> Result<Option<PreviewStep>, AppError> {
        let pages = Pages {
            taken: Mutex::default(),
            people_done: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let thread = || std::thread::Builder::new().name("preview".into()).stack_size(STACK_BYTES);
        let found: Vec<Result<Preview, AppError>> = std::thread::scope(|scope| {
            let start = |_| thread().spawn_scoped(scope, || self.pages(rule_changes, &pages, steps));
            let started: Vec<_> = (0..threads).map(start).collect();
            let ended = started.into_iter().map(|thread| thread.ok()?.join().ok());
            ended.map(|ended| ended.unwrap_or(Err(AppError::Internal(Cause::Task)))).collect()
        });
        let mut whole = Preview::default();
        for found in found {
            whole.merge(found?);
        }
        if pages.stopped.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let people_done = pages.people_done.load(Ordering::Relaxed);
        Ok(Some(PreviewStep { people_done, people_total: self.people_total, result: Some(whole) }))
    }

    /// One thread's part: page after page, until there is none.
    fn pages(&self, rule_changes: &RuleChanges, pages: &Pages, steps: &Steps) -> Result<Preview, AppError> {
        let mut comparing = Comparing { what: self, found: Preview::default() };
        while !pages.stopped.load(Ordering::Relaxed) {
            let handles = pages.next(rule_changes)?;
            if handles.is_empty() {
                break;
            }
            for handle in &handles {
                comparing.person(rule_changes, *handle).inspect_err(|_| pages.stop())?;
            }
            let more = handles.len() as u64;
            let people_done = pages.people_done.fetch_add(more, Ordering::Relaxed).saturating_add(more);
            let step = PreviewStep { people_done, people_total: self.people_total, result: None };
            if steps.blocking_send(Ok(step)).is_err() {
                pages.stop();
            }
        }
        Ok(comparing.found)
    }
}

impl Pages {
    fn next(&self, rule_changes: &RuleChanges) -> Result<Vec<Handle>, AppError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let handles = rule_changes.core.vault.handles(*taken, PAGE_PEOPLE).inspect_err(|_| self.stop())?;
        *taken = handles.last().copied().or(*taken);
        Ok(handles)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl Preview {
    /// Takes in what was found among other people; of examples the first stay.
    fn merge(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.grants_open, other.grants_open),
            (&mut self.grants_falling, other.grants_falling),
            (&mut self.people_falling, other.people_falling),
            (&mut self.people_changed, other.people_changed),
            (&mut self.left_out, other.left_out),
        ] {
            *sum = sum.saturating_add(more);
        }
        first_of(&mut self.examples, other.examples, EXAMPLES_MAX);
        for (of, more) in other.lines {
            let Some(line) = self.line(of) else {
                self.left_out = self.left_out.saturating_add(more.refused.1.saturating_add(more.allowed.1));
                continue;
            };
            line.add(more.refused, more.allowed);
            first_of(&mut line.examples, more.examples, LINE_EXAMPLES_MAX);
        }
    }

    /// The line of this kind; none where there would be too many.
    fn line(&mut self, of: LineOf) -> Option<&mut Line> {
        if self.lines.len() >= LINES_MAX && !self.lines.contains_key(&of) {
            return None;
        }
        Some(self.lines.entry(of).or_default())
    }
}

impl Line {
    /// Adds (people, facts) on both sides.
    fn add(&mut self, refused: (u64, u64), allowed: (u64, u64)) {
        for (sum, more) in [(&mut self.refused, refused), (&mut self.allowed, allowed)] {
            *sum = (sum.0.saturating_add(more.0), sum.1.saturating_add(more.1));
        }
    }
}

fn first_of(handles: &mut Vec<Handle>, more: Vec<Handle>, count: usize) {
    handles.extend(more);
    handles.sort_unstable();
    handles.truncate(count);
}

impl Comparing<'_> {
    /// From memory where the person is there; otherwise folded and let go of, so that nobody who is asked about now is
    /// crowded out.
    fn person(&mut self, rule_changes: &RuleChanges, handle: Handle) -> Result<(), AppError> {
        if let Some(stream) = rule_changes.core.streams.get(&handle) {
            let now = stream.read();
            return if now.erased { Ok(()) } else { self.compare(handle, &now.state) };
        }
        let Some(keys) = rule_changes.core.vault.by_handle(handle)? else { return Ok(()) };
        match rule_changes.core.load_stream(keys) {
            Ok(stream) => self.compare(handle, &stream.read().state),
            // Erased meanwhile.
            Err(_) if rule_changes.core.vault.by_handle(handle)?.is_none() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn compare(&mut self, handle: Handle, state: &SubjectState) -> Result<(), AppError> {
        self.grants(handle, state);
        let mut changed = false;
        for (purpose, recipient) in self.pairs(state) {
            // Policies of a caller may take long over one person, too.
            if self.what.running.elapsed() > PREVIEW_MAX {
                return Err(AppError::TooLong("a preview may take at most ten minutes"));
            }
            let decide = |rules: &Rules| {
                let case = Case {
                    recipient: &recipient,
                    purpose: &purpose,
                    categories: &[],
                    keys: &[],
                    interaction: "",
                    now_ms: self.what.now_ms,
                };
                rules.bounds.decide(state, &rules.vocabulary, &case)
            };
            let (now, then) = (decide(&self.what.now), decide(&self.what.then));
            let same = now.allowed.len() == then.allowed.len()
                && now.allowed.iter().zip(&then.allowed).all(|(now, then)| now.key == then.key);
            if !same {
                changed = true;
                self.differ(handle, state, (&purpose, &recipient), (&now, &then));
            }
        }
        self.found.people_changed = self.found.people_changed.saturating_add(u64::from(changed));
        Ok(())
    }

    fn grants(&mut self, handle: Handle, state: &SubjectState) {
        let open: Vec<_> = state.grants.values().filter(|grant| grant.is_open(self.what.now_ms)).collect();
        let (now, then) = (&self.what.now, &self.what.then);
        let stands =
            |grant: &&&_, rules: &Rules| contradiction(state, grant, rules, self.what.now_ms).is_none();
        let falling = open.iter().filter(|grant| stands(grant, now) && !stands(grant, then)).count() as u64;
        let found = &mut self.found;
        found.grants_open = found.grants_open.saturating_add(open.len() as u64);
        found.grants_falling = found.grants_falling.saturating_add(falling);
        if falling > 0 {
            found.people_falling = found.people_falling.saturating_add(1);
            if found.examples.len() < EXAMPLES_MAX {
                found.examples.push(handle);
            }
        }
    }

    /// Purposes × recipients that this person has to do with: of their grants, of what they consented to, and those that
    /// were asked for. Where consents name nobody and no grant does, anybody (an empty name).
    fn pairs(&self, state: &SubjectState) -> BTreeSet<(String, String)> {
        let granted = state.grants.values().map(|grant| &grant.issued);
        let mut pairs: BTreeSet<(String, String)> =
            granted.clone().map(|issued| (issued.purpose.clone(), issued.recipient.clone())).collect();
        let mut known: BTreeSet<&str> = granted.map(|issued| issued.recipient.as_str()).collect();
        known.extend(self.what.asked.recipients.iter().map(String::as_str));
        if known.is_empty() {
            known.insert("");
        }
        let yes = state.consents.records().iter().filter(|record| record.decision.is_yes());
        for terms in yes.map(|record| &record.terms) {
            for purpose in &terms.purposes {
                let named: Vec<&str> = match terms.recipients.is_empty() {
                    true => known.iter().copied().collect(),
                    false => terms.recipients.iter().map(String::as_str).collect(),
                };
                pairs.extend(named.into_iter().map(|recipient| (purpose.clone(), recipient.to_owned())));
            }
        }
        for purpose in &self.what.asked.purposes {
            pairs.extend(known.iter().map(|recipient| (purpose.clone(), (*recipient).to_owned())));
        }
        pairs.into_iter().take(PAIRS_MAX).collect()
    }

    fn differ(
        &mut self,
        handle: Handle,
        state: &SubjectState,
        (purpose, recipient): (&str, &str),
        (now, then): (&Decision, &Decision),
    ) {
        let keys = |decision: &Decision| -> BTreeSet<String> {
            decision.allowed.iter().map(|allowed| allowed.key.clone()).collect()
        };
        let (before, after) = (keys(now), keys(then));
        let mut facts: BTreeMap<LineOf, (u64, u64)> = BTreeMap::new();
        let sides = [(before.difference(&after), then, true), (after.difference(&before), now, false)];
        for (keys, decided, refused) in sides {
            for held in keys.filter_map(|key| state.attributes.get(key)) {
                let attribute = &held.attribute;
                let class = decided.withheld.iter().find(|class| {
                    class.category == attribute.category
                        && class.provenance == i32::from(attribute.provenance)
                });
                let of = LineOf {
                    purpose: purpose.to_owned(),
                    recipient: recipient.to_owned(),
                    category: attribute.category.clone(),
                    policy: class.map(|class| class.policy.clone()).unwrap_or_default(),
                };
                let counted = facts.entry(of).or_default();
                let side = if refused { &mut counted.0 } else { &mut counted.1 };
                *side = side.saturating_add(1);
            }
        }
        for (of, (refused, allowed)) in facts {
            let Some(line) = self.found.line(of) else {
                self.found.left_out = self.found.left_out.saturating_add(refused.saturating_add(allowed));
                continue;
            };
            line.add((u64::from(refused > 0), refused), (u64::from(allowed > 0), allowed));
            if line.examples.len() < LINE_EXAMPLES_MAX {
                line.examples.push(handle);
            }
        }
    }
}
