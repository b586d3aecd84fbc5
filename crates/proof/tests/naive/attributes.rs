//! Finds which attributes are current, and whether an attribute may be granted.

use super::words::{self, Kind};
use super::{Asked, consent, subject_choices};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{GrantedAttribute, LegalBasis, Provenance, Role};

/// An attribute as it is before a grant.
#[derive(Clone, Debug)]
pub struct Attribute {
    pub id: [u8; 16],
    pub key: String,
    pub category: String,
    pub declared: bool,
    pub inferred: bool,
    pub by_subject: bool,
    pub confirmed: bool,
    pub observed_at_ms: u64,
    pub sources: Vec<Vec<u8>>,
    pub expires_at_ms: Option<u64>,
    pub contested: bool,
    /// When the newest contest was sealed.
    contested_at_ms: u64,
    /// For an inference, what the person had declared or confirmed under its key when it was recorded.
    beside: Vec<[u8; 16]>,
    /// It was removed, corrected, expired or replaced, or was history from the start.
    ended: bool,
    /// Another attribute replaced it, before anything else ended it.
    pub replaced: bool,
}

/// All attributes that a person's events recorded before the grant.
pub fn attributes(asked: Asked<'_>) -> Vec<Attribute> {
    let mut all: Vec<Attribute> = Vec::new();
    for (line, event) in asked.own() {
        let (recorded, corrects, is_history) = match event {
            Event::AttributeRecorded(recorded) => (&recorded.attribute, None, false),
            Event::AttributeCorrected(corrected) => (&corrected.attribute, Some(&corrected.corrects), false),
            Event::EarlierAttributeRecorded(recorded) => (&recorded.attribute, None, true),
            Event::AttributeRemoved(removed) => {
                all.iter_mut()
                    .filter(|one| one.id[..] == removed.attribute[..])
                    .for_each(|one| one.ended = true);
                continue;
            }
            Event::AttributeExpired(expired) => {
                all.iter_mut()
                    .filter(|one| one.id[..] == expired.attribute[..])
                    .for_each(|one| one.ended = true);
                continue;
            }
            Event::AttributeContested(contested) => {
                let at = asked.log.moment(line);
                for one in all.iter_mut().filter(|one| one.id[..] == contested.attribute[..]) {
                    (one.contested, one.confirmed) = (true, false);
                    one.contested_at_ms = one.contested_at_ms.max(at);
                }
                continue;
            }
            Event::AttributeSourcesAdded(added) => {
                for one in all.iter_mut().filter(|one| one.id[..] == added.attribute[..]) {
                    one.sources.extend(added.sources.iter().cloned());
                }
                continue;
            }
            Event::AttributeConfirmed(confirmed) => {
                let said = line.about_ms().min(asked.log.moment(line));
                let edition = asked.log.edition(line.position);
                for one in all.iter_mut().filter(|one| one.id[..] == confirmed.attribute[..]) {
                    let is_before = edition >= 4 && said < one.contested_at_ms;
                    let is_at_once = edition >= 5 && said == one.contested_at_ms;
                    if !(one.contested && (is_before || is_at_once)) {
                        (one.contested, one.confirmed, one.beside) = (false, true, Vec::new());
                    }
                }
                continue;
            }
            _ => continue,
        };
        if let Some(corrects) = corrects {
            all.iter_mut().filter(|one| one.id[..] == corrects[..]).for_each(|one| one.ended = true);
        }
        let Some(recorded) = recorded else { continue };
        let new = Attribute {
            id: line.id,
            key: recorded.key.clone(),
            category: recorded.category.clone(),
            declared: recorded.provenance() == Provenance::Declared,
            inferred: recorded.provenance() == Provenance::Inferred,
            by_subject: line.role() == Role::Subject,
            confirmed: false,
            observed_at_ms: recorded.observed_at_ms,
            sources: recorded.derived_from.clone(),
            expires_at_ms: recorded.expires_at_ms,
            contested: false,
            contested_at_ms: 0,
            beside: Vec::new(),
            ended: is_history,
            replaced: is_history,
        };
        let by_time = asked.log.edition(line.position) >= 3 && corrects.is_none();
        add(&mut all, new, by_time);
    }
    all
}

fn add(all: &mut Vec<Attribute>, mut new: Attribute, by_time: bool) {
    if !new.ended {
        let loses_to = |old: &Attribute| {
            let wins_anyway = new.declared && old.inferred && !old.confirmed;
            by_time && old.beside.is_empty() && old.observed_at_ms > new.observed_at_ms && !wins_anyway
        };
        let same_key = |old: &&mut Attribute| old.key == new.key && !old.ended;
        if all.iter().any(|old| old.key == new.key && !old.ended && loses_to(old)) {
            (new.ended, new.replaced) = (true, true);
        } else {
            for old in all.iter_mut().filter(same_key) {
                if new.inferred && (old.declared || old.confirmed) {
                    new.beside.push(old.id);
                } else {
                    (old.ended, old.replaced) = (true, true);
                }
            }
        }
    }
    all.push(new);
}

impl Attribute {
    fn is_usable(&self, now: u64) -> bool {
        !self.ended && !self.contested && self.expires_at_ms.is_none_or(|end| end > now)
    }
}

/// An attribute's direct and indirect sources; none if one was never recorded.
pub fn sources_of<'a>(all: &'a [Attribute], of: &'a Attribute) -> Option<Vec<&'a Attribute>> {
    let (mut found, mut next): (Vec<&Attribute>, Vec<&Vec<u8>>) = (Vec::new(), of.sources.iter().collect());
    while let Some(id) = next.pop() {
        let source = all.iter().find(|one| one.id[..] == id[..])?;
        if !found.iter().any(|one| one.id == source.id) {
            found.push(source);
            next.extend(&source.sources);
        }
    }
    Some(found)
}

/// Whether an attribute was derived, directly or indirectly, from one of a special category.
pub fn is_concluded(asked: Asked<'_>, attribute: &Attribute) -> bool {
    let all = attributes(asked);
    let sources = sources_of(&all, attribute).unwrap_or_default();
    sources.iter().any(|source| !words::special(asked, &source.category).is_empty())
}

/// The legal basis other than consent on which the grant's purpose allows this attribute.
pub fn declared_basis(asked: Asked<'_>, attribute: &Attribute) -> Option<(LegalBasis, u64)> {
    let purpose = words::purpose(asked, &asked.grant.purpose)?;
    let Event::PurposeDefined(defined) = purpose.event else { return None };
    let basis = defined.legal_basis();
    let interest = basis == LegalBasis::LegitimateInterest;
    if asked.edition() < 3 || matches!(basis, LegalBasis::Unspecified | LegalBasis::Consent) {
        return None;
    }
    let commercial = ["advertising", "commercial-persuasion", "direct-marketing", "data-sale"];
    let above = words::upward(asked, Kind::Purpose, &asked.grant.purpose, words::now(asked));
    if above.iter().any(|name| commercial.contains(&name.as_str())) && !interest {
        return None;
    }
    let of_age = match subject_choices::is_adult(asked) {
        None => !interest,
        Some(adult) => adult,
    };
    let special = !words::special(asked, &attribute.category).is_empty() || is_concluded(asked, attribute);
    let holds = of_age
        && !special
        && consent::leave_room(asked, &attribute.category, interest)
        && !subject_choices::asks_each_time(asked);
    holds.then_some((basis, purpose.position))
}

/// What may be used for the grant's purpose, apart from consent or another basis.
pub fn is_in_order(asked: Asked<'_>, all: &[Attribute], one: &Attribute) -> bool {
    can_be_used(asked, all, one) && words::category(asked, &one.category).is_some()
}

/// What nothing about the attribute itself forbids, nor the person's own bounds or a refused erasure.
pub fn can_be_used(asked: Asked<'_>, all: &[Attribute], one: &Attribute) -> bool {
    let overridden = all.iter().any(|old| one.beside.contains(&old.id) && old.is_usable(asked.now));
    one.is_usable(asked.now)
        && !overridden
        && !subject_choices::is_kept_only(asked, one)
        && subject_choices::own_bounds_allow(asked, one)
}

/// Whether consent or another basis lets a source be used, with objections.
fn source_may_be_used(asked: Asked<'_>, source: &Attribute) -> bool {
    let consents = consent::allowing(asked, &source.category);
    let spoken = |names: &[String]| {
        !subject_choices::asks_each_time(asked) || names.contains(&asked.grant.interaction)
    };
    if consents.iter().any(|(_, names)| spoken(names)) {
        return !subject_choices::objected(asked);
    }
    match declared_basis(asked, source) {
        None => false,
        Some((LegalBasis::LegitimateInterest, _)) => !subject_choices::objected(asked),
        Some(_) => true,
    }
}

pub fn may_be_granted(asked: Asked<'_>, granted: &GrantedAttribute) -> bool {
    let all = attributes(asked);
    let Some(one) = all.iter().find(|one| one.id[..] == granted.attribute[..]) else { return false };
    let Some(sources) = sources_of(&all, one) else { return false };
    let grant = asked.grant;
    let above = words::upward(asked, Kind::Category, &one.category, words::now(asked));
    let was_asked_for = (grant.categories.is_empty()
        || grant.categories.iter().any(|name| above.contains(name)))
        && (grant.keys.is_empty() || grant.keys.contains(&one.key));
    one.key == granted.key
        && one.category == granted.category
        && was_asked_for
        && is_in_order(asked, &all, one)
        && rests_on_its_basis(asked, one, granted)
        && !consent::ends_too_early(asked, &one.category, &granted.consent)
        && std::iter::once(one).chain(sources.iter().copied()).all(|one| lasts(asked, one))
        && sources.iter().all(|source| is_in_order(asked, &all, source) && source_may_be_used(asked, source))
}

/// Whether an attribute expires no earlier than the grant.
fn lasts(asked: Asked<'_>, one: &Attribute) -> bool {
    one.expires_at_ms.is_none_or(|end| asked.grant.expires_at_ms <= end)
}

fn rests_on_its_basis(asked: Asked<'_>, one: &Attribute, granted: &GrantedAttribute) -> bool {
    if matches!(granted.legal_basis(), LegalBasis::Unspecified | LegalBasis::Consent) {
        let consents = consent::allowing(asked, &one.category);
        let cited = consents.iter().find(|(id, _)| *id == granted.consent[..]);
        let asks = subject_choices::asks_each_time(asked);
        return cited.is_some_and(|(_, names)| !asks || names.contains(&asked.grant.interaction))
            && !subject_choices::objected(asked);
    }
    let interest = granted.legal_basis() == LegalBasis::LegitimateInterest;
    granted.consent.is_empty()
        && declared_basis(asked, one) == Some((granted.legal_basis(), granted.declared_at))
        && !(interest && subject_choices::objected(asked))
}

/// Every way to grant an attribute that is right.
pub fn candidates(asked: Asked<'_>) -> Vec<GrantedAttribute> {
    let all = attributes(asked);
    let mut right = Vec::new();
    for one in &all {
        let named = GrantedAttribute {
            attribute: one.id.to_vec(),
            key: one.key.clone(),
            category: one.category.clone(),
            ..GrantedAttribute::default()
        };
        let consents = consent::allowing(asked, &one.category);
        right.extend(
            consents.iter().map(|(id, _)| GrantedAttribute { consent: id.to_vec(), ..named.clone() }),
        );
        right.extend(declared_basis(asked, one).map(|(basis, declared_at)| GrantedAttribute {
            legal_basis: basis.into(),
            declared_at,
            ..named.clone()
        }));
    }
    right.retain(|granted| may_be_granted(asked, granted));
    right
}

/// Attributes with consents or bases at random.
pub fn anything(asked: Asked<'_>, roll: &mut dyn FnMut(usize) -> usize) -> Vec<GrantedAttribute> {
    let consents: Vec<[u8; 16]> = asked
        .own()
        .filter(|(_, event)| matches!(event, Event::ConsentGiven(_) | Event::ConsentRenewed(_)))
        .map(|(line, _)| line.id)
        .collect();
    let of = |one: &Attribute| GrantedAttribute {
        attribute: one.id.to_vec(),
        consent: if consents.is_empty() { vec![] } else { consents[roll(consents.len())].to_vec() },
        key: one.key.clone(),
        category: one.category.clone(),
        ..GrantedAttribute::default()
    };
    attributes(asked).iter().map(of).collect()
}
