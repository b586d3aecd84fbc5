//! The events that a record of uses is made from, reduced to what the record needs. They contain no values
//! and no keys of attributes.

use crate::event::event_body::Event;
use crate::event::*;

/// Maximum number of bytes of a name in the record. Longer names are cut off.
const NAME_BYTES_MAX: usize = 128;

/// An event as it is put aside.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Seen {
    #[prost(uint64, tag = "1")]
    pub position: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub handle: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub event_id: Vec<u8>,
    #[prost(uint64, tag = "4")]
    pub recorded_at_ms: u64,
    #[prost(message, optional, tag = "5")]
    pub body: Option<EventBody>,
}

/// A name that is at most [`NAME_BYTES_MAX`] bytes long. A longer one ends in `…`.
pub(super) fn clipped(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let end = (0..=NAME_BYTES_MAX).rev().find(|at| name.is_char_boundary(*at)).unwrap_or_default();
    format!("{}…", name.get(..end).unwrap_or_default())
}

/// The parts of an event that the record needs; none if it does not need the event.
pub(super) fn reduced(body: &EventBody) -> Option<EventBody> {
    let event = match body.event.as_ref()? {
        Event::ConsentGiven(given) => {
            Event::ConsentGiven(ConsentGiven { terms: given.terms.as_ref().map(terms) })
        }
        Event::ConsentRenewed(renewed) => {
            Event::ConsentRenewed(ConsentRenewed { terms: renewed.terms.as_ref().map(terms) })
        }
        Event::GrantIssued(issued) => Event::GrantIssued(grant(issued)),
        Event::GrantUsed(used) => Event::GrantUsed(GrantUsed { reply: String::new(), ..used.clone() }),
        Event::ArtifactRegistered(artifact) => Event::ArtifactRegistered(ArtifactRegistered {
            kind: artifact.kind,
            sources: artifact.sources.clone(),
            grant: artifact.grant.clone(),
            ..ArtifactRegistered::default()
        }),
        Event::GrantGivenAgain(again) => Event::GrantGivenAgain(GrantGivenAgain {
            grant: again.grant.clone(),
            count: again.count,
            ..GrantGivenAgain::default()
        }),
        Event::GrantRevoked(revoked) => Event::GrantRevoked(GrantRevoked {
            grant: revoked.grant.clone(),
            reason: revoked.reason,
            ..GrantRevoked::default()
        }),
        _ => return None,
    };
    let actor = body.actor.as_ref().map(|actor| Actor { role: actor.role, name: clipped(&actor.name) });
    Some(EventBody { actor, about_ms: body.about_ms, event: Some(event), ..EventBody::default() })
}

fn terms(terms: &ConsentTerms) -> ConsentTerms {
    let notice = terms.notice.as_ref().map(|notice| NoticeRef {
        id: clipped(&notice.id),
        version: clipped(&notice.version),
        language: clipped(&notice.language),
        digest: Vec::new(),
    });
    ConsentTerms { notice, explicit: terms.explicit, guardian: terms.guardian, ..ConsentTerms::default() }
}

fn grant(issued: &GrantIssued) -> GrantIssued {
    let allowed = issued.allowed.iter().map(|granted| GrantedAttribute {
        attribute: granted.attribute.clone(),
        consent: granted.consent.clone(),
        key: String::new(),
        category: clipped(&granted.category),
        legal_basis: granted.legal_basis,
        declared_at: granted.declared_at,
    });
    let withheld = issued.withheld.iter().map(|class| WithheldClass {
        category: clipped(&class.category),
        count: class.count,
        reason: class.reason,
        decided_by: class.decided_by,
        policy: clipped(&class.policy),
        article: clipped(&class.article),
        ..WithheldClass::default()
    });
    GrantIssued {
        recipient: clipped(&issued.recipient),
        purpose: clipped(&issued.purpose),
        interaction: clipped(&issued.interaction),
        allowed: allowed.collect(),
        withheld: withheld.collect(),
        expires_at_ms: issued.expires_at_ms,
        bounds: issued.bounds.clone(),
        ..GrantIssued::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn long_names_are_cut_off_between_characters() {
        assert_eq!(clipped("short"), "short");
        let long = clipped(&"é".repeat(200));
        assert_eq!(long, format!("{}…", "é".repeat(64)));
        assert_eq!(clipped(&format!("x{}", "é".repeat(200))), format!("x{}…", "é".repeat(63)));
    }

    #[test]
    fn keys_of_attributes_and_names_of_replies_and_artifacts_are_left_out() {
        const CANARY: &str = "canary";
        let text = || CANARY.to_owned();
        let allowed = vec![GrantedAttribute { key: text(), ..GrantedAttribute::default() }];
        let events = [
            Event::GrantIssued(GrantIssued {
                allowed,
                keys: vec![text()],
                categories: vec![text()],
                ..GrantIssued::default()
            }),
            Event::GrantUsed(GrantUsed { reply: text(), count: 1, ..GrantUsed::default() }),
            Event::ArtifactRegistered(ArtifactRegistered { name: text(), ..ArtifactRegistered::default() }),
            Event::ConsentGiven(ConsentGiven {
                terms: Some(ConsentTerms { channel: text(), ..ConsentTerms::default() }),
            }),
        ];
        for event in events {
            let body = EventBody { event: Some(event), ..EventBody::default() };
            let reduced = reduced(&body).map(|body| body.encode_to_vec()).unwrap_or_default();
            assert!(!reduced.is_empty());
            let canary = CANARY.as_bytes();
            assert!(!reduced.windows(canary.len()).any(|part| part == canary), "{body:?}");
        }
    }
}
