//! Events about the use of attributes: grants, reports of use and artifacts.

use crate::domain::ids::EventId;
use crate::domain::legal_basis::Basis;
use sayso_proof::event::{ArtifactKind, Provenance, RankingMethod, Reason, Tier};

/// An attribute that a grant allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantedAttribute {
    /// The event that recorded the attribute.
    pub attribute: EventId,
    /// What the use rests on.
    pub basis: Basis,
    /// The key of the attribute.
    pub key: String,
    /// The category of the attribute.
    pub category: String,
}

/// A class of attributes that a grant withholds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WithheldClass {
    /// The category.
    pub category: String,
    /// How the attributes were obtained.
    pub provenance: Provenance,
    /// The number of attributes.
    pub count: u32,
    /// Why they are withheld.
    pub reason: Reason,
    /// The tier that decided.
    pub decided_by: Tier,
    /// The policy that decided, as `pack/id`.
    pub policy: String,
    /// The article of law that the policy comes from.
    pub article: String,
    /// The data subject's own event that decided, if one did.
    pub decided_by_event: Option<EventId>,
    /// For a derived attribute that is withheld because of a source: that source, which is gone or may not be
    /// used.
    pub source: Option<EventId>,
}

/// How the attributes of a grant were chosen from the permitted ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ranking {
    /// How the attributes were scored.
    pub method: RankingMethod,
    /// The version of the method.
    pub version: u32,
    /// The number of permitted attributes, which were ranked.
    pub permitted: u32,
    /// The number of chosen attributes: those that the grant allows.
    pub chosen: u32,
    /// If the request had an embedding: the number of permitted attributes without one of the same model.
    pub without_embedding: u32,
}

/// A grant was issued: a signed, expiring permission to personalize with exactly these attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantIssued {
    /// The name of the service that may use the attributes.
    pub recipient: String,
    /// The id of the purpose.
    pub purpose: String,
    /// The recipient's own name for the conversation or reply.
    pub interaction: String,
    /// The attributes that may be used.
    pub allowed: Vec<GrantedAttribute>,
    /// The classes of attributes that are withheld.
    pub withheld: Vec<WithheldClass>,
    /// When the grant expires, milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// The newest version of the subject's stream that the decision saw.
    pub profile_version: u64,
    /// Log positions of the bounds in force, one for each tier that has any.
    pub bounds: Vec<u64>,
    /// The categories that the request was limited to; an empty list means all.
    pub categories: Vec<String>,
    /// The keys that the request was limited to; an empty list means all.
    pub keys: Vec<String>,
    /// How the allowed attributes were chosen from the permitted ones; `None` if all of them are allowed.
    pub ranking: Option<Ranking>,
}

/// A grant was used for a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantUsed {
    /// The event that issued the grant.
    pub grant: EventId,
    /// The recipient's own name for the reply.
    pub reply: String,
    /// The attributes that shaped the reply.
    pub shaped_by: Vec<EventId>,
    /// How often the grant was used.
    pub count: u32,
    /// Whether the service said to the data subject that the reply came from an AI system.
    pub ai_disclosure_shown: bool,
}

/// Repeated requests were answered with a grant that already existed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantGivenAgain {
    /// The event that issued the grant.
    pub grant: EventId,
    /// How often the grant was given again since it was issued, or since the last event of this kind.
    pub count: u32,
    /// The first of these times, milliseconds since the Unix epoch.
    pub first_ms: u64,
    /// The last of these times, milliseconds since the Unix epoch.
    pub last_ms: u64,
    /// The name of the recipient.
    pub recipient: String,
}

/// A service registered an artifact that it built under a grant. The artifact may be used for the same
/// purpose as its sources, and is revoked with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactRegistered {
    /// The name of the service.
    pub recipient: String,
    /// The kind of artifact.
    pub kind: ArtifactKind,
    /// The service's own name for it.
    pub name: String,
    /// The attributes that it was built from.
    pub sources: Vec<EventId>,
    /// The event that issued the grant.
    pub grant: EventId,
    /// The purpose of the grant. The artifact may be used for no other purpose.
    pub purpose: String,
    /// When the artifact expires, milliseconds since the Unix epoch. It is 0 in events of older versions, in
    /// which artifacts did not expire.
    pub expires_at_ms: u64,
}

/// An artifact may no longer be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactInvalidated {
    /// The event that registered it.
    pub artifact: EventId,
    /// Why it may no longer be used.
    pub reason: Reason,
    /// The event that caused this, if one did.
    pub cause: Option<EventId>,
    /// The artifact's id, as `g<position>-<token>`.
    pub artifact_id: String,
    /// The name of the recipient to notify.
    pub recipient: String,
}
