//! The JSON-LD nodes of a consent receipt that can be made from one event alone.

use crate::domain::consent::Terms;
use crate::domain::event::{Actor, Role};
use crate::domain::wording;
use serde_json::{Value, json};

/// The node of the person.
pub(super) const PERSON: &str = "_:subject";
/// The node of the controller.
pub(super) const CONTROLLER: &str = "_:controller";

pub(super) fn iri(iri: &str) -> Value {
    json!({ "@id": iri })
}

pub(super) fn date_time(ms: u64) -> Value {
    json!({ "@type": "xsd:dateTime", "@value": wording::time(ms) })
}

/// The type of consent: explicit (GDPR Art. 9(2)(a)) or not (Art. 4(11)).
pub(super) fn consent_type(terms: &Terms) -> &'static str {
    if terms.explicit { "dpv:ExplicitlyExpressedConsent" } else { "dpv:ExpressedConsent" }
}

pub(super) fn notice(terms: &Terms) -> Option<Value> {
    let served = terms.notice.as_ref()?;
    Some(json!({
        "@type": "dpv:ConsentNotice",
        "dct:identifier": served.id,
        "dct:hasVersion": served.version,
        "dct:language": served.language,
        "schema:sha256": hex::encode(&served.digest),
    }))
}

/// Who recorded the decision in the ledger: the person, or a service or channel by name. The controller's own
/// staff appear as the controller, without their names (CJEU C-579/21).
pub(super) fn brought_by(actor: &Actor) -> Value {
    match actor.role {
        Role::Subject => iri(PERSON),
        Role::Service | Role::Channel => {
            json!({ "@type": "dpv:Entity", "dct:identifier": actor.name, "dpv:hasName": actor.name })
        }
        _ => iri(CONTROLLER),
    }
}

/// Who decided: the person, or the holder of parental responsibility (GDPR Art. 8(1)).
pub(super) fn decided_by(terms: &Terms) -> Value {
    match terms.guardian {
        true => {
            json!({ "@type": "dpv:GuardianOfDataSubject", "dct:title": "the holder of parental responsibility" })
        }
        false => iri(PERSON),
    }
}

/// The conversations that a decision is limited to; `None` if it is not limited.
pub(super) fn conversations(terms: &Terms) -> Option<Value> {
    let scope = |name: &String| json!({ "@type": "dpv:Scope", "dct:identifier": name, "dct:title": "only in this conversation" });
    (!terms.interactions.is_empty()).then(|| terms.interactions.iter().map(scope).collect())
}
