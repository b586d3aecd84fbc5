//! Reduces an event to the fields that grants depend on. Values, evidence and the texts of notices are
//! removed.

use crate::event::event_body::Event;
use crate::event::*;

/// Returns the minimized event; none if grants do not depend on it.
pub(crate) fn minimize(event: Event) -> Option<Event> {
    let minimized = match event {
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
        Event::GrantIssued(grant) => Event::GrantIssued(GrantIssued { withheld: Vec::new(), ..grant }),
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
        Event::SubjectDescribed(described) => Event::SubjectDescribed(subject_described(&described)),
        // These events have only fields that are needed.
        Event::RestoreConfirmed(_)
        | Event::DecisionRulesAdopted(_)
        | Event::NoticeRequired(_)
        | Event::AttributeConfirmed(_)
        | Event::SignalRecorded(_)
        | Event::SignalLifted(_)
        | Event::ErasureRefused(_)
        | Event::RequestWithdrawn(_)
        | Event::PersonalBoundsSet(_) => event,
        _ => return None,
    };
    Some(minimized)
}

fn backup_restored(restored: BackupRestored) -> BackupRestored {
    let BackupRestored { restore, use_waits, .. } = restored;
    BackupRestored { restore, use_waits, ..BackupRestored::default() }
}

fn subject_described(described: &SubjectDescribed) -> SubjectDescribed {
    let SubjectDescribed { age_band, born, .. } = described;
    SubjectDescribed { age_band: *age_band, born: born.clone(), ..SubjectDescribed::default() }
}

fn attribute(attribute: Attribute) -> Attribute {
    Attribute {
        key: attribute.key,
        category: attribute.category,
        provenance: attribute.provenance,
        derived_from: attribute.derived_from,
        observed_at_ms: attribute.observed_at_ms,
        expires_at_ms: attribute.expires_at_ms,
        ..Attribute::default()
    }
}

fn notice(notice: NoticeRef) -> NoticeRef {
    NoticeRef { id: notice.id, version: notice.version, ..NoticeRef::default() }
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
        let withheld = vec![WithheldClass { category: text(), policy: text(), ..WithheldClass::default() }];
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
        assert_eq!(minimize(Event::GrantUsed(GrantUsed { reply: text(), ..GrantUsed::default() })), None);
    }
}
