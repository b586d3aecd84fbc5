//! The catalog of the transparency report: every figure, with its definition, its unit and what it can't
//! show.
//!
//! `docs/transparency-report.md` contains the same texts; a test compares them.

use super::table::Population;

/// The definition of a figure.
#[derive(Clone, Copy, Debug)]
pub struct FigureSpec {
    /// Stable id.
    pub id: &'static str,
    /// Title for readers.
    pub title: &'static str,
    /// What exactly is counted.
    pub definition: &'static str,
    /// Unit of its main numbers.
    pub unit: &'static str,
    /// What it can't show.
    pub limits: &'static str,
    /// The risks and benefits in Kirk et al. 2024 that it is about.
    pub paper: &'static str,
    /// The populations that it shows.
    pub populations: &'static [Population],
    /// What is computed from their tables.
    pub derivation: Derivation,
}

/// What a figure computes besides the tables of its populations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derivation {
    /// Nothing.
    None,
    /// Replies by purpose, recipient, rung and tags.
    Replies,
    /// Attributes by category, provenance and tags, with shares.
    UsedAttributes,
    /// Attributes by category and provenance, with shares.
    StoredAttributes,
    /// Rates of refusal and withdrawal.
    Consent,
    /// The share of replies after a revocation.
    RevocationDelays,
    /// Shares of the most common inferred values.
    Concentration,
    /// Divergence of inferred values between groups.
    Divergence,
    /// The self-reinforcement ratio.
    Inferences,
    /// The success ratio of contests.
    Contests,
    /// People by reach, jurisdiction and age band.
    Reach,
    /// The tail of days with many releases.
    Releases,
    /// Whether artifacts are missing.
    Footprint,
    /// Withheld classes by tier and reason.
    Withheld,
    /// Requests by kind and step.
    Requests,
    /// Totals and proofs of erasures.
    Erasures,
    /// Counts of system events.
    Oversight,
    /// Nothing: no ledger can observe it.
    NotObservable,
}

/// The definition of the figure with this id.
#[must_use]
pub fn figure(id: &str) -> Option<&'static FigureSpec> {
    FIGURES.iter().find(|figure| figure.id == id)
}

/// Every figure, in the order of the report.
pub const FIGURES: &[FigureSpec] = &[
    FigureSpec {
        id: "reach",
        title: "Who gets personalization at all",
        definition: "People about whom data was stored when the period ended. Each person counts once, by \
                     how far personalization reached them in the period: a reply was reported as \
                     personalized; a grant released data, but no use was reported; grants were requested, \
                     but allowed nothing; no grant was requested. People are also divided by jurisdiction \
                     and age band if the log has these. Another table counts all requests for grants, by \
                     outcome.",
        unit: "people; grants",
        limits: "The figure covers only people about whom data is stored, not people whom the service never \
                 reached. If a recipient did not report a use, the person counts only as one about whom a \
                 grant released data. Jurisdiction and age band are what the controller recorded. Erased \
                 people are not included.",
        paper: "Societal risks: access disparities; societal benefits: inclusion and accessibility",
        populations: &[Population::Reach, Population::GrantRequests],
        derivation: Derivation::Reach,
    },
    FigureSpec {
        id: "use",
        title: "What personalization is used for",
        definition: "Personalized replies that recipients reported in the period, by the purpose and the \
                     recipient of their grant. Further tables count them by tag (a risk or a benefit) \
                     and by rung. A reply counts once for each tag that its purpose has, or inherits from \
                     its ancestors in the hierarchy of purposes. The rung is the place of a purpose on a \
                     ladder of rising risk.",
        unit: "replies",
        limits: "The figure counts what recipients report, so unreported replies are missing. The tags of a \
                 purpose come from the controller or from Sayso's default vocabulary. A tag is a judgment \
                 about the purpose, not a measurement of harm or benefit. Erased people are not included.",
        paper: "Taxonomy of benefits and risks, individual and societal (all tagged uses)",
        populations: &[Population::Replies],
        derivation: Derivation::Replies,
    },
    FigureSpec {
        id: "used-data",
        title: "Which data shapes replies",
        definition: "Attributes that shaped reported replies, as the recipients named them, by category and \
                     provenance. An attribute counts once for each reply, so a reply that three attributes \
                     shaped counts three times. Further tables count by the risk and benefit tags that a \
                     category has or inherits from a category above it.",
        unit: "attributes times replies",
        limits: "The recipient says which attributes shaped a reply. If it names none, the reply counts in \
                 the figure `use`, but not here.",
        paper: "Individual risks: privacy; essentialism and profiling",
        populations: &[Population::UsedAttributes],
        derivation: Derivation::UsedAttributes,
    },
    FigureSpec {
        id: "disclosure",
        title: "Whether people were told that they talk to a machine",
        definition: "Reported replies, by whether the recipient reported that the AI disclosure (the \
                     statement that people talk to a machine) was shown.",
        unit: "replies",
        limits: "The figure relies on what the recipient reports. It does not show what the disclosure \
                 looked like, or whether the person understood it.",
        paper: "Individual risks: anthropomorphism (EU AI Act Art. 50(1))",
        populations: &[Population::Disclosures],
        derivation: Derivation::None,
    },
    FigureSpec {
        id: "consent",
        title: "What people decided",
        definition: "Decisions recorded in the period. A decision counts once for each purpose that it \
                     names. The refusal rate is the number of refusals, divided by the number of refusals \
                     and consents given. The withdrawal rate is the number of withdrawals, divided by the \
                     number of consents given or renewed in the same period. Another table counts signals \
                     (objections, restrictions, opt-outs, limits and pauses) that were recorded or lifted, \
                     and bounds that people set themselves.",
        unit: "decisions; signals",
        limits: "A withdrawal may concern consent from before the period, so the withdrawal rate may be \
                 above 1. If one person decides repeatedly, each decision counts. People who never decided \
                 are not included. The rates are computed only from the rows shown.",
        paper: "Individual benefits: autonomy; bounds: the individual tier",
        populations: &[Population::Decisions, Population::Signals],
        derivation: Derivation::Consent,
    },
    FigureSpec {
        id: "bite",
        title: "How long until a refusal took effect",
        definition: "Grants that were revoked in the period because a person refused or withdrew consent, \
                     grouped by how much time passed from the recorded decision to the recorded revocation. \
                     Another table counts reported replies, grouped by whether their grant was still valid \
                     when the reply was reported.",
        unit: "grants; replies",
        limits: "The figure shows when the ledger stopped honoring a grant, not when a service stopped using \
                 the data that it had. If a reply was reported after its grant was revoked, the service may \
                 have given the reply before the revocation.",
        paper: "Bounds: the individual tier (a person's requirements have effect)",
        populations: &[Population::RevocationDelays, Population::GrantStatus],
        derivation: Derivation::RevocationDelays,
    },
    FigureSpec {
        id: "inferred",
        title: "Inferred and declared attributes",
        definition: "Attributes stored when the period ended, by category and provenance. An attribute that \
                     has expired but is not yet removed still counts. An inference that the person confirmed \
                     still counts as inferred.",
        unit: "attributes",
        limits: "The writer of an attribute decides how much one attribute says, and which provenance it \
                 has.",
        paper: "Individual risks: essentialism and profiling",
        populations: &[Population::StoredAttributes],
        derivation: Derivation::StoredAttributes,
    },
    FigureSpec {
        id: "homogenisation",
        title: "Whether people are inferred to be alike",
        definition: "For each category, the share of people who have the most common inferred value, among \
                     the people about whom inferences were stored when the period ended. Two values are the \
                     same if their JSON text is the same. The share is shown only if at least k people have \
                     the value, and if the number of people with other values is zero or at least k.",
        unit: "share of people",
        limits: "The figure compares text, not meaning. Sentences that say the same thing in different words \
                 count as different values, so free text hides similarity. The figure is not available in a \
                 report with noise. In a category with more than 1,024 values the share is a lower bound, \
                 and the report shows the error.",
        paper: "Individual risks: homogenization and bias reinforcement",
        populations: &[],
        derivation: Derivation::Concentration,
    },
    FigureSpec {
        id: "polarisation",
        title: "How far apart groups are on contested categories",
        definition: "How much the inferred values of groups differ in each contested category. The measure \
                     is the Jensen-Shannon divergence (0: alike, 1: nothing in common). A category is \
                     contested if it has the tag `polarisation`. If no category has the tag, the special \
                     categories count as contested. There are three groupings, each with its own divergence: \
                     by the recipients that personalized a person's replies in the period, by jurisdiction, \
                     and by age band. Only groups of at least k people are compared.",
        unit: "0 to 1",
        limits: "Small groups look further apart than they are, by chance alone. Values are compared in 64 \
                 hash buckets, which can only make groups look more alike. The figure compares text, not \
                 meaning. It is not available in a report with noise. It describes profiles, not opinions, \
                 and shows no cause.",
        paper: "Societal risks: polarization",
        populations: &[],
        derivation: Derivation::Divergence,
    },
    FigureSpec {
        id: "reinforcement",
        title: "Whether personalization feeds on itself",
        definition: "Inferences recorded in the period, in three groups. An inference may name the replies \
                     from which it was drawn, and its sources (the attributes from which it was derived). In \
                     the first group, at least one of these replies was shaped by a source of the inference, \
                     or by an attribute with the same key as the inference. Inferences in the second group \
                     name only other replies. Inferences in the third group name no reply. The \
                     self-reinforcement ratio is the share of the first group among the inferences that name \
                     a reply.",
        unit: "inferences",
        limits: "The figure depends on what services report: which replies an inference was drawn from, and \
                 what shaped those replies. Attributes count as the same if they have the same key, even if \
                 they mean different things.",
        paper: "Individual risks: homogenization and bias reinforcement",
        populations: &[Population::Inferences],
        derivation: Derivation::Inferences,
    },
    FigureSpec {
        id: "contests",
        title: "How often people contest inferences, and succeed",
        definition: "Steps in the period, of four kinds: an inference was contested; a contested inference \
                     was corrected or removed; the person withdrew a contest; the person confirmed an \
                     inference that was not contested. The success ratio is the number of contested \
                     inferences that were corrected or removed, divided by the number of contests. While an \
                     inference is contested, it is not used, regardless of the later outcome.",
        unit: "steps",
        limits: "An outcome may belong to a contest from before the period. People who never looked at their \
                 inferences can't contest them.",
        paper: "Individual risks: essentialism and profiling; individual benefits: autonomy",
        populations: &[Population::Contests],
        derivation: Derivation::Contests,
    },
    FigureSpec {
        id: "release",
        title: "How often a person's data is released",
        definition: "Days (in UTC) on which at least one grant released data of a person, grouped by \
                     the number of releases on the day. Days are counted for each person separately. If \
                     a grant is reused in its conversation, each reuse counts as a release. The tail is \
                     the share of days with more releases than the limit that the controller declared.",
        unit: "days of a person",
        limits: "The figure is a proxy. It shows how often a service requests data, not how much a person \
                 relies on the service. One conversation may request data once or often.",
        paper: "Individual risks: addiction and over-reliance",
        populations: &[Population::ReleaseDays],
        derivation: Derivation::Releases,
    },
    FigureSpec {
        id: "footprint",
        title: "What personalization stores about a person",
        definition: "People, by the bytes of the log's entries about them when the period ended. Another \
                     table counts people by how many artifacts (embeddings, adapters, caches, summaries) \
                     built from their profile were valid at that time.",
        unit: "people",
        limits: "The figure is a proxy for environmental cost. It counts bytes in this ledger, not \
                 computation or energy. It does not cover what recipients store beyond the artifacts that \
                 they register. An invalidated artifact does not count, whether or not its recipient has \
                 reported that it is deleted.",
        paper: "Societal risks: environmental harms",
        populations: &[Population::Bytes, Population::Artifacts],
        derivation: Derivation::Footprint,
    },
    FigureSpec {
        id: "stopped",
        title: "What bounds and people stopped, and who decided",
        definition: "Attribute classes that were withheld from grants in the period. A class is a category \
                     with a provenance. Classes are counted by the tier that decided (public, provider, \
                     individual), by its policy, and by the reason. Another table counts recordings that \
                     bounds refused.",
        unit: "classes withheld; attributes refused",
        limits: "A class counts once for each grant that withholds it. So a service that often requests \
                 grants raises the counts. Only the deciding reason counts, even if several reasons applied.",
        paper: "Bounds: the three tiers",
        populations: &[Population::Withheld, Population::RefusedRecordings],
        derivation: Derivation::Withheld,
    },
    FigureSpec {
        id: "requests",
        title: "Requests under data protection law",
        definition: "Requests submitted, extended and decided in the period, by kind. Another table counts \
                     answered requests, by the time from submission to answer. The GDPR allows one month \
                     (Art. 12(3)). A request is answered if it was completed wholly or partly, or refused. \
                     An accepted request is not answered yet.",
        unit: "requests",
        limits: "Requests that never reached the ledger are missing. Requests of erased people count only in \
                 the figure `erasures`.",
        paper: "Individual risks: privacy; bounds: the individual tier",
        populations: &[Population::Requests, Population::RequestAges],
        derivation: Derivation::Requests,
    },
    FigureSpec {
        id: "erasures",
        title: "Erasures with proof",
        definition: "Erasures completed in the period, from events that name no person: how many there were, \
                     and how many entries they destroyed. For erasures of a whole person, the figure also \
                     shows how long they took, counted from the day of the request. Each erasure can be proven \
                     by its position in the log. For erasures that an earlier build recorded, the figure also \
                     counts the erased attributes by category, and measures the time from the exact time of \
                     the request.",
        unit: "erasures",
        limits: "Erased people are counted only here, as totals. The figure proves destruction in this \
                 ledger. Recipients are notified, and only they can report that they deleted their copies. \
                 The totals carry no noise.",
        paper: "Individual risks: privacy",
        populations: &[Population::ErasureTimes, Population::ErasedAttributes],
        derivation: Derivation::Erasures,
    },
    FigureSpec {
        id: "oversight",
        title: "Who looked at records",
        definition: "System events in the period: computations over the records of all people (for example \
                     previews of bounds), exports of the log, transparency reports, and recipients' \
                     acknowledgments that they carried out a revocation or an erasure. A view of one \
                     person's record is an event of that person and does not count here.",
        unit: "events",
        limits: "If someone opens the store with its keys, outside the daemon, the figure does not show it. \
                 The counts carry no noise.",
        paper: "Bounds: public and provider tier (accountability)",
        populations: &[],
        derivation: Derivation::Oversight,
    },
    FigureSpec {
        id: "labour",
        title: "Labor",
        definition: "Productivity gained and work displaced by personalization.",
        unit: "",
        limits: "A ledger of consent and use cannot observe this: no event shows what work anyone did or \
                 lost.",
        paper: "Societal benefits: labor productivity; societal risks: labor displacement",
        populations: &[],
        derivation: Derivation::NotObservable,
    },
];
