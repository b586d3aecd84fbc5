//! Checks one grant against the state of its data subject.

use super::attribute::AttributeState;
use super::consent::{Covering, IntendedUse};
use super::decisions::Decision;
use super::fault::Fault;
use super::missing::{Citing, Doubt};
use super::personal_bounds::{self, Properties};
use super::sources::{SourceBasis, Sources};
use super::subject::Subject;
use super::vocabulary::WordsInForce;
use crate::event::{GrantIssued, GrantedAttribute, LegalBasis, SignalKind};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

/// A grant being replayed, and what it is checked against.
#[derive(Clone, Copy)]
pub(super) struct GrantContext<'a> {
    pub grant: &'a GrantIssued,
    pub vocabulary: WordsInForce<'a>,
    pub citing: Citing,
    /// The moment of the grant, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// What allows the use of an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Basis {
    Consent,
    /// A legal basis other than consent.
    Declared,
    /// A consent that may allow it is missing.
    Unknown,
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
    /// What could not be checked.
    pub doubts: BTreeSet<Doubt>,
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
            doubts: BTreeSet::new(),
        };
        // A missing decision could forbid the use.
        check.doubts.extend(subject.may_miss_decisions().then_some(Doubt::DecisionsMissing));
        let judged = check.judged_sources();
        check.sources.judge(&judged);
        check
    }

    /// The fault of a signal in force that forbids the purpose of the grant.
    pub fn signal_against(&mut self) -> Option<Fault> {
        let GrantContext { grant, vocabulary, .. } = self.context;
        // There is no right to object to a contract or a legal obligation (GDPR Art. 21(1)).
        let can_be_objected_to = grant.allowed.iter().any(|granted| {
            !matches!(self.present_basis(granted), LegalBasis::Contract | LegalBasis::LegalObligation)
        });
        let signals = &self.subject.signals;
        let found = signals.against(&grant.purpose, &grant.interaction, can_be_objected_to, vocabulary);
        // A lifting may be missing.
        found.filter(|(_, position)| self.subject.is_certain(*position)).map(|(fault, _)| fault)
    }

    /// Checks that the grant may allow this attribute. If its event is missing, everything else is checked.
    pub fn check(&mut self, granted: &'a GrantedAttribute) -> Result<(), Fault> {
        match self.subject.attribute(&granted.attribute) {
            Some(attribute) => {
                if attribute.key != granted.key || attribute.category != granted.category {
                    return Err(Fault::Described);
                }
                self.check_state(attribute)?;
                self.check_attribute(attribute, self.sources.is_derived_from_special(&granted.attribute))?;
            }
            None => {
                self.subject.check_missing_attribute(&granted.attribute, self.context.citing)?;
                self.doubts.insert(Doubt::AttributeMissing);
                self.check_attribute(&AttributeState::of_grant(granted), false)?;
            }
        }
        let cited = match granted.legal_basis() {
            LegalBasis::Unspecified | LegalBasis::Consent => None,
            declared => Some((declared, granted.declared_at)),
        };
        if cited.is_some() {
            if !granted.consent.is_empty() || self.declared_basis(&granted.category) != cited {
                return Err(Fault::LegalBasis);
            }
        } else {
            self.check_consent(&granted.category, &granted.consent)?;
        }
        self.check_sources(&granted.attribute, cited.is_some())?;
        self.check_end(granted)
    }

    /// Checks that the grant ends no later than the attribute, its sources and the cited consent.
    fn check_end(&mut self, granted: &'a GrantedAttribute) -> Result<(), Fault> {
        let (subject, ends_ms) = (self.subject, self.context.grant.expires_at_ms);
        let attribute = subject.attribute(&granted.attribute);
        let consent = subject.decisions.by_id(&granted.consent);
        let outlives = attribute.is_some_and(|attribute| attribute.expires_before(ends_ms))
            || self.sources.is_shorter(&granted.attribute)
            || consent.is_some_and(|consent| self.covering(&granted.category).ends_before(consent, ends_ms));
        if outlives { Err(Fault::OutlivesBasis) } else { Ok(()) }
    }

    /// Checks that an attribute of an earlier grant may still be used. Another consent than the cited one may
    /// allow it, or a declared basis: one of the same kind if the grant cites a declared basis. What is
    /// missing contradicts nothing.
    pub fn check_standing(&mut self, granted: &'a GrantedAttribute) -> Result<(), Fault> {
        let category = match self.subject.attribute(&granted.attribute) {
            Some(attribute) => {
                self.check_state(attribute)?;
                self.check_kept(attribute)?;
                let is_derived_from_special = self.sources.is_derived_from_special(&granted.attribute);
                self.check_personal_bounds(attribute, is_derived_from_special)?;
                attribute.category.as_str()
            }
            None if self.subject.is_complete() => return Err(Fault::UnknownAttribute),
            None if self.subject.has_missing_ended(&granted.attribute) => return Err(Fault::Expired),
            None => granted.category.as_str(),
        };
        match self.check_basis(granted, category)? {
            Basis::Unknown => Ok(()),
            basis => self.check_sources(&granted.attribute, basis == Basis::Declared),
        }
    }

    /// Checks that a consent or a declared basis allows the use of an attribute of this category, as it is
    /// now. Returns which of them.
    fn check_basis(&mut self, granted: &GrantedAttribute, category: &'a str) -> Result<Basis, Fault> {
        if !self.context.vocabulary.has_category(category) {
            return Err(Fault::UndefinedCategory);
        }
        let ask_each_time = self.is_asked_each_time();
        let Err(fault) = self.covering(category).check_any(ask_each_time) else { return Ok(Basis::Consent) };
        if self.may_miss_consent(category) {
            return Ok(Basis::Unknown);
        }
        let cited = granted.legal_basis();
        let may_be_any = matches!(cited, LegalBasis::Unspecified | LegalBasis::Consent);
        let declared = self.declared_basis(category).filter(|(kind, _)| may_be_any || *kind == cited);
        declared.map(|_| Basis::Declared).ok_or(fault)
    }

    /// Why no basis allows the use of an attribute; none if one does, or may. Whether the attribute itself
    /// may still be used is not checked.
    pub fn fault_of_basis(&mut self, granted: &'a GrantedAttribute) -> Option<Fault> {
        let recorded = self.subject.attribute(&granted.attribute);
        let category = recorded.map_or(granted.category.as_str(), |attribute| attribute.category.as_str());
        self.check_basis(granted, category).err()
    }

    /// Checks that the attribute itself may be used, unless a missing event could have made it usable again.
    fn check_state(&self, attribute: &AttributeState) -> Result<(), Fault> {
        let subject = self.subject;
        let Err(fault) = subject.check_usable(attribute, self.context.now_ms) else { return Ok(()) };
        let may_be_undone = match fault {
            Fault::Contested => !subject.is_certain(attribute.contested_at),
            Fault::DeclaredOtherwise => !subject.is_certain(attribute.position),
            // Another inference does not replace one that was confirmed.
            Fault::Replaced => attribute.inferred && !subject.is_certain(attribute.position),
            _ => false,
        };
        if may_be_undone { Ok(()) } else { Err(fault) }
    }

    fn check_attribute(
        &self,
        attribute: &AttributeState,
        is_derived_from_special: bool,
    ) -> Result<(), Fault> {
        self.check_requested(attribute)?;
        self.check_kept(attribute)?;
        self.check_personal_bounds(attribute, is_derived_from_special)
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
        // The withdrawal of the request may be missing.
        let is_kept = !self.subject.may_miss_decisions()
            && self.subject.effort.spend(kept.len())
            && kept.forbids(&attribute.key, &attribute.category, &grant.purpose, vocabulary);
        if is_kept { Err(Fault::KeptOnly) } else { Ok(()) }
    }

    fn check_personal_bounds(
        &self,
        attribute: &AttributeState,
        is_derived_from_special: bool,
    ) -> Result<(), Fault> {
        let GrantContext { grant, vocabulary, now_ms, .. } = self.context;
        let is_conclusion = is_derived_from_special && attribute.may_be_conclusion(vocabulary);
        let properties = Properties {
            category: &attribute.category,
            declared: attribute.confirmed || attribute.declared && !is_conclusion,
            inferred: attribute.inferred || is_conclusion,
            observed_at_ms: attribute.observed_at_ms,
        };
        let choices = &self.subject.choices;
        if !self.subject.are_choices_certain() || !self.subject.effort.spend(personal_bounds::names(choices))
        {
            return Ok(());
        }
        personal_bounds::check(choices, grant, &properties, vocabulary, now_ms)
    }

    /// The decisions that cover the use of a category.
    fn covering(&mut self, category: &'a str) -> Rc<Covering<'a>> {
        let Self { subject, context: GrantContext { grant, vocabulary, now_ms, .. }, .. } = *self;
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
        let (subject, ask_each_time) = (self.subject, self.is_asked_each_time());
        let counts = |consent: &Decision| !ask_each_time || consent.names_conversations();
        let allows = match subject.decisions.by_id(cited) {
            Some(consent) => covering.allows(consent) && counts(consent),
            None if covering.refused_at_ms().is_some_and(|at_ms| subject.is_after_missing(at_ms)) => false,
            None => match subject.check_missing_consent(cited, self.context.citing) {
                Ok(()) => {
                    self.doubts.insert(Doubt::ConsentMissing);
                    true
                }
                Err(Fault::Erased) => return Err(Fault::Erased),
                Err(_) => false,
            },
        };
        if allows { Ok(()) } else { covering.check_any(ask_each_time).and(Err(Fault::Citation)) }
    }

    /// Whether the data subject certainly wants to be asked for each conversation.
    fn is_asked_each_time(&self) -> bool {
        self.subject.choices.ask_each_time && self.subject.are_choices_certain()
    }

    /// Whether some consent allows the use of a category. A missing consent may allow it, unless a later
    /// refusal covers the use.
    pub fn is_consented(&mut self, category: &'a str) -> bool {
        let ask_each_time = self.is_asked_each_time();
        self.context.vocabulary.has_category(category)
            && (self.may_miss_consent(category) || self.covering(category).check_any(ask_each_time).is_ok())
    }

    /// Whether a consent that allows the use of a category may be missing.
    fn may_miss_consent(&mut self, category: &'a str) -> bool {
        let subject = self.subject;
        let refused_at_ms = self.covering(category).refused_at_ms();
        let is_refused = refused_at_ms.is_some_and(|at_ms| subject.is_after_missing(at_ms));
        subject.may_miss_decisions() && !is_refused
    }

    /// The legal basis other than consent that allows a use of a category, if there is one (edition 3 of the
    /// rules of decisions). It never allows the use of a special category or of a minor's data. A legitimate
    /// interest needs a stated age too.
    fn declared_basis(&mut self, category: &'a str) -> Option<(LegalBasis, u64)> {
        let (subject, GrantContext { grant, vocabulary, now_ms, .. }) = (self.subject, self.context);
        let declared = vocabulary.declared_basis(&grant.purpose)?;
        let can_be_refused = declared.0 == LegalBasis::LegitimateInterest;
        let is_adult = !subject.is_age_certain() || subject.age.is_adult(now_ms).unwrap_or(!can_be_refused);
        let applies = vocabulary.edition() >= 3
            && is_adult
            && !self.is_asked_each_time()
            && vocabulary.has_category(category)
            && vocabulary.special_ancestry(category).is_empty()
            && self.covering(category).leaves_room(can_be_refused);
        applies.then_some(declared)
    }

    /// The basis of a use: the one that the grant states. A source of an artifact states none, and cites no
    /// consent. What rests on a declared basis now may have rested on it from the start.
    fn present_basis(&mut self, granted: &'a GrantedAttribute) -> LegalBasis {
        match granted.legal_basis() {
            LegalBasis::Unspecified if granted.consent.is_empty() => {
                self.declared_basis(&granted.category).map_or(LegalBasis::Unspecified, |(kind, _)| kind)
            }
            stated => stated,
        }
    }

    /// Judges every source of an allowed attribute by itself. Returns what each of them rests on.
    fn judged_sources(&mut self) -> Vec<(usize, SourceBasis)> {
        let sources = self.sources.sources();
        // Unordered: looked up, never iterated.
        let mut bases = HashMap::new();
        let mut judged = Vec::with_capacity(sources.len());
        for (number, id, attribute, is_derived_from_special) in sources {
            let Some(attribute) = attribute else {
                let is_missing = self.subject.may_be_missing_attribute(id, self.context.citing);
                judged.push((number, if is_missing { SourceBasis::Missing } else { SourceBasis::Withheld }));
                continue;
            };
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
            let is_usable = self.check_state(attribute).is_ok()
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
    fn check_sources(&mut self, id: &[u8], rests_on_declared: bool) -> Result<(), Fault> {
        let GrantContext { grant, vocabulary, .. } = self.context;
        self.doubts.extend(self.sources.is_missing(id).then_some(Doubt::SourceMissing));
        if self.sources.is_withheld(id) {
            return Err(Fault::SourceWithheld);
        }
        if !rests_on_declared {
            return Ok(());
        }
        if self.sources.is_derived_from_special(id) {
            return Err(Fault::LegalBasis);
        }
        // If the attribute itself rests on consent, the objection is a fault of its own.
        let objection = SignalKind::Objection;
        let signals = &self.subject.signals;
        let position = signals.in_force(objection, &grant.purpose, &grant.interaction, vocabulary);
        let is_objected = position.is_some_and(|position| self.subject.is_certain(position));
        if is_objected && self.sources.rests_on_consent(id) { Err(Fault::SourceWithheld) } else { Ok(()) }
    }
}
