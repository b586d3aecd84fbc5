//! Counts what happened to each line of an import (recorded, refused, forbidden by the bounds), and prints
//! the result. Also says which moment each date without a time became.

use super::super::error::CliError;
use super::super::output::{Out, count, int64};
use crate::proto::RecordStreamResponse;
use crate::proto::record_stream_response::Outcome;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Largest number of refused lines whose reasons are kept. The same limit applies to lines that the
/// bounds forbid. Further lines are counted, but their reasons are not kept.
const REASONS_MAX: usize = 1_000;
/// Largest number of import lines with the same outcome, such as refused, that the text output lists.
const SHOWN_MAX: usize = 20;

/// Lines about which there is something to say: those refused by this command or by the daemon, with the
/// reason, or those with a date without a time, with the moment that it became.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub count: u64,
    /// What there is to say about each line, by line number. At most [`REASONS_MAX`] lines.
    pub reasons: BTreeMap<u64, String>,
}

impl Noted {
    pub fn add(&mut self, line: u64, reason: String) {
        self.count = self.count.saturating_add(1);
        if self.reasons.len() < REASONS_MAX {
            self.reasons.insert(line, reason);
        }
    }
}

/// State shared by the command, the thread that reads the lines, and the stream that sends them.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub refused: Mutex<Noted>,
    /// Messages handed to the stream.
    pub sent: AtomicU64,
    /// Lines whose time of observation is a date without a time.
    pub dates: Mutex<Noted>,
    /// Whether the reader must stop.
    pub stopped: AtomicBool,
}

impl Shared {
    pub fn refused(&self) -> MutexGuard<'_, Noted> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn dates(&self) -> MutexGuard<'_, Noted> {
        self.dates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The daemon's answers, counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub recorded: u64,
    /// Lines that an earlier import recorded.
    pub already: u64,
    /// Lines that the bounds forbid, which is not a failure.
    pub forbidden: u64,
    /// Reasons by line number, at most [`REASONS_MAX`].
    pub forbidden_reasons: BTreeMap<u64, String>,
    /// For lines with a new attribute key: an existing key with which it could be confused, by line
    /// number. At most [`REASONS_MAX`].
    pub similar_keys: BTreeMap<u64, String>,
    pub answered: u64,
}

impl Tally {
    /// Counts the daemon's answer to one line. Returns false if the line was refused for a reason
    /// other than the bounds.
    pub fn add(&mut self, answer: RecordStreamResponse, refused: &mut Noted) -> bool {
        self.answered = self.answered.saturating_add(1);
        if let Some(similar) =
            answer.similar_keys.into_iter().next().filter(|_| self.similar_keys.len() < REASONS_MAX)
        {
            self.similar_keys.insert(answer.sequence, similar.key);
        }
        match answer.outcome {
            Some(Outcome::Receipt(receipt)) if receipt.replayed => {
                self.already = self.already.saturating_add(1)
            }
            Some(Outcome::Receipt(_)) => self.recorded = self.recorded.saturating_add(1),
            Some(Outcome::Error(error)) if error.reason == "RECORDING_REFUSED" => {
                self.forbidden = self.forbidden.saturating_add(1);
                if self.forbidden_reasons.len() < REASONS_MAX {
                    self.forbidden_reasons.insert(answer.sequence, error.message);
                }
            }
            Some(Outcome::Error(error)) => {
                refused.add(answer.sequence, error.message);
                return false;
            }
            None => {
                refused.add(answer.sequence, "the daemon sent no outcome".into());
                return false;
            }
        }
        true
    }

    /// Prints the report.
    pub fn print(&self, shared: &Shared, out: Out) -> Result<(), CliError> {
        let unacknowledged = shared.sent.load(Ordering::Relaxed).saturating_sub(self.answered);
        let dates = shared.dates();
        let refused = shared.refused();
        let listed = |reasons: &BTreeMap<u64, String>| -> Value {
            reasons
                .iter()
                .map(|(line, message)| serde_json::json!({ "line": int64(*line), "message": message }))
                .collect()
        };
        let similar_keys: Value = self
            .similar_keys
            .iter()
            .map(|(line, key)| serde_json::json!({ "line": int64(*line), "existingKey": key }))
            .collect();
        let value = serde_json::json!({
            "recorded": int64(self.recorded),
            "alreadyRecorded": int64(self.already),
            "refused": listed(&refused.reasons),
            "refusedCount": int64(refused.count),
            "forbidden": listed(&self.forbidden_reasons),
            "forbiddenCount": int64(self.forbidden),
            "unacknowledged": int64(unacknowledged),
            "datesWithoutTime": int64(dates.count),
            "dates": listed(&dates.reasons),
            "similarKeys": similar_keys,
        });
        let mut text = format!(
            "recorded {}, already recorded {}, refused {}",
            self.recorded, self.already, refused.count
        );
        if self.forbidden > 0 {
            text.push_str(&format!(", forbidden by bounds {}", self.forbidden));
        }
        for (line, message) in self.forbidden_reasons.iter().take(SHOWN_MAX) {
            text.push_str(&format!("\nline {line}: {message}"));
        }
        for (line, message) in refused.reasons.iter().take(SHOWN_MAX) {
            text.push_str(&format!("\nline {line}: {message}"));
        }
        if refused.count > SHOWN_MAX as u64 {
            text.push_str("\n... and more; --json lists up to 1000");
        }
        for (line, key) in self.similar_keys.iter().take(SHOWN_MAX) {
            text.push_str(&format!("\nline {line}: its key is new and looks like the existing key `{key}`"));
        }
        if dates.count > 0 {
            let dates = count(dates.count, "date");
            text.push_str(&format!(
                "\n{dates} without a time: taken as the beginning of that day in its zone"
            ));
        }
        for (line, moment) in dates.reasons.iter().take(SHOWN_MAX) {
            text.push_str(&format!("\nline {line}: {moment}"));
        }
        if dates.count > SHOWN_MAX as u64 {
            text.push_str("\n... and more; --json lists up to 1000");
        }
        out.print_value(&value, &text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::proto::{Receipt, StreamError};

    fn answer(sequence: u64, outcome: Option<Outcome>) -> RecordStreamResponse {
        RecordStreamResponse { sequence, outcome, similar_keys: Vec::new() }
    }

    #[test]
    fn answers_are_counted_by_outcome() {
        let (mut tally, mut refused) = (Tally::default(), Noted::default());
        let replayed = Receipt { replayed: true, ..Default::default() };
        assert!(tally.add(answer(1, Some(Outcome::Receipt(Receipt::default()))), &mut refused));
        assert!(tally.add(answer(2, Some(Outcome::Receipt(replayed))), &mut refused));
        let error = StreamError { message: "no".into(), ..Default::default() };
        assert!(!tally.add(answer(3, Some(Outcome::Error(error))), &mut refused));
        assert!(!tally.add(answer(4, None), &mut refused));
        assert_eq!((tally.recorded, tally.already, tally.answered, refused.count), (1, 1, 4, 2));
    }

    #[test]
    fn the_number_of_kept_reasons_is_limited() {
        let mut refused = Noted::default();
        (0..2_000).for_each(|line| refused.add(line, "no".into()));
        assert_eq!((refused.count, refused.reasons.len()), (2_000, REASONS_MAX));
    }
}
