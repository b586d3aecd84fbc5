//! Conversions of the messages about grants and artifacts, and about decisions to allow or withhold a use.

use crate::api::convert::profile::embedding;
use crate::api::convert::reasons::{denial, revocation};
use crate::api::convert::times::time;
use crate::api::convert::writes::proof;
use crate::app::{self, Caller};
use crate::domain::attribute::Secret;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{ErasureScope, Reason, Tier, WithheldClass, codec};
use crate::domain::legal_basis::Basis;
use crate::domain::wording;
use crate::proto;
use std::collections::BTreeSet;

/// An allowed attribute.
#[must_use]
pub fn allowed(allowed: &app::Allowed) -> proto::AllowedAttribute {
    let attribute = &allowed.current.attribute;
    proto::AllowedAttribute {
        event_id: allowed.current.event_id.to_string(),
        key: attribute.key.clone(),
        value_json: attribute.value.expose().to_owned(),
        category: attribute.category.clone(),
        provenance: attribute.provenance.into(),
        confidence: attribute.confidence,
        observed_at: Some(time(attribute.observed_at_ms)),
        consent_event_id: consent_of(allowed.basis),
        legal_basis: allowed.basis.kind().into(),
        declared_position: allowed.basis.declared_at(),
        score: allowed.score,
    }
}

/// What the attributes of a requested grant should be relevant to.
#[must_use]
pub fn relevance(of: proto::Relevance) -> app::Relevance {
    app::Relevance {
        text: Secret::new(of.text),
        embedding: of.embedding.map(embedding),
        top_k: of.top_k,
        bytes_max: of.max_bytes,
        tokens_max: of.max_tokens,
        min_score: of.min_score,
    }
}

/// The id of the consent that a use rests on; empty if it rests on another legal basis.
#[must_use]
pub fn consent_of(basis: Basis) -> String {
    basis.consent().map(|event| event.to_string()).unwrap_or_default()
}

/// A class of withheld attributes, with an explanation for people.
#[must_use]
pub fn withheld(class: &WithheldClass) -> proto::Withheld {
    proto::Withheld {
        category: class.category.clone(),
        provenance: class.provenance.into(),
        count: class.count,
        reason: denial(class.reason).into(),
        decided_by: class.decided_by.into(),
        policy: class.policy.clone(),
        article: class.article.clone(),
        decided_by_event: class.decided_by_event.map(|id| id.to_string()).unwrap_or_default(),
        explanation: wording::withheld(class),
        source_event_id: class.source.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// The answer about a use: what would be allowed and what would be withheld. A service learns only whether
/// anything is allowed, and for which reasons something is withheld.
#[must_use]
pub fn evaluation(of: &app::Evaluation, caller: &Caller) -> proto::EvaluateUseResponse {
    let gaps = [
        of.unknown_subject.then_some(proto::Gap::UnknownSubject),
        of.events_gone.then_some(proto::Gap::EventsGone),
    ];
    let gaps = gaps.into_iter().flatten().map(i32::from).collect();
    let any_allowed = !of.allowed.is_empty();
    if caller.sees_others() {
        return proto::EvaluateUseResponse {
            allowed: of.allowed.iter().map(allowed).collect(),
            withheld: of.withheld.iter().map(withheld).collect(),
            profile_version: of.profile_version,
            gaps,
            any_allowed,
            missing_keys: of.missing_keys.clone(),
        };
    }
    // A set drops duplicates: the number of classes with the same reason would reveal something about the
    // subject.
    let reasons: BTreeSet<(Reason, Tier)> =
        of.withheld.iter().map(|class| (class.reason, class.decided_by)).collect();
    let reason = |(reason, tier): (Reason, Tier)| proto::Withheld {
        reason: denial(reason).into(),
        decided_by: tier.into(),
        explanation: wording::reason(reason).into(),
        ..Default::default()
    };
    let withheld = reasons.into_iter().map(reason).collect();
    proto::EvaluateUseResponse { withheld, gaps, any_allowed, ..Default::default() }
}

/// The explanation of a grant. A service does not get the values again, because it got them with the grant.
#[must_use]
pub fn explanation(of: app::Explanation, caller: &Caller) -> proto::ExplainGrantResponse {
    let value = |current: &CurrentAttribute| match caller.sees_others() {
        true => current.attribute.value.expose().to_owned(),
        false => String::new(),
    };
    let allowed = of.allowed.iter().map(|allowed| proto::ExplainedAttribute {
        event_id: allowed.current.event_id.to_string(),
        key: allowed.current.attribute.key.clone(),
        category: allowed.current.attribute.category.clone(),
        value_json: value(&allowed.current),
        provenance: allowed.current.attribute.provenance.into(),
        evidence: allowed.current.attribute.evidence.clone(),
        recorded_at: Some(time(allowed.current.recorded_at_ms)),
        recorded_by: Some(codec::message(&allowed.current.actor)),
        consent_event_id: consent_of(allowed.basis),
        legal_basis: allowed.basis.kind().into(),
        declared_position: allowed.basis.declared_at(),
        change_since: allowed.since.clone(),
    });
    let consents = of.consents.into_iter().map(|consent| proto::ExplainedConsent {
        event_id: consent.event_id.to_string(),
        recorded_at: Some(time(consent.recorded_at_ms)),
        purposes: consent.terms.purposes,
        categories: consent.terms.categories,
        recipients: consent.terms.recipients,
        explicit: consent.terms.explicit,
        notice: consent.terms.notice,
        channel: consent.terms.channel,
        recorded_by: Some(codec::message(&consent.actor)),
        change_since: consent.since,
    });
    let uses = of.uses.into_iter().map(|used| proto::ExplainedUse {
        reply: used.reply,
        recorded_at: Some(time(used.recorded_at_ms)),
        count: used.count,
        shaped_by: used.shaped_by,
    });
    proto::ExplainGrantResponse {
        grant_id: of.id.to_string(),
        allowed: allowed.collect(),
        withheld: of.withheld.iter().map(withheld).collect(),
        consents: consents.collect(),
        uses: uses.collect(),
        issued_at: Some(time(of.issued_at_ms)),
        expires_at: Some(time(of.issued.expires_at_ms)),
        valid: of.standing.is_valid,
        reason: revocation(of.standing.reason.unwrap_or_default()).into(),
        revoked_at: of.revoked_at_ms.map(time),
        recipient: of.issued.recipient,
        purpose: of.issued.purpose,
        interaction: of.issued.interaction,
        text: of.text,
        proof: proof(of.proof, caller),
        ranking: of.issued.ranking.as_ref().map(codec::message),
    }
}

/// An artifact and its state.
#[must_use]
pub fn artifact(of: app::ArtifactStanding) -> proto::Artifact {
    let app::ArtifactStanding { artifact, acknowledged, ended } = of;
    let sources = artifact.registered.sources.iter();
    proto::Artifact {
        artifact_id: artifact.id.to_string(),
        sources: sources.map(|id| id.to_string()).collect(),
        recipient: artifact.registered.recipient,
        kind: artifact.registered.kind.into(),
        name: artifact.registered.name,
        purpose: artifact.registered.purpose,
        registered_at: Some(time(artifact.registered_at_ms)),
        reason: revocation(ended.unwrap_or_default()).into(),
        expires_at: Some(artifact.registered.expires_at_ms).filter(|end| *end > 0).map(time),
        acknowledged,
    }
}

/// The state of an id that a recipient has.
#[must_use]
pub fn id_state(id: String, state: app::IdState) -> proto::IdState {
    use proto::IdStanding;
    let (standing, reason, erased) = match state {
        app::IdState::Valid => (IdStanding::Valid, Reason::Unspecified, ErasureScope::Unspecified),
        app::IdState::Ended { reason, erased } => (IdStanding::Ended, reason, erased),
        app::IdState::Unknown => (IdStanding::Unknown, Reason::Unspecified, ErasureScope::Unspecified),
    };
    proto::IdState {
        id,
        standing: standing.into(),
        reason: revocation(reason).into(),
        erased_scope: erased.into(),
    }
}
