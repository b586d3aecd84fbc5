//! The purposes and categories in force, what their definitions imply (such as which categories are special),
//! and which versions of notices still allow a use.

use super::definitions::{ConsentTime, Moment, Version, Words};
use super::notices::Notices;
use crate::event::event_body::Event;
use crate::event::{CategoryDefined, LegalBasis, NoticeRef, PurposeDefined};

/// Uses for these purposes, and for those below them, can always be refused: direct marketing (GDPR Art.
/// 21(2)) and the sale of data (Cal. Civ. Code s. 1798.120).
const REFUSABLE: [&str; 4] = ["advertising", "commercial-persuasion", "data-sale", "direct-marketing"];

/// From this edition of the rules of decisions on, a later definition can state that it keeps the meaning of
/// its word. Such a definition is signed. Before, definitions were not signed.
const SAME_MEANING_EDITION: u32 = 2;

#[derive(Default)]
pub(super) struct Vocabulary {
    purposes: Words,
    categories: Words,
    notices: Notices,
    /// The edition of the rules of decisions that the log follows by now, as stated by its
    /// `DecisionRulesAdopted` events. 0 if there is none: logs of the first version of the ledger.
    edition: u32,
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
        let may_say_same = is_first || self.edition >= SAME_MEANING_EDITION;
        match event {
            Event::PurposeDefined(defined) => {
                let version = purpose(defined, from(defined.effective_from_ms));
                let same_meaning = version.same_meaning && may_say_same;
                self.purposes.add(&defined.id, Version { position, same_meaning, ..version });
            }
            Event::CategoryDefined(defined) => {
                let version = category(defined, from(defined.effective_from_ms));
                let same_meaning = version.same_meaning && may_say_same;
                self.categories.add(&defined.id, Version { position, same_meaning, ..version });
            }
            Event::NoticePublished(published) => self.notices.publish(position, published),
            Event::NoticeRequired(required) => self.notices.require(position, sealed_at_ms, required),
            Event::DecisionRulesAdopted(adopted) => self.edition = self.edition.max(adopted.edition),
            _ => {}
        }
    }

    /// Brings the definitions into force that count from this time or an earlier one, milliseconds since the
    /// Unix epoch. The words of later times cannot be looked up.
    pub fn advance(&mut self, now_ms: u64) {
        self.purposes.advance(now_ms);
        self.categories.advance(now_ms);
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
        self.vocabulary.purposes.contains(id)
    }

    pub fn has_category(self, id: &str) -> bool {
        self.vocabulary.categories.contains(id)
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
    pub fn meant_purpose(self, named: &str, used: &str, given: ConsentTime) -> bool {
        self.vocabulary.purposes.meant(named, used, given, self.now)
    }

    /// Whether a consent that names this category meant the category of a use when it was given.
    pub fn meant_category(self, named: &str, used: &str, given: ConsentTime) -> bool {
        self.vocabulary.categories.meant(named, used, given, self.now)
    }
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
