//! One function for every use: what this purpose may use of what is held, and who decided about the rest.

use crate::bounds::cedar_request::{Action, CedarRequest, Facts, Person};
use crate::bounds::decision::{Allowed, Decision, Ground, Withheld};
use crate::bounds::engine::{Bounds, Personal};
use crate::bounds::error::Denial;
use crate::bounds::fit_answer;
use crate::domain::DAY_MS;
use crate::domain::consent::{ConsentCase, Cover, NoConsent};
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{Role, SignalKind};
use crate::domain::ids::EventId;
use crate::domain::profile::{ActiveSignal, SubjectState};
use crate::domain::vocabulary::Vocabulary;
use sayso_proof::event::{Provenance, Reason, Tier, WithheldClass};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Who would use it.
    pub recipient: &'a str,
    /// What for.
    pub purpose: &'a str,
    /// Minimisation: only these categories and what is below them; none: all.
    pub categories: &'a [String],
    /// Minimisation: only these keys; none: all.
    pub keys: &'a [String],
    /// The recipient's own name for the conversation; empty: none.
    pub interaction: &'a str,
    /// When, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// What became of one attribute.
#[derive(Clone)]
enum Verdict {
    Yes { consent: EventId, ends_ms: Option<u64> },
    No(Arc<Denial>, Cover),
}

/// What a class of attributes has in common, within one decision.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Class<'a> {
    category: &'a str,
    provenance: Provenance,
    facts: Arc<Facts>,
    expired: bool,
    contested: bool,
    confirmed: bool,
    source_withheld: bool,
}

struct Deciding<'a> {
    bounds: &'a Bounds,
    state: &'a SubjectState,
    vocabulary: &'a Vocabulary,
    case: &'a Case<'a>,
    action: Action,
    person: Person,
    ai_disclosed: bool,
    /// As in [`SIGNALS`].
    signals: [Option<&'a ActiveSignal>; 5],
    conversation_pause: Option<&'a ActiveSignal>,
    /// By category: the grounds, newest first; one that says no where there is none.
    grounds: BTreeMap<&'a str, Arc<[Ground]>>,
    /// The person's own bounds.
    personal: Option<Arc<Personal>>,
    /// By class, and whether the ground is explicit, a guardian's, and names the conversation: what stands against it.
    // Unordered: looked up, never walked.
    outcomes: HashMap<(Class<'a>, bool, bool, bool), Option<Arc<Denial>>>,
    /// Of attributes that were derived from others: the categories of those, with all above them.
    // Unordered: looked up, never walked.
    sources: HashMap<EventId, Arc<BTreeSet<String>>>,
    /// All that is held; empty where nothing is derived.
    // Unordered: looked up, never walked.
    by_event: HashMap<EventId, &'a CurrentAttribute>,
    /// Of those that derivations led to, or that were asked for where there are any.
    // Unordered: looked up, never walked.
    verdicts: HashMap<EventId, Verdict>,
}

/// The purpose whose uses, with those below it, are asked for as the action `train`.
const TRAINING: &str = "model-training";

const SIGNALS: [SignalKind; 5] = [
    SignalKind::Restriction,
    SignalKind::Objection,
    SignalKind::Pause,
    SignalKind::OptOut,
    SignalKind::LimitSensitive,
];

impl Bounds {
    /// Decides one case. Every attribute that the case asks for is allowed or withheld with its reason.
    #[must_use]
    pub fn decide(&self, state: &SubjectState, vocabulary: &Vocabulary, case: &Case<'_>) -> Decision {
        let line = vocabulary.purpose_ancestry(case.purpose);
        let mut deciding = Deciding {
            bounds: self,
            state,
            vocabulary,
            case,
            action: if line.contains(&TRAINING) { Action::Train } else { Action::Use },
            person: Person::of(&state.description),
            ai_disclosed: state.ai_disclosed_by.contains(case.recipient),
            signals: SIGNALS.map(|kind| state.signal_against(kind, &line)),
            conversation_pause: state.pause_in(case.interaction, &line),
            grounds: BTreeMap::new(),
            personal: state.personal.as_ref().map(|own| self.personal(&own.choices)),
            sources: HashMap::new(),
            outcomes: HashMap::new(),
            by_event: HashMap::new(),
            verdicts: HashMap::new(),
        };
        if state.attributes.values().any(|held| !held.attribute.derived_from.is_empty()) {
            deciding.by_event =
                state.attributes.values().map(|held| (held.event_id, held.as_ref())).collect();
        }
        deciding.run()
    }
}

impl<'a> Deciding<'a> {
    fn run(mut self) -> Decision {
        let mut decision = Decision { bounds: self.bounds.positions().to_vec(), ..Decision::default() };
        let state = self.state;
        // Attributes of a class are many, classes few: what the answer says is made once for each, from the first attribute
        // of the class, in the order of the attributes: the answer depends on nothing but them.
        let mut no: Vec<Withheld<'a>> = Vec::new();
        // Unordered: looked up, never walked.
        let mut places: HashMap<(&str, Provenance, *const Denial, Cover), usize> = HashMap::new();
        let mut yes: Vec<&'a CurrentAttribute> = Vec::new();
        for held in state.attributes.values() {
            if !self.is_asked_for(held) {
                continue;
            }
            match self.verdict(held) {
                Verdict::Yes { consent, ends_ms } => {
                    yes.push(held);
                    decision.allowed.push(Allowed {
                        key: held.attribute.key.clone(),
                        event_id: held.event_id,
                        category: held.attribute.category.clone(),
                        consent,
                        ends_ms,
                    });
                }
                Verdict::No(denial, cover) => {
                    let attribute = &held.attribute;
                    let same =
                        (attribute.category.as_str(), attribute.provenance, Arc::as_ptr(&denial), cover);
                    let place = *places.entry(same).or_insert(no.len());
                    match no.get_mut(place) {
                        Some(withheld) => withheld.count = withheld.count.saturating_add(1),
                        None => no.push(Withheld { held, denial, cover, count: 1 }),
                    }
                }
            }
        }
        fit_answer::leave_out(&mut decision.allowed, &yes, &mut no);
        decision.ends_ms = decision.allowed.iter().filter_map(|allowed| allowed.ends_ms).min();
        decision.withheld = self.classes(no);
        decision
    }

    /// Sorted, and those put together that differ at most in the source that they name: the first one's is named.
    fn classes(&self, withheld: Vec<Withheld<'a>>) -> Vec<WithheldClass> {
        let mut classes: BTreeMap<(String, i32, i32, String, Vec<u8>), WithheldClass> = BTreeMap::new();
        for Withheld { held, denial, cover, count } in withheld {
            let class = self.class_of(held, &denial, cover);
            let key = (
                class.category.clone(),
                class.provenance,
                class.reason,
                class.policy.clone(),
                class.decided_by_event.clone(),
            );
            let class = classes.entry(key).or_insert(class);
            class.count = class.count.saturating_add(count);
        }
        classes.into_values().collect()
    }

    fn is_asked_for(&self, held: &CurrentAttribute) -> bool {
        let case = self.case;
        let by_key = case.keys.is_empty() || case.keys.contains(&held.attribute.key);
        let by_category = case.categories.is_empty() || {
            let line = self.vocabulary.category_ancestry(&held.attribute.category);
            case.categories.iter().any(|named| line.contains(&named.as_str()))
        };
        by_key && by_category
    }

    /// Judges an attribute after its sources, theirs before them. On a stack of its own: a chain of derivations may be
    /// as long as a profile is large.
    fn verdict(&mut self, held: &'a CurrentAttribute) -> Verdict {
        if self.by_event.is_empty() {
            return self.judge(held, false, None);
        }
        let mut entered = BTreeSet::new();
        let mut open = vec![held];
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
                let held = sources.filter_map(|source| self.by_event.get(source).copied());
                open.extend(held.filter(|source| !entered.contains(&source.event_id)));
            }
        }
        self.verdicts.get(&held.event_id).cloned().unwrap_or_else(|| {
            let reason = Some(Reason::SourceWithheld);
            Verdict::No(Arc::new(Denial { reason, ..no_basis() }), Cover::silence())
        })
    }

    /// Whether a source is gone or may not be used, and when the first of them ends. A source without a verdict is
    /// derived from this very attribute: a circle of derivations has no ground to stand on.
    fn sources(&self, held: &CurrentAttribute) -> (bool, Option<u64>) {
        let mut ends_ms = None;
        for source in &held.attribute.derived_from {
            match self.verdicts.get(source) {
                Some(Verdict::Yes { ends_ms: end, .. }) => ends_ms = earlier(ends_ms, *end),
                Some(Verdict::No(..)) | None => return (true, None),
            }
        }
        (false, ends_ms)
    }

    fn judge(
        &mut self,
        held: &'a CurrentAttribute,
        source_withheld: bool,
        sources_end_ms: Option<u64>,
    ) -> Verdict {
        let attribute = &held.attribute;
        let class = Class {
            category: &attribute.category,
            provenance: attribute.provenance,
            facts: self.facts(held),
            expired: attribute.expires_at_ms.is_some_and(|end| end <= self.case.now_ms),
            contested: held.contested,
            confirmed: held.confirmed,
            source_withheld,
        };
        let grounds = self.grounds(&attribute.category);
        let mut no = None;
        for ground in grounds.iter() {
            match (self.outcome(&class, ground), ground.cover) {
                (None, Cover::Allowed { by, until_ms }) => {
                    let ends_ms = earlier(earlier(until_ms, attribute.expires_at_ms), sources_end_ms);
                    let ends_ms = earlier(ends_ms, self.forgotten_ms(held));
                    return Verdict::Yes { consent: by, ends_ms };
                }
                // Whatever the bounds say: without consent there is nothing to rest on.
                (None, cover @ Cover::Denied { .. }) => {
                    no.get_or_insert(Verdict::No(Arc::new(no_basis()), cover));
                }
                (Some(denial), cover) => {
                    no.get_or_insert(Verdict::No(denial, cover));
                }
            }
        }
        no.unwrap_or_else(|| Verdict::No(Arc::new(no_basis()), Cover::silence()))
    }

    fn outcome(&mut self, class: &Class<'a>, ground: &Ground) -> Option<Arc<Denial>> {
        let key = (class.clone(), ground.explicit, ground.guardian, ground.asked);
        if let Some(known) = self.outcomes.get(&key) {
            return known.clone();
        }
        let cedar_request = self.cedar_request(class, ground);
        let denial = self.bounds.against(&cedar_request).or_else(|| self.against_own(class, cedar_request));
        self.outcomes.insert(key, denial.clone());
        denial
    }

    fn facts(&self, held: &CurrentAttribute) -> Arc<Facts> {
        let sources = self.sources.get(&held.event_id);
        let sources = sources.map(|known| known.as_ref().clone()).unwrap_or_default();
        let mut facts = self.bounds.facts(&held.attribute, sources, self.case.now_ms);
        if self.forget_days().is_some() {
            // Bounds in force may not ask for ages as finely as the person's own do.
            facts.age_days = self.case.now_ms.saturating_sub(held.attribute.observed_at_ms) / DAY_MS;
        }
        Arc::new(facts)
    }

    fn against_own(&self, class: &Class<'a>, mut cedar_request: CedarRequest) -> Option<Arc<Denial>> {
        let (personal, own) = self.personal.as_ref().zip(self.state.personal.as_ref())?;
        // What is alike to the bounds in force may not be so to a person.
        class.category.clone_into(&mut cedar_request.category);
        if !own.choices.paused_interactions.is_empty() {
            self.case.interaction.clone_into(&mut cedar_request.conversation);
        }
        self.bounds.against_personal(personal, &cedar_request)
    }

    fn forget_days(&self) -> Option<u64> {
        let own = self.state.personal.as_ref()?;
        Some(u64::from(own.choices.forget_inferences_days)).filter(|days| *days > 0)
    }

    /// From when on the person's own bounds forget an inference.
    fn forgotten_ms(&self, held: &CurrentAttribute) -> Option<u64> {
        let inferred = held.attribute.provenance == Provenance::Inferred;
        let days = self.forget_days().filter(|_| inferred)?;
        Some(held.attribute.observed_at_ms.saturating_add(days.saturating_mul(DAY_MS)))
    }

    /// After those of its own sources are known.
    fn note_sources(&mut self, held: &CurrentAttribute) {
        let mut all = BTreeSet::new();
        for source in &held.attribute.derived_from {
            let Some(source) = self.by_event.get(source) else { continue };
            all.extend(
                self.vocabulary.category_ancestry(&source.attribute.category).into_iter().map(str::to_owned),
            );
            all.extend(
                self.sources.get(&source.event_id).into_iter().flat_map(|above| above.iter().cloned()),
            );
        }
        if !all.is_empty() {
            self.sources.insert(held.event_id, Arc::new(all));
        }
    }

    fn cedar_request(&self, class: &Class<'_>, ground: &Ground) -> CedarRequest {
        let [restricted, objected, paused, opted_out, limit_sensitive] =
            self.signals.map(|signal| signal.is_some());
        CedarRequest {
            action: self.action,
            recipient: self.case.recipient.to_owned(),
            category: self.bounds.alike().place(class.category, &class.facts.sources).to_owned(),
            provenance: class.provenance,
            facts: class.facts.as_ref().clone(),
            person: self.person.clone(),
            // A yes that only lacks explicitness is a yes; the rule on special categories is what stops it.
            consented: matches!(
                ground.cover,
                Cover::Allowed { .. } | Cover::Denied { reason: NoConsent::NotExplicit, .. }
            ),
            explicit: ground.explicit,
            guardian: ground.guardian,
            restricted,
            purpose: self.case.purpose.to_owned(),
            objected,
            paused,
            conversation_paused: self.conversation_pause.is_some(),
            opted_out,
            limit_sensitive,
            ai_disclosed: self.ai_disclosed,
            expired: class.expired,
            contested: class.contested,
            source_withheld: class.source_withheld,
            confirmed: class.confirmed,
            asked: ground.asked,
            conversation: String::new(),
            recorder: Role::Unspecified,
        }
    }

    /// Every kind of yes that stands for a category, the newest of each kind; bounds may ask for one that is explicit
    /// or a guardian's, and any that they accept will do.
    fn grounds(&mut self, category: &'a str) -> Arc<[Ground]> {
        if let Some(known) = self.grounds.get(category) {
            return Arc::clone(known);
        }
        let (purpose, recipient, now_ms) = (self.case.purpose, self.case.recipient, self.case.now_ms);
        let interaction = self.case.interaction;
        let case = ConsentCase { purpose, category, recipient, interaction, now_ms };
        let consents = &self.state.consents;
        let mut grounds: Vec<Ground> = Vec::new();
        for yes in consents.standing(self.vocabulary, &case) {
            let (explicit, guardian) = (yes.terms.explicit, yes.terms.guardian);
            let asked = !yes.terms.interactions.is_empty();
            let same =
                |known: &Ground| (known.explicit, known.guardian, known.asked) == (explicit, guardian, asked);
            if !grounds.iter().any(same) {
                let cover = Cover::Allowed { by: yes.event_id, until_ms: yes.terms.until_ms };
                grounds.push(Ground { cover, explicit, guardian, asked });
            }
        }
        if grounds.is_empty() {
            let cover = consents.cover(self.vocabulary, &case);
            grounds.push(Ground { cover, explicit: false, guardian: false, asked: false });
        }
        let grounds: Arc<[Ground]> = grounds.into();
        self.grounds.insert(category, Arc::clone(&grounds));
        grounds
    }

    /// The class of a withheld attribute, with a count of zero. Where the person's own word decides, the person
    /// decided, and the event that holds that word is named.
    fn class_of(&self, held: &CurrentAttribute, denial: &Denial, cover: Cover) -> WithheldClass {
        let (reason, event) = match (denial.reason, cover) {
            (Some(reason), _) => (reason, self.signal_behind(reason)),
            (None, Cover::Denied { reason, by }) => (consent_reason(reason), by),
            (None, Cover::Allowed { .. }) => (Reason::Forbidden, None),
        };
        let own = self.state.personal.as_ref().filter(|_| denial.tier == Tier::Individual);
        let event = own.map(|own| own.event_id).or(event);
        let source = if reason == Reason::SourceWithheld { self.withheld_source(held) } else { None };
        // A rule may borrow a reason; who decided goes by what the person did.
        let by_person = event.is_some() || (reason == Reason::Contested && held.contested);
        WithheldClass {
            category: held.attribute.category.clone(),
            provenance: Provenance::into(held.attribute.provenance),
            count: 0,
            reason: reason.into(),
            decided_by: if by_person { Tier::Individual } else { denial.tier }.into(),
            policy: denial.policy.clone(),
            article: denial.article.clone(),
            decided_by_event: event.map(|event| event.0.to_vec()).unwrap_or_default(),
            source: source.map(|source| source.0.to_vec()).unwrap_or_default(),
        }
    }

    /// Of what a derived attribute rests on, that which may not be used by itself, or is gone.
    fn withheld_source(&self, held: &CurrentAttribute) -> Option<EventId> {
        let refused = |source: &&EventId| !matches!(self.verdicts.get(source), Some(Verdict::Yes { .. }));
        let (mut found, mut seen) = (None, BTreeSet::new());
        let mut next = Some(held);
        while let Some(held) = next {
            let source =
                held.attribute.derived_from.iter().filter(refused).find(|source| seen.insert(**source));
            let Some(source) = source else { break };
            found = Some(*source);
            next = self.by_event.get(source).copied();
        }
        found
    }

    fn signal_behind(&self, reason: Reason) -> Option<EventId> {
        let [restriction, objection, pause, opt_out, limit] = self.signals;
        let signal = match reason {
            Reason::Restricted => restriction,
            Reason::Objected => objection,
            Reason::Paused => pause.or(self.conversation_pause),
            Reason::OptedOut => opt_out,
            Reason::SensitiveLimited => limit,
            _ => None,
        };
        signal.map(|signal| signal.event_id)
    }
}

fn no_basis() -> Denial {
    Denial {
        tier: Tier::Public,
        policy: "built-in/consent".into(),
        article: "GDPR Art. 6(1)(a)".into(),
        reason: None,
    }
}

fn earlier(left: Option<u64>, right: Option<u64>) -> Option<u64> {
    left.into_iter().chain(right).min()
}

fn consent_reason(reason: NoConsent) -> Reason {
    match reason {
        NoConsent::Silence => Reason::NoConsent,
        NoConsent::Refused => Reason::ConsentRefused,
        NoConsent::Withdrawn => Reason::ConsentWithdrawn,
        NoConsent::Expired => Reason::ConsentExpired,
        NoConsent::NotExplicit => Reason::NotExplicit,
    }
}
