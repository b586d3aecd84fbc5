//! The legal basis of a use (GDPR Art. 6(1)): consent, or a basis that the controller declares for a purpose.

use super::ids::EventId;
use sayso_proof::event::LegalBasis;

/// A legal basis that a controller declares for a purpose, in addition to consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeclaredBasis {
    /// A contract with the data subject (GDPR Art. 6(1)(b)).
    Contract,
    /// A legitimate interest (GDPR Art. 6(1)(f)).
    LegitimateInterest,
    /// A legal obligation of the controller (GDPR Art. 6(1)(c)).
    LegalObligation,
}

impl DeclaredBasis {
    /// The declared basis; `None` for consent.
    #[must_use]
    pub fn of(basis: LegalBasis) -> Option<Self> {
        match basis {
            LegalBasis::Unspecified | LegalBasis::Consent => None,
            LegalBasis::Contract => Some(Self::Contract),
            LegalBasis::LegitimateInterest => Some(Self::LegitimateInterest),
            LegalBasis::LegalObligation => Some(Self::LegalObligation),
        }
    }

    /// Whether the data subject can end uses on this basis, by an objection (GDPR Art. 21(1)) or by refusing
    /// consent.
    #[must_use]
    pub fn can_be_refused(self) -> bool {
        self == Self::LegitimateInterest
    }

    /// The name of the basis in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::LegitimateInterest => "legitimate_interest",
            Self::LegalObligation => "legal_obligation",
        }
    }

    /// The name of the basis for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::LegitimateInterest => "legitimate interest",
            Self::LegalObligation => "legal obligation",
        }
    }

    /// The article of law that the basis comes from.
    #[must_use]
    pub fn article(self) -> &'static str {
        match self {
            Self::Contract => "GDPR Art. 6(1)(b)",
            Self::LegitimateInterest => "GDPR Art. 6(1)(f)",
            Self::LegalObligation => "GDPR Art. 6(1)(c)",
        }
    }
}

impl From<DeclaredBasis> for LegalBasis {
    fn from(basis: DeclaredBasis) -> Self {
        match basis {
            DeclaredBasis::Contract => Self::Contract,
            DeclaredBasis::LegitimateInterest => Self::LegitimateInterest,
            DeclaredBasis::LegalObligation => Self::LegalObligation,
        }
    }
}

/// What a use rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// The event of the consent.
    Consent(EventId),
    /// A basis that the controller declared.
    Declared {
        /// The basis.
        kind: DeclaredBasis,
        /// The position of the definition of the purpose that declares it.
        position: u64,
    },
}

impl Default for Basis {
    fn default() -> Self {
        Self::Consent(EventId::default())
    }
}

impl Basis {
    /// The event of the consent; `None` for another basis.
    #[must_use]
    pub fn consent(self) -> Option<EventId> {
        match self {
            Self::Consent(event) => Some(event),
            Self::Declared { .. } => None,
        }
    }

    /// The kind of basis.
    #[must_use]
    pub fn kind(self) -> LegalBasis {
        match self {
            Self::Consent(_) => LegalBasis::Consent,
            Self::Declared { kind, .. } => kind.into(),
        }
    }

    /// The position of the definition that declares the basis; 0 for consent.
    #[must_use]
    pub fn declared_at(self) -> u64 {
        match self {
            Self::Consent(_) => 0,
            Self::Declared { position, .. } => position,
        }
    }
}
