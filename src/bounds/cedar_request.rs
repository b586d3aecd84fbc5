//! Everything that a policy can depend on, and the request that Cedar is asked with.

use crate::bounds::entities::{class, place, uid};
use crate::bounds::error::{BoundsError, schema_error};
use crate::domain::description::Description;
use crate::domain::event::Role;
use cedar_policy::{Context, Request, RestrictedExpression, Schema};
use sayso_proof::event::Provenance;
use std::collections::BTreeSet;

/// What is to be done with attributes of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Action {
    #[default]
    Use,
    /// Use for training models.
    Train,
    Record,
    /// Recording a model's conclusion.
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

/// What is known of the person.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Person {
    pub age_band: &'static str,
    pub age_years_min: u32,
    /// As policies name it.
    pub jurisdiction: String,
}

impl Default for Person {
    /// Of whom nobody said anything.
    fn default() -> Self {
        Self::of(&Description::default())
    }
}

impl Person {
    pub fn of(description: &Description) -> Self {
        Self {
            age_band: description.age_band_name(),
            age_years_min: description.age_years_min(),
            jurisdiction: place(&description.jurisdiction).to_owned(),
        }
    }
}

/// What is known of the attributes of a class beyond their category and provenance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Facts {
    pub age_days: u64,
    /// Per cent.
    pub confidence: u8,
    pub derived: bool,
    /// Categories, with all above them, of everything that it was derived from.
    pub sources: BTreeSet<String>,
}

/// Everything that a policy can depend on. Each field stands in `bounds/schema.cedarschema` under its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct CedarRequest {
    pub action: Action,
    /// Who would use it, or who records it.
    pub recipient: String,
    pub category: String,
    pub provenance: Provenance,
    pub facts: Facts,
    pub person: Person,
    pub consented: bool,
    pub explicit: bool,
    pub guardian: bool,
    pub restricted: bool,
    /// From here on of a use only.
    pub purpose: String,
    pub objected: bool,
    pub paused: bool,
    pub conversation_paused: bool,
    pub opted_out: bool,
    pub limit_sensitive: bool,
    pub ai_disclosed: bool,
    pub expired: bool,
    pub contested: bool,
    pub source_withheld: bool,
    pub confirmed: bool,
    pub asked: bool,
    /// Empty but where a person's own bounds ask.
    pub conversation: String,
    /// Of a recording only.
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
    /// What they take of memory, about, bytes.
    pub fn memory_bytes(&self) -> usize {
        let texts =
            [&self.recipient, &self.category, &self.person.jurisdiction, &self.purpose, &self.conversation];
        let one = |text: &String| size_of::<String>().saturating_add(text.len());
        let sources = self.facts.sources.iter();
        size_of::<Self>().saturating_add(texts.into_iter().chain(sources).map(one).sum())
    }

    /// The request, validated against the schema.
    ///
    /// # Errors
    /// It does not fit the schema, which a test rules out.
    pub fn request(&self, schema: &Schema) -> Result<Request, BoundsError> {
        let mut context = self.common()?;
        context.extend(if self.action.is_recording() { self.of_recording() } else { self.of_use()? });
        let context = Context::from_pairs(context).map_err(schema_error)?;
        let principal = uid("Recipient", &self.recipient)?;
        let resource = uid("AttributeClass", &class(&self.category, self.provenance))?;
        let action = uid("Action", self.action.name())?;
        Request::new(principal, action, resource, context, Some(schema)).map_err(schema_error)
    }

    fn common(&self) -> Result<Vec<Pair>, BoundsError> {
        let category = |id: &String| uid("Category", id).map(RestrictedExpression::new_entity_uid);
        let sources = self.facts.sources.iter().map(category).collect::<Result<Vec<_>, _>>()?;
        let jurisdiction = uid("Jurisdiction", &self.person.jurisdiction)?;
        Ok(vec![
            flag("consented", self.consented),
            flag("explicit", self.explicit),
            flag("guardian", self.guardian),
            flag("restricted", self.restricted),
            long("age_days", self.facts.age_days),
            long("confidence", self.facts.confidence),
            flag("derived", self.facts.derived),
            ("sources".to_owned(), RestrictedExpression::new_set(sources)),
            text("age_band", self.person.age_band),
            long("age_years_min", self.person.age_years_min),
            ("jurisdiction".to_owned(), RestrictedExpression::new_entity_uid(jurisdiction)),
        ])
    }

    fn of_use(&self) -> Result<Vec<Pair>, BoundsError> {
        let purpose = RestrictedExpression::new_entity_uid(uid("Purpose", &self.purpose)?);
        Ok(vec![
            ("purpose".to_owned(), purpose),
            text("basis", if self.consented { "consent" } else { "none" }),
            flag("objected", self.objected),
            flag("paused", self.paused),
            flag("conversation_paused", self.conversation_paused),
            flag("opted_out", self.opted_out),
            flag("limit_sensitive", self.limit_sensitive),
            flag("ai_disclosed", self.ai_disclosed),
            flag("expired", self.expired),
            flag("contested", self.contested),
            flag("source_withheld", self.source_withheld),
            flag("confirmed", self.confirmed),
            flag("asked", self.asked),
            text("conversation", &self.conversation),
        ])
    }

    fn of_recording(&self) -> Vec<Pair> {
        let recorder = match self.recorder {
            Role::Subject => "subject",
            Role::Service | Role::Channel => "service",
            _ => "steward",
        };
        vec![text("recorder", recorder)]
    }
}
