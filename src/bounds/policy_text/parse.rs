//! The one door to Cedar's parser. Text of callers is scanned first, and read on a thread of its own.
//!
//! [`crate::bounds::policy_text::scan`] bounds what the trees of a valid text need: 32 brackets take half a MiB of stack to read in a build without
//! optimization. Of a text with an error the parser leaves a tree that may be as deep as a piece has tokens, and drops it, which
//! takes 1 MiB. Texts of recorded packs are not scanned, as older versions published without limits; those versions read
//! them on 2 MiB.

use crate::bounds::error::BoundsError;
use crate::bounds::policy_text::scan;
use cedar_policy::{ParseErrors, Policy, PolicyId, PolicySet, Schema};
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Stack of a thread that reads policies, bytes. Only what is used of it takes memory.
const STACK_BYTES: usize = 8 << 20;
/// Threads that read policies of callers at once, of all controllers.
const AT_ONCE_MAX: usize = 2;
/// How long policies of a caller may take to read and validate, waiting included.
pub(crate) const READING_MAX: Duration = Duration::from_secs(10);

/// Whose text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A caller offers it: it is scanned, and waits for its turn.
    Caller,
    /// It is in the log, so it was validated when it was published.
    Log,
}

/// Text of a caller or of the log as policies, piece by piece; with each piece where it begins.
pub(crate) struct Pieces<'a> {
    text: &'a str,
    pieces: std::vec::IntoIter<Range<usize>>,
}

impl<'a> Pieces<'a> {
    /// # Errors
    /// The text of a caller is beyond a limit.
    pub fn of(text: &'a str, source: Source) -> Result<Self, scan::Beyond> {
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

/// Policies that are ours: a constant, or what a person's choices are compiled to, in which nothing nests.
pub(crate) fn own(text: &str) -> Result<PolicySet, String> {
    PolicySet::from_str(text).map_err(|error| error.to_string())
}

/// One policy that is ours.
pub(crate) fn own_policy(id: &str, text: &str) -> Result<Policy, String> {
    Policy::parse(Some(PolicyId::new(id)), text).map_err(|error| error.to_string())
}

/// A schema, which is always ours.
pub(crate) fn own_schema(text: &str) -> Result<Schema, String> {
    let (schema, _warnings) = Schema::from_cedarschema_str(text).map_err(|error| error.to_string())?;
    Ok(schema)
}

/// When what a caller offers now must be read.
pub(crate) fn deadline() -> Instant {
    let now = Instant::now();
    now.checked_add(READING_MAX).unwrap_or(now)
}

/// Runs a job that reads policies on a thread with a stack that fits, and waits for it.
///
/// # Errors
/// There was no turn in time, or no thread.
pub(crate) fn on_deep_stack<T: Send>(
    source: Source,
    until: Instant,
    job: impl FnOnce() -> Result<T, BoundsError> + Send,
) -> Result<T, BoundsError> {
    let _turn = (source == Source::Caller).then(|| ParseTurn::take(until)).transpose()?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("policies".into()).stack_size(STACK_BYTES);
        let started = thread.spawn_scoped(scope, job).map_err(|_| BoundsError::Busy)?;
        started.join().unwrap_or(Err(BoundsError::Unreadable))
    })
}

/// Threads that read policies of callers now.
static READING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// One of the threads; ends when it is dropped.
struct ParseTurn;

impl ParseTurn {
    fn take(until: Instant) -> Result<Self, BoundsError> {
        let (reading, ended) = &READING;
        let mut now = reading.lock().unwrap_or_else(PoisonError::into_inner);
        while *now >= AT_ONCE_MAX {
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

impl Drop for ParseTurn {
    fn drop(&mut self) {
        let (reading, ended) = &READING;
        let mut now = reading.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.saturating_sub(1);
        ended.notify_one();
    }
}
