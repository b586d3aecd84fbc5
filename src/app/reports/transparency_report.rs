//! Makes transparency reports. For each report, a separate thread goes through all data subjects, one after
//! another, and counts the events of each.
//!
//! Before any figure is sent, an event records the report and how much it spends of the privacy budget.
//! This budget limits what all reports with noise (random changes of the figures) may reveal together. So
//! no report is made without a record, and a report that fails halfway has spent its part of the privacy
//! budget.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::read::for_each_system_event;
use crate::app::log::receipt::RequestStamp;
use crate::app::log::system_stream::SystemEvent;
use crate::app::reports::Reports;
use crate::audit::transparency::{
    self as figures, Contributions, FigureInput, Noise, Report, SubjectCounter, Tally, Window,
};
use crate::clock::Clock;
use crate::domain::DAY_MS;
use crate::domain::event::{Event, FiguresReported, Recorded};
use crate::vault::SubjectKeys;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The most messages that wait for a slow receiver.
const FRAMES_MAX: usize = 8;
/// The number of subjects between two messages of progress, and of handles in one read.
const SUBJECTS_COUNT: usize = 128;
/// Entry positions in one read.
const READ_COUNT: usize = 64;
/// Longest period, days.
const DAYS_MAX: u64 = 3_660;
/// The `k` (fewest subjects of a group that is shown) of a request that names none.
const K_DEFAULT: u32 = 10;
const K_MAX: u32 = 1_000_000;

/// The report that is requested.
#[derive(Clone, Debug, Default)]
pub struct ReportRequest {
    /// Start of the period, a whole day in UTC, milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// End of the period (exclusive), a whole day in UTC, milliseconds since the Unix epoch.
    pub to_ms: u64,
    /// Groups with fewer subjects are not shown. 0 means 10, or the configured minimum if that is larger.
    pub k: u32,
    /// The privacy budget to spend; 0 means no noise.
    pub epsilon: f64,
    /// Ids of the figures; empty means all.
    pub figures: Vec<String>,
    /// Whether to make an HTML page too.
    pub html: bool,
    /// Whether to answer only what the report would spend, and to make none.
    pub budget_only: bool,
}

/// What a report would spend of the privacy budget.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReportBudget {
    /// What the report would spend; 0 without noise.
    pub epsilon: f64,
    /// What earlier reports of overlapping periods spent.
    pub spent: f64,
    /// The privacy budget.
    pub max: f64,
}

/// A message of a report in progress.
#[derive(Clone, Debug)]
pub enum ReportFrame {
    /// The progress.
    Progress {
        /// Subjects counted.
        done: u64,
        /// The approximate number of subjects.
        total: u64,
    },
    /// What the report would spend of the privacy budget; the only message if the request asks only for this.
    Budget(ReportBudget),
    /// The report, and its HTML page (empty if not requested).
    Report(Box<Report>, String),
}

/// Earlier reports of overlapping periods.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    /// The privacy budget that they spent.
    spent: f64,
    /// How many of these reports have another period.
    other_periods: u32,
    /// How many of the reports with another period have no noise.
    exact: u32,
}

type Frames = mpsc::Sender<Result<ReportFrame, AppError>>;
/// The messages of a report in progress.
pub type Answers = mpsc::Receiver<Result<ReportFrame, AppError>>;

impl Reports {
    /// Makes a report. The channel first has messages of progress, and the report last. If the request asks
    /// only for the privacy budget, the channel has one message, and nothing is recorded or spent.
    ///
    /// # Errors
    /// The request is invalid, noise is required, the period's privacy budget is spent, the difference from
    /// another report could show single people, or the store fails. Later errors come through the channel.
    pub async fn transparency_report(
        self: &Arc<Self>,
        caller: &Caller,
        request: ReportRequest,
    ) -> Result<Answers, AppError> {
        let request = self.validated(request)?;
        let spending = self.spending.lock().await;
        let (reports, of) = (Arc::clone(self), request.clone());
        let past = tokio::task::spawn_blocking(move || reports.past_reports(&of));
        let past = past.await.map_err(|_| AppError::Internal(Cause::Task))??;
        let spent = past.spent + request.epsilon;
        if request.epsilon > 0.0 && spent > self.settings.epsilon_max + 1e-9 {
            return Err(AppError::Precondition(
                "the privacy budget of this period is spent; ask for a smaller epsilon or another period",
            ));
        }
        self.check_differences(&request, past)?;
        if request.budget_only {
            return Ok(self.budget_frame(&request, past));
        }
        let event = Event::FiguresReported(FiguresReported {
            role: caller.role,
            name: caller.name.clone(),
            from_ms: request.from_ms,
            to_ms: request.to_ms,
            k: request.k,
            epsilon: request.epsilon,
            figures: request.figures.clone(),
            tree_size: self.core.ledger.checkpoint().size,
        });
        let events = vec![SystemEvent::new(event)];
        let (receipt, _) =
            self.core.publish_as(caller.actor(), self.core.now_ms(), events, RequestStamp::default()).await?;
        drop(spending);
        let position = receipt.events.first().map_or(0, |event| event.position);
        let (sender, receiver) = mpsc::channel(FRAMES_MAX);
        let reports = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let made = reports.make_report(&request, Past { spent, ..past }, position, &sender);
            let _receiver_gone = match made {
                Ok(Some(frame)) => sender.blocking_send(Ok(frame)),
                Ok(None) => Ok(()),
                Err(error) => sender.blocking_send(Err(error)),
            };
        });
        Ok(receiver)
    }

    fn budget_frame(&self, request: &ReportRequest, past: Past) -> Answers {
        let max = self.settings.epsilon_max;
        let budget = ReportBudget { epsilon: request.epsilon, spent: past.spent, max };
        let (sender, receiver) = mpsc::channel(1);
        let _sent = sender.try_send(Ok(ReportFrame::Budget(budget)));
        receiver
    }

    /// Rejects a report without noise if its difference from another report without noise could show single
    /// people. This is possible if the periods of the two reports overlap and differ. It is also possible if
    /// the period has not ended, because a later report of the same period could have other figures.
    fn check_differences(&self, request: &ReportRequest, past: Past) -> Result<(), AppError> {
        if request.epsilon > 0.0 || self.settings.differences_allowed {
            return Ok(());
        }
        if request.to_ms > self.core.now_ms() {
            return Err(AppError::Precondition(
                "the period has not ended, so a later report could differ from this one by single people: wait, or \
                 ask with noise (epsilon)",
            ));
        }
        if past.exact > 0 {
            return Err(AppError::Precondition(
                "an earlier report without noise has a period that overlaps this one, so the two could differ by single \
                 people: ask for the same period, for one that does not overlap, or with noise (epsilon)",
            ));
        }
        Ok(())
    }

    /// The request with its defaults filled in.
    fn validated(&self, mut request: ReportRequest) -> Result<ReportRequest, AppError> {
        let settings = &self.settings;
        let whole_days = request.from_ms.is_multiple_of(DAY_MS) && request.to_ms.is_multiple_of(DAY_MS);
        if !whole_days || request.from_ms >= request.to_ms {
            return Err(AppError::invalid("to", "the period must be one or more whole days in UTC"));
        }
        if (request.to_ms - request.from_ms) / DAY_MS > DAYS_MAX {
            return Err(AppError::invalid("to", "the period must be at most 3,660 days"));
        }
        if request.k == 0 {
            request.k = K_DEFAULT.max(settings.k_min);
        }
        if !(settings.k_min..=K_MAX).contains(&request.k) {
            let problem = format!("must be {} to 1,000,000", settings.k_min);
            return Err(AppError::invalid("k", problem));
        }
        if !(request.epsilon.is_finite() && (0.0..=settings.epsilon_max).contains(&request.epsilon)) {
            let problem = format!("must be 0 to `{}`", settings.epsilon_max);
            return Err(AppError::invalid("epsilon", problem));
        }
        // A smaller epsilon makes noise larger than the integers that an `f64` can represent exactly.
        if request.epsilon > 0.0 && request.epsilon < 1e-6 {
            return Err(AppError::invalid("epsilon", "must be 0 or at least 0.000001"));
        }
        if settings.noise_required && request.epsilon <= 0.0 {
            return Err(AppError::invalid(
                "epsilon",
                "must be above 0, because this ledger only reports with noise",
            ));
        }
        if request.figures.iter().any(|id| figures::figure(id).is_none()) {
            let ids: Vec<&str> = figures::FIGURES.iter().map(|spec| spec.id).collect();
            return Err(AppError::invalid("figures", format!("must be one of: {}", ids.join(", "))));
        }
        request.figures.sort();
        request.figures.dedup();
        Ok(request)
    }

    fn past_reports(&self, request: &ReportRequest) -> Result<Past, AppError> {
        let mut past = Past::default();
        self.for_each_system_event(|event| {
            let Event::FiguresReported(report) = &event.event else { return };
            if report.from_ms >= request.to_ms || report.to_ms <= request.from_ms {
                return;
            }
            past.spent += report.epsilon;
            let is_same = (report.from_ms, report.to_ms) == (request.from_ms, request.to_ms);
            past.other_periods = past.other_periods.saturating_add(u32::from(!is_same));
            past.exact = past.exact.saturating_add(u32::from(!is_same && report.epsilon <= 0.0));
        })?;
        Ok(past)
    }

    /// Calls `each` with every event of the system stream, oldest first.
    pub(crate) fn for_each_system_event(&self, mut each: impl FnMut(&Recorded)) -> Result<(), AppError> {
        for_each_system_event(self.core.store(), |event, _| {
            each(&event);
            Ok(())
        })
    }

    /// Counts and returns the last message; none if the receiver is gone. `position` is the position of the
    /// event that records this report.
    fn make_report(
        &self,
        request: &ReportRequest,
        past: Past,
        position: u64,
        frames: &Frames,
    ) -> Result<Option<ReportFrame>, AppError> {
        let window = Window { from_ms: request.from_ms, to_ms: request.to_ms };
        let mut key = [0; 32];
        self.core.clock.fill(&mut key);
        let contributions = if request.epsilon > 0.0 { Contributions::Limited } else { Contributions::Full };
        let mut tally = Tally::new(key, contributions);
        let total = self.core.vault.subject_count();
        if frames.blocking_send(Ok(ReportFrame::Progress { done: 0, total })).is_err() {
            return Ok(None);
        }
        let counted = self.for_each_subject(|done, keys| {
            if done > 0 && done.is_multiple_of(SUBJECTS_COUNT as u64) {
                let progress = ReportFrame::Progress { done, total: total.max(done) };
                if frames.blocking_send(Ok(progress)).is_err() {
                    return Ok(false);
                }
            }
            if let Some(counter) = self.count_subject(keys, window, position)? {
                tally.add_subject(&counter.end());
            }
            Ok(true)
        })?;
        if !counted {
            return Ok(None);
        }
        self.for_each_system_event(|event| {
            let in_period = (window.from_ms..window.to_ms).contains(&event.recorded_at_ms);
            if event.position <= position && in_period {
                tally.add_system_event(event);
            }
        })?;
        let report = self.figures_of(request, past, position, &tally);
        let html = if request.html { figures::page(&report) } else { String::new() };
        Ok(Some(ReportFrame::Report(Box::new(report), html)))
    }

    fn figures_of(&self, request: &ReportRequest, past: Past, position: u64, tally: &Tally) -> Report {
        let rules = self.core.rules();
        let input = FigureInput {
            tally,
            vocabulary: &rules.vocabulary,
            k: request.k.into(),
            releases_a_day: self.settings.releases_a_day,
        };
        let mut bits = || {
            let mut bytes = [0; 8];
            self.core.clock.fill(&mut bytes);
            u64::from_le_bytes(bytes)
        };
        let noise = (request.epsilon > 0.0).then_some(Noise { epsilon: request.epsilon, bits: &mut bits });
        let figures = figures::figures(&input, &request.figures, noise);
        Report {
            origin: self.core.ledger.origin().to_owned(),
            from_ms: request.from_ms,
            to_ms: request.to_ms,
            generated_at_ms: self.core.now_ms(),
            k: request.k.into(),
            epsilon: request.epsilon,
            epsilon_spent: past.spent,
            epsilon_max: self.settings.epsilon_max,
            tree_size: position,
            overlapping: past.other_periods,
            position,
            summary: figures::summary(&figures),
            figures,
        }
    }

    /// Calls `each` for every subject, with the number of subjects before this one and this subject's keys.
    /// Stops when `each` returns false. Returns whether it went through all subjects.
    pub(crate) fn for_each_subject(
        &self,
        mut each: impl FnMut(u64, &SubjectKeys) -> Result<bool, AppError>,
    ) -> Result<bool, AppError> {
        let (mut after, mut done) = (None, 0_u64);
        loop {
            let handles = self.core.vault.handles(after, SUBJECTS_COUNT)?;
            for handle in &handles {
                if let Some(keys) = self.core.vault.by_handle(*handle)?
                    && !each(done, &keys)?
                {
                    return Ok(false);
                }
                done = done.saturating_add(1);
            }
            after = handles.last().copied();
            if handles.len() < SUBJECTS_COUNT {
                return Ok(true);
            }
        }
    }

    /// Counts the events of one subject before a position. None if there are no such events, or if the
    /// subject was erased in the meantime.
    fn count_subject(
        &self,
        keys: &SubjectKeys,
        window: Window,
        end: u64,
    ) -> Result<Option<SubjectCounter>, AppError> {
        let mut counter = SubjectCounter::new(window);
        self.for_each_entry(keys, |event, bytes| {
            if event.position < end {
                counter.event(event, bytes);
            }
        })?;
        let still_there = self.core.vault.by_handle(keys.handle)?.is_some();
        Ok((still_there && !counter.is_empty()).then_some(counter))
    }

    /// Calls `each` with every event of one subject and the size of its entry in bytes. Events that an
    /// erasure in progress has erased already are skipped.
    pub(crate) fn for_each_entry(
        &self,
        keys: &SubjectKeys,
        mut each: impl FnMut(&Recorded, u64),
    ) -> Result<(), AppError> {
        self.core.for_each_entry(keys, 0, READ_COUNT, |entry| {
            if let Some(event) = &entry.event {
                each(event, entry.bytes as u64);
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}
