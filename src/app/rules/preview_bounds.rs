//! Previews bounds before they are published: which open grants they would revoke, and which uses they would
//! refuse or allow.
//!
//! A preview goes through all data subjects once, a page of subjects at a time. It uses as many threads as
//! there are processors, but at most eight. Each subject is folded once, by one thread. Attributes of one
//! category and provenance whose other properties lead to the same outcome form a class. For each subject,
//! each class is decided once. If another subject's class leads to the same request to the policy engine
//! (Cedar), the engine's answer is reused.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::rules::RuleChanges;
use crate::app::rules::define_vocabulary::invalid_definition;
use crate::app::rules::preview::{
    EXAMPLES_MAX, LINE_EXAMPLES_MAX, Preview, PreviewCount, PreviewLine, PreviewLineKey,
};
use crate::app::rules::publish_bounds::{policy_violations, unrecorded};
use crate::bounds::decide::Case;
use crate::bounds::decision::Decision;
use crate::bounds::invalidation::contradiction;
use crate::bounds::policy_text::scan::POLICIES_BYTES_MAX;
use crate::bounds::rulebook::Rules;
use crate::clock::Stopwatch;
use crate::domain::checks::Checks;
use crate::domain::event::{BoundsPublished, Event, Recorded, Tier};
use crate::domain::ids::Handle;
use crate::domain::profile::SubjectState;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// The number of subjects in one page, and between two progress messages of a thread.
const PAGE_SUBJECTS: usize = 128;
/// The most threads of one preview. They share the machine with the threads that answer requests.
const THREADS_MAX: usize = 8;
/// Stack of a preview thread, as large as that of the threads that answer requests. A test shows that every
/// accepted policy can be evaluated on it.
const STACK_BYTES: usize = 2 << 20;
/// The most previews in progress at a time.
pub(crate) const AT_ONCE_MAX: usize = 2;
/// Longest duration of a preview.
const PREVIEW_MAX: Duration = Duration::from_secs(600);
const PACKS_MAX: usize = 16;
/// The most bytes of the policies of all packs together.
const PACKS_BYTES_MAX: usize = 4 * POLICIES_BYTES_MAX;
const NAMES_MAX: usize = 16;
/// The most pairs of purpose and recipient that are decided for one subject.
const PAIRS_MAX: usize = 64;

/// What to preview.
#[derive(Clone, Debug, Default)]
pub struct PreviewRequest {
    /// At most 16 packs. There must be a pack or a definition.
    pub bounds: Vec<BoundsPublished>,
    /// Recipients to decide for, in addition to those that grants and consents name. At most 16.
    pub recipients: Vec<String>,
    /// Purposes to decide for, in addition to those that grants, consents and definitions name. At most 16.
    pub purposes: Vec<String>,
    /// Definitions of purposes and categories, and required versions of notices. At most 48.
    pub definitions: Vec<Event>,
}

/// The progress of a preview; the last step has the result.
#[derive(Clone, Debug)]
pub struct PreviewStep {
    /// Subjects compared so far.
    pub subjects_done: u64,
    /// About how many subjects there are.
    pub subjects_total: u64,
    /// The result, in the last step.
    pub result: Option<Preview>,
}

type Steps = mpsc::Sender<Result<PreviewStep, AppError>>;

/// A preview in progress.
struct Previewing {
    /// The rules in force.
    current: Arc<Rules>,
    /// The rules with the previewed packs and definitions in place of those in force.
    proposed: Arc<Rules>,
    request: PreviewRequest,
    /// The purposes that the request defines.
    defined_purposes: Vec<String>,
    /// The purposes below them, by the proposed rules.
    purposes_below: Vec<String>,
    now_ms: u64,
    subjects_total: u64,
    running: Stopwatch,
}

/// The pages of handles that all threads take their work from.
struct Pages {
    /// The last handle that was taken; none at the beginning.
    taken: Mutex<Option<Handle>>,
    subjects_done: AtomicU64,
    /// The receiver is gone, or a thread failed.
    stopped: AtomicBool,
}

/// The comparison of one thread.
struct Comparison<'a> {
    preview: &'a Previewing,
    found: Preview,
}

impl RuleChanges {
    /// Starts a preview and returns the channel of its steps. The start is recorded before any subject is
    /// read. The preview ends when the receiver is dropped, or after ten minutes.
    ///
    /// # Errors
    /// A field is invalid; policies exceed a limit or do not validate (with line and column); two previews
    /// are in progress already; or the start can't be recorded.
    pub async fn preview_bounds(
        self: &Arc<Self>,
        caller: &Caller,
        request: PreviewRequest,
    ) -> Result<mpsc::Receiver<Result<PreviewStep, AppError>>, AppError> {
        self.check_preview(&request)?;
        let permit = Arc::clone(&self.previews).try_acquire_owned().map_err(|_| AppError::Overloaded)?;
        let now_ms = self.core.now_ms();
        let current = self.core.rules_at(now_ms);
        let proposed = self.proposed_rules(caller, &request, now_ms).await?;
        self.core.record_view_of_all(caller, "PreviewBounds").await?;
        let (sender, receiver) = mpsc::channel(4);
        let rule_changes = Arc::clone(self);
        let subjects_total = self.core.vault.subject_count();
        let running = Stopwatch::start();
        let (defined_purposes, purposes_below) = defined(&request, &proposed);
        let preview = Previewing {
            current,
            proposed,
            request,
            defined_purposes,
            purposes_below,
            now_ms,
            subjects_total,
            running,
        };
        // A preview computes for seconds, so it must not occupy a thread that answers requests.
        tokio::task::spawn_blocking(move || {
            let _receiver_gone = match preview.run(&rule_changes, &sender) {
                Ok(Some(step)) => sender.blocking_send(Ok(step)),
                Ok(None) => Ok(()),
                Err(error) => sender.blocking_send(Err(error)),
            };
            drop(permit);
        });
        Ok(receiver)
    }

    /// Compiles the rules with the previewed packs and definitions. Reading a caller's policies takes
    /// long, so it happens outside the lock that decisions wait for, and not on a thread that answers
    /// requests.
    async fn proposed_rules(
        &self,
        caller: &Caller,
        request: &PreviewRequest,
        now_ms: u64,
    ) -> Result<Arc<Rules>, AppError> {
        let history = self.core.rules_history();
        let packs = request
            .bounds
            .iter()
            .cloned()
            .map(|pack| Event::BoundsPublished(BoundsPublished { effective_from_ms: 0, ..pack }));
        let events = request.definitions.iter().cloned().chain(packs);
        let events: Vec<Recorded> = events.map(|event| unrecorded(caller, event, now_ms)).collect();
        history.check_definitions(&events, now_ms).map_err(|problem| invalid_definition(&problem))?;
        let reading = tokio::task::spawn_blocking(move || history.with_now(&events, now_ms));
        let rules = reading.await.map_err(|_| AppError::Internal(Cause::Task))?;
        rules.map_err(|error| policy_violations(error.into()))
    }

    fn check_preview(&self, request: &PreviewRequest) -> Result<(), AppError> {
        if request.bounds.is_empty() && request.definitions.is_empty() {
            return Err(AppError::invalid(
                "bounds",
                "must have a pack, or a word must be defined or a notice required",
            ));
        }
        if request.bounds.len() > PACKS_MAX {
            return Err(AppError::invalid("bounds", "must have at most 16 packs"));
        }
        if request.bounds.iter().map(|pack| pack.policies.len()).sum::<usize>() > PACKS_BYTES_MAX {
            return Err(AppError::invalid(
                "bounds",
                "must have at most 1 MiB of policies in all packs together",
            ));
        }
        if request.bounds.iter().any(|pack| !matches!(pack.tier, Tier::Public | Tier::Provider)) {
            return Err(AppError::invalid("bounds.tier", "must be public (1) or provider (2)"));
        }
        if request.recipients.len() > NAMES_MAX || request.purposes.len() > NAMES_MAX {
            return Err(AppError::invalid("recipients", "recipients and purposes must each have at most 16"));
        }
        let rules = self.core.rules();
        let unknown = request.purposes.iter().find(|id| !rules.vocabulary.has_purpose(id));
        let mut checks = Checks::new();
        checks.need_purposes(&rules.vocabulary, unknown, "purposes");
        Ok(checks.finish()?)
    }
}

impl Previewing {
    /// Compares all subjects and returns the last step; none if the receiver is gone.
    fn run(&self, rule_changes: &RuleChanges, steps: &Steps) -> Result<Option<PreviewStep>, AppError> {
        let pages = Pages {
            taken: Mutex::default(),
            subjects_done: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let thread = || std::thread::Builder::new().name("preview".into()).stack_size(STACK_BYTES);
        let results: Vec<Result<Preview, AppError>> = std::thread::scope(|scope| {
            let start = |_| thread().spawn_scoped(scope, || self.compare_pages(rule_changes, &pages, steps));
            let started: Vec<_> = (0..threads).map(start).collect();
            let ended = started.into_iter().map(|thread| thread.ok()?.join().ok());
            ended.map(|ended| ended.unwrap_or(Err(AppError::Internal(Cause::Task)))).collect()
        });
        let mut whole = Preview::default();
        for result in results {
            whole.merge(result?);
        }
        if pages.stopped.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let subjects_done = pages.subjects_done.load(Ordering::Relaxed);
        Ok(Some(PreviewStep { subjects_done, subjects_total: self.subjects_total, result: Some(whole) }))
    }

    /// Does the work of one thread: takes pages until there are none.
    fn compare_pages(
        &self,
        rule_changes: &RuleChanges,
        pages: &Pages,
        steps: &Steps,
    ) -> Result<Preview, AppError> {
        let mut comparison = Comparison { preview: self, found: Preview::default() };
        while !pages.stopped.load(Ordering::Relaxed) {
            let handles = pages.next(rule_changes)?;
            if handles.is_empty() {
                break;
            }
            for handle in &handles {
                comparison.subject(rule_changes, *handle).inspect_err(|_| pages.stop())?;
            }
            let more = handles.len() as u64;
            let subjects_done = pages.subjects_done.fetch_add(more, Ordering::Relaxed).saturating_add(more);
            let step = PreviewStep { subjects_done, subjects_total: self.subjects_total, result: None };
            if steps.blocking_send(Ok(step)).is_err() {
                pages.stop();
            }
        }
        Ok(comparison.found)
    }
}

impl Pages {
    fn next(&self, rule_changes: &RuleChanges) -> Result<Vec<Handle>, AppError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let handles = rule_changes.core.vault.handles(*taken, PAGE_SUBJECTS).inspect_err(|_| self.stop())?;
        *taken = handles.last().copied().or(*taken);
        Ok(handles)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl Comparison<'_> {
    /// Compares one subject. A stream that is not in memory is loaded and dropped again, so that a preview
    /// evicts no stream that requests use.
    fn subject(&mut self, rule_changes: &RuleChanges, handle: Handle) -> Result<(), AppError> {
        if let Some(stream) = rule_changes.core.streams.get(&handle) {
            let now = stream.read();
            return if now.erased { Ok(()) } else { self.compare(handle, &now.state) };
        }
        let Some(keys) = rule_changes.core.vault.by_handle(handle)? else { return Ok(()) };
        match rule_changes.core.load_stream(keys) {
            Ok(stream) => self.compare(handle, &stream.read().state),
            // Erased in the meantime.
            Err(_) if rule_changes.core.vault.by_handle(handle)?.is_none() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn compare(&mut self, handle: Handle, state: &SubjectState) -> Result<(), AppError> {
        self.compare_grants(handle, state);
        let mut changed = false;
        for (purpose, recipient) in self.pairs(state) {
            // A caller's policies may take long even for one subject.
            if self.preview.running.elapsed() > PREVIEW_MAX {
                return Err(AppError::TooLong("a preview may take at most ten minutes"));
            }
            let decide = |rules: &Rules| {
                let case = Case {
                    recipient: &recipient,
                    purpose: &purpose,
                    categories: &[],
                    keys: &[],
                    interaction: "",
                    now_ms: self.preview.now_ms,
                };
                rules.bounds.decide(state, &rules.vocabulary, &case)
            };
            let (current, proposed) = (decide(&self.preview.current), decide(&self.preview.proposed));
            let same = current.allowed.len() == proposed.allowed.len()
                && current.allowed.iter().zip(&proposed.allowed).all(|(one, other)| one.key == other.key);
            if !same {
                changed = true;
                self.add_difference(handle, state, (&purpose, &recipient), (&current, &proposed));
            }
        }
        self.found.subjects_changed = self.found.subjects_changed.saturating_add(u64::from(changed));
        Ok(())
    }

    fn compare_grants(&mut self, handle: Handle, state: &SubjectState) {
        let Previewing { current, proposed, now_ms, .. } = self.preview;
        let open: Vec<_> = state.grants.values().filter(|grant| grant.is_open(*now_ms)).collect();
        let is_valid = |grant: &&&_, rules: &Rules| contradiction(state, grant, rules, *now_ms).is_none();
        let would_be_revoked = |grant: &&&_| is_valid(grant, current) && !is_valid(grant, proposed);
        let revoked = open.iter().filter(would_be_revoked).count() as u64;
        let found = &mut self.found;
        found.grants_open = found.grants_open.saturating_add(open.len() as u64);
        found.grants_revoked = found.grants_revoked.saturating_add(revoked);
        if revoked > 0 {
            found.subjects_revoked = found.subjects_revoked.saturating_add(1);
            if found.examples.len() < EXAMPLES_MAX {
                found.examples.push(handle);
            }
        }
    }

    /// The pairs of purpose and recipient to decide for one subject. First come the purposes that the request
    /// names or defines, then those of grants and consents, then those below a purpose that the request
    /// defines. A consent that names no recipient is decided for every recipient that grants or the request
    /// name. If they name none, the consent is decided for any recipient (an empty name).
    fn pairs(&self, state: &SubjectState) -> Vec<(String, String)> {
        let Previewing { request, defined_purposes, purposes_below, .. } = self.preview;
        let granted = state.grants.values().map(|grant| &grant.issued);
        let mut known: BTreeSet<&str> = granted.clone().map(|issued| issued.recipient.as_str()).collect();
        known.extend(request.recipients.iter().map(String::as_str));
        if known.is_empty() {
            known.insert("");
        }
        let yes = state.consents.records().iter().filter(|record| record.decision.is_yes());
        let named = yes.clone().flat_map(|record| record.terms.recipients.iter().map(String::as_str));
        let all: BTreeSet<&str> = known.iter().copied().chain(named).collect();
        let requested = cross(&request.purposes, &known).chain(cross(defined_purposes, &all));
        let granted = granted.map(|issued| (issued.purpose.as_str(), issued.recipient.as_str()));
        let consented = yes.flat_map(|record| {
            let terms = &record.terms;
            let named: BTreeSet<&str> = terms.recipients.iter().map(String::as_str).collect();
            let recipients = if named.is_empty() { known.clone() } else { named };
            cross(&terms.purposes, &recipients).collect::<Vec<_>>()
        });
        let consented: BTreeSet<(&str, &str)> = granted.chain(consented).collect();
        let mut seen = BTreeSet::new();
        let pairs = requested.chain(consented).chain(cross(purposes_below, &all));
        let new = pairs.filter(|pair| seen.insert(*pair)).take(PAIRS_MAX);
        new.map(|(purpose, recipient)| (purpose.to_owned(), recipient.to_owned())).collect()
    }

    fn add_difference(
        &mut self,
        handle: Handle,
        state: &SubjectState,
        (purpose, recipient): (&str, &str),
        (current, proposed): (&Decision, &Decision),
    ) {
        let keys = |decision: &Decision| -> BTreeSet<String> {
            decision.allowed.iter().map(|allowed| allowed.key.clone()).collect()
        };
        let (before, after) = (keys(current), keys(proposed));
        let mut lines: BTreeMap<PreviewLineKey, PreviewLine> = BTreeMap::new();
        let sides =
            [(before.difference(&after), proposed, true), (after.difference(&before), current, false)];
        for (keys, refusing, is_refused) in sides {
            for current_attribute in keys.filter_map(|key| state.attributes.get(key)) {
                let attribute = &current_attribute.attribute;
                let class = refusing.withheld.iter().find(|class| {
                    class.category == attribute.category && class.provenance == attribute.provenance
                });
                let key = PreviewLineKey {
                    purpose: purpose.to_owned(),
                    recipient: recipient.to_owned(),
                    category: attribute.category.clone(),
                    policy: class.map(|class| class.policy.clone()).unwrap_or_default(),
                };
                let line = lines.entry(key).or_default();
                let count = if is_refused { &mut line.refused } else { &mut line.allowed };
                count.attributes = count.attributes.saturating_add(1);
            }
        }
        for (key, more) in lines {
            let Some(line) = self.found.line(key) else {
                self.found.omitted = self.found.omitted.saturating_add(more.attributes());
                continue;
            };
            line.add(
                PreviewCount::of_one(more.refused.attributes),
                PreviewCount::of_one(more.allowed.attributes),
            );
            if line.examples.len() < LINE_EXAMPLES_MAX {
                line.examples.push(handle);
            }
        }
    }
}

/// Each purpose with each recipient.
fn cross<'a>(
    purposes: &'a [String],
    recipients: &BTreeSet<&'a str>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let pairs = purposes.iter().flat_map(|purpose| recipients.iter().map(|name| (purpose.as_str(), *name)));
    pairs.collect::<Vec<_>>().into_iter()
}

/// The purposes that the request defines, and those below them by the proposed rules.
fn defined(request: &PreviewRequest, proposed: &Rules) -> (Vec<String>, Vec<String>) {
    let id = |event: &Event| match event {
        Event::PurposeDefined(purpose) => Some(purpose.id.clone()),
        _ => None,
    };
    let purposes: Vec<String> = request.definitions.iter().filter_map(id).collect();
    let below = purposes.iter().flat_map(|id| proposed.vocabulary.purpose_subtree(id)).take(PAIRS_MAX);
    let below = below.collect();
    (purposes, below)
}
