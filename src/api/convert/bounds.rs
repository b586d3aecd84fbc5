//! Conversions between the API's messages about vocabulary (purposes and categories), notices and bounds, and
//! the events that record these. A message and its event have the same fields and differ only in how they
//! write times.

use crate::api::convert::times::{maybe_millis, time};
use crate::api::status;
use crate::domain::event::{
    BoundsPublished, CategoryDefined, Event, LegalBasis, NeverUse, NoticeRequired, PersonalBoundsSet,
    PurposeDefined, Rung, Tier,
};
use crate::proto;
use crate::proto::get_next_version_request::Rule as NamedRule;
use sayso_proof::event::WriterSignature;
use sayso_proof::rule::{Rule, RuleKind, RuleTier};
use tonic::Status;

/// A purpose as it is recorded.
///
/// # Errors
/// Its rung (its place on the ladder of rising risk) is not a value of the enum.
pub fn purpose(of: proto::Purpose) -> Result<PurposeDefined, Status> {
    let proto::Purpose {
        id,
        parent,
        iri,
        title,
        risks,
        benefits,
        rung,
        effective_from,
        same_meaning,
        legal_basis,
        basis_reference,
    } = of;
    let legal_basis = LegalBasis::try_from(legal_basis)
        .map_err(|_| status::invalid("purpose.legal_basis", "must be one of the four bases, or none"))?;
    let rung = Rung::try_from(rung)
        .map_err(|_| status::invalid("purpose.rung", "must be one of the six rungs, or none"))?;
    let from = maybe_millis(effective_from.as_ref(), "purpose.effective_from")?;
    let effective_from_ms = from.unwrap_or_default();
    Ok(PurposeDefined {
        id,
        parent,
        iri,
        title,
        risks,
        benefits,
        rung,
        effective_from_ms,
        same_meaning,
        legal_basis,
        basis_reference,
    })
}

impl From<PurposeDefined> for proto::Purpose {
    fn from(of: PurposeDefined) -> Self {
        Self {
            id: of.id,
            parent: of.parent,
            iri: of.iri,
            title: of.title,
            risks: of.risks,
            benefits: of.benefits,
            rung: of.rung.into(),
            effective_from: (of.effective_from_ms > 0).then(|| time(of.effective_from_ms)),
            same_meaning: of.same_meaning,
            legal_basis: of.legal_basis.into(),
            basis_reference: of.basis_reference,
        }
    }
}

/// A category as it is recorded.
///
/// # Errors
/// Its time is malformed.
pub fn category(of: proto::Category) -> Result<CategoryDefined, Status> {
    let proto::Category { id, parent, iri, title, special, risks, benefits, effective_from, same_meaning } =
        of;
    let from = maybe_millis(effective_from.as_ref(), "category.effective_from")?;
    let effective_from_ms = from.unwrap_or_default();
    Ok(CategoryDefined { id, parent, iri, title, special, risks, benefits, effective_from_ms, same_meaning })
}

/// Definitions to preview, as they would be recorded. They come into force at once.
///
/// # Errors
/// A field is malformed.
pub fn definitions(
    purposes: Vec<proto::Purpose>,
    categories: Vec<proto::Category>,
    notices: Vec<proto::RequiredNotice>,
) -> Result<Vec<Event>, Status> {
    let purposes = purposes.into_iter().map(|of| purpose(proto::Purpose { effective_from: None, ..of }));
    let categories =
        categories.into_iter().map(|of| category(proto::Category { effective_from: None, ..of }));
    let notices =
        notices.into_iter().map(|of| required_notice(proto::RequiredNotice { effective_from: None, ..of }));
    let purposes = purposes.map(|of| of.map(Event::PurposeDefined));
    let categories = categories.map(|of| of.map(Event::CategoryDefined));
    purposes.chain(categories).chain(notices.map(|of| of.map(Event::NoticeRequired))).collect()
}

/// A required version of a notice as it is recorded.
///
/// # Errors
/// Its time is malformed.
pub fn required_notice(of: proto::RequiredNotice) -> Result<NoticeRequired, Status> {
    let proto::RequiredNotice { id, version, effective_from } = of;
    let from = maybe_millis(effective_from.as_ref(), "notice.effective_from")?;
    Ok(NoticeRequired { id, version, effective_from_ms: from.unwrap_or_default() })
}

impl From<NoticeRequired> for proto::RequiredNotice {
    fn from(of: NoticeRequired) -> Self {
        let NoticeRequired { id, version, effective_from_ms } = of;
        Self { id, version, effective_from: (effective_from_ms > 0).then(|| time(effective_from_ms)) }
    }
}

impl From<CategoryDefined> for proto::Category {
    fn from(of: CategoryDefined) -> Self {
        let CategoryDefined {
            id,
            parent,
            iri,
            title,
            special,
            risks,
            benefits,
            effective_from_ms,
            same_meaning,
        } = of;
        let effective_from = (effective_from_ms > 0).then(|| time(effective_from_ms));
        Self { id, parent, iri, title, special, risks, benefits, effective_from, same_meaning }
    }
}

impl From<BoundsPublished> for proto::BoundsPack {
    fn from(of: BoundsPublished) -> Self {
        let BoundsPublished { tier, pack, version, policies, schema_digest, effective_from_ms } = of;
        let effective_from = (effective_from_ms > 0).then(|| time(effective_from_ms));
        Self { tier: tier.into(), pack, version, policies, schema_digest, effective_from }
    }
}

/// A pack as it is recorded. `at` is the path of its field in the request.
///
/// # Errors
/// Its time is malformed.
pub fn pack(of: proto::BoundsPack, at: &str) -> Result<BoundsPublished, Status> {
    let proto::BoundsPack { tier, pack, version, policies, schema_digest, effective_from } = of;
    let from = maybe_millis(effective_from.as_ref(), &format!("{at}.effective_from"))?;
    let effective_from_ms = from.unwrap_or_default();
    let tier = Tier::try_from(tier).unwrap_or_default();
    Ok(BoundsPublished { tier, pack, version, policies, schema_digest, effective_from_ms })
}

/// A signature as it is recorded, if there is one.
///
/// # Errors
/// Its time is out of range.
pub fn signature(of: Option<proto::PackSignature>) -> Result<Option<WriterSignature>, Status> {
    let Some(of) = of else { return Ok(None) };
    let proto::PackSignature { algorithm, public_key, signature, sequence, signed_at } = of;
    let signed_at_ms = maybe_millis(signed_at.as_ref(), "signature.signed_at")?.unwrap_or_default();
    Ok(Some(WriterSignature { algorithm, public_key, signature, sequence, signed_at_ms }))
}

impl From<WriterSignature> for proto::PackSignature {
    fn from(of: WriterSignature) -> Self {
        let WriterSignature { algorithm, public_key, signature, sequence, signed_at_ms } = of;
        let signed_at = (signed_at_ms != 0).then(|| time(signed_at_ms));
        Self { algorithm, public_key, signature, sequence, signed_at }
    }
}

/// The rule that a request asks about.
///
/// # Errors
/// It names no rule, or a tier that publishes no bounds.
pub fn rule(of: proto::GetNextVersionRequest) -> Result<Rule, Status> {
    let provider = |kind, name| Rule { tier: RuleTier::Provider, kind, name };
    match of.rule {
        Some(NamedRule::Pack(named)) => {
            let tier = Tier::try_from(named.tier).ok().and_then(RuleTier::of_bounds);
            let tier =
                tier.ok_or_else(|| status::invalid("pack.tier", "must be public (1) or provider (2)"))?;
            Ok(Rule { tier, kind: RuleKind::Bounds, name: named.pack })
        }
        Some(NamedRule::Purpose(id)) => Ok(provider(RuleKind::Purpose, id)),
        Some(NamedRule::Category(id)) => Ok(provider(RuleKind::Category, id)),
        Some(NamedRule::Notice(id)) => Ok(provider(RuleKind::Notice, id)),
        None => Err(status::invalid("rule", "must name a pack, a purpose, a category or a notice")),
    }
}

/// The tier of the API.
pub fn tier(of: RuleTier) -> Tier {
    match of {
        RuleTier::Public => Tier::Public,
        RuleTier::Provider => Tier::Provider,
    }
}

impl From<proto::ForbiddenUse> for NeverUse {
    fn from(of: proto::ForbiddenUse) -> Self {
        let proto::ForbiddenUse { category, purposes } = of;
        Self { category, purposes }
    }
}

impl From<NeverUse> for proto::ForbiddenUse {
    fn from(of: NeverUse) -> Self {
        let NeverUse { category, purposes } = of;
        Self { category, purposes }
    }
}

impl From<proto::PersonalBounds> for PersonalBoundsSet {
    fn from(of: proto::PersonalBounds) -> Self {
        let proto::PersonalBounds {
            never,
            only_recipients,
            declared_only,
            forget_inferences_days,
            ask_each_time,
            paused,
            paused_interactions,
        } = of;
        Self {
            never: never.into_iter().map(Into::into).collect(),
            only_recipients,
            declared_only,
            forget_inferences_days,
            ask_each_time,
            paused,
            paused_interactions,
        }
    }
}

impl From<PersonalBoundsSet> for proto::PersonalBounds {
    fn from(of: PersonalBoundsSet) -> Self {
        let PersonalBoundsSet {
            never,
            only_recipients,
            declared_only,
            forget_inferences_days,
            ask_each_time,
            paused,
            paused_interactions,
        } = of;
        Self {
            never: never.into_iter().map(Into::into).collect(),
            only_recipients,
            declared_only,
            forget_inferences_days,
            ask_each_time,
            paused,
            paused_interactions,
        }
    }
}
