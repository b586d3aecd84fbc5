//! Checks one grant against the state of its data subject.

use super::attribute::AttributeState;
use super::consent::{Covering, IntendedUse};
use super::fault::Fault;
use super::personal_bounds::{self, Properties};
use super::sources::{SourceBasis, Sources};
use super::subject::Subject;
use super::vocabulary::WordsInForce;
use crate::event::{GrantIssued, GrantedAttribute, LegalBasis, SignalKind};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// A grant being replayed, and what it is checked against.
#[derive(Clone, Copy)]
pub(super) struct GrantContext<'a> {
    pub grant: &'a GrantIssued,
    pub vocabulary: WordsInForce<'a>,
    /// The moment of the grant, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// The check of one grant. It remembers what several of the allowed attributes depend on.
pub(super) struct GrantCheck<'a> {
    pub(super) subject: &'a Subject,
    pub(super) context: GrantContext<'a>,
    // Unordered: looked up, never iterated.
    categories: HashSet<&'a str>,
    // Unordered: looked up, never iterated.
    keys: HashSet<&'a str>,
    // Unordered: looked up, never iterated.
    covering: HashMap<&'a str, Rc<Covering<'a>>>,
    sources: Sources<'a>,
}

impl<'a> GrantCheck<'a> {
    pub fn new(subject: &'a Subject, context: GrantContext<'a>) -> Self {
        let grant = context.grant;
        let mut check = Self {
            subject,
            context,
            categories: grant.categories.iter().map(String::as_str).collect(),
            keys: grant.keys.iter().map(String::as_str).collect(),
            covering: HashMap::new(),
            sources: Sources::of(subject, context.grant, context.vocabulary),
        };
        let judged = check.judged_sources();
        check.sources.judge(&judged);
        check
    }

    /// The fault of a signal in force that forbids the purpose of the grant.
    pub fn signal_against(&self) -> Option<Fault> {
        let GrantContext { grant, vocabulary, .. } = self.context;
        // Nobody can object to a contract or a legal obligation (GDPR Art. 21(1)).
        let can_be_objected_to = grant.allowed.iter().any(|granted| {
            !matches!(granted.legal_basis(), LegalBasis::Contract | LegalBasis::LegalObligation)
        });
        let signals = &self.subject.signals;
        let found = signals.against(&grant.purpose, &grant.interaction, can_be_objected_to, vocabulary);
        found.map(|(fault, _)| fault)
    }

    /// Checks that the grant may allow this attribute.
    pub fn check(&mut self, granted: &'a GrantedAttribute) -> Result<(), Fault> {
        let attribute = self.subject.attribute(&granted.attribute).ok_or(Fault::UnknownAttribute)?;
        if attribute.key != granted.key || attribute.category != granted.category {
            return Err(Fault::Described);
        }
        self.subject.check_usable(attribute, self.context.now_ms)?;
        self.check_requested(attribute)?;
        self.check_kept(attribute)?;
        self.check_personal_bounds(attribute, self.sources.is_derived_from_special(&granted.attribute))?;
        let cited = match granted.legal_basis() {
            LegalBasis::Unspecified | LegalBasis::Consent => None,
            declared => Some((declared, granted.declared_at)),
        };
        if cited.is_some() {
            if !granted.consent.is_empty() || self.declared_basis(&attribute.category) != cited {
                return Err(Fault::LegalBasis);
            }
        } else {
            self.check_consent(&attribute.category, &granted.consent)?;
        }
        self.check_sources(&granted.attribute, cited.is_some())
    }

    /// Checks data minimization. If the request names categories, one of them must be the attribute's
    /// category or an ancestor of this category. If the request names keys, one of them must be the
    /// attribute's key.
    fn check_requested(&self, attribute: &AttributeState) -> Result<(), Fault> {
        let ancestry = self.context.vocabulary.category_ancestry(&attribute.category);
        let category =
            self.categories.is_empty() || ancestry.iter().any(|named| self.categories.contains(named));
        let key = self.keys.is_empty() || self.keys.contains(attribute.key.as_str());
        if category && key { Ok(()) } else { Err(Fault::NotAskedFor) }
    }

    /// Checks that no refused erasure keeps the attribute from the use.
    fn check_kept(&self, attribute: &AttributeState) -> Result<(), Fault> {
        let (GrantContext { grant, vocabulary, .. }, kept) = (self.context, &self.subject.kept);
        let is_kept = self.subject.effort.spend(kept.len())
            && kept.forbids(&attribute.key, &attribute.category, &grant.purpose, vocabulary);
        if is_kept { Err(Fault::KeptOnly) } else { Ok(()) }
    }

    fn check_personal_bounds(
        &self,
        attribute: &AttributeState,
        is_derived_from_special: bool,
    ) -> Result<(), Fault> {
        let GrantContext { grant, vocabulary, now_ms } = self.context;
        let is_conclusion = is_derived_from_special && attribute.may_be_conclusion(vocabulary);
        let properties = Properties {
            category: &attribute.category,
            declared: attribute.confirmed || attribute.declared && !is_conclusion,
            inferred: attribute.inferred || is_conclusion,
            observed_at_ms: attribute.observed_at_ms,
        };
        let choices = &self.subject.choices;
        if !self.subject.effort.spend(personal_bounds::names(choices)) {
            return Ok(());
        }
        personal_bounds::check(choices, grant, &properties, vocabulary, now_ms)
    }

    /// The decisions that cover the use of a category.
    fn covering(&mut self, category: &'a str) -> Rc<Covering<'a>> {
        let Self { subject, context: GrantContext { grant, vocabulary, now_ms }, .. } = *self;
        let intended = IntendedUse {
            purpose: &grant.purpose,
            category,
            recipient: &grant.recipient,
            interaction: &grant.interaction,
            now_ms,
        };
        let new = || Rc::new(Covering::new(&subject.decisions, intended, vocabulary, &subject.effort));
        Rc::clone(self.covering.entry(category).or_insert_with(new))
    }

    /// Checks that a consent allows the use of a category, and that it is the cited one.
    fn check_consent(&mut self, category: &'a str, cited: &[u8]) -> Result<(), Fault> {
        let covering = self.covering(category);
        if !self.context.vocabulary.has_category(category) {
            return Err(Fault::UndefinedCategory);
        }
        let ask_each_time = self.subject.choices.ask_each_time;
        let consent = self.subject.decisions.by_id(cited);
        let counts = |consent: &_| !ask_each_time || super::decisions::Decision::names_conversations(consent);
        if consent.is_some_and(|consent| covering.allows(consent) && counts(consent)) {
            return Ok(());
        }
        covering.check_any(ask_each_time).and(Err(Fault::Citation))
    }

    /// Whether some consent allows the use of a category.
    fn is_consented(&mut self, category: &'a str) -> bool {
        let ask_each_time = self.subject.choices.ask_each_time;
        self.context.vocabulary.has_category(category)
            && self.covering(category).check_any(ask_each_time).is_ok()
    }

    /// The legal basis other than consent that allows a use of a category, if there is one (edition 3 of the
    /// rules of decisions). It never allows the use of a special category or of a minor's data. A legitimate
    /// interest needs a stated age too.
    fn declared_basis(&mut self, category: &'a str) -> Option<(LegalBasis, u64)> {
        let (subject, GrantContext { grant, vocabulary, now_ms }) = (self.subject, self.context);
        let declared = vocabulary.declared_basis(&grant.purpose)?;
        let can_be_refused = declared.0 == LegalBasis::LegitimateInterest;
        let is_adult = subject.age.is_adult(now_ms).unwrap_or(!can_be_refused);
        let applies = vocabulary.edition() >= 3
            && is_adult
            && !subject.choices.ask_each_time
            && vocabulary.has_category(category)
            && vocabulary.special_ancestry(category).is_empty()
            && self.covering(category).leaves_room(can_be_refused);
        applies.then_some(declared)
    }

    /// Judges every source of an allowed attribute by itself. Returns what each of them rests on.
    fn judged_sources(&mut self) -> Vec<(usize, SourceBasis)> {
        let sources = self.sources.sources();
        // Unordered: looked up, never iterated.
        let mut bases = HashMap::new();
        let mut judged = Vec::with_capacity(sources.len());
        for (number, attribute, is_derived_from_special) in sources {
            let category = attribute.category.as_str();
            let basis = *bases.entry(category).or_insert_with(|| {
                if self.is_consented(category) {
                    SourceBasis::Consent
                } else if self.declared_basis(category).is_some() {
                    SourceBasis::Declared
                } else {
                    SourceBasis::Withheld
                }
            });
            let is_usable = self.subject.check_usable(attribute, self.context.now_ms).is_ok()
                && self.check_kept(attribute).is_ok()
                && self.check_personal_bounds(attribute, is_derived_from_special).is_ok();
            // Nothing that was derived from a special category rests on a legal basis other than consent.
            let is_forbidden = basis == SourceBasis::Declared && is_derived_from_special;
            let basis = if is_usable && !is_forbidden { basis } else { SourceBasis::Withheld };
            judged.push((number, basis));
        }
        judged
    }

    /// Checks that the grant may use every source of a derived attribute.
    fn check_sources(&self, id: &[u8], rests_on_declared: bool) -> Result<(), Fault> {
        let GrantContext { grant, vocabulary, .. } = self.context;
        if self.sources.is_withheld(id) {
            return Err(Fault::SourceWithheld);
        }
        if !rests_on_declared {
            return Ok(());
        }
        if self.sources.is_derived_from_special(id) {
            return Err(Fault::LegalBasis);
        }
        // A grant of what rests on consent is at fault for the objection itself.
        let objection = SignalKind::Objection;
        let signals = &self.subject.signals;
        let is_objected =
            signals.in_force(objection, &grant.purpose, &grant.interaction, vocabulary).is_some();
        if is_objected && self.sources.rests_on_consent(id) { Err(Fault::SourceWithheld) } else { Ok(()) }
    }
}
