//! Finds the rule of which an event publishes a version: a pack of bounds, a purpose, a category, or the
//! required version of a notice. Also finds the tier that publishes the rule.

use crate::event;
use crate::event::event_body::Event;
use ed25519_dalek::VerifyingKey;
use serde::Serialize;
use std::fmt::{self, Display};
use std::str::FromStr;

/// A tier that publishes rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleTier {
    /// Tier 1, public bounds: an authority.
    Public,
    /// Tier 2: the provider's stewards. They also publish the vocabulary and require notices.
    Provider,
}

impl RuleTier {
    /// The tier of published bounds; none if bounds of this tier are not published.
    #[must_use]
    pub fn of_bounds(tier: event::Tier) -> Option<Self> {
        match tier {
            event::Tier::Public => Some(Self::Public),
            event::Tier::Provider => Some(Self::Provider),
            event::Tier::Individual | event::Tier::Unspecified => None,
        }
    }

    /// The tier that this one must not share a key with.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Public => Self::Provider,
            Self::Provider => Self::Public,
        }
    }
}

impl Display for RuleTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Provider => "provider",
        })
    }
}

/// The kind of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleKind {
    /// A pack of bounds.
    Bounds,
    /// A purpose.
    Purpose,
    /// A category.
    Category,
    /// The required version of a notice.
    Notice,
}

/// What an event is a version of. The versions of one rule are numbered from 1, in the order of the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// The tier that publishes it.
    pub tier: RuleTier,
    /// Its kind.
    pub kind: RuleKind,
    /// The name of the pack, or the id of the purpose, category or notice.
    pub name: String,
}

impl Rule {
    /// The rule that an event is a version of. `None` for other events, and for bounds of a tier that
    /// publishes none.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let provider = |kind, name: &str| Self { tier: RuleTier::Provider, kind, name: name.to_owned() };
        match event {
            Event::BoundsPublished(bounds) => {
                let tier = RuleTier::of_bounds(bounds.tier())?;
                Some(Self { tier, kind: RuleKind::Bounds, name: bounds.pack.clone() })
            }
            Event::PurposeDefined(purpose) => Some(provider(RuleKind::Purpose, &purpose.id)),
            Event::CategoryDefined(category) => Some(provider(RuleKind::Category, &category.id)),
            Event::NoticeRequired(notice) => Some(provider(RuleKind::Notice, &notice.id)),
            _ => None,
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            RuleKind::Bounds => "bounds",
            RuleKind::Purpose => "purpose",
            RuleKind::Category => "category",
            RuleKind::Notice => "notice",
        };
        write!(f, "{} {kind} `{}`", self.tier, self.name)
    }
}

/// A key that the user of a verifier trusts to sign the rules of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierKey {
    /// The tier.
    pub tier: RuleTier,
    /// The public key.
    pub key: VerifyingKey,
}

/// Why a text is not the key of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TierKeyError {
    /// It does not begin with the name of a tier.
    #[error("must be `public=KEY` or `provider=KEY`")]
    Tier,
    /// The key is not one.
    #[error("the key must have 64 hex digits, as `sayso bounds keygen` prints them")]
    Key,
}

impl FromStr for TierKey {
    type Err = TierKeyError;

    fn from_str(text: &str) -> Result<Self, TierKeyError> {
        let (tier, key) = text.split_once('=').ok_or(TierKeyError::Tier)?;
        let tier = match tier {
            "public" => RuleTier::Public,
            "provider" => RuleTier::Provider,
            _ => return Err(TierKeyError::Tier),
        };
        let mut bytes = [0; 32];
        hex::decode_to_slice(key.trim(), &mut bytes).map_err(|_| TierKeyError::Key)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| TierKeyError::Key)?;
        Ok(Self { tier, key })
    }
}

/// Whether a key is trusted to sign for a tier: `None` if no key of this tier is given to compare it with. A
/// key that is given for the other tier alone is not trusted.
#[must_use]
pub fn is_trusted(keys: &[TierKey], tier: RuleTier, key: &VerifyingKey) -> Option<bool> {
    let has_key_of = |tier| keys.iter().any(|trusted| trusted.tier == tier);
    let is_named_for = |tier| keys.iter().any(|trusted| trusted.tier == tier && trusted.key == *key);
    if is_named_for(tier) {
        return Some(true);
    }
    (has_key_of(tier) || is_named_for(tier.other())).then_some(false)
}
