//! Signals of a data subject: restrictions, pauses, objections and opt-outs, and what lifts them.

use super::fault::Fault;
use super::vocabulary::WordsInForce;
use crate::event::SignalKind;
use std::collections::HashMap;

/// An opt-out stops uses for these purposes and those below them.
const OPT_OUT_STOPS: [&str; 2] = ["advertising", "data-sale"];

/// What one signal or lifting is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Matter {
    kind: i32,
    /// One conversation. Empty means all conversations.
    interaction: String,
    /// None means all purposes.
    purpose: Option<String>,
}

/// A signal or lifting that was recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statement {
    /// For a signal, when it was recorded. For a lifting, the time up to which signals may have been recorded
    /// that it lifts. Both are in milliseconds since the Unix epoch.
    pub said_at_ms: u64,
    pub position: u64,
}

/// Every signal and lifting of a data subject.
#[derive(Default)]
pub(super) struct Signals {
    /// The newest signal of each matter. It outlasts the earlier ones.
    // Unordered: looked up, never iterated.
    recorded: HashMap<Matter, Statement>,
    /// The liftings of each matter in order of position. A lifting is left out if a later one states the same
    /// or a later time.
    // Unordered: looked up, never iterated.
    lifted: HashMap<Matter, Vec<Statement>>,
}

impl Signals {
    /// Records a signal. One with several purposes means the same as one signal for each.
    pub fn record(&mut self, kind: SignalKind, purposes: &[String], interaction: &str, signal: Statement) {
        for matter in matters(kind, purposes, interaction) {
            self.recorded.insert(matter, signal);
        }
    }

    /// Lifts signals.
    ///
    /// A lifting without purposes lifts every signal of its kind. A lifting with purposes takes these
    /// purposes out of each signal that names them. It has no effect on a signal without purposes, which
    /// covers all of them. A lifting that names a conversation affects only signals about that conversation.
    /// A lifting that states a time before the signal was recorded lifts nothing.
    pub fn lift(&mut self, kind: SignalKind, purposes: &[String], interaction: &str, lifting: Statement) {
        for matter in matters(kind, purposes, interaction) {
            let liftings = self.lifted.entry(matter).or_default();
            while liftings.last().is_some_and(|last| last.said_at_ms <= lifting.said_at_ms) {
                liftings.pop();
            }
            liftings.push(lifting);
        }
    }

    /// The fault of a signal in force that forbids the purpose, in all conversations or in this one, and the
    /// position of the signal.
    pub fn against(
        &self,
        purpose: &str,
        interaction: &str,
        can_be_objected_to: bool,
        vocabulary: WordsInForce<'_>,
    ) -> Option<(Fault, u64)> {
        if self.recorded.is_empty() {
            return None;
        }
        // Before edition 3, the effect of an opt-out depended on published bounds alone.
        let purposes = vocabulary.purpose_ancestry(purpose);
        let is_stopped = vocabulary.edition() >= 3 && OPT_OUT_STOPS.iter().any(|id| purposes.contains(id));
        let kinds = [
            (SignalKind::Restriction, Fault::Restricted, true),
            (SignalKind::Pause, Fault::Paused, true),
            (SignalKind::Objection, Fault::Objected, can_be_objected_to),
            (SignalKind::OptOut, Fault::OptedOut, is_stopped),
        ];
        let counting = kinds.into_iter().filter(|(_, _, counts)| *counts);
        let mut found = counting.filter_map(|(kind, fault, _)| {
            Some((fault, self.in_force(kind, purpose, interaction, vocabulary)?))
        });
        found.next()
    }

    /// The position of the newest signal in force of this kind about the purpose, in all conversations or in
    /// this one.
    pub fn in_force(
        &self,
        kind: SignalKind,
        purpose: &str,
        interaction: &str,
        vocabulary: WordsInForce<'_>,
    ) -> Option<u64> {
        if self.recorded.is_empty() {
            return None;
        }
        let purposes = vocabulary.purpose_ancestry(purpose);
        let purposes = || purposes.iter().map(|id| Some((*id).to_owned())).chain([None]);
        let interactions = ["", interaction].map(str::to_owned).into_iter();
        let kind = i32::from(kind);
        let matters = interactions.flat_map(|interaction| {
            let about = move |purpose| Matter { kind, interaction: interaction.clone(), purpose };
            purposes().map(about).collect::<Vec<_>>()
        });
        let standing = matters.filter_map(|matter| {
            let signal = self.recorded.get(&matter)?;
            (!self.is_lifted(matter, *signal)).then_some(signal.position)
        });
        standing.max()
    }

    fn is_lifted(&self, matter: Matter, signal: Statement) -> bool {
        let everywhere = Matter { interaction: String::new(), ..matter.clone() };
        let wholly =
            [Matter { purpose: None, ..matter.clone() }, Matter { purpose: None, ..everywhere.clone() }];
        wholly.into_iter().chain([matter, everywhere]).any(|matter| {
            let liftings = self.lifted.get(&matter).map_or(&[][..], Vec::as_slice);
            // Of the later liftings that were kept, the first one states the latest time.
            let first = liftings.partition_point(|lifting| lifting.position <= signal.position);
            liftings.get(first).is_some_and(|lifting| lifting.said_at_ms >= signal.said_at_ms)
        })
    }
}

/// One matter for each purpose, or one for all purposes if none is named.
fn matters(kind: SignalKind, purposes: &[String], interaction: &str) -> Vec<Matter> {
    let about = |purpose: Option<&String>| Matter {
        kind: kind.into(),
        interaction: interaction.to_owned(),
        purpose: purpose.cloned(),
    };
    if purposes.is_empty() { vec![about(None)] } else { purposes.iter().map(Some).map(about).collect() }
}
