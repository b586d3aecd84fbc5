//! One consent decision of a data subject.

use super::consent_scope::{ConsentCase, ExpandedCase, Given};
use super::event::{Actor, ConsentTerms, Role};
use super::ids::EventId;
use super::notices::{NoticeVersions, RequiredVersion};
use super::vocabulary::Vocabulary;

/// A consent decision in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsentRecord {
    /// The event that recorded it.
    pub event_id: EventId,
    /// Position in the log.
    pub position: u64,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// When it was sealed (encrypted and signed for the log), milliseconds since the Unix epoch. If a yes and
    /// a no were sealed at the same time, the no wins.
    pub sealed_at_ms: u64,
    /// The time that the writer says the data subject decided, milliseconds since the Unix epoch.
    pub about_ms: u64,
    /// What the data subject decided.
    pub decision: Decision,
    /// The scope and conditions of the decision.
    pub terms: ConsentTerms,
    /// Who recorded it.
    pub actor: Actor,
}

impl ConsentRecord {
    /// Whether a decision concerns a service: it may apply to the service's use, or the service recorded it.
    #[must_use]
    pub fn concerns(&self, service: &str) -> bool {
        let recipients = &self.terms.recipients;
        recipients.is_empty()
            || recipients.iter().any(|named| named == service)
            || self.was_recorded_by(service)
    }

    /// The decision as a service may see it. If another caller recorded the decision, the names of other
    /// recipients and of the recorder are removed.
    #[must_use]
    pub fn shown_to(mut self, service: &str) -> Self {
        if !self.was_recorded_by(service) {
            self.terms.recipients.retain(|named| named == service);
            self.actor.name.clear();
        }
        self
    }

    fn was_recorded_by(&self, service: &str) -> bool {
        matches!(self.actor.role, Role::Service | Role::Channel) && self.actor.name == service
    }

    pub(super) fn is_before_its_end(&self, now_ms: u64) -> bool {
        self.terms.until_ms.is_none_or(|until| now_ms < until)
    }

    /// When the data subject said this, milliseconds since the Unix epoch. A consent counts from the time
    /// that it states, but no later than when it was sealed. A refusal or withdrawal counts from when it was
    /// sealed. A consent therefore undoes no refusal or withdrawal that was sealed after the consent was
    /// said.
    #[must_use]
    pub fn said_ms(&self) -> u64 {
        if self.decision.is_yes() { self.about_ms.min(self.sealed_at_ms) } else { self.sealed_at_ms }
    }

    /// The required version of a notice because of which this consent does not count; `None` if it counts. A
    /// refusal or withdrawal always counts, no matter which notice it names.
    #[must_use]
    pub fn outdated<'a>(&self, notices: &'a NoticeVersions) -> Option<&'a RequiredVersion> {
        notices.outdated(self.terms.notice.as_ref().filter(|_| self.decision.is_yes())?)
    }

    /// Since when this consent does not cover a case, because its words mean something else, milliseconds
    /// since the Unix epoch; `None` if it covers the case.
    #[must_use]
    pub fn words_changed_ms(&self, vocabulary: &Vocabulary, case: &ConsentCase<'_>) -> Option<u64> {
        ExpandedCase::new(vocabulary, *case).words_changed_ms(&self.terms, self.given())
    }

    /// When this consent was given, which decides what its words mean.
    #[must_use]
    pub fn given(&self) -> Given {
        let (said_ms, sealed_ms) = (self.said_ms(), self.sealed_at_ms);
        Given { said_ms, sealed_ms, position: self.position, despite_meanings: false }
    }

    /// Whether this consent was given after another consent.
    pub(super) fn is_after(&self, other: &Self) -> bool {
        (self.said_ms(), self.position) > (other.said_ms(), other.position)
    }
}

/// What a data subject decided about consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Consent was given.
    Given,
    /// Consent was refused.
    Refused,
    /// Consent was renewed.
    Renewed,
    /// Consent was withdrawn.
    Withdrawn,
}

impl Decision {
    /// Whether the decision is a yes.
    #[must_use]
    pub fn is_yes(self) -> bool {
        matches!(self, Self::Given | Self::Renewed)
    }
}
