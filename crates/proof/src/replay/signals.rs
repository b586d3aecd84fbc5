//! Signals of a data subject: restrictions, pauses, objections and opt-outs, and what lifts them.

use super::fault::Fault;
use super::subject::Subject;
use super::vocabulary::WordsInForce;
use crate::event::SignalKind;

/// An opt-out stops uses for these purposes and those below them.
const OPT_OUT_STOPS: [&str; 2] = ["advertising", "data-sale"];

pub(super) struct Signal {
    pub kind: SignalKind,
    pub purposes: Vec<String>,
    /// The only conversation that the signal concerns. Empty means all conversations.
    pub interaction: String,
    /// True if the signal was recorded, false if it was lifted.
    pub recorded: bool,
    /// For a signal, when it was recorded. For a lifting, the time that it states, but no later than its
    /// sealing. Both are in milliseconds since the Unix epoch.
    pub said_at_ms: u64,
}

impl Subject {
    /// The fault of a signal in force that forbids the purpose, in all conversations or in this one.
    pub fn signal_against(
        &self,
        purpose: &str,
        interaction: &str,
        can_be_objected_to: bool,
        vocabulary: WordsInForce<'_>,
    ) -> Option<Fault> {
        let kinds = [
            (SignalKind::Restriction, Fault::Restricted),
            (SignalKind::Pause, Fault::Paused),
            (SignalKind::Objection, Fault::Objected),
        ];
        let is_in_force = |kind| self.is_in_force(kind, purpose, interaction, vocabulary);
        let mut kinds =
            kinds.into_iter().filter(|(kind, _)| *kind != SignalKind::Objection || can_be_objected_to);
        let fault = kinds.find(|(kind, _)| is_in_force(*kind)).map(|(_, fault)| fault);
        // Before edition 3, the effect of an opt-out depended on published bounds alone.
        let purposes = vocabulary.purpose_ancestry(purpose);
        let is_stopped = vocabulary.edition() >= 3 && OPT_OUT_STOPS.iter().any(|id| purposes.contains(id));
        fault.or_else(|| (is_stopped && is_in_force(SignalKind::OptOut)).then_some(Fault::OptedOut))
    }

    /// Whether a signal of this kind about the purpose is in force, in all conversations or in this one.
    pub(super) fn is_in_force(
        &self,
        kind: SignalKind,
        purpose: &str,
        interaction: &str,
        vocabulary: WordsInForce<'_>,
    ) -> bool {
        let purposes = vocabulary.purpose_ancestry(purpose);
        let concerns = |signal: &Signal| signal.interaction.is_empty() || signal.interaction == interaction;
        let mut later = self.signals.iter();
        while let Some(signal) = later.next() {
            if signal.recorded
                && signal.kind == kind
                && concerns(signal)
                && still_covers(signal, later.clone(), &purposes)
            {
                return true;
            }
        }
        false
    }
}

/// Whether a signal covers any of these purposes after the liftings in `later`.
///
/// A lifting without purposes lifts every signal of its kind. A lifting with purposes takes these
/// purposes out of each signal that names them. It has no effect on a signal without purposes, which
/// covers all of them. A lifting that names a conversation affects only signals about that conversation.
/// A lifting that states a time before the signal was recorded lifts nothing.
fn still_covers<'a>(signal: &Signal, later: impl Iterator<Item = &'a Signal>, purposes: &[&str]) -> bool {
    let lifts = |other: &&Signal| {
        let concerns = other.interaction.is_empty() || other.interaction == signal.interaction;
        let is_later = other.said_at_ms >= signal.said_at_ms;
        !other.recorded && other.kind == signal.kind && concerns && is_later
    };
    let liftings: Vec<&Signal> = later.filter(lifts).collect();
    if liftings.iter().any(|lifting| lifting.purposes.is_empty()) {
        return false;
    }
    let covers = |purpose: &String| {
        purposes.contains(&purpose.as_str())
            && !liftings.iter().any(|lifting| lifting.purposes.contains(purpose))
    };
    signal.purposes.is_empty() || signal.purposes.iter().any(covers)
}
