//! Checks whether attributes that were granted earlier may still be used.

use super::attributes::{self, Attribute};
use super::{Asked, Handle, Log, consent, subject_choices, words};
use sayso_proof::event::{GrantIssued, GrantedAttribute, LegalBasis};

/// Whether another attribute replaced this one before a position.
pub fn was_replaced(log: Log<'_>, handle: Handle, position: u64, id: &[u8]) -> bool {
    let grant = GrantIssued::default();
    let asked = Asked { log, grant: &grant, handle, position, now: 0, words_at: 0 };
    attributes::attributes(asked).iter().any(|one| one.id[..] == *id && one.replaced)
}

/// What still speaks for the use of an attribute that was granted earlier.
struct Standing {
    /// It may be used itself, by consent or another basis.
    itself: bool,
    /// Each of its sources may be used.
    sources: bool,
}

fn standing(asked: Asked<'_>, granted: &GrantedAttribute, with_objection: bool) -> Standing {
    let all = attributes::attributes(asked);
    let Some(one) = all.iter().find(|one| one.id[..] == granted.attribute[..]) else {
        return Standing { itself: false, sources: false };
    };
    if asked.edition() < 3 && one.replaced {
        return Standing { itself: true, sources: true };
    }
    let spoken = |names: &[String]| {
        !subject_choices::asks_each_time(asked) || names.contains(&asked.grant.interaction)
    };
    let is_consented =
        |category: &str| consent::allowing(asked, category).iter().any(|(_, names)| spoken(names));
    let by_consent = is_consented(&one.category);
    let cited = granted.legal_basis();
    let cites_consent = matches!(cited, LegalBasis::Unspecified | LegalBasis::Consent);
    let declared = attributes::declared_basis(asked, one).map(|(kind, _)| kind);
    let is_same = |kind: LegalBasis| cites_consent || kind == cited;
    // A source of an artifact states no basis.
    let basis = match cited {
        LegalBasis::Unspecified if granted.consent.is_empty() => declared.unwrap_or(cited),
        _ => cited,
    };
    let can_be_objected_to = !matches!(basis, LegalBasis::Contract | LegalBasis::LegalObligation);
    let is_objected = with_objection && can_be_objected_to && subject_choices::objected(asked);
    let on_a_basis = by_consent || declared.is_some_and(is_same);
    let itself = attributes::is_in_order(asked, &all, one) && on_a_basis && !is_objected;
    let may_be_used = |source: &&Attribute| {
        let consented = is_consented(&source.category);
        let is_objected = consented && !by_consent && subject_choices::objected(asked);
        let on_a_basis = consented || attributes::declared_basis(asked, source).is_some();
        attributes::is_in_order(asked, &all, source) && on_a_basis && !is_objected
    };
    let sources = attributes::sources_of(&all, one).is_some_and(|all| all.iter().all(may_be_used));
    Standing { itself, sources }
}

/// Whether an attribute that was granted earlier may still be used, by any consent or by a basis of the same
/// kind.
pub fn stands(asked: Asked<'_>, granted: &GrantedAttribute, with_objection: bool) -> bool {
    let Standing { itself, sources } = standing(asked, granted, with_objection);
    itself && sources
}

/// Whether what allowed an attribute still allows its use, or something else does: another consent, or a
/// basis of the same kind. Nothing else about the attribute is checked.
pub fn is_on_a_basis(asked: Asked<'_>, granted: &GrantedAttribute) -> bool {
    let all = attributes::attributes(asked);
    let Some(one) = all.iter().find(|one| one.id[..] == granted.attribute[..]) else { return true };
    if !attributes::can_be_used(asked, &all, one) {
        return true;
    }
    let spoken = |names: &[String]| {
        !subject_choices::asks_each_time(asked) || names.contains(&asked.grant.interaction)
    };
    let is_consented = consent::allowing(asked, &one.category).iter().any(|(_, names)| spoken(names));
    let cited = granted.legal_basis();
    let may_be_any = matches!(cited, LegalBasis::Unspecified | LegalBasis::Consent);
    let declared = attributes::declared_basis(asked, one).map(|(kind, _)| kind);
    words::category(asked, &one.category).is_some()
        && (is_consented || declared.is_some_and(|kind| may_be_any || kind == cited))
}

/// Whether an attribute that was granted earlier may no longer be used, only because of its sources.
pub fn lost_a_source(asked: Asked<'_>, granted: &GrantedAttribute) -> bool {
    let Standing { itself, sources } = standing(asked, granted, false);
    itself && !sources
}
