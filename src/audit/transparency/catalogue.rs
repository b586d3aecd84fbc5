//! The figures, each with its definition, its unit, its limits and what it answers.

use super::labels::{ARTIFACT_BUCKETS, BYTES_BUCKETS, RELEASE_BUCKETS, SPAN_BUCKETS};
use super::noise::Bound;
use super::table::Base;

/// What a figure is.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Stable.
    pub id: &'static str,
    /// For people.
    pub title: &'static str,
    /// What is counted, exactly.
    pub definition: &'static str,
    /// Of its main numbers.
    pub unit: &'static str,
    /// What it can't show.
    pub limits: &'static str,
    /// What it answers in Kirk et al. 2024.
    pub paper: &'static str,
    /// Populations that it is made of.
    pub bases: &'static [Base],
}

/// What a population is.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    /// Stable.
    pub id: &'static str,
    /// For people.
    pub title: &'static str,
    /// What each number counts.
    pub unit: &'static str,
    /// Headings.
    pub dimensions: &'static [&'static str],
    /// Of a report with noise.
    pub bound: Bound,
}

const fn one(each: u64) -> Bound {
    Bound { rows: 1, each }
}

const fn some(rows: usize, each: u64) -> Bound {
    Bound { rows, each }
}

const fn entry(
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    dimensions: &'static [&'static str],
    bound: Bound,
) -> Population {
    Population { id, title, unit, dimensions, bound }
}

/// The catalogue's entry of a population.
#[must_use]
pub fn population(base: Base) -> Population {
    match base {
        Base::Use => entry("use", "Personalised replies", "replies", &["purpose", "recipient"], some(2, 20)),
        Base::UsedAttribute => entry(
            "used-data",
            "Facts that shaped replies",
            "facts times replies",
            &["category", "provenance"],
            some(4, 50),
        ),
        Base::Disclosure => {
            entry("disclosure", "Replies, by AI disclosure", "replies", &["disclosure"], one(40))
        }
        Base::Standing => entry("standing", "Replies, by their grant", "replies", &["grant"], one(40)),
        Base::Asked => entry("asked", "Grants asked for", "grants", &["outcome"], some(2, 20)),
        Base::Withheld => entry(
            "withheld",
            "Classes of facts withheld",
            "classes withheld",
            &["tier", "policy", "reason"],
            some(4, 20),
        ),
        Base::RefusedRecording => entry(
            "refused-recordings",
            "Recordings refused",
            "facts refused",
            &["tier", "policy", "category"],
            some(4, 20),
        ),
        Base::Decision => entry(
            "decisions",
            "Decisions by people",
            "decisions, one for each purpose",
            &["decision", "purpose"],
            some(4, 3),
        ),
        Base::Signal => entry("signals", "Signals by people", "signals", &["signal", "said"], some(2, 3)),
        Base::Bite => {
            entry("bite", "Grants that fell by a no of the person", "grants", &["after it"], some(2, 10))
        }
        Base::Held => entry("held", "Facts held", "facts", &["category", "provenance"], some(8, 50)),
        Base::Contest => entry("contests", "Contests of inferences", "steps", &["step"], some(3, 5)),
        Base::Loop => entry("loops", "Inferences recorded", "inferences", &["drawn from"], some(2, 20)),
        Base::Reach => entry(
            "reach",
            "People, by how far personalisation reached them",
            "people",
            &["jurisdiction", "age band", "reach"],
            one(1),
        ),
        Base::ReleaseDay => entry(
            "release-days",
            "Days on which a person's data was released",
            "days of a person",
            &["releases that day"],
            some(2, 10),
        ),
        Base::Bytes => entry("bytes", "People, by bytes held", "people", &["bytes"], one(1)),
        Base::Artifacts => entry("artifacts", "People, by artefacts built", "people", &["artefacts"], one(1)),
        Base::Request | Base::RequestAge | Base::ErasureSpan | Base::ErasedFact => of_rights(base),
    }
}

/// Populations of the person's rights; the last one is of facts erased.
fn of_rights(base: Base) -> Population {
    match base {
        Base::Request => entry("requests", "Requests", "steps", &["kind", "step"], some(4, 2)),
        Base::RequestAge => entry(
            "request-ages",
            "Requests answered, by age",
            "requests",
            &["after it was submitted"],
            one(2),
        ),
        Base::ErasureSpan => entry(
            "erasure-spans",
            "Erasures, by time to completion",
            "erasures",
            &["after the request"],
            one(1),
        ),
        _ => entry("erased-facts", "Facts erased", "facts", &["category"], some(8, 50)),
    }
}

/// Labels in their order, for tables that have one.
#[must_use]
pub fn order(base: Base) -> Vec<&'static str> {
    let labels = |buckets: &[(u64, &'static str)]| buckets.iter().map(|(_, label)| *label).collect();
    match base {
        Base::ReleaseDay => labels(&RELEASE_BUCKETS),
        Base::Bytes => labels(&BYTES_BUCKETS),
        Base::Artifacts => labels(&ARTIFACT_BUCKETS),
        Base::Disclosure => vec!["shown", "not reported as shown"],
        Base::Standing => vec!["while it stood", "after it had expired", "after it had fallen"],
        Base::Asked => vec!["something allowed", "nothing allowed"],
        Base::Contest => vec![
            "contested",
            "corrected or removed after it",
            "taken back by the person",
            "confirmed without a contest",
        ],
        Base::Loop => vec!["replies that the same fact had shaped", "other replies", "no reply named"],
        Base::Bite | Base::ErasureSpan | Base::RequestAge => labels(&SPAN_BUCKETS),
        _ => Vec::new(),
    }
}

/// The figure of an id.
#[must_use]
pub fn spec(id: &str) -> Option<&'static Spec> {
    FIGURES.iter().find(|figure| figure.id == id)
}

/// Every figure, in the report's order.
pub const FIGURES: &[Spec] = &[
    Spec {
        id: "reach",
        title: "Who gets personalised at all",
        definition: "People of whom anything was held when the period ended, by how far personalisation reached them in \
                     the period: a reply was reported as personalised; data was released by a grant, without a reported \
                     use; grants were asked for and allowed nothing; no grant was asked for. By jurisdiction and age \
                     band where the log says so. And all grants asked for, by outcome.",
        unit: "people; grants",
        limits: "Knows only people that something is held of, not those whom the service never reached. A use that the \
                 recipient did not report counts as a release. Jurisdiction and age band are what the controller \
                 recorded. Erased people are not in it.",
        paper: "Societal risks: access disparities; societal benefits: inclusion and accessibility",
        bases: &[Base::Reach, Base::Asked],
    },
    Spec {
        id: "use",
        title: "What personalisation is used for",
        definition: "Personalised replies that recipients reported in the period, by the purpose and the recipient of \
                     their grant. By rung and by tags: each reply once for each tag that its purpose or a purpose above \
                     it carries.",
        unit: "replies",
        limits: "Counts what recipients report; a reply that was not reported is not here. Tags are the controller's \
                 or the pack's judgement of a purpose, not a measurement of harm or good. The erased are not in it.",
        paper: "Taxonomy of benefits and risks, individual and societal (all tagged uses)",
        bases: &[Base::Use],
    },
    Spec {
        id: "used-data",
        title: "Which data shapes replies",
        definition: "For each reported reply, the facts that shaped it (as its recipient named them), by category and \
                     provenance; a reply that three facts shaped counts three times. By risk and benefit tags of the \
                     category or a category above it.",
        unit: "facts times replies",
        limits: "Which facts shaped a reply is the recipient's word. A reply for which none was named is in `use` only.",
        paper: "Individual risks: privacy; essentialism and profiling",
        bases: &[Base::UsedAttribute],
    },
    Spec {
        id: "disclosure",
        title: "Whether people were told that they talk to a machine",
        definition: "Reported replies, by whether the recipient reported that the AI disclosure was shown.",
        unit: "replies",
        limits: "The recipient's word; says nothing of how it was shown or understood.",
        paper: "Individual risks: anthropomorphism (EU AI Act Art. 50(1))",
        bases: &[Base::Disclosure],
    },
    Spec {
        id: "consent",
        title: "What people decided",
        definition: "Decisions recorded in the period, one for each purpose that they name. Refusal rate: refused, of \
                     given and refused. Withdrawal rate: withdrawn, of given and renewed, in the same period. Signals: \
                     objections, restrictions, opt-outs, limits and pauses, recorded and lifted; and bounds that people set themselves.",
        unit: "decisions; signals",
        limits: "A withdrawal may be of a yes from before the period, so the rate may pass 1. Repeated decisions by one \
                 person count each time. Silence is not in it. Rates are over the rows shown.",
        paper: "Individual benefits: autonomy; individual bounds",
        bases: &[Base::Decision, Base::Signal],
    },
    Spec {
        id: "bite",
        title: "How long until a no bit",
        definition: "Grants that fell in the period because of a person's refusal or withdrawal, by the recorded time \
                     from the decision to the fall. And reported replies, by whether their grant still stood when the \
                     reply was reported.",
        unit: "grants; replies",
        limits: "Says when the ledger stopped honouring a grant, not when a service stopped using what it had. A reply \
                 reported after its grant fell may have been given before.",
        paper: "Individual bounds: that a person's requirements have effect",
        bases: &[Base::Bite, Base::Standing],
    },
    Spec {
        id: "inferred",
        title: "Inferred against declared",
        definition: "Facts held when the period ended, by category and provenance. What expired and is not removed yet \
                     counts. An inference that the person confirmed counts as inferred.",
        unit: "facts",
        limits: "A fact is what the writer made one: fine or coarse. Provenance is the writer's word.",
        paper: "Individual risks: essentialism and profiling",
        bases: &[Base::Held],
    },
    Spec {
        id: "homogenisation",
        title: "Whether people are inferred to be alike",
        definition: "In each category, of the people of whom inferences are held when the period ended: the share who \
                     hold the most common inferred value (the same JSON text). Shown where at least k people hold it \
                     and none or at least k don't.",
        unit: "share of people",
        limits: "Compares text, not meaning: sentences that say the same in other words differ, so free text hides \
                 likeness. Not shown with noise. Beyond 1,024 values in a category it is a lower bound, and the error \
                 is shown.",
        paper: "Individual risks: homogenisation and bias reinforcement",
        bases: &[],
    },
    Spec {
        id: "polarisation",
        title: "How far groups are apart on contested categories",
        definition: "Jensen-Shannon divergence (0 alike, 1 nothing in common) of the inferred values that groups of at \
                     least k people hold in a contested category: one that carries the tag `polarisation`, or a special \
                     category where none does. Groups: recipients that personalised replies in the period, \
                     jurisdictions, age bands.",
        unit: "0 to 1",
        limits: "Small groups look further apart than they are, by chance alone. Values are compared over 64 hash \
                 buckets, which can only bring groups closer. Text, not meaning. Not shown with noise. It describes \
                 profiles, not opinions, and shows no cause.",
        paper: "Societal risks: polarisation",
        bases: &[],
    },
    Spec {
        id: "reinforcement",
        title: "Whether personalisation feeds on itself",
        definition: "Inferences recorded in the period: drawn from replies that a fact under the same key, or one that \
                     the inference derives from, had shaped; drawn from other replies; no reply named. The self-reinforcement ratio is the first, of all that \
                     name a reply.",
        unit: "inferences",
        limits: "Only as good as the writers' word on which replies an inference was drawn from, and on what shaped \
                 them. Sameness is by key, not by meaning.",
        paper: "Individual risks: homogenisation and bias reinforcement",
        bases: &[Base::Loop],
    },
    Spec {
        id: "contests",
        title: "How often people contest, and succeed",
        definition: "Steps in the period: an inference was contested; a contested one was corrected or removed after \
                     it; the person took a contest back; the person confirmed an inference without a contest. Success \
                     ratio: corrected or removed, of contested. A contested inference is not used, whatever follows.",
        unit: "steps",
        limits: "An outcome may be of a contest from before the period. Who never looked can't contest.",
        paper: "Individual risks: essentialism and profiling; individual benefits: autonomy",
        bases: &[Base::Contest],
    },
    Spec {
        id: "release",
        title: "How often a person's data is released",
        definition: "Days in UTC on which at least one grant released something of a person, by the number of such \
                     grants; a grant that was given again in its conversation counts each time. Tail: days above the \
                     limit that the controller declared.",
        unit: "days of a person",
        limits: "A proxy: how often a service asks, not how much a person relies on it. One conversation may ask once \
                 or often.",
        paper: "Individual risks: addiction and over-reliance",
        bases: &[Base::ReleaseDay],
    },
    Spec {
        id: "footprint",
        title: "What personalisation keeps of a person",
        definition: "People, by the bytes of the log's entries about them when the period ended; and by how many \
                     artefacts (embeddings, adapters, caches, summaries) built from their profile stood then.",
        unit: "people",
        limits: "A proxy for environmental cost: bytes in this ledger, not computation or energy, and not what \
                 recipients keep beyond the artefacts that they register. An artefact that fell does not count, whether \
                 or not its recipient has said that it is gone.",
        paper: "Societal risks: environmental harms",
        bases: &[Base::Bytes, Base::Artifacts],
    },
    Spec {
        id: "stopped",
        title: "What bounds and people stopped, and who decided",
        definition: "Classes of facts (category and provenance) withheld from grants in the period, by the tier that \
                     decided (public, provider, individual), its policy and the reason. And recordings that bounds \
                     refused at the door.",
        unit: "classes withheld; facts refused",
        limits: "Each grant counts anew: a service that asks often is stopped often. Only the deciding reason counts \
                 where several would have done.",
        paper: "Bounds: the three tiers",
        bases: &[Base::Withheld, Base::RefusedRecording],
    },
    Spec {
        id: "requests",
        title: "Requests under data protection law",
        definition: "Requests submitted, extended and decided in the period, by kind; and those answered (completed, \
                     wholly or partly, or refused; one that is only accepted is not yet), by the time since they were \
                     submitted (GDPR Art. 12(3): one month).",
        unit: "requests",
        limits: "Requests that never reached the ledger are not here. Erased people's requests are in `erasures` only.",
        paper: "Individual risks: privacy; individual bounds",
        bases: &[Base::Request, Base::RequestAge],
    },
    Spec {
        id: "erasures",
        title: "Erasures with proof",
        definition: "Erasures completed in the period, from events about nobody: how many, entries destroyed, time from \
                     the request, facts by category. Each is provable by its position in the log.",
        unit: "erasures",
        limits: "The erased are counted here as totals and nowhere else. Proves destruction in this ledger; recipients \
                 are told, and whether they followed is theirs to say. Counts about nobody carry no noise.",
        paper: "Individual risks: privacy",
        bases: &[Base::ErasureSpan, Base::ErasedFact],
    },
    Spec {
        id: "oversight",
        title: "Who looked",
        definition: "Events about nobody in the period: looks at people's records by stewards and auditors, exports of \
                     the log, reports like this one, and acknowledgements by recipients.",
        unit: "events",
        limits: "Whoever reads the store with its keys, outside of the daemon, is not here. Carries no noise.",
        paper: "Bounds: public and provider tier (accountability)",
        bases: &[],
    },
    Spec {
        id: "labour",
        title: "Labour",
        definition: "Productivity gained and work displaced by personalisation.",
        unit: "",
        limits: "Not observable from a ledger of consent and use: nothing here says what work anybody did or lost.",
        paper: "Societal benefits: labour productivity; societal risks: labour displacement",
        bases: &[],
    },
];
