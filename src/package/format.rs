//! The format of packages: the name and version of the format, the kinds of packages, and the sections of
//! each kind.

/// The `format` field of a package.
pub const FORMAT: &str = "sayso-package";
/// The version of the format; a reader refuses any other.
pub const VERSION: u32 = 1;

/// What a package contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything (GDPR Art. 15).
    Access,
    /// What the person provided, for another controller (GDPR Art. 20).
    Portability,
}

impl Kind {
    /// Its name in `package.json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Portability => "portability",
        }
    }

    /// Its sections, in order.
    #[must_use]
    pub fn sections(self) -> &'static [Section] {
        match self {
            Self::Access => &Section::ALL,
            Self::Portability => {
                &[Section::Attributes, Section::Consents, Section::Notices, Section::Signals]
            }
        }
    }
}

/// A section of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The attributes that are stored.
    Attributes,
    /// What may be used now, by whom and for what.
    PermittedUses,
    /// The recipients of data.
    Recipients,
    /// The recipients of data that was erased since.
    PriorRecipients,
    /// Each disclosure of data to a recipient.
    Disclosures,
    /// Each use that a recipient reported.
    Uses,
    /// The artifacts that recipients built from the data.
    Artifacts,
    /// Grants that were revoked.
    Revocations,
    /// Consent decisions of the person.
    Consents,
    /// The notices that the person saw.
    Notices,
    /// Objections and other signals in force.
    Signals,
    /// Every event about the person.
    History,
}

impl Section {
    /// All sections, in order.
    pub const ALL: [Self; 12] = [
        Self::Attributes,
        Self::PermittedUses,
        Self::Recipients,
        Self::PriorRecipients,
        Self::Disclosures,
        Self::Uses,
        Self::Artifacts,
        Self::Revocations,
        Self::Consents,
        Self::Notices,
        Self::Signals,
        Self::History,
    ];

    /// Its name in `package.json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Attributes => "attributes",
            Self::PermittedUses => "permitted_uses",
            Self::Recipients => "recipients",
            Self::PriorRecipients => "prior_recipients",
            Self::Disclosures => "disclosures",
            Self::Uses => "uses",
            Self::Artifacts => "artifacts",
            Self::Revocations => "revocations",
            Self::Consents => "consents",
            Self::Notices => "notices",
            Self::Signals => "signals",
            Self::History => "history",
        }
    }
}
