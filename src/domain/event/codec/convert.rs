//! Converts the fields of events. In a message, ids are bytes and enumerations are numbers. In the domain,
//! ids have types such as [`EventId`], and enumerations are Rust enums.

use super::error::CodecError;
use crate::domain::embedding::Embedding;
use crate::domain::event as domain;
use crate::domain::ids::{EventId, Handle};
use crate::domain::legal_basis::{Basis, DeclaredBasis};
use sayso_proof::event as log;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A field of an event, in the domain and in a message of the log.
pub trait Field: Sized {
    /// The field's type in the message.
    type Wire;
    /// The field for the message.
    fn to_wire(&self) -> Self::Wire;
    /// The field of a message.
    ///
    /// # Errors
    /// The field is malformed. `name` is the field's name.
    fn from_wire(wire: Self::Wire, name: &'static str) -> Result<Self, CodecError>;
}

/// Types that are the same in the domain and in a message.
macro_rules! same {
    ($($type:ty),+ $(,)?) => {$(
        impl Field for $type {
            type Wire = Self;
            fn to_wire(&self) -> Self {
                self.clone()
            }
            fn from_wire(wire: Self, _name: &'static str) -> Result<Self, CodecError> {
                Ok(wire)
            }
        }
    )+};
}

/// Enumerations are numbers in a message. A number without a name is malformed.
macro_rules! enumerations {
    ($($type:ident),+ $(,)?) => {$(
        impl Field for domain::$type {
            type Wire = i32;
            fn to_wire(&self) -> i32 {
                (*self).into()
            }
            fn from_wire(wire: i32, name: &'static str) -> Result<Self, CodecError> {
                Self::try_from(wire).map_err(|_| CodecError::Malformed(name))
            }
        }
    )+};
}

/// Messages: every field is converted. If a field is not named here, the code does not compile.
macro_rules! messages {
    ($($type:ident { $($field:ident),+ $(,)? })+) => {$(
        impl Field for domain::$type {
            type Wire = log::$type;
            fn to_wire(&self) -> log::$type {
                log::$type { $($field: self.$field.to_wire()),+ }
            }
            fn from_wire(wire: log::$type, _name: &'static str) -> Result<Self, CodecError> {
                Ok(Self { $($field: Field::from_wire(wire.$field, stringify!($field))?),+ })
            }
        }
    )+};
}

same!(
    String,
    bool,
    u8,
    u32,
    u64,
    f64,
    Option<u32>,
    BTreeMap<String, u32>,
    log::PositionRange,
);

enumerations!(
    AgeBand,
    ArtifactKind,
    ErasedKind,
    ErasureOutcome,
    ErasureScope,
    EvidenceKind,
    Ground,
    Jurisdiction,
    LegalBasis,
    PackageKind,
    Provenance,
    RankingMethod,
    Reason,
    RequestKind,
    RequestOutcome,
    RetentionClass,
    Role,
    Rung,
    SignalKind,
    Tier,
);

impl Field for EventId {
    type Wire = Vec<u8>;
    fn to_wire(&self) -> Vec<u8> {
        self.0.to_vec()
    }
    fn from_wire(wire: Vec<u8>, name: &'static str) -> Result<Self, CodecError> {
        Self::from_slice(&wire).ok_or(CodecError::Malformed(name))
    }
}

/// `None` is an empty field in the message.
impl Field for Option<EventId> {
    type Wire = Vec<u8>;
    fn to_wire(&self) -> Vec<u8> {
        self.as_ref().map(Field::to_wire).unwrap_or_default()
    }
    fn from_wire(wire: Vec<u8>, name: &'static str) -> Result<Self, CodecError> {
        if wire.is_empty() { Ok(None) } else { EventId::from_wire(wire, name).map(Some) }
    }
}

/// `None` is an empty field in the message.
impl Field for Option<Handle> {
    type Wire = Vec<u8>;
    fn to_wire(&self) -> Vec<u8> {
        self.map(|handle| handle.0.to_vec()).unwrap_or_default()
    }
    fn from_wire(wire: Vec<u8>, name: &'static str) -> Result<Self, CodecError> {
        if wire.is_empty() {
            return Ok(None);
        }
        wire.try_into().map(|bytes| Some(Handle(bytes))).map_err(|_| CodecError::Malformed(name))
    }
}

impl<T: Field> Field for Vec<T> {
    type Wire = Vec<T::Wire>;
    fn to_wire(&self) -> Self::Wire {
        self.iter().map(Field::to_wire).collect()
    }
    fn from_wire(wire: Self::Wire, name: &'static str) -> Result<Self, CodecError> {
        wire.into_iter().map(|each| T::from_wire(each, name)).collect()
    }
}

impl Field for Option<domain::ErasureSummary> {
    type Wire = Option<log::ErasureSummary>;
    fn to_wire(&self) -> Self::Wire {
        self.as_ref().map(Field::to_wire)
    }
    fn from_wire(wire: Self::Wire, name: &'static str) -> Result<Self, CodecError> {
        wire.map(|summary| Field::from_wire(summary, name)).transpose()
    }
}

impl Field for Option<Arc<Embedding>> {
    type Wire = Option<log::Embedding>;
    fn to_wire(&self) -> Self::Wire {
        let Embedding { model, values } = self.as_deref()?;
        Some(log::Embedding { model: model.clone(), values: values.clone() })
    }
    fn from_wire(wire: Self::Wire, _name: &'static str) -> Result<Self, CodecError> {
        Ok(wire.map(|log::Embedding { model, values }| Arc::new(Embedding { model, values })))
    }
}

impl Field for Option<domain::Ranking> {
    type Wire = Option<log::Ranking>;
    fn to_wire(&self) -> Self::Wire {
        self.as_ref().map(Field::to_wire)
    }
    fn from_wire(wire: Self::Wire, name: &'static str) -> Result<Self, CodecError> {
        wire.map(|ranking| Field::from_wire(ranking, name)).transpose()
    }
}

impl Field for Option<domain::CopiesFound> {
    type Wire = Option<log::CopiesFound>;
    fn to_wire(&self) -> Self::Wire {
        self.as_ref().map(Field::to_wire)
    }
    fn from_wire(wire: Self::Wire, name: &'static str) -> Result<Self, CodecError> {
        wire.map(|found| Field::from_wire(found, name)).transpose()
    }
}

impl Field for domain::GrantedAttribute {
    type Wire = log::GrantedAttribute;
    fn to_wire(&self) -> log::GrantedAttribute {
        let Self { attribute, basis, key, category } = self;
        let (consent, legal_basis, declared_at) = match *basis {
            // In events, consent is the default.
            Basis::Consent(consent) => (consent.to_wire(), domain::LegalBasis::Unspecified, 0),
            Basis::Declared { kind, position } => (Vec::new(), kind.into(), position),
        };
        log::GrantedAttribute {
            attribute: attribute.to_wire(),
            consent,
            key: key.clone(),
            category: category.clone(),
            legal_basis: legal_basis.into(),
            declared_at,
        }
    }
    fn from_wire(wire: log::GrantedAttribute, name: &'static str) -> Result<Self, CodecError> {
        let legal_basis = domain::LegalBasis::from_wire(wire.legal_basis, "legal_basis")?;
        let basis = match DeclaredBasis::of(legal_basis) {
            None => Basis::Consent(Field::from_wire(wire.consent, "consent")?),
            Some(kind) => Basis::Declared { kind, position: wire.declared_at },
        };
        let attribute = Field::from_wire(wire.attribute, name)?;
        Ok(Self { attribute, basis, key: wire.key, category: wire.category })
    }
}

messages! {
    AccessProvided { request, kind, items }
    Actor { role, name }
    ArtifactInvalidated { artifact, reason, cause, artifact_id, recipient }
    ArtifactRegistered { recipient, kind, name, sources, grant, purpose, expires_at_ms }
    BackupRestored { restore, backup_checkpoint, last_checkpoint, erased_again, use_waits, key_epoch }
    BoundsPublished { tier, pack, version, policies, schema_digest, effective_from_ms }
    CopiesFound { found, erased, unfinished }
    ErasureCompleted {
        request, request_hash, scope, discarded, key_epoch, recipients, erased_by_category, requested_at_ms, kept,
        kinds,
        versions,
    }
    ErasureRefused { request, ground, holds, whole, scope, category, key, categories, purposes }
    ErasureRequested { request, scope }
    ErasureDetails { erased_by_category, requested_at_ms }
    ErasureSummary {
        scope, category, key_hash, erased_by_category, kept, fence_at_ms, recipient_keys,
        recipient_keys_left_out, copies,
    }

    FiguresReported { role, name, from_ms, to_ms, k, epsilon, figures, tree_size }
    GrantGivenAgain { grant, count, first_ms, last_ms, recipient }
    GrantIssued {
        recipient, purpose, interaction, allowed, withheld, expires_at_ms, profile_version, bounds, categories,
        keys, ranking,
    }
    GrantUsed { grant, reply, shaped_by, count, ai_disclosure_shown }
    HoldLifted { hold, reason }
    HoldPlaced { hold, ground, code, text, categories, purposes }
    KeptOnGround { ground, entries }
    KeptRecipient { name, role, first_ms, last_ms, grant_ids, keys, keys_left_out }
    PriorRecipient { name, grant_ids, artifact_ids, role }
    PurposeDefined {
        id, parent, iri, title, risks, benefits, rung, effective_from_ms, same_meaning, legal_basis,
        basis_reference,
    }
    Ranking { method, version, permitted, chosen, without_embedding }
    RecipientAcknowledged { position, recipient, role }
    RecipientReminded { position, recipient, role, number, escalated, named_at }
    RecipientReported {
        positions, recipient, role, outcome, reason, evidence_kind, evidence, public_key, signature, onward,
    }
    RecipientsKept { recipients }
    RecordViewed { role, name, method }
    RecordingRefused { category, provenance, count, decided_by, policy, article, reason, bounds }
    RequestDecided { request, kind, outcome, ground, reason, submitted_at_ms, due_at_ms, erasure, changes }
    RequestExtended { request, due_at_ms, reason }
    RequestSubmitted {
        request, kind, jurisdiction, due_at_ms, scope, category, keys, purposes, details, subject, key_hash,
        follows,
    }
    RequestWithdrawn { request }
    RestoreConfirmed { restore }
    RetentionDefined { class, category, purpose, keep_ms }
    SubjectDescribed { age_band, age_years, jurisdiction, born }
    WithheldClass {
        category, provenance, count, reason, decided_by, policy, article, decided_by_event, source,
    }
}
