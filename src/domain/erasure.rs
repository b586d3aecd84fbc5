//! Selects the events that an erasure destroys. The selection is a pure function, so tests can run it over
//! any history.
//!
//! A partial erasure destroys every event that records, changes, cites or names the erased data. It also
//! destroys everything that was directly or indirectly derived from that data. Erasure never revives data: if
//! an attribute's replacement is erased, the replaced attribute does not become current again. The data
//! subject's decisions are kept, so that an erasure never allows more use.

mod closure;
mod limits;
mod scope;
mod selection;
#[cfg(test)]
mod tests;

pub use limits::{Limits, REREAD_STEPS, TooLarge};
pub use scope::Scope;
pub use selection::Selection;

use super::event::{Event, PositionRange, Recorded};
use super::request::RequestKind;
use super::rights::Hold;
use super::vocabulary::Vocabulary;
use closure::Closure;

/// Selects the events to erase from a data subject's whole history, which is given oldest first. `holds` are
/// the legal holds in force; a hold that covers all data leaves nothing to erase. Events that cite erased
/// data are erased too. So an event that must survive a partial erasure, such as the caller's own event about
/// the erasure, must not cite erased data.
///
/// # Errors
/// The selection would be more work than `limits` allow. Everything, and the whole profile if no hold is in
/// force, can always be selected, because for these nothing has to be followed. The limits do not apply to
/// what is at the end of its retention: no one could name another scope, and it must not stay.
pub fn select(
    history: &[Recorded],
    scope: &Scope,
    holds: &[Hold],
    vocabulary: &Vocabulary,
    limits: Limits,
) -> Result<Selection, TooLarge> {
    let is_unlimited = match scope {
        Scope::Versions(_) => true,
        Scope::Profile => holds.is_empty(),
        Scope::All | Scope::Key(_) | Scope::Category(_) | Scope::Content(_) => false,
    };
    let limits = if is_unlimited { Limits::none() } else { limits };
    if *scope == Scope::All && holds.is_empty() {
        let mut closure = Closure::new(&[], scope, holds, vocabulary, limits)?;
        closure.take_everything(history);
        return Ok(closure.selection());
    }
    let mut closure = Closure::new(history, scope, holds, vocabulary, limits)?;
    closure.run()?;
    Ok(closure.selection())
}

/// Whether a selection from this history has more than requests for erasure and their outcomes.
#[must_use]
pub fn erases_data(history: &[Recorded], selection: &Selection) -> bool {
    let is_request = |event: &Event| match event {
        Event::RequestSubmitted(submitted) => submitted.kind == RequestKind::Erasure,
        Event::RequestDecided(decided) => decided.kind == RequestKind::Erasure,
        Event::ErasureRefused(_) => true,
        _ => false,
    };
    let is_selected = |event: &&Recorded| selection.versions.binary_search(&event.version).is_ok();
    history.iter().filter(is_selected).any(|event| !is_request(&event.event))
}

/// Groups ascending positions into ranges.
#[must_use]
pub fn ranges(positions: &[u64]) -> Vec<PositionRange> {
    let mut ranges: Vec<PositionRange> = Vec::new();
    for position in positions {
        match ranges.last_mut() {
            Some(last) if last.last.checked_add(1) == Some(*position) => last.last = *position,
            _ => ranges.push(PositionRange { first: *position, last: *position }),
        }
    }
    ranges
}
