//! References in events: the ids of other events, the one event that an event is about (for a contest, the
//! event that recorded the attribute), and the keys of attributes. An erasure uses them to find what
//! depends on erased data.

use super::attribute::Attribute;
use super::event::{ArtifactInvalidated, ArtifactRegistered, Event, GrantGivenAgain, GrantIssued, GrantUsed};
use super::event::{GrantedAttribute, WithheldClass};
use super::ids::EventId;

/// Every event that this event names by its id. A grant names what it allows and what made it withhold
/// something.
///
/// Each kind of event is listed, and each field of the kinds that name events. So a new field of these does
/// not compile until it is decided here whether it names an event. A test lists all fields of the log that
/// can hold an id, but does not compare them with what this function returns. Ids of requests, holds and
/// restores are not ids of events.
pub(super) fn named_by(event: &Event) -> Vec<EventId> {
    match event {
        Event::AttributeRecorded(attribute) | Event::EarlierAttributeRecorded(attribute) => {
            sources(attribute).to_vec()
        }
        Event::AttributeCorrected { corrects, attribute } => [&[*corrects], sources(attribute)].concat(),
        Event::AttributeContested { attribute, reason: _ }
        | Event::AttributeConfirmed { attribute }
        | Event::AttributeRemoved { attribute, reason: _ }
        | Event::AttributeExpired { attribute, by_retention: _ } => vec![*attribute],
        Event::AttributeSourcesAdded { attribute, sources } => [&[*attribute], sources.as_slice()].concat(),
        Event::ConsentExpired { consent } => vec![*consent],
        Event::GrantIssued(grant) => of_grant(grant),
        Event::GrantUsed(GrantUsed { grant, reply: _, shaped_by, count: _, ai_disclosure_shown: _ }) => {
            [&[*grant], shaped_by.as_slice()].concat()
        }
        Event::GrantGivenAgain(again) => of_reuse(again),
        Event::GrantRevoked { grant, reason: _, cause, grant_id: _, recipient: _, source } => {
            [Some(*grant), *cause, *source].into_iter().flatten().collect()
        }
        Event::ArtifactRegistered(artifact) => of_artifact(artifact),
        Event::ArtifactInvalidated(ended) => {
            let ArtifactInvalidated { artifact, reason: _, cause, artifact_id: _, recipient: _ } = ended;
            [Some(*artifact), *cause].into_iter().flatten().collect()
        }
        Event::ConsentRequested(_)
        | Event::Consent { .. }
        | Event::Signal { .. }
        | Event::PersonalBoundsSet(_)
        | Event::SubjectDescribed(_)
        | Event::RevocationsPending { .. }
        | Event::RecordingRefused(_)
        | Event::RecipientAcknowledged(_)
        | Event::RecipientReported(_)
        | Event::RecipientReminded(_)
        | Event::ErasureRequested(_)
        | Event::AccessProvided(_)
        | Event::RequestSubmitted(_)
        | Event::RequestDecided(_)
        | Event::RequestExtended(_)
        | Event::RequestWithdrawn(_)
        | Event::RecipientsKept(_)
        | Event::HoldPlaced(_)
        | Event::HoldLifted(_)
        | Event::ErasureRefused(_)
        | Event::RetentionDefined(_)
        | Event::ErasureCompleted(_)
        | Event::BoundsPublished(_)
        | Event::PurposeDefined(_)
        | Event::CategoryDefined(_)
        | Event::NoticePublished(_)
        | Event::NoticeRequired(_)
        | Event::AuditExported(_)
        | Event::RecordViewed(_)
        | Event::FiguresReported(_)
        | Event::LogOpened(_)
        | Event::BackupRestored(_)
        | Event::RestoreConfirmed(_)
        | Event::ClockAccepted(_)
        | Event::DecisionRulesAdopted(_)
        | Event::SubjectMapCommitted(_)
        | Event::LogKeyRotated(_)
        | Event::WitnessAdded(_)
        | Event::WitnessRemoved(_) => Vec::new(),
    }
}

fn sources(attribute: &Attribute) -> &[EventId] {
    let Attribute {
        key: _,
        value: _,
        category: _,
        provenance: _,
        claimed_provenance: _,
        evidence: _,
        derived_from,
        confidence: _,
        model: _,
        observed_at_ms: _,
        expires_at_ms: _,
        from_replies: _,
        embedding: _,
    } = attribute;
    derived_from
}

fn of_grant(grant: &GrantIssued) -> Vec<EventId> {
    let GrantIssued {
        recipient: _,
        purpose: _,
        interaction: _,
        allowed,
        withheld,
        expires_at_ms: _,
        profile_version: _,
        bounds: _,
        categories: _,
        keys: _,
        ranking: _,
    } = grant;
    let mut named = Vec::new();
    for GrantedAttribute { attribute, basis, key: _, category: _ } in allowed {
        named.push(*attribute);
        named.extend(basis.consent());
    }
    for class in withheld {
        let WithheldClass {
            category: _,
            provenance: _,
            count: _,
            reason: _,
            decided_by: _,
            policy: _,
            article: _,
            decided_by_event,
            source,
        } = class;
        named.extend([*decided_by_event, *source].into_iter().flatten());
    }
    named
}

fn of_reuse(again: &GrantGivenAgain) -> Vec<EventId> {
    let GrantGivenAgain { grant, count: _, first_ms: _, last_ms: _, recipient: _ } = again;
    vec![*grant]
}

fn of_artifact(artifact: &ArtifactRegistered) -> Vec<EventId> {
    let ArtifactRegistered { recipient: _, kind: _, name: _, sources, grant, purpose: _, expires_at_ms: _ } =
        artifact;
    [&[*grant], sources.as_slice()].concat()
}

/// The event that the given event is about. Without that event, the given event has no meaning.
pub(super) fn subject_of(event: &Event) -> Option<EventId> {
    match event {
        Event::AttributeContested { attribute, .. }
        | Event::AttributeConfirmed { attribute }
        | Event::AttributeSourcesAdded { attribute, .. }
        | Event::AttributeRemoved { attribute, .. }
        | Event::AttributeExpired { attribute, .. } => Some(*attribute),
        Event::GrantRevoked { grant, .. } => Some(*grant),
        Event::GrantGivenAgain(again) => Some(again.grant),
        Event::ArtifactInvalidated(artifact) => Some(artifact.artifact),
        Event::ConsentExpired { consent } => Some(*consent),
        _ => None,
    }
}

/// Whether the event is a request that contains details or keys, or a refusal that names a key.
pub(super) fn names_something(event: &Event) -> bool {
    match event {
        Event::RequestSubmitted(request) => !request.keys.is_empty() || !request.details.is_empty(),
        Event::ErasureRefused(refused) => !refused.key.is_empty(),
        _ => false,
    }
}

pub(super) fn names_key(event: &Event, key: &str) -> bool {
    match event {
        Event::AttributeRecorded(attribute)
        | Event::EarlierAttributeRecorded(attribute)
        | Event::AttributeCorrected { attribute, .. } => attribute.key == key,
        Event::GrantIssued(grant) => {
            grant.keys.iter().any(|named| named == key) || grant.allowed.iter().any(|cited| cited.key == key)
        }
        Event::RequestSubmitted(request) => {
            request.keys.iter().any(|named| named == key)
                || (!request.details.is_empty() && request.keys.is_empty())
        }
        Event::ErasureRefused(refused) => refused.key == key,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use prost_reflect::{DescriptorPool, Kind};
    use std::collections::BTreeSet;

    /// The fields with ids of events. `named_by` returns them.
    const IDS_OF_EVENTS: &str = "ArtifactInvalidated.artifact ArtifactInvalidated.cause ArtifactRegistered.grant \
        ArtifactRegistered.sources Attribute.derived_from AttributeConfirmed.attribute AttributeContested.attribute \
        AttributeCorrected.corrects AttributeExpired.attribute AttributeRemoved.attribute \
        AttributeSourcesAdded.attribute AttributeSourcesAdded.sources ConsentExpired.consent \
        GrantGivenAgain.grant GrantRevoked.cause GrantRevoked.grant GrantRevoked.source GrantUsed.grant \
        GrantUsed.shaped_by GrantedAttribute.attribute GrantedAttribute.consent WithheldClass.decided_by_event \
        WithheldClass.source";
    /// Hashes, keys, signatures and embeddings, and the ids of requests, holds and restores.
    const OTHER_BYTES: &str = "AccessProvided.request BackupRestored.restore BoundsPublished.schema_digest Embedding.values \
        ErasureCompleted.request ErasureCompleted.request_hash ErasureRefused.holds ErasureRefused.request ErasureRequested.request \
        ErasureSummary.key_hash ErasureSummary.recipient_keys EventBody.idempotency_hash EventBody.request_digest \
        HoldLifted.hold HoldPlaced.hold KeptRecipient.keys LogOpened.public_key NoticeRef.digest RecipientReported.evidence \
        RecipientReported.public_key RecipientReported.signature RequestDecided.request \
        RequestExtended.request RequestSubmitted.follows RequestSubmitted.key_hash RequestSubmitted.request \
        RequestWithdrawn.request RestoreConfirmed.restore SubjectMapCommitted.root \
        SubjectMapCommitted.vrf_public_key WriterSignature.public_key WriterSignature.signature";

    #[test]
    fn each_field_of_the_log_with_bytes_is_known_to_name_an_event_or_not() {
        let pool = DescriptorPool::decode(crate::proto::DESCRIPTORS).unwrap();
        let mut open = vec![pool.get_message_by_name("sayso.v1.EventBody").unwrap()];
        let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
        while let Some(message) = open.pop() {
            if !seen.insert(message.full_name().to_owned()) {
                continue;
            }
            for field in message.fields() {
                match field.kind() {
                    Kind::Bytes => drop(found.insert(format!("{}.{}", message.name(), field.name()))),
                    Kind::Message(inner) => open.push(inner),
                    _ => {}
                }
            }
        }
        let known = IDS_OF_EVENTS.split_whitespace().chain(OTHER_BYTES.split_whitespace());
        // A new field has to be in one of the lists. If it has ids of events, `named_by` has to return them.
        assert_eq!(found, known.map(str::to_owned).collect());
    }
}
