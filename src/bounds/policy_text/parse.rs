//! The only module that calls Cedar's parser. Text from callers is first scanned, and then parsed on a
//! separate thread with a large stack.
//!
//! The stack of a parser thread (`STACK_BYTES`) is large enough for every text:
//!
//! - Valid text of a caller: [`crate::bounds::policy_text::scan`] limits the stack that the text needs.
//!   Parsing 32 nested brackets takes half a MiB in an unoptimized build.
//! - Invalid text of a caller: the text is parsed in pieces, each of one or more whole policies. For an
//!   invalid piece, the parser leaves a tree that may have as many levels as the piece has tokens. Dropping
//!   this tree takes 1 MiB of stack.
//! - Text of a recorded pack: it is not scanned, because the scan could refuse a pack that an older version
//!   of Sayso published when there were no limits. Such a version parsed its packs on a stack of 2 MiB, so
//!   this larger stack is enough.

use crate::bounds::error::BoundsError;
use crate::bounds::policy_text::scan;
use cedar_policy::{ParseErrors, Policy, PolicyId, PolicySet, Schema};
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Stack of a parser thread, bytes. Only the used part takes memory.
const STACK_BYTES: usize = 8 << 20;
/// Number of threads that parse text of callers at the same time, for all controllers together.
const PARSER_THREADS_MAX: usize = 2;
/// How long parsing and validating the policies of a caller may take, including the wait for a thread.
pub(crate) const READING_MAX: Duration = Duration::from_secs(10);

/// Where a text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From a caller: it is scanned, and waits for a free thread.
    Caller,
    /// From the log, so it was validated when it was published.
    Log,
}

/// Parses a text piece by piece; yields each piece's start byte and its policies.
pub(crate) struct Pieces<'a> {
    text: &'a str,
    pieces: std::vec::IntoIter<Range<usize>>,
}

impl<'a> Pieces<'a> {
    /// Splits a text into pieces.
    ///
    /// # Errors
    /// The text of a caller exceeds a limit.
    pub fn of(text: &'a str, source: Source) -> Result<Self, scan::LimitExceeded> {
        let pieces = match source {
            Source::Caller => scan::pieces(text)?,
            Source::Log => std::iter::once(0..text.len()).collect(),
        };
        Ok(Self { text, pieces: pieces.into_iter() })
    }
}

impl Iterator for Pieces<'_> {
    type Item = (usize, Result<PolicySet, ParseErrors>);

    fn next(&mut self) -> Option<Self::Item> {
        let piece = self.pieces.next()?;
        let start = piece.start;
        Some((start, PolicySet::from_str(self.text.get(piece).unwrap_or_default())))
    }
}

/// Parses Sayso's own policies: a constant, or the text that is generated from personal choices, which does
/// not nest.
pub(crate) fn trusted(text: &str) -> Result<PolicySet, String> {
    PolicySet::from_str(text).map_err(|error| error.to_string())
}

/// Parses one of Sayso's own policies.
pub(crate) fn trusted_policy(id: &str, text: &str) -> Result<Policy, String> {
    Policy::parse(Some(PolicyId::new(id)), text).map_err(|error| error.to_string())
}

/// Parses a schema, which is always Sayso's own.
pub(crate) fn trusted_schema(text: &str) -> Result<Schema, String> {
    let (schema, _warnings) = Schema::from_cedarschema_str(text).map_err(|error| error.to_string())?;
    Ok(schema)
}

/// The time by which a text that a caller offers now must be parsed and validated.
pub(crate) fn deadline() -> Instant {
    let now = Instant::now();
    now.checked_add(READING_MAX).unwrap_or(now)
}

/// Starts a thread with a large stack, runs a job there that parses policies, and waits for the job to end.
///
/// # Errors
/// No slot was free in time, the thread could not be started, or the job panicked.
pub(crate) fn on_deep_stack<T: Send>(
    source: Source,
    until: Instant,
    job: impl FnOnce() -> Result<T, BoundsError> + Send,
) -> Result<T, BoundsError> {
    let _slot = (source == Source::Caller).then(|| ParserSlot::take(until)).transpose()?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("policies".into()).stack_size(STACK_BYTES);
        let started = thread.spawn_scoped(scope, job).map_err(|_| BoundsError::Busy)?;
        started.join().unwrap_or(Err(BoundsError::Unreadable))
    })
}

/// The number of threads that are parsing text of callers, and the signal that one has finished.
static READING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// A slot for one parser thread; dropping it frees the slot.
struct ParserSlot;

impl ParserSlot {
    fn take(until: Instant) -> Result<Self, BoundsError> {
        let (reading, ended) = &READING;
        let mut now = reading.lock().unwrap_or_else(PoisonError::into_inner);
        while *now >= PARSER_THREADS_MAX {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(BoundsError::Busy);
            }
            now = ended.wait_timeout(now, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *now = now.saturating_add(1);
        Ok(Self)
    }
}

impl Drop for ParserSlot {
    fn drop(&mut self) {
        let (reading, ended) = &READING;
        let mut now = reading.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.saturating_sub(1);
        ended.notify_one();
    }
}
