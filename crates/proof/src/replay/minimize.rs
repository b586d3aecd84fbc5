//! Reduces an event to the fields that later checks depend on. Everything else is removed, such as evidence
//! and the texts of notices. Each value is replaced by a hash whose random key exists only in this run of the
//! program. So equal values stay recognizable, and nothing can be compared with guesses.

use crate::event::event_body::Event;
use crate::event::*;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::LazyLock;

/// Returns the minimized event; none if no check depends on it.
pub(crate) fn minimize(event: Event) -> Option<Event> {
    match minimize_each_kind(event) {
        ControlFlow::Break(minimized) => Some(minimized),
        ControlFlow::Continue(_) => None,
    }
}

/// Breaks with the minimized event, and continues with an event that is not needed.
fn minimize_each_kind(event: Event) -> ControlFlow<Event, Event> {
    let event = about_attributes(event)?;
    let event = about_consent(event)?;
    let event = about_grants(event)?;
    let event = about_requests(event)?;
    let event = about_rules(event)?;
    only_needed(event)
}

/// Breaks with the minimized event if it is about attributes. The functions below do the same for others.
fn about_attributes(event: Event) -> ControlFlow<Event, Event> {
    ControlFlow::Break(match event {
        Event::AttributeRecorded(recorded) => {
            Event::AttributeRecorded(AttributeRecorded { attribute: recorded.attribute.map(attribute) })
        }
        Event::EarlierAttributeRecorded(recorded) => {
            Event::EarlierAttributeRecorded(EarlierAttributeRecorded {
                attribute: recorded.attribute.map(attribute),
            })
        }
        Event::AttributeCorrected(corrected) => Event::AttributeCorrected(AttributeCorrected {
            corrects: corrected.corrects,
            attribute: corrected.attribute.map(attribute),
        }),
        Event::AttributeRemoved(removed) => Event::AttributeRemoved(AttributeRemoved {
            attribute: removed.attribute,
            ..AttributeRemoved::default()
        }),
        Event::AttributeExpired(expired) => Event::AttributeExpired(AttributeExpired {
            attribute: expired.attribute,
            ..AttributeExpired::default()
        }),
        Event::AttributeContested(contested) => Event::AttributeContested(AttributeContested {
            attribute: contested.attribute,
            ..AttributeContested::default()
        }),
        Event::SubjectDescribed(described) => Event::SubjectDescribed(subject_described(&described)),
        // Later checks need to know only that it was recorded.
        Event::RecordingRefused(_) => Event::RecordingRefused(RecordingRefused::default()),
        other => return ControlFlow::Continue(other),
    })
}

fn about_consent(event: Event) -> ControlFlow<Event, Event> {
    ControlFlow::Break(match event {
        Event::ConsentGiven(given) => Event::ConsentGiven(ConsentGiven { terms: given.terms.map(terms) }),
        Event::ConsentRenewed(renewed) => {
            Event::ConsentRenewed(ConsentRenewed { terms: renewed.terms.map(terms) })
        }
        Event::ConsentRefused(refused) => {
            Event::ConsentRefused(ConsentRefused { terms: refused.terms.map(terms) })
        }
        Event::ConsentWithdrawn(withdrawn) => {
            Event::ConsentWithdrawn(ConsentWithdrawn { terms: withdrawn.terms.map(terms) })
        }
        Event::ConsentRequested(requested) => {
            Event::ConsentRequested(ConsentRequested { terms: requested.terms.map(terms) })
        }
        other => return ControlFlow::Continue(other),
    })
}

fn about_grants(event: Event) -> ControlFlow<Event, Event> {
    ControlFlow::Break(match event {
        Event::GrantIssued(grant) => {
            let withheld = grant.withheld.into_iter().map(withheld).collect();
            Event::GrantIssued(GrantIssued { withheld, ..grant })
        }
        Event::GrantUsed(used) => Event::GrantUsed(GrantUsed {
            grant: used.grant,
            shaped_by: used.shaped_by,
            ..GrantUsed::default()
        }),
        Event::ArtifactRegistered(artifact) => {
            Event::ArtifactRegistered(ArtifactRegistered { name: String::new(), ..artifact })
        }
        other => return ControlFlow::Continue(other),
    })
}

fn about_requests(event: Event) -> ControlFlow<Event, Event> {
    ControlFlow::Break(match event {
        Event::RequestSubmitted(submitted) => Event::RequestSubmitted(RequestSubmitted {
            request: submitted.request,
            ..RequestSubmitted::default()
        }),
        Event::RequestDecided(decided) => {
            let erasure = decided.erasure.map(|of| ErasureSummary { scope: of.scope, ..Default::default() });
            let RequestDecided { request, outcome, .. } = decided;
            Event::RequestDecided(RequestDecided { request, outcome, erasure, ..Default::default() })
        }
        Event::RequestExtended(extended) => Event::RequestExtended(RequestExtended {
            request: extended.request,
            ..RequestExtended::default()
        }),
        Event::HoldPlaced(placed) => {
            Event::HoldPlaced(HoldPlaced { hold: placed.hold, ..HoldPlaced::default() })
        }
        Event::HoldLifted(lifted) => {
            Event::HoldLifted(HoldLifted { hold: lifted.hold, ..HoldLifted::default() })
        }
        // Later checks need to know only that it was recorded.
        Event::RecordViewed(_) => Event::RecordViewed(RecordViewed::default()),
        Event::RecipientsKept(_) => Event::RecipientsKept(RecipientsKept::default()),
        other => return ControlFlow::Continue(other),
    })
}

fn about_rules(event: Event) -> ControlFlow<Event, Event> {
    ControlFlow::Break(match event {
        Event::BoundsPublished(bounds) => Event::BoundsPublished(BoundsPublished {
            tier: bounds.tier,
            pack: bounds.pack,
            effective_from_ms: bounds.effective_from_ms,
            ..BoundsPublished::default()
        }),
        Event::PurposeDefined(purpose) => {
            Event::PurposeDefined(PurposeDefined { risks: Vec::new(), benefits: Vec::new(), ..purpose })
        }
        Event::CategoryDefined(category) => {
            Event::CategoryDefined(CategoryDefined { risks: Vec::new(), benefits: Vec::new(), ..category })
        }
        Event::NoticePublished(published) => Event::NoticePublished(NoticePublished {
            notice: published.notice.map(notice),
            ..NoticePublished::default()
        }),
        Event::BackupRestored(restored) => Event::BackupRestored(backup_restored(restored)),
        other => return ControlFlow::Continue(other),
    })
}

/// An event that has only fields that are needed.
fn only_needed(event: Event) -> ControlFlow<Event, Event> {
    match event {
        Event::RestoreConfirmed(_)
        | Event::DecisionRulesAdopted(_)
        | Event::NoticeRequired(_)
        | Event::AttributeConfirmed(_)
        | Event::AttributeSourcesAdded(_)
        | Event::SignalRecorded(_)
        | Event::SignalLifted(_)
        | Event::ErasureRefused(_)
        | Event::RequestWithdrawn(_)
        | Event::GrantGivenAgain(_)
        | Event::GrantRevoked(_)
        | Event::RevocationsPending(_)
        | Event::ArtifactInvalidated(_)
        | Event::ConsentExpired(_)
        | Event::ErasureRequested(_)
        | Event::AccessProvided(_)
        | Event::PersonalBoundsSet(_) => ControlFlow::Break(event),
        other => ControlFlow::Continue(other),
    }
}

fn backup_restored(restored: BackupRestored) -> BackupRestored {
    let BackupRestored { restore, use_waits, .. } = restored;
    BackupRestored { restore, use_waits, ..BackupRestored::default() }
}

fn subject_described(described: &SubjectDescribed) -> SubjectDescribed {
    let SubjectDescribed { age_band, born, .. } = described;
    SubjectDescribed { age_band: *age_band, born: born.clone(), ..SubjectDescribed::default() }
}

/// Random, so that a guessed value can't be compared with its hash.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn attribute(attribute: Attribute) -> Attribute {
    Attribute {
        key: attribute.key,
        value_json: HASHER.hash_one(attribute.value_json).to_string(),
        category: attribute.category,
        provenance: attribute.provenance,
        derived_from: attribute.derived_from,
        observed_at_ms: attribute.observed_at_ms,
        expires_at_ms: attribute.expires_at_ms,
        ..Attribute::default()
    }
}

fn withheld(class: WithheldClass) -> WithheldClass {
    // Built-in policies are the only ones that are compared.
    let policy = Some(class.policy).filter(|policy| policy.starts_with("built-in/")).unwrap_or_default();
    WithheldClass { policy, article: String::new(), ..class }
}

fn notice(notice: NoticeRef) -> NoticeRef {
    NoticeRef { language: String::new(), ..notice }
}

fn terms(terms: ConsentTerms) -> ConsentTerms {
    ConsentTerms {
        purposes: terms.purposes,
        categories: terms.categories,
        recipients: terms.recipients,
        explicit: terms.explicit,
        notice: terms.notice.map(notice),
        until_ms: terms.until_ms,
        interactions: terms.interactions,
        ..ConsentTerms::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    /// Marks the content that must be removed.
    const CANARY: &str = "canary";

    fn terms_with_canary() -> Option<ConsentTerms> {
        let text = || CANARY.to_owned();
        let version = "kept".to_owned();
        let notice = NoticeRef { id: version.clone(), version, language: text(), digest: vec![0; 32] };
        Some(ConsentTerms { channel: text(), notice: Some(notice), ..ConsentTerms::default() })
    }

    #[test]
    fn values_evidence_and_texts_of_notices_are_removed() {
        let text = || CANARY.to_owned();
        let attribute = Some(Attribute {
            key: "kept".to_owned(),
            value_json: text(),
            evidence: vec![text()],
            model: text(),
            from_replies: vec![text()],
            ..Attribute::default()
        });
        let category = "kept".to_owned();
        let withheld =
            vec![WithheldClass { category, policy: text(), article: text(), ..WithheldClass::default() }];
        let events = [
            Event::AttributeRecorded(AttributeRecorded { attribute: attribute.clone() }),
            Event::AttributeCorrected(AttributeCorrected { attribute, ..AttributeCorrected::default() }),
            Event::AttributeRemoved(AttributeRemoved { reason: text(), ..AttributeRemoved::default() }),
            Event::AttributeContested(AttributeContested { reason: text(), ..AttributeContested::default() }),
            Event::ConsentGiven(ConsentGiven { terms: terms_with_canary() }),
            Event::ConsentRenewed(ConsentRenewed { terms: terms_with_canary() }),
            Event::ConsentRefused(ConsentRefused { terms: terms_with_canary() }),
            Event::ConsentWithdrawn(ConsentWithdrawn { terms: terms_with_canary() }),
            Event::GrantIssued(GrantIssued { withheld, ..GrantIssued::default() }),
            Event::GrantUsed(GrantUsed { reply: text(), ..GrantUsed::default() }),
            Event::ArtifactRegistered(ArtifactRegistered { name: text(), ..ArtifactRegistered::default() }),
            Event::RequestSubmitted(RequestSubmitted { details: text(), ..RequestSubmitted::default() }),
            Event::RequestDecided(RequestDecided { reason: text(), ..RequestDecided::default() }),
            Event::RecordViewed(RecordViewed { name: text(), ..RecordViewed::default() }),
            Event::RecordingRefused(RecordingRefused { category: text(), ..RecordingRefused::default() }),
            Event::HoldPlaced(HoldPlaced { text: text(), ..HoldPlaced::default() }),
            Event::BoundsPublished(BoundsPublished { policies: text(), ..BoundsPublished::default() }),
            Event::NoticePublished(NoticePublished { text: text(), ..NoticePublished::default() }),
        ];
        for event in events {
            let body = |event| EventBody { event, ..EventBody::default() }.encode_to_vec();
            let contains =
                |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|part| part == word.as_bytes());
            let original = body(Some(event.clone()));
            assert!(contains(&original, CANARY), "{event:?}");
            let minimized = body(minimize(event.clone()));
            assert!(!contains(&minimized, CANARY), "{event:?}");
            assert_eq!(contains(&minimized, "kept"), contains(&original, "kept"), "{event:?}");
        }
        let exported = AuditExported { auditor: text(), ..AuditExported::default() };
        assert_eq!(minimize(Event::AuditExported(exported)), None);
    }
}
