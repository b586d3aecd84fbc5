//! What could permit a use of attributes of one category: the data subject's consents, or the legal basis
//! that the controller declares for the purpose.

use crate::bounds::decision::ConsentTraits;
use crate::bounds::thresholds::Thresholds;
use crate::domain::consent::{ConsentLog, Cover, NoConsent};
use crate::domain::consent_scope::ConsentCase;
use crate::domain::legal_basis::{Basis, DeclaredBasis};
use crate::domain::vocabulary::Vocabulary;

/// One kind of consent, or another legal basis, that could permit a use.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) cover: Cover,
    pub(crate) traits: ConsentTraits<'a>,
}

impl Ground<'_> {
    /// The legal basis, if it is another one than consent.
    pub(crate) fn declared(&self) -> Option<DeclaredBasis> {
        match self.cover {
            Cover::Allowed { by: Basis::Declared { kind, .. }, .. } => Some(kind),
            Cover::Allowed { .. } | Cover::Denied { .. } => None,
        }
    }

    /// Whether it is consent. A consent that only lacks explicitness counts as consent: the rule on special
    /// categories then denies the use.
    pub(crate) fn is_consent(&self) -> bool {
        match self.cover {
            Cover::Allowed { by, .. } => by.consent().is_some(),
            Cover::Denied { reason, .. } => reason == NoConsent::NotExplicit,
        }
    }
}

/// The newest valid consent of each kind for a case. Bounds may require explicit consent or a guardian's
/// consent. It is enough if they accept one of these consents.
///
/// If no consent allows the case, the result ends with a ground that says why there is no consent. Before it
/// comes the legal basis that is declared for the purpose, if that basis applies.
pub(super) fn grounds<'a>(
    consents: &'a ConsentLog,
    vocabulary: &Vocabulary,
    thresholds: &Thresholds,
    age_band: &str,
    case: &ConsentCase<'_>,
) -> Vec<Ground<'a>> {
    let mut grounds: Vec<Ground<'a>> = Vec::new();
    for (yes, until_ms) in consents.allowing(vocabulary, case) {
        let traits = ConsentTraits::of(yes, case.purpose, thresholds, case.now_ms);
        if !grounds.iter().any(|cached| cached.traits == traits) {
            let changes_ms = thresholds.consent_changes_ms(yes.said_ms(), case.now_ms);
            let until_ms = until_ms.into_iter().chain(changes_ms).min();
            let cover = Cover::Allowed { by: Basis::Consent(yes.event_id), until_ms };
            grounds.push(Ground { cover, traits });
        }
    }
    if grounds.is_empty() {
        grounds.extend(declared_ground(consents, vocabulary, age_band, case));
        let cover = consents.cover(vocabulary, case);
        grounds.push(Ground { cover, traits: ConsentTraits::default() });
    }
    grounds
}

/// The legal basis that the controller declares for the purpose, if it applies to a case. It never applies to
/// a special category or to a minor. A legitimate interest does not apply to a person of unknown age either
/// (GDPR Art. 6(1)(f), 9).
fn declared_ground(
    consents: &ConsentLog,
    vocabulary: &Vocabulary,
    age_band: &str,
    case: &ConsentCase<'_>,
) -> Option<Ground<'static>> {
    let (kind, position) = vocabulary.declared_basis(case.purpose)?;
    let is_adult = match age_band {
        "adult" => true,
        "unknown" => kind != DeclaredBasis::LegitimateInterest,
        _ => false,
    };
    let applies = is_adult
        && vocabulary.special_ancestry(case.category).is_empty()
        && consents.leave_room_for(kind, vocabulary, case);
    let cover = Cover::Allowed { by: Basis::Declared { kind, position }, until_ms: None };
    applies.then_some(Ground { cover, traits: ConsentTraits::default() })
}
