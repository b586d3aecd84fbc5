//! The definitions of purposes and categories, with their hierarchies, as they are now and as they were, and
//! the versions of notices that count.

use super::notices::Notices;
use crate::event::event_body::Event;
use crate::event::{CategoryDefined, LegalBasis, NoticeRef, PurposeDefined};
use std::collections::BTreeMap;

/// Maximum depth of a hierarchy. Higher ancestors are ignored, so a cycle ends.
pub(super) const DEPTH_MAX: usize = 32;
/// Uses for these purposes, and for those below them, can always be refused: direct marketing (GDPR Art.
/// 21(2)) and the sale of data (Cal. Civ. Code s. 1798.120).
const REFUSABLE: [&str; 4] = ["advertising", "commercial-persuasion", "data-sale", "direct-marketing"];

#[derive(Default)]
pub(super) struct Vocabulary {
    purposes: Words,
    categories: Words,
    notices: Notices,
    /// The edition of the rules of decisions that the log follows by now, as stated by its
    /// `DecisionRulesAdopted` events. 0 if there is none: logs of the first version of the ledger.
    edition: u32,
}

/// A moment in a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// A position in the log.
    pub position: u64,
}

/// Every version of every word, by id.
#[derive(Default)]
struct Words(BTreeMap<String, Vec<Version>>);

/// A definition of a word.
struct Version {
    /// When it comes into force.
    from: Moment,
    parent: String,
    title: String,
    iri: String,
    /// The rung of a purpose.
    rung: i32,
    /// Whether a category is special.
    special: bool,
    same_meaning: bool,
    /// The declared legal basis of a purpose.
    legal_basis: LegalBasis,
    /// Where the definition is in the log.
    position: u64,
}

impl Version {
    fn is_in_force(&self, at: Moment) -> bool {
        self.from.at_ms <= at.at_ms && self.from.position <= at.position
    }
}

impl Words {
    fn add(&mut self, id: &str, version: Version) {
        let versions = self.0.entry(id.to_owned()).or_default();
        versions.push(version);
        versions.sort_by_key(|version| (version.from.at_ms, version.from.position));
    }

    fn version(&self, id: &str, at: Moment) -> Option<&Version> {
        self.0.get(id)?.iter().rev().find(|version| version.is_in_force(at))
    }

    fn ancestry<'a>(&'a self, id: &'a str, at: Moment) -> Vec<&'a str> {
        let parent = |id: &&'a str| Some(self.version(id, at)?.parent.as_str()).filter(|id| !id.is_empty());
        std::iter::successors(Some(id), parent).take(DEPTH_MAX).collect()
    }

    /// The highest rung of a purpose and its ancestors.
    fn rung(&self, id: &str, at: Moment) -> i32 {
        let ancestry = self.ancestry(id, at).into_iter();
        ancestry.filter_map(|id| Some(self.version(id, at)?.rung)).max().unwrap_or_default()
    }

    /// When a word was first defined, milliseconds since the Unix epoch.
    fn defined_ms(&self, id: &str) -> u64 {
        self.0.get(id).and_then(|versions| versions.first()).map_or(0, |version| version.from.at_ms)
    }

    /// Whether a consent that names one word meant another one, its descendant or itself, when it was
    /// given. A consent that was said before its word was defined means the word as it was when the
    /// consent was sealed.
    fn meant(&self, named: &str, used: &str, given: Given, now: Moment) -> bool {
        let was_defined = given.said_at_ms >= self.defined_ms(named);
        let at_ms = if was_defined { given.said_at_ms } else { given.sealed_at_ms };
        let then = Moment { at_ms, position: given.position };
        self.ancestry(used, then).contains(&named) && self.means_the_same(used, then, now)
    }

    /// Whether each version after a moment says the same as the version before it, and none lifts the word to
    /// a higher rung.
    fn means_the_same(&self, id: &str, then: Moment, now: Moment) -> bool {
        let Some(versions) = self.0.get(id) else { return true };
        let in_force: Vec<&Version> = versions.iter().filter(|version| version.is_in_force(now)).collect();
        let changes = |pair: &[&Version]| {
            let [before, after] = pair else { return false };
            let says_the_same = (&before.title, &before.iri) == (&after.title, &after.iri);
            !after.is_in_force(then) && !after.same_meaning && !says_the_same
        };
        versions.first().is_some_and(|first| first.is_in_force(then))
            && !in_force.windows(2).any(changes)
            && self.rung(id, now) <= self.rung(id, then)
    }
}

impl Vocabulary {
    /// The notices that were published.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Applies a definition that was sealed at `sealed_at_ms`. Other events are ignored.
    pub fn apply(&mut self, position: u64, sealed_at_ms: u64, is_first: bool, event: &Event) {
        let from = |effective_from_ms: u64| match is_first {
            // The words that a log begins with have always had their meaning.
            true => Moment { at_ms: 0, position: 0 },
            false => Moment { at_ms: effective_from_ms.max(sealed_at_ms), position },
        };
        match event {
            Event::PurposeDefined(defined) => {
                let from = from(defined.effective_from_ms);
                self.purposes.add(&defined.id, Version { position, ..purpose(defined, from) });
            }
            Event::CategoryDefined(defined) => {
                let from = from(defined.effective_from_ms);
                self.categories.add(&defined.id, Version { position, ..category(defined, from) });
            }
            Event::NoticePublished(published) => self.notices.publish(position, published),
            Event::NoticeRequired(required) => self.notices.require(position, sealed_at_ms, required),
            Event::DecisionRulesAdopted(adopted) => self.edition = self.edition.max(adopted.edition),
            _ => {}
        }
    }

    /// The edition of the rules of decisions that the log follows by now.
    pub fn edition(&self) -> u32 {
        self.edition
    }

    /// The words in force at a time.
    pub fn at(&self, now_ms: u64) -> WordsInForce<'_> {
        WordsInForce { vocabulary: self, now: Moment { at_ms: now_ms, position: u64::MAX } }
    }
}

/// The purposes and categories that are in force at a moment.
#[derive(Clone, Copy)]
pub(super) struct WordsInForce<'v> {
    vocabulary: &'v Vocabulary,
    now: Moment,
}

impl<'v> WordsInForce<'v> {
    pub fn has_purpose(self, id: &str) -> bool {
        self.vocabulary.purposes.0.contains_key(id)
    }

    pub fn has_category(self, id: &str) -> bool {
        self.vocabulary.categories.0.contains_key(id)
    }

    /// A purpose and its ancestors.
    pub fn purpose_ancestry<'a>(self, id: &'a str) -> Vec<&'a str>
    where
        'v: 'a,
    {
        self.vocabulary.purposes.ancestry(id, self.now)
    }

    /// A category and its ancestors.
    pub fn category_ancestry<'a>(self, id: &'a str) -> Vec<&'a str>
    where
        'v: 'a,
    {
        self.vocabulary.categories.ancestry(id, self.now)
    }

    /// Among a category and its ancestors, those that are special (GDPR Art. 9(1)): each of them is marked as
    /// special, or has an ancestor that is marked as special.
    pub fn special_ancestry<'a>(self, id: &'a str) -> Vec<&'a str>
    where
        'v: 'a,
    {
        let categories = &self.vocabulary.categories;
        let mut ancestry = categories.ancestry(id, self.now);
        let is_marked = |id: &&str| categories.version(id, self.now).is_some_and(|version| version.special);
        ancestry.truncate(ancestry.iter().rposition(is_marked).map_or(0, |last| last + 1));
        ancestry
    }

    /// The edition of the rules of decisions.
    pub fn edition(self) -> u32 {
        self.vocabulary.edition
    }

    /// Whether a consent that names this version of a notice counts. From edition 3 on, it does not if a
    /// later version is required.
    pub fn notice_counts(self, notice: Option<&NoticeRef>) -> bool {
        self.edition() < 3
            || notice.is_none_or(|notice| self.vocabulary.notices.counts(notice, self.now.at_ms))
    }

    /// The legal basis that is declared for a purpose, beside consent, and the position of the definition
    /// that declares it. Advertising and sale can rest only on a basis that people can object to.
    pub fn declared_basis(self, purpose: &str) -> Option<(LegalBasis, u64)> {
        let version = self.vocabulary.purposes.version(purpose, self.now)?;
        let is_refusable = self.purpose_ancestry(purpose).iter().any(|id| REFUSABLE.contains(id));
        match version.legal_basis {
            LegalBasis::Unspecified | LegalBasis::Consent => None,
            LegalBasis::Contract | LegalBasis::LegalObligation if is_refusable => None,
            declared => Some((declared, version.position)),
        }
    }

    /// Whether a consent that names this purpose meant the purpose of a use when it was given.
    pub fn meant_purpose(self, named: &str, used: &str, given: Given) -> bool {
        self.vocabulary.purposes.meant(named, used, given, self.now)
    }

    /// Whether a consent that names this category meant the category of a use when it was given.
    pub fn meant_category(self, named: &str, used: &str, given: Given) -> bool {
        self.vocabulary.categories.meant(named, used, given, self.now)
    }
}

/// When a consent was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    /// When the data subject said it, milliseconds since the Unix epoch.
    pub said_at_ms: u64,
    /// When it was sealed, milliseconds since the Unix epoch.
    pub sealed_at_ms: u64,
    pub position: u64,
}

fn purpose(defined: &PurposeDefined, from: Moment) -> Version {
    Version {
        from,
        parent: defined.parent.clone(),
        title: defined.title.clone(),
        iri: defined.iri.clone(),
        rung: defined.rung,
        special: false,
        same_meaning: defined.same_meaning,
        legal_basis: defined.legal_basis(),
        position: 0,
    }
}

fn category(defined: &CategoryDefined, from: Moment) -> Version {
    Version {
        from,
        parent: defined.parent.clone(),
        title: defined.title.clone(),
        iri: defined.iri.clone(),
        rung: 0,
        special: defined.special,
        same_meaning: defined.same_meaning,
        legal_basis: LegalBasis::Unspecified,
        position: 0,
    }
}
