//! Converts the list of uses of a data subject's attributes to messages of the API. Each use has the
//! consents, the legal basis and the rules that allowed it.

use crate::api::convert::grants::consent_of;
use crate::api::convert::reasons::revocation;
use crate::api::convert::times::time;
use crate::app::{ErasedRecipient, ErasedUses, ListedUse, UseKind, UseRule};
use crate::domain::consent::ConsentRecord;
use crate::domain::event::{GrantedAttribute, codec};
use crate::domain::ids::GrantId;
use crate::proto;

/// A use, with the attributes, consents and rules that it names.
#[must_use]
pub fn listed(of: ListedUse) -> proto::ListedUse {
    let issued = &of.grant.issued;
    let mut listed = proto::ListedUse {
        event_id: of.event_id.to_string(),
        position: of.position,
        recorded_at: Some(time(of.recorded_at_ms)),
        grant_id: of.grant.id.to_string(),
        recipient: issued.recipient.clone(),
        purpose: issued.purpose.clone(),
        interaction: issued.interaction.clone(),
        attributes: of.attributes.into_iter().map(attribute).collect(),
        attributes_left_out: of.attributes_left_out,
        is_unspecific: of.is_unspecific,
        consents: of.consents.into_iter().map(consent).collect(),
        consents_left_out: of.consents_left_out,
        rules: of.rules.into_iter().map(rule).collect(),
        revoked_at: of.revoked.map(|(at_ms, _)| time(at_ms)),
        revocation_reason: of.revoked.map(|(_, reason)| revocation(reason).into()).unwrap_or_default(),
        ..proto::ListedUse::default()
    };
    match of.kind {
        UseKind::Granted => {
            listed.kind = proto::UseKind::Granted.into();
            listed.expires_at = Some(time(issued.expires_at_ms));
        }
        UseKind::Reused(again) => {
            listed.kind = proto::UseKind::Reused.into();
            listed.count = again.count;
        }
        UseKind::Reported(used) => {
            listed.kind = proto::UseKind::Reported.into();
            listed.used_at = Some(time(of.used_at_ms));
            (listed.reply, listed.count) = (used.reply, used.count);
            listed.ai_disclosure_shown = used.ai_disclosure_shown;
        }
        UseKind::Built(artifact) => {
            listed.kind = proto::UseKind::Built.into();
            listed.used_at = Some(time(of.used_at_ms));
            listed.artifact_id = GrantId::new(of.position, &of.event_id).to_string();
            listed.artifact_kind = artifact.kind.into();
            listed.artifact_name = artifact.name;
            listed.expires_at = Some(artifact.expires_at_ms).filter(|end| *end > 0).map(time);
        }
    }
    listed
}

/// An erasure that destroyed the record of uses.
#[must_use]
pub fn erased(of: ErasedUses) -> proto::ErasedUses {
    let recipient = |of: ErasedRecipient| proto::ErasedRecipient {
        name: of.name,
        grants: of.grants,
        artifacts: of.artifacts,
        acknowledged: of.has_acknowledged,
    };
    proto::ErasedUses {
        request_id: of.request.to_string(),
        scope: of.scope.into(),
        category: of.category,
        completed_at: Some(time(of.completed_at_ms)),
        recipients: of.recipients.into_iter().map(recipient).collect(),
        recipients_left_out: of.recipients_left_out,
    }
}

fn attribute(of: GrantedAttribute) -> proto::UsedAttribute {
    proto::UsedAttribute {
        event_id: of.attribute.to_string(),
        key: of.key,
        category: of.category,
        consent_event_id: consent_of(of.basis),
        legal_basis: of.basis.kind().into(),
        declared_position: of.basis.declared_at(),
    }
}

fn consent(of: ConsentRecord) -> proto::UseConsent {
    proto::UseConsent {
        event_id: of.event_id.to_string(),
        position: of.position,
        recorded_at: Some(time(of.recorded_at_ms)),
        purposes: of.terms.purposes,
        categories: of.terms.categories,
        recipients: of.terms.recipients,
        explicit: of.terms.explicit,
        guardian: of.terms.guardian,
        notice: of.terms.notice,
        channel: of.terms.channel,
        recorded_by: Some(codec::message(&of.actor)),
    }
}

fn rule(of: UseRule) -> proto::UseRule {
    proto::UseRule {
        tier: of.tier.into(),
        pack: of.pack,
        version: of.version,
        position: of.position,
        since: Some(of.since_ms).filter(|since| *since > 0).map(time),
    }
}
