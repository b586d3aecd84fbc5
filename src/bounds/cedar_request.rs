//! The inputs that a policy can depend on, and their conversion to a request to Cedar, the policy engine.

use crate::bounds::entities::{class, place, uid};
use crate::bounds::error::{BoundsError, schema_error};
use crate::domain::description::Description;
use crate::domain::event::{Provenance, Role};
use crate::domain::legal_basis::DeclaredBasis;
use cedar_policy::{Context, Request, RestrictedExpression, Schema};
use std::collections::BTreeSet;

/// The action on attributes of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Action {
    #[default]
    Use,
    /// Use for training models.
    Train,
    Record,
    /// Record an attribute that a model inferred.
    Infer,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Use => "use",
            Self::Train => "train",
            Self::Record => "record",
            Self::Infer => "infer",
        }
    }

    fn is_recording(self) -> bool {
        matches!(self, Self::Record | Self::Infer)
    }
}

/// What policies may know about the data subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SubjectTraits {
    pub age_band: &'static str,
    pub age_years_min: u32,
    pub age_years_oldest: u32,
    /// The jurisdiction as policies name it.
    pub jurisdiction: String,
}

impl Default for SubjectTraits {
    /// A data subject without a description.
    fn default() -> Self {
        Self::of(&Description::default(), 0)
    }
}

impl SubjectTraits {
    /// `now_ms` is milliseconds since the Unix epoch; ages that follow from a birth depend on it.
    pub fn of(description: &Description, now_ms: u64) -> Self {
        Self {
            age_band: description.age.band_name(now_ms),
            age_years_min: description.age.years_min(now_ms),
            age_years_oldest: description.age.years_oldest(now_ms),
            jurisdiction: place(&description.jurisdiction).to_owned(),
        }
    }
}

/// Properties of the attributes of a class other than their category and provenance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ClassTraits {
    pub age_days: u64,
    /// Percent.
    pub confidence: u8,
    pub derived: bool,
    /// The categories of all direct and indirect sources, with their ancestors.
    pub sources: BTreeSet<String>,
}

/// The inputs that a policy can depend on. `bounds/schema.cedarschema` defines them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct CedarRequest {
    pub action: Action,
    /// The application that would use or record the attribute.
    pub recipient: String,
    pub category: String,
    pub provenance: Provenance,
    pub traits: ClassTraits,
    pub subject: SubjectTraits,
    pub consented: bool,
    pub explicit: bool,
    pub guardian: bool,
    /// The legal basis, if it is another one than consent. This and the next field apply to uses only.
    pub declared_basis: Option<DeclaredBasis>,
    pub noticed: bool,
    pub restricted: bool,
    /// This and the following fields up to `conversation` apply to uses only.
    pub purpose: String,
    /// Whole days since the consent was given.
    pub consent_days: u64,
    /// The id and the version of the consent's notice; empty unless bounds distinguish notices.
    pub notice: String,
    pub notice_version: String,
    pub objected: bool,
    pub paused: bool,
    pub conversation_paused: bool,
    pub opted_out: bool,
    pub opted_out_automated: bool,
    pub limit_sensitive: bool,
    pub ai_disclosed: bool,
    pub expired: bool,
    pub contested: bool,
    pub source_withheld: bool,
    pub confirmed: bool,
    pub asked: bool,
    /// The recipient's name for the conversation; empty unless personal bounds need it.
    pub conversation: String,
    /// The role of the recorder; applies to recordings only.
    pub recorder: Role,
}

type Pair = (String, RestrictedExpression);

fn flag(name: &str, value: bool) -> Pair {
    (name.to_owned(), RestrictedExpression::new_bool(value))
}

fn text(name: &str, value: &str) -> Pair {
    (name.to_owned(), RestrictedExpression::new_string(value.to_owned()))
}

fn long(name: &str, value: impl TryInto<i64>) -> Pair {
    (name.to_owned(), RestrictedExpression::new_long(value.try_into().unwrap_or(i64::MAX)))
}

impl CedarRequest {
    /// Approximate bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        let texts = [
            &self.recipient,
            &self.category,
            &self.subject.jurisdiction,
            &self.purpose,
            &self.notice,
            &self.notice_version,
            &self.conversation,
        ];
        let one = |text: &String| size_of::<String>().saturating_add(text.len());
        let sources = self.traits.sources.iter();
        size_of::<Self>().saturating_add(texts.into_iter().chain(sources).map(one).sum())
    }

    /// Converts to a Cedar request that is validated against the schema.
    ///
    /// # Errors
    /// The request does not fit the schema; tests rule this out.
    pub fn request(&self, schema: &Schema) -> Result<Request, BoundsError> {
        let mut context = self.common_context()?;
        context.extend(if self.action.is_recording() {
            self.recording_context()
        } else {
            self.use_context()?
        });
        let context = Context::from_pairs(context).map_err(schema_error)?;
        let principal = uid("Recipient", &self.recipient)?;
        let resource = uid("AttributeClass", &class(&self.category, self.provenance))?;
        let action = uid("Action", self.action.name())?;
        Request::new(principal, action, resource, context, Some(schema)).map_err(schema_error)
    }

    fn common_context(&self) -> Result<Vec<Pair>, BoundsError> {
        let category = |id: &String| uid("Category", id).map(RestrictedExpression::new_entity_uid);
        let sources = self.traits.sources.iter().map(category).collect::<Result<Vec<_>, _>>()?;
        let jurisdiction = uid("Jurisdiction", &self.subject.jurisdiction)?;
        Ok(vec![
            flag("consented", self.consented),
            flag("explicit", self.explicit),
            flag("guardian", self.guardian),
            flag("restricted", self.restricted),
            long("age_days", self.traits.age_days),
            long("confidence", self.traits.confidence),
            flag("derived", self.traits.derived),
            ("sources".to_owned(), RestrictedExpression::new_set(sources)),
            text("age_band", self.subject.age_band),
            long("age_years_min", self.subject.age_years_min),
            long("age_years_oldest", self.subject.age_years_oldest),
            ("jurisdiction".to_owned(), RestrictedExpression::new_entity_uid(jurisdiction)),
        ])
    }

    fn use_context(&self) -> Result<Vec<Pair>, BoundsError> {
        let purpose = RestrictedExpression::new_entity_uid(uid("Purpose", &self.purpose)?);
        let without_consent = self.declared_basis.map_or("none", DeclaredBasis::name);
        let basis = if self.consented { "consent" } else { without_consent };
        Ok(vec![
            ("purpose".to_owned(), purpose),
            text("basis", basis),
            flag("objected", self.objected),
            flag("paused", self.paused),
            flag("conversation_paused", self.conversation_paused),
            flag("opted_out", self.opted_out),
            flag("opted_out_automated", self.opted_out_automated),
            flag("limit_sensitive", self.limit_sensitive),
            flag("noticed", self.noticed),
            long("consent_days", self.consent_days),
            text("notice", &self.notice),
            text("notice_version", &self.notice_version),
            flag("ai_disclosed", self.ai_disclosed),
            flag("expired", self.expired),
            flag("contested", self.contested),
            flag("source_withheld", self.source_withheld),
            flag("confirmed", self.confirmed),
            flag("asked", self.asked),
            text("conversation", &self.conversation),
        ])
    }

    fn recording_context(&self) -> Vec<Pair> {
        let recorder = match self.recorder {
            Role::Subject => "subject",
            Role::Service | Role::Channel => "service",
            _ => "steward",
        };
        vec![text("recorder", recorder)]
    }
}
