//! What grants depend on of an event, and nothing else of it: no values, no evidence, no notices.

use crate::event::event_body::Event;
use crate::event::*;

/// An event as far as grants depend on it; none where they do not.
pub(crate) fn essence(event: Event) -> Option<Event> {
    let kept = match event {
        Event::AttributeRecorded(recorded) => {
            Event::AttributeRecorded(AttributeRecorded { attribute: recorded.attribute.map(attribute) })
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
        Event::PurposeDefined(purpose) => Event::PurposeDefined(PurposeDefined {
            id: purpose.id,
            parent: purpose.parent,
            ..PurposeDefined::default()
        }),
        Event::CategoryDefined(category) => Event::CategoryDefined(CategoryDefined {
            id: category.id,
            parent: category.parent,
            special: category.special,
            ..CategoryDefined::default()
        }),
        Event::BackupRestored(restored) => Event::BackupRestored(BackupRestored {
            restore: restored.restore,
            use_waits: restored.use_waits,
            ..BackupRestored::default()
        }),
        // Nothing in them but what is needed.
        Event::RestoreConfirmed(_)
        | Event::AttributeConfirmed(_)
        | Event::SignalRecorded(_)
        | Event::SignalLifted(_)
        | Event::PersonalBoundsSet(_) => event,
        _ => return None,
    };
    Some(kept)
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

fn terms(terms: ConsentTerms) -> ConsentTerms {
    ConsentTerms {
        purposes: terms.purposes,
        categories: terms.categories,
        recipients: terms.recipients,
        explicit: terms.explicit,
        until_ms: terms.until_ms,
        interactions: terms.interactions,
        ..ConsentTerms::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    const CANARY: &str = "canary";

    fn said() -> Option<ConsentTerms> {
        let text = || CANARY.to_owned();
        let notice = NoticeRef { id: text(), version: text(), language: text(), digest: vec![0; 32] };
        Some(ConsentTerms { channel: text(), notice: Some(notice), ..ConsentTerms::default() })
    }

    #[test]
    fn values_and_what_they_rest_on_are_left_out() {
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
            Event::ConsentGiven(ConsentGiven { terms: said() }),
            Event::ConsentRenewed(ConsentRenewed { terms: said() }),
            Event::ConsentRefused(ConsentRefused { terms: said() }),
            Event::ConsentWithdrawn(ConsentWithdrawn { terms: said() }),
            Event::GrantIssued(GrantIssued { withheld, ..GrantIssued::default() }),
            Event::BoundsPublished(BoundsPublished { policies: text(), ..BoundsPublished::default() }),
        ];
        for event in events {
            let body = |event| EventBody { event, ..EventBody::default() }.encode_to_vec();
            let has =
                |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|part| part == word.as_bytes());
            let whole = body(Some(event.clone()));
            assert!(has(&whole, CANARY), "{event:?}");
            let left = body(essence(event.clone()));
            assert!(!has(&left, CANARY) && has(&left, "kept") == has(&whole, "kept"), "{event:?}");
        }
        assert_eq!(essence(Event::GrantUsed(GrantUsed { reply: text(), ..GrantUsed::default() })), None);
    }
}
