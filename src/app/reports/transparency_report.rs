//! The transparency report: everybody counted, one after the other, on a thread of its own.
//!
//! That the report was made is an event before any figure leaves, with the privacy budget that it spends; so a report
//! that fails in the middle has spent its budget, and none leaves unseen.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::read::{open, open_system_entry};
use crate::app::log::receipt::RequestStamp;
use crate::app::log::system_stream::SystemEvent;
use crate::app::reports::Reports;
use crate::audit::transparency::{self as figures, Making, Noise, Report, SubjectCounter, Tally, Window};
use crate::clock::Clock;
use crate::domain::DAY_MS;
use crate::domain::event::{Event, FiguresReported, Recorded};
use crate::domain::ids::Handle;
use crate::store::StoredEntry;
use crate::vault::{SubjectKeys, VaultError};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Frames that wait for a slow reader.
const WAITING_MAX: usize = 8;
/// People between two frames of progress, and looked up at once.
const PEOPLE_COUNT: usize = 128;
/// Entries looked up at once.
const READ_COUNT: usize = 512;
/// Days of a period.
const DAYS_MAX: u64 = 3_660;
const K_DEFAULT: u32 = 10;
const K_MAX: u32 = 1_000_000;

/// What reports may say.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// The smallest k that may be asked for.
    pub k_min: u32,
    /// What all reports with noise may spend on overlapping periods.
    pub epsilon_max: f64,
    /// No report without noise.
    pub noise_required: bool,
    /// Also those without noise that could be subtracted from one another.
    pub differences_allowed: bool,
    /// Releases of a person's data a day that the controller declared as the limit.
    pub releases_a_day: Option<u64>,
    /// What the controller declares for the record of processing.
    pub processing: figures::Declared,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct ReportRequest {
    /// The period, whole days in UTC, milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// As above; not part of it.
    pub to_ms: u64,
    /// Smaller groups are not shown; 0: 10.
    pub k: u32,
    /// Budget to be spent; 0: no noise.
    pub epsilon: f64,
    /// Figures by id; none named: all.
    pub figures: Vec<String>,
    /// Also as a page.
    pub html: bool,
}

/// What comes of it.
#[derive(Clone, Debug)]
pub enum ReportFrame {
    /// How far it is.
    Progress {
        /// People counted.
        done: u64,
        /// Of about how many.
        total: u64,
    },
    /// The report, and the page where it was asked for.
    Report(Box<Report>, String),
}

/// What reports of overlapping periods did before.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    spent: f64,
    other_periods: u32,
    /// Of those, without noise.
    exact: u32,
}

type Frames = mpsc::Sender<Result<ReportFrame, AppError>>;

impl Reports {
    /// Counts over everybody. Frames of progress come first, the report last.
    ///
    /// # Errors
    /// The request is out of bounds, noise is required, the period's budget is spent; or the store. Later errors come
    /// through the channel.
    pub async fn transparency_report(
        self: &Arc<Self>,
        caller: &Caller,
        request: ReportRequest,
    ) -> Result<mpsc::Receiver<Result<ReportFrame, AppError>>, AppError> {
        let request = self.checked(request)?;
        // One at a time from looking at the budget to spending it.
        let spending = self.spending.lock().await;
        let (reports, asked) = (Arc::clone(self), request.clone());
        let past = tokio::task::spawn_blocking(move || reports.past_reports(&asked));
        let past = past.await.map_err(|_| AppError::Internal(Cause::Task))??;
        let spent = past.spent + request.epsilon;
        if request.epsilon > 0.0 && spent > self.settings.epsilon_max + 1e-9 {
            return Err(AppError::Precondition("the privacy budget of this period is spent"));
        }
        self.check_differences(&request, past)?;
        let event = Event::FiguresReported(FiguresReported {
            role: caller.role.into(),
            name: caller.name.clone(),
            from_ms: request.from_ms,
            to_ms: request.to_ms,
            k: request.k,
            epsilon: request.epsilon,
            figures: request.figures.clone(),
            tree_size: self.core.ledger.checkpoint().size,
        });
        let plain = vec![SystemEvent::new(event)];
        let (receipt, _) =
            self.core.publish_as(caller.actor(), self.core.now_ms(), plain, RequestStamp::default()).await?;
        drop(spending);
        let own = receipt.events.first().map_or(0, |event| event.position);
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let reports = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let made = reports.make_report(&request, Past { spent, ..past }, own, &sender);
            let _gone = match made {
                Ok(Some(frame)) => sender.blocking_send(Ok(frame)),
                Ok(None) => Ok(()),
                Err(error) => sender.blocking_send(Err(error)),
            };
        });
        Ok(receiver)
    }

    /// Two reports without noise that differ by a day, or by what happened between them, differ by single people.
    fn check_differences(&self, request: &ReportRequest, past: Past) -> Result<(), AppError> {
        if request.epsilon > 0.0 || self.settings.differences_allowed {
            return Ok(());
        }
        if request.to_ms > self.core.now_ms() {
            return Err(AppError::Precondition(
                "the period has not ended, and a later report would differ from this one by single people: wait, or ask \
                 with noise (epsilon)",
            ));
        }
        if past.exact > 0 {
            return Err(AppError::Precondition(
                "an earlier report without noise is of a period that overlaps with this one, and the two would differ by \
                 single people: ask for the same period, for one beside it, or with noise (epsilon)",
            ));
        }
        Ok(())
    }

    fn checked(&self, mut request: ReportRequest) -> Result<ReportRequest, AppError> {
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
        // Below that the noise outgrows what a number can hold exactly.
        if request.epsilon > 0.0 && request.epsilon < 1e-6 {
            return Err(AppError::invalid("epsilon", "must be 0 or at least 0.000001"));
        }
        if settings.noise_required && request.epsilon <= 0.0 {
            return Err(AppError::invalid("epsilon", "must be above 0: this ledger reports with noise only"));
        }
        if request.figures.iter().any(|id| figures::spec(id).is_none()) {
            let ids: Vec<&str> = figures::FIGURES.iter().map(|spec| spec.id).collect();
            return Err(AppError::invalid("figures", format!("must be among: {}", ids.join(", "))));
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
            let same = (report.from_ms, report.to_ms) == (request.from_ms, request.to_ms);
            past.other_periods = past.other_periods.saturating_add(u32::from(!same));
            past.exact = past.exact.saturating_add(u32::from(!same && report.epsilon <= 0.0));
        })?;
        Ok(past)
    }

    /// Every event about nobody, oldest first.
    pub(crate) fn for_each_system_event(&self, mut each: impl FnMut(&Recorded)) -> Result<(), AppError> {
        let mut next = 0;
        loop {
            let places = self.core.store().read_subject(Handle::SYSTEM, next, READ_COUNT)?;
            for (version, position) in &places {
                each(&open_system_entry(self.core.store().read_entry(*position)?)?);
                next = version.saturating_add(1);
            }
            if places.len() < READ_COUNT {
                return Ok(());
            }
        }
    }

    /// The last frame; none where nobody waits for it any more.
    fn make_report(
        &self,
        request: &ReportRequest,
        past: Past,
        own: u64,
        frames: &Frames,
    ) -> Result<Option<ReportFrame>, AppError> {
        let window = Window { from_ms: request.from_ms, to_ms: request.to_ms };
        let mut key = [0; 32];
        self.core.clock.fill(&mut key);
        let mut tally = Tally::new(key, request.epsilon > 0.0);
        let total = self.core.vault.subject_count();
        if frames.blocking_send(Ok(ReportFrame::Progress { done: 0, total })).is_err() {
            return Ok(None);
        }
        let counted = self.for_each_person(|done, keys| {
            if done > 0 && done.is_multiple_of(PEOPLE_COUNT as u64) {
                let progress = ReportFrame::Progress { done, total: total.max(done) };
                if frames.blocking_send(Ok(progress)).is_err() {
                    return Ok(false);
                }
            }
            if let Some(walk) = self.walk(keys, window, own)? {
                tally.absorb(&walk.end());
            }
            Ok(true)
        })?;
        if !counted {
            return Ok(None);
        }
        self.for_each_system_event(|event| {
            let in_period = (window.from_ms..window.to_ms).contains(&event.recorded_at_ms);
            if event.position <= own && in_period {
                tally.absorb_plain(event);
            }
        })?;
        let report = self.figures_of(request, past, own, &tally);
        let html = if request.html { figures::page(&report) } else { String::new() };
        Ok(Some(ReportFrame::Report(Box::new(report), html)))
    }

    fn figures_of(&self, request: &ReportRequest, past: Past, own: u64, tally: &Tally) -> Report {
        let rules = self.core.rules();
        let making = Making {
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
        Report {
            origin: self.core.ledger.origin().to_owned(),
            from_ms: request.from_ms,
            to_ms: request.to_ms,
            generated_at_ms: self.core.now_ms(),
            k: request.k.into(),
            epsilon: request.epsilon,
            epsilon_spent: past.spent,
            epsilon_max: self.settings.epsilon_max,
            tree_size: own,
            overlapping: past.other_periods,
            position: own,
            figures: figures::figures(&making, &request.figures, noise),
        }
    }

    /// Everybody that keys are held for, with how many came before, until `each` says that it is enough; whether it
    /// never did.
    pub(crate) fn for_each_person(
        &self,
        mut each: impl FnMut(u64, &SubjectKeys) -> Result<bool, AppError>,
    ) -> Result<bool, AppError> {
        let (mut after, mut done) = (None, 0_u64);
        loop {
            let handles = self.core.vault.handles(after, PEOPLE_COUNT)?;
            for handle in &handles {
                if let Some(keys) = self.core.vault.by_handle(*handle)?
                    && !each(done, &keys)?
                {
                    return Ok(false);
                }
                done = done.saturating_add(1);
            }
            after = handles.last().copied();
            if handles.len() < PEOPLE_COUNT {
                return Ok(true);
            }
        }
    }

    /// One person's history up to a position; nothing where there is none, or where it is being erased.
    fn walk(&self, keys: &SubjectKeys, window: Window, end: u64) -> Result<Option<SubjectCounter>, AppError> {
        let mut walk = SubjectCounter::new(window);
        self.for_each_entry(keys, |event, bytes| {
            if event.position < end {
                walk.event(event, bytes);
            }
        })?;
        let still_there = self.core.vault.by_handle(keys.handle)?.is_some();
        Ok((still_there && !walk.is_empty()).then_some(walk))
    }

    /// One person's events with the bytes of their entries, without those that an erasure under way has taken already.
    pub(crate) fn for_each_entry(
        &self,
        keys: &SubjectKeys,
        mut each: impl FnMut(&Recorded, u64),
    ) -> Result<(), AppError> {
        let mut next = 0;
        loop {
            let places = self.core.store().read_subject(keys.handle, next, READ_COUNT)?;
            for (version, position) in &places {
                next = version.saturating_add(1);
                let stored: StoredEntry = self.core.store().read_entry(*position)?;
                let bytes = stored.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
                match open(keys, stored) {
                    Ok(event) => each(&event, bytes),
                    Err(AppError::Erased | AppError::Internal(Cause::Vault(VaultError::Destroyed))) => {}
                    Err(error) => return Err(error),
                }
            }
            if places.len() < READ_COUNT {
                return Ok(());
            }
        }
    }
}
