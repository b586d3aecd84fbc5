//! Finds names in decisions and signals that match nothing recorded about the data subject, so that the
//! answer can point out a possible mistake.

use super::consent::{ConsentRecord, Decision};
use super::event::{Event, Role};
use super::narrowed_consents::would_narrow;
use super::profile::SubjectState;
use super::vocabulary::Vocabulary;
use std::collections::BTreeSet;

/// Something that a request names, but that matches nothing. The request is still accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmatched {
    /// Nothing was recorded about the data subject before the request.
    Subject,
    /// A refusal or withdrawal names this recipient. No decision, personal bound, grant, artifact or
    /// attribute of the data subject has this name. If the caller is a channel: no grant of any data subject
    /// has this name.
    Recipient(String),
    /// The withdrawal with this index, counted from 0, takes nothing away: no consent in force that the
    /// caller may see overlaps with it.
    Consent(u32),
    /// A lifting lifts no signal.
    Signal,
}

/// Decisions and signals of one request.
#[derive(Clone, Debug)]
pub struct Statements<'a> {
    /// The decisions and signals, in the order of the request. Other events are ignored.
    pub events: Vec<&'a Event>,
    /// When the data subject said it, milliseconds since the Unix epoch; not later than the sealing.
    pub said_ms: u64,
    /// When it was sealed, milliseconds since the Unix epoch.
    pub sealed_ms: u64,
}

/// What a caller may learn from what matches nothing.
#[derive(Clone, Debug)]
pub enum SeenBy {
    /// Everything.
    All,
    /// Nothing about other recipients of the data subject.
    Recipient {
        /// The name of the caller.
        name: String,
        /// The recipients in the request that no grant of any data subject names.
        unknown: BTreeSet<String>,
    },
}

impl SeenBy {
    /// Whether the caller may see a consent.
    fn sees(&self, record: &ConsentRecord) -> bool {
        match self {
            Self::All => true,
            Self::Recipient { name, .. } => record.concerns(name),
        }
    }
}

impl SubjectState {
    /// What these statements name without a match in this state, which is the state before them. Consents
    /// need no match.
    #[must_use]
    pub fn unmatched(
        &self,
        vocabulary: &Vocabulary,
        statements: &Statements<'_>,
        seen_by: &SeenBy,
    ) -> Vec<Unmatched> {
        let is_unknown = |name: &String| match seen_by {
            SeenBy::All => !self.has_seen(name),
            SeenBy::Recipient { unknown, .. } => unknown.contains(name),
        };
        let is_yes = |event: &Event| matches!(event, Event::Consent { decision, .. } if decision.is_yes());
        if self.version == 0 {
            let is_no = statements.events.iter().any(|event| !is_yes(event));
            return is_no.then_some(Unmatched::Subject).into_iter().collect();
        }
        let mut unmatched = BTreeSet::new();
        for (number, event) in (0_u32..).zip(&statements.events) {
            match event {
                Event::Consent { decision, terms } if !decision.is_yes() => {
                    let unknown = terms.recipients.iter().filter(|name| is_unknown(name));
                    unmatched.extend(unknown.map(|name| Unmatched::Recipient(name.clone())));
                    let (log, now_ms) = (&self.consents, statements.sealed_ms);
                    if *decision == Decision::Withdrawn
                        && !would_narrow(log, terms, vocabulary, now_ms, |yes| seen_by.sees(yes))
                    {
                        unmatched.insert(Unmatched::Consent(number));
                    }
                }
                Event::Signal { kind, purposes, lifted: true, interaction } => {
                    let is_lifted = self.signals.iter().any(|signal| {
                        signal.sealed_at_ms < statements.said_ms
                            && signal.is_lifted_by(*kind, purposes, interaction)
                    });
                    if !is_lifted {
                        unmatched.insert(Unmatched::Signal);
                    }
                }
                _ => {}
            }
        }
        unmatched.into_iter().collect()
    }

    /// Whether something recorded about the data subject has the name of this recipient.
    fn has_seen(&self, recipient: &str) -> bool {
        let wrote = self.attributes.values().any(|current| {
            matches!(current.actor.role, Role::Service | Role::Channel) && current.actor.name == recipient
        });
        wrote || self.ai_disclosed_by.contains(recipient) || self.knows_recipient(recipient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::default_vocabulary::default_vocabulary;
    use crate::domain::event::SignalKind;
    use crate::domain::histories::recorded;

    #[test]
    fn a_lifting_matches_a_signal_only_if_it_would_change_it() {
        let signal = |purposes: &[&str], lifted| Event::Signal {
            kind: SignalKind::Objection,
            purposes: purposes.iter().map(|&id| id.to_owned()).collect(),
            lifted,
            interaction: String::new(),
        };
        let state = SubjectState::fold(&[recorded(0, 1_000, signal(&[], false))]);
        let unmatched = |lifting: &Event, said_ms| {
            let statements = Statements { events: vec![lifting], said_ms, sealed_ms: 1_000 };
            state.unmatched(&default_vocabulary(), &statements, &SeenBy::All)
        };
        assert_eq!(unmatched(&signal(&["memory"], true), 1_001), [Unmatched::Signal]);
        for said_ms in [999, 1_000] {
            assert_eq!(unmatched(&signal(&[], true), said_ms), [Unmatched::Signal], "{said_ms}");
        }
        assert_eq!(unmatched(&signal(&[], true), 1_001), []);
    }
}
