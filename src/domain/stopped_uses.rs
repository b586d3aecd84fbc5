//! Tells whether signals of a person stop every use for a purpose.

use super::event::SignalKind;
use super::profile::SubjectState;
use super::stopped_purposes::{OPT_OUT, is_below};
use super::vocabulary::Vocabulary;

/// Whether a signal of the data subject stops every use for a purpose, whatever they consented to: an
/// objection, a restriction, a pause of all conversations, or an opt-out.
#[must_use]
pub fn is_stopped(state: &SubjectState, vocabulary: &Vocabulary, purpose: &str) -> bool {
    let ancestry = vocabulary.purpose_ancestry(purpose);
    let has_said = |kind| state.signal_against(kind, &ancestry).is_some();
    [SignalKind::Objection, SignalKind::Restriction, SignalKind::Pause].into_iter().any(has_said)
        || is_below(&OPT_OUT, &ancestry) && has_said(SignalKind::OptOut)
}
