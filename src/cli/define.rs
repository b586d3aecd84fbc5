//! The commands `sayso purpose define` and `sayso category define`.

use super::connect::Connection;
use super::error::CliError;
use super::output::Out;
use super::preview::preview;
use super::rules_client::client;
use super::sign_rule::{Signature, Signing};
use super::times::{self, WrittenTime};
use crate::domain::event::{CategoryDefined, Event, LegalBasis, PurposeDefined, Rung as EventRung};
use crate::proto;
use clap::{Args, ValueEnum};

/// A purpose to define.
#[derive(Args)]
pub(super) struct DefinePurpose {
    /// ID of the purpose, as consents and grants name it.
    id: String,
    /// ID of the parent purpose, of which this purpose is a part. Refusals of the parent also cover this
    /// purpose. So do consents to the parent that are given after this definition.
    #[arg(long, default_value = "")]
    parent: String,
    /// Title that people read, for example in receipts and packages.
    #[arg(long)]
    title: String,
    /// IRI of the purpose's term in the W3C Data Privacy Vocabulary.
    #[arg(long, default_value = "")]
    iri: String,
    /// How far the purpose goes in personalizing: a rung on the ladder of rising risk
    /// (docs/bounds.md). Policies can depend on the rung.
    #[arg(long, value_enum)]
    rung: Option<Rung>,
    /// Legal basis that you declare for this purpose, beside consent. The legal basis does not
    /// apply to the purposes below this one, to special categories or to minors. Without this
    /// option, consent is the only basis.
    #[arg(long, value_enum, requires = "basis_reference")]
    basis: Option<Basis>,
    /// What the legal basis rests on: your assessment of a legitimate interest, the contract, or
    /// the law.
    #[arg(long, default_value = "", requires = "basis", value_name = "TEXT")]
    basis_reference: String,
    #[command(flatten)]
    tags: Tags,
    #[command(flatten)]
    redefinition: Redefinition,
}

/// A category to define.
#[derive(Args)]
pub(super) struct DefineCategory {
    /// ID of the category, as attributes and consents name it.
    id: String,
    /// ID of the parent category, of which this category is a part. Refusals of the parent also cover this
    /// category. So do consents to the parent that are given after this definition, unless --special
    /// requires more of a consent.
    #[arg(long, default_value = "")]
    parent: String,
    /// Title that people read, for example in receipts and packages.
    #[arg(long)]
    title: String,
    /// IRI of the category's term in the W3C Data Privacy Vocabulary.
    #[arg(long, default_value = "")]
    iri: String,
    /// Define a special category (GDPR Art. 9(1)). It is covered only by explicit consent that names this
    /// category or a special category above it. All categories below it are special, too.
    #[arg(long)]
    special: bool,
    #[command(flatten)]
    tags: Tags,
    #[command(flatten)]
    redefinition: Redefinition,
}

/// Options of every definition: when it comes into force, whether it keeps the meaning of an earlier one,
/// a preview, and the signing key.
#[derive(Args)]
pub(super) struct Redefinition {
    /// Time from which the definition is in force. Default: at once.
    #[arg(long, value_name = "TIME", value_parser = times::beginning)]
    from: Option<WrittenTime>,
    /// The new title or IRI means the same as the old one, so earlier consents keep covering this
    /// purpose or category. Without this flag, a new title or IRI is a new meaning, which earlier
    /// consents do not cover.
    #[arg(long)]
    same_meaning: bool,
    /// Show what the definition would change for the people in the ledger. Nothing is published.
    #[arg(long)]
    preview: bool,
    #[command(flatten)]
    signing: Signing,
}

impl Redefinition {
    /// Tells the user how a date without a time was understood.
    fn note(&self, out: Out) -> Result<(), CliError> {
        out.note_dates(&[("--from", self.from.as_ref())])
    }

    /// Publishes a definition, signed if a key is given or found.
    async fn publish(&self, event: Event, at: &Connection, out: Out) -> Result<(), CliError> {
        self.signing.publish(event, Signature::Optional, at, out).await?;
        self.note(out)
    }
}

/// How far a purpose goes in personalizing: the rungs of a ladder, from the lowest risk to the highest
/// (docs/bounds.md).
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Rung {
    /// Adapts how something is said.
    Style,
    /// Adapts to what the person needs in order to understand the reply.
    Accessibility,
    /// Uses what matters to the person.
    Relevance,
    /// Uses what the person thinks and values.
    Viewpoint,
    /// Keeps the person company.
    Companionship,
    /// Influences the person.
    Persuasion,
}

/// Legal bases other than consent (GDPR Art. 6(1)).
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Basis {
    /// Performing a contract with the person (Art. 6(1)(b)).
    Contract,
    /// A legitimate interest that you have assessed (Art. 6(1)(f)). People can object to it.
    LegitimateInterest,
    /// An obligation that a law puts on you (Art. 6(1)(c)).
    LegalObligation,
}

impl From<Basis> for LegalBasis {
    fn from(basis: Basis) -> Self {
        match basis {
            Basis::Contract => Self::Contract,
            Basis::LegitimateInterest => Self::LegitimateInterest,
            Basis::LegalObligation => Self::LegalObligation,
        }
    }
}

/// Tags from the taxonomy of risks and benefits (docs/bounds.md).
#[derive(Args)]
pub(super) struct Tags {
    /// Risk of the purpose or category, by its name in docs/bounds.md; may be repeated.
    /// Transparency reports count uses by risk.
    #[arg(long)]
    risk: Vec<String>,
    /// Benefit of the purpose or category, by its name in docs/bounds.md; may be repeated.
    /// Transparency reports count uses by benefit.
    #[arg(long)]
    benefit: Vec<String>,
}

impl From<Rung> for EventRung {
    fn from(rung: Rung) -> Self {
        match rung {
            Rung::Style => Self::Style,
            Rung::Accessibility => Self::Accessibility,
            Rung::Relevance => Self::Relevance,
            Rung::Viewpoint => Self::Viewpoint,
            Rung::Companionship => Self::Companionship,
            Rung::Persuasion => Self::Persuasion,
        }
    }
}

impl DefinePurpose {
    /// Publishes or previews the definition.
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let purpose = PurposeDefined {
            id: self.id,
            parent: self.parent,
            iri: self.iri,
            title: self.title,
            risks: self.tags.risk,
            benefits: self.tags.benefit,
            rung: self.rung.map(EventRung::from).unwrap_or_default(),
            legal_basis: self.basis.map(LegalBasis::from).unwrap_or_default(),
            basis_reference: self.basis_reference,
            effective_from_ms: self.redefinition.from.as_ref().map_or(0, WrittenTime::millis),
            same_meaning: self.redefinition.same_meaning,
        };
        if self.redefinition.preview {
            let defined_purposes = vec![purpose.into()];
            let request = proto::PreviewBoundsRequest { defined_purposes, ..Default::default() };
            preview(&mut client(at, "steward").await?, request, out).await?;
            return self.redefinition.note(out);
        }
        self.redefinition.publish(Event::PurposeDefined(purpose), at, out).await
    }
}

impl DefineCategory {
    /// Publishes or previews the definition.
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let category = CategoryDefined {
            id: self.id,
            parent: self.parent,
            iri: self.iri,
            title: self.title,
            special: self.special,
            risks: self.tags.risk,
            benefits: self.tags.benefit,
            effective_from_ms: self.redefinition.from.as_ref().map_or(0, WrittenTime::millis),
            same_meaning: self.redefinition.same_meaning,
        };
        if self.redefinition.preview {
            let defined_categories = vec![category.into()];
            let request = proto::PreviewBoundsRequest { defined_categories, ..Default::default() };
            preview(&mut client(at, "steward").await?, request, out).await?;
            return self.redefinition.note(out);
        }
        self.redefinition.publish(Event::CategoryDefined(category), at, out).await
    }
}
