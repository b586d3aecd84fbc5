//! Decides a use: which attributes a recipient may use for a purpose, and which are withheld. The withheld
//! attributes are listed in classes, each with the reason and who decided.
//!
//! Every decision about a use goes through [`Bounds::decide`].

use crate::bounds::attribute_class::Class;
use crate::bounds::built_in::{self, KeptData, no_legal_basis};
use crate::bounds::cedar_request::{Action, CedarRequest, ClassTraits, SubjectTraits};
use crate::bounds::decision::{Allowed, ConsentTraits, Decision, Withheld};
use crate::bounds::engine::{Bounds, PersonalPolicies};
use crate::bounds::error::Denial;
use crate::bounds::fit_answer;
use crate::bounds::ground::{Ground, grounds};
use crate::domain::DAY_MS;
use crate::domain::active_signal::ActiveSignal;
use crate::domain::consent::Cover;
use crate::domain::consent_scope::ConsentCase;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{Provenance, Reason, Role, SignalKind};
use crate::domain::ids::EventId;
use crate::domain::legal_basis::{Basis, DeclaredBasis};
use crate::domain::profile::SubjectState;
use crate::domain::special_sources::effective_provenance;
use crate::domain::vocabulary::Vocabulary;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

mod consent_age;
mod guardian_end;
mod withheld_classes;

/// A use to decide.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The recipient that would use the attributes.
    pub recipient: &'a str,
    /// The purpose of the use.
    pub purpose: &'a str,
    /// Data minimization: only these categories and the categories below them; empty means all.
    pub categories: &'a [String],
    /// Data minimization: only these keys; empty means all.
    pub keys: &'a [String],
    /// The recipient's own name for the conversation; empty if there is none.
    pub interaction: &'a str,
    /// The time of the use, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// The verdict on one attribute.
#[derive(Clone)]
enum Verdict {
    Yes { basis: Basis, ends_ms: Option<u64> },
    No(Arc<Denial>, Cover),
}

struct Deciding<'a> {
    bounds: &'a Bounds,
    state: &'a SubjectState,
    vocabulary: &'a Vocabulary,
    case: &'a Case<'a>,
    action: Action,
    subject: SubjectTraits,
    /// When the subject's age changes by itself, milliseconds since the Unix epoch.
    age_changes_ms: Option<u64>,
    ai_disclosed: bool,
    /// The active signal of each kind, in the order of [`SIGNALS`].
    signals: [Option<&'a ActiveSignal>; 6],
    conversation_pause: Option<&'a ActiveSignal>,
    /// The denial of a rule that does not depend on packs, if there is one against the purpose.
    built_in: Option<Arc<Denial>>,
    kept: KeptData<'a>,
    /// The grounds for each category: the consents that allow the use, newest first. If there is none, they
    /// are the legal basis that is declared for the purpose (if it applies), and a ground that says why there
    /// is no consent.
    grounds: BTreeMap<&'a str, Arc<[Ground<'a>]>>,
    /// The data subject's personal bounds, compiled.
    personal: Option<Arc<PersonalPolicies>>,
    /// The denial for each class, kind of consent and legal basis, or `None` if the bounds allow the use.
    // Unordered: looked up by key, never iterated.
    outcomes: HashMap<(Class<'a>, ConsentTraits<'a>, Option<DeclaredBasis>), Option<Arc<Denial>>>,
    /// For each derived attribute, the categories of its sources with all their ancestors.
    // Unordered: looked up by key, never iterated.
    sources: HashMap<EventId, Arc<BTreeSet<String>>>,
    /// All current attributes; empty if none is derived.
    // Unordered: looked up by key, never iterated.
    by_event: HashMap<EventId, &'a CurrentAttribute>,
    /// Verdicts on the requested attributes and on their sources; empty if nothing is derived.
    // Unordered: looked up by key, never iterated.
    verdicts: HashMap<EventId, Verdict>,
}

/// Uses for this purpose, or for a purpose below it, are evaluated as the action `train`.
const TRAINING: &str = "model-training";

const SIGNALS: [SignalKind; 6] = [
    SignalKind::Restriction,
    SignalKind::Objection,
    SignalKind::Pause,
    SignalKind::OptOut,
    SignalKind::LimitSensitive,
    SignalKind::OptOutAutomated,
];

/// Whether everything that a decision allows has to fit in one answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AnswerSize {
    Limited,
    Unlimited,
}

impl Bounds {
    /// Decides one use. Every attribute that the use asks for is either allowed, or withheld with a reason.
    #[must_use]
    pub fn decide(&self, state: &SubjectState, vocabulary: &Vocabulary, case: &Case<'_>) -> Decision {
        Deciding::new(self, state, vocabulary, case).run(AnswerSize::Limited)
    }

    /// As [`Bounds::decide`], but allows also what does not fit in one answer. The caller chooses from it.
    #[must_use]
    pub fn decide_without_limit(
        &self,
        state: &SubjectState,
        vocabulary: &Vocabulary,
        case: &Case<'_>,
    ) -> Decision {
        Deciding::new(self, state, vocabulary, case).run(AnswerSize::Unlimited)
    }
}

impl<'a> Deciding<'a> {
    fn new(
        bounds: &'a Bounds,
        state: &'a SubjectState,
        vocabulary: &'a Vocabulary,
        case: &'a Case<'a>,
    ) -> Self {
        let ancestry = vocabulary.purpose_ancestry(case.purpose);
        let signals = SIGNALS.map(|kind| state.signal_against(kind, &ancestry));
        let [_, _, _, opt_out, ..] = signals;
        let mut deciding = Self {
            bounds,
            state,
            vocabulary,
            case,
            action: if ancestry.contains(&TRAINING) { Action::Train } else { Action::Use },
            subject: SubjectTraits::of(&state.description, case.now_ms),
            age_changes_ms: state.description.age.changes_at_ms(case.now_ms),
            ai_disclosed: state.ai_disclosed_by.contains(case.recipient),
            signals,
            conversation_pause: state.pause_in(case.interaction, &ancestry),
            built_in: built_in::opted_out(opt_out.is_some(), &ancestry, vocabulary).map(Arc::new),
            kept: KeptData::new(&state.rights.kept, case.purpose, ancestry.clone(), vocabulary),
            grounds: BTreeMap::new(),
            personal: state.personal.as_ref().map(|personal| bounds.personal(&personal.choices)),
            sources: HashMap::new(),
            outcomes: HashMap::new(),
            by_event: HashMap::new(),
            verdicts: HashMap::new(),
        };
        if state.attributes.values().any(|current| !current.attribute.derived_from.is_empty()) {
            deciding.by_event =
                state.attributes.values().map(|current| (current.event_id, current.as_ref())).collect();
        }
        deciding
    }

    fn run(mut self, size: AnswerSize) -> Decision {
        let mut decision = Decision { bounds: self.bounds.positions().to_vec(), ..Decision::default() };
        let state = self.state;
        // There are many attributes and few classes, so each class of the answer is built once, from its
        // first attribute. Attributes are visited in the order of their keys, so that the same state always
        // gives the same answer.
        let mut no: Vec<Withheld<'a>> = Vec::new();
        // Unordered: looked up by key, never iterated.
        let mut indices: HashMap<(&str, Provenance, *const Denial, Cover), usize> = HashMap::new();
        let mut yes: Vec<&'a CurrentAttribute> = Vec::new();
        for current in state.attributes.values() {
            if !self.is_requested(current) {
                continue;
            }
            match self.verdict(current) {
                Verdict::Yes { basis, ends_ms } => {
                    yes.push(current);
                    decision.allowed.push(Allowed {
                        key: current.attribute.key.clone(),
                        event_id: current.event_id,
                        category: current.attribute.category.clone(),
                        basis,
                        ends_ms,
                    });
                }
                Verdict::No(denial, cover) => {
                    let category = current.attribute.category.as_str();
                    let same = (category, self.provenance(current), Arc::as_ptr(&denial), cover);
                    let index = *indices.entry(same).or_insert(no.len());
                    match no.get_mut(index) {
                        Some(withheld) => withheld.count = withheld.count.saturating_add(1),
                        None => no.push(Withheld { first: current, denial, cover, count: 1 }),
                    }
                }
            }
        }
        if size == AnswerSize::Limited {
            fit_answer::withhold_excess(&mut decision.allowed, &yes, &mut no);
        }
        decision.ends_ms = decision.allowed.iter().filter_map(|allowed| allowed.ends_ms).min();
        decision.withheld = self.classes(no);
        decision
    }

    fn is_requested(&self, current: &CurrentAttribute) -> bool {
        let case = self.case;
        let by_key = case.keys.is_empty() || case.keys.contains(&current.attribute.key);
        let by_category = case.categories.is_empty() || {
            let ancestry = self.vocabulary.category_ancestry(&current.attribute.category);
            case.categories.iter().any(|named| ancestry.contains(&named.as_str()))
        };
        by_key && by_category
    }

    /// Judges an attribute after its sources, which are judged after their own sources. The method does not
    /// recurse, because a chain of derivations may be as long as the profile.
    fn verdict(&mut self, current: &'a CurrentAttribute) -> Verdict {
        if self.by_event.is_empty() {
            return self.judge(current, false, None);
        }
        let mut entered = BTreeSet::new();
        let mut open = vec![current];
        while let Some(next) = open.last().copied() {
            if self.verdicts.contains_key(&next.event_id) {
                open.pop();
            } else if next.attribute.derived_from.is_empty() || !entered.insert(next.event_id) {
                open.pop();
                let (source_withheld, sources_end_ms) = self.sources(next);
                self.note_sources(next);
                let verdict = self.judge(next, source_withheld, sources_end_ms);
                self.verdicts.insert(next.event_id, verdict);
            } else {
                let sources = next.attribute.derived_from.iter();
                let current = sources.filter_map(|source| self.by_event.get(source).copied());
                open.extend(current.filter(|source| !entered.contains(&source.event_id)));
            }
        }
        self.verdicts.get(&current.event_id).cloned().unwrap_or_else(|| {
            let reason = Some(Reason::SourceWithheld);
            Verdict::No(Arc::new(Denial { reason, ..no_legal_basis() }), Cover::silence())
        })
    }

    /// Whether a source is missing or withheld, and the earliest time from which a source may no longer
    /// be used. A source without a verdict is missing or is itself derived from this attribute. All
    /// attributes in such a cycle are withheld.
    fn sources(&self, current: &CurrentAttribute) -> (bool, Option<u64>) {
        let mut ends_ms = None;
        for source in &current.attribute.derived_from {
            match self.verdicts.get(source) {
                Some(Verdict::Yes { ends_ms: end, .. }) => ends_ms = earlier(ends_ms, *end),
                Some(Verdict::No(..)) | None => return (true, None),
            }
        }
        (false, ends_ms)
    }

    fn judge(
        &mut self,
        current: &'a CurrentAttribute,
        source_withheld: bool,
        sources_end_ms: Option<u64>,
    ) -> Verdict {
        let attribute = &current.attribute;
        if let Some(kept) = self.kept.against(attribute, self.vocabulary) {
            return Verdict::No(self.kept.denial(kept), Cover::silence());
        }
        let class = self.class(current, source_withheld);
        let grounds = self.grounds(&attribute.category);
        let mut no = None;
        // Data about special categories, and what was derived from it, rests on consent alone (GDPR Art. 9).
        let is_special =
            || class.traits.sources.iter().any(|source| !self.vocabulary.special_ancestry(source).is_empty());
        for ground in grounds.iter() {
            if ground.declared().is_some() && is_special() {
                continue;
            }
            match (self.outcome(&class, ground), ground.cover) {
                (None, Cover::Allowed { by, until_ms }) => {
                    let ends_ms = earlier(earlier(until_ms, attribute.expires_at_ms), sources_end_ms);
                    let ends_ms = earlier(ends_ms, self.forgotten_from_ms(current));
                    let ends_ms = earlier(ends_ms, self.age_changes_ms);
                    return Verdict::Yes { basis: by, ends_ms };
                }
                // Without consent there is no legal basis, even if the bounds permit the use.
                (None, cover @ Cover::Denied { .. }) => {
                    no.get_or_insert(Verdict::No(Arc::new(no_legal_basis()), cover));
                }
                // A rule that demands a consent does not explain why there is none. The next ground does.
                (Some(denial), _)
                    if ground.declared().is_some()
                        && matches!(denial.reason, None | Some(Reason::NotPermitted)) => {}
                (Some(denial), cover) => {
                    no.get_or_insert(Verdict::No(denial, cover));
                }
            }
        }
        no.unwrap_or_else(|| Verdict::No(Arc::new(no_legal_basis()), Cover::silence()))
    }

    fn class(&self, current: &'a CurrentAttribute, source_withheld: bool) -> Class<'a> {
        let attribute = &current.attribute;
        Class {
            category: &attribute.category,
            provenance: self.provenance(current),
            traits: self.traits(current),
            expired: attribute.expires_at_ms.is_some_and(|end| end <= self.case.now_ms),
            contested: current.contested,
            confirmed: current.confirmed,
            source_withheld,
        }
    }

    fn outcome(&mut self, class: &Class<'a>, ground: &Ground<'a>) -> Option<Arc<Denial>> {
        let key = (class.clone(), ground.traits, ground.declared());
        if let Some(cached) = self.outcomes.get(&key) {
            return cached.clone();
        }
        let cedar_request = self.cedar_request(class, ground);
        let by_packs = self.bounds.denial_for(&cedar_request);
        let denial = by_packs.or_else(|| self.personal_denial(class, cedar_request));
        let denial = denial.or_else(|| self.built_in.clone());
        self.outcomes.insert(key, denial.clone());
        denial
    }

    fn traits(&self, current: &CurrentAttribute) -> Arc<ClassTraits> {
        let sources = self.sources.get(&current.event_id);
        let sources = sources.map(|cached| cached.as_ref().clone()).unwrap_or_default();
        let provenance = self.provenance(current);
        let mut traits = self.bounds.traits(&current.attribute, provenance, sources, self.case.now_ms);
        if self.forget_days().is_some() {
            // Personal bounds may need the exact age. The age in `traits` was rounded to what the bounds in
            // force distinguish, so replace it.
            traits.age_days = self.case.now_ms.saturating_sub(current.attribute.observed_at_ms) / DAY_MS;
        }
        Arc::new(traits)
    }

    fn personal_denial(&self, class: &Class<'a>, mut cedar_request: CedarRequest) -> Option<Arc<Denial>> {
        let (policies, personal) = self.personal.as_ref().zip(self.state.personal.as_ref())?;
        // Personal bounds may distinguish categories that are equivalent to the bounds in force.
        class.category.clone_into(&mut cedar_request.category);
        if !personal.choices.paused_interactions.is_empty() {
            self.case.interaction.clone_into(&mut cedar_request.conversation);
        }
        self.bounds.personal_denial_for(policies, &cedar_request)
    }

    fn forget_days(&self) -> Option<u64> {
        let personal = self.state.personal.as_ref()?;
        Some(u64::from(personal.choices.forget_inferences_days)).filter(|days| *days > 0)
    }

    /// The time from which personal bounds forget this inference, milliseconds since the Unix epoch.
    fn forgotten_from_ms(&self, current: &CurrentAttribute) -> Option<u64> {
        let days = self.forget_days().filter(|_| self.provenance(current) == Provenance::Inferred)?;
        Some(current.attribute.observed_at_ms.saturating_add(days.saturating_mul(DAY_MS)))
    }

    /// The provenance that an attribute counts with. Call this method after the attribute's sources are
    /// noted.
    fn provenance(&self, current: &CurrentAttribute) -> Provenance {
        let claimed = current.attribute.provenance;
        let Some(sources) = self.sources.get(&current.event_id) else { return claimed };
        effective_provenance(claimed, current.actor.role, sources.iter().map(String::as_str), self.vocabulary)
    }

    /// Notes the categories of an attribute's sources. Call this method for the sources first.
    fn note_sources(&mut self, current: &CurrentAttribute) {
        let mut all = BTreeSet::new();
        for source in &current.attribute.derived_from {
            let Some(source) = self.by_event.get(source) else { continue };
            all.extend(
                self.vocabulary.category_ancestry(&source.attribute.category).into_iter().map(str::to_owned),
            );
            all.extend(
                self.sources.get(&source.event_id).into_iter().flat_map(|above| above.iter().cloned()),
            );
        }
        if !all.is_empty() {
            self.sources.insert(current.event_id, Arc::new(all));
        }
    }

    fn cedar_request(&self, class: &Class<'_>, ground: &Ground<'_>) -> CedarRequest {
        let [restricted, objected, paused, opted_out, limit_sensitive, opted_out_automated] =
            self.signals.map(|signal| signal.is_some());
        CedarRequest {
            action: self.action,
            recipient: self.case.recipient.to_owned(),
            category: self
                .bounds
                .equivalent_categories()
                .representative(class.category, &class.traits.sources)
                .to_owned(),
            provenance: class.provenance,
            traits: class.traits.as_ref().clone(),
            subject: self.subject.clone(),
            consented: ground.is_consent(),
            declared_basis: ground.declared(),
            explicit: ground.traits.explicit,
            guardian: ground.traits.guardian,
            restricted,
            purpose: self.case.purpose.to_owned(),
            objected,
            paused,
            conversation_paused: self.conversation_pause.is_some(),
            opted_out,
            opted_out_automated,
            limit_sensitive,
            noticed: ground.traits.noticed,
            consent_days: ground.traits.days,
            notice: ground.traits.notice.to_owned(),
            notice_version: ground.traits.notice_version.to_owned(),
            ai_disclosed: self.ai_disclosed,
            expired: class.expired,
            contested: class.contested,
            source_withheld: class.source_withheld,
            confirmed: class.confirmed,
            asked: ground.traits.asked,
            conversation: String::new(),
            recorder: Role::Unspecified,
        }
    }

    fn grounds(&mut self, category: &'a str) -> Arc<[Ground<'a>]> {
        if let Some(cached) = self.grounds.get(category) {
            return Arc::clone(cached);
        }
        let &Case { purpose, recipient, interaction, now_ms, .. } = self.case;
        let case = ConsentCase { purpose, category, recipient, interaction, now_ms };
        let thresholds = self.bounds.thresholds();
        let consents = &self.state.consents;
        let found: Arc<[Ground<'a>]> =
            grounds(consents, self.vocabulary, thresholds, self.subject.age_band, &case).into();
        self.grounds.insert(category, Arc::clone(&found));
        found
    }
}

fn earlier(left: Option<u64>, right: Option<u64>) -> Option<u64> {
    left.into_iter().chain(right).min()
}
