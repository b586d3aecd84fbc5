//! Decisions in plain words: what, under which rule, set by whom, since when, and what would change it.

use sayso_proof::event::{Provenance, Reason, RecordingRefused, Tier, WithheldClass};

/// Milliseconds since the Unix epoch as RFC 3339, UTC.
#[must_use]
pub fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string())
}

/// Who decides, by tier.
#[must_use]
pub fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Public => "the law (public bounds)",
        Tier::Provider => "the provider's own bounds",
        Tier::Individual => "the person",
        Tier::Unspecified => "nobody named",
    }
}

/// How a fact came to be held.
#[must_use]
pub fn provenance(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Declared => "declared",
        Provenance::Observed => "observed",
        Provenance::Inferred => "inferred",
        Provenance::Unspecified => "of unknown provenance",
    }
}

/// A reason, as the end of a sentence that begins with what is withheld or revoked.
#[must_use]
pub fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::NoConsent => "the person has not consented to this use",
        Reason::ConsentRefused => "the person refused this use",
        Reason::ConsentWithdrawn => "the person withdrew consent to this use",
        Reason::ConsentExpired => "the person's consent to this use has ended",
        Reason::NotExplicit => "it is a special category, and no explicit consent names it",
        Reason::Restricted => "the person restricted processing",
        Reason::Objected => "the person objected to this purpose",
        Reason::Paused => "the person paused personalization",
        Reason::AttributeExpired => "it was to be used only until a time that has passed",
        Reason::Contested => "the person says that it is wrong",
        Reason::SourceWithheld => "it was derived from something that may not be used",
        Reason::Forbidden => "a rule forbids it",
        Reason::NotPermitted => "no rule of the provider permits it",
        Reason::PolicyError => "a rule could not be evaluated, and when in doubt, the answer is no",
        Reason::Erased => "the person was erased",
        Reason::AttributeRemoved => "it is no longer held",
        Reason::AttributeCorrected => "it was corrected",
        Reason::GrantExpired => "the grant has expired",
        Reason::OptedOut => "the person opted out",
        Reason::NotAsked => {
            "the person wants to be asked each time, and was not asked about this conversation"
        }
        Reason::SensitiveLimited => "the person limited the use of sensitive data",
        Reason::GuardianNeeded => {
            "the person is, or is read as, too young to consent to it alone, and nobody who holds parental \
             responsibility did"
        }
        Reason::RestoreUnconfirmed => {
            "the log went back to a backup, and a no that was given since may be missing from it"
        }
        Reason::ClockSkewed => {
            "the clock of the ledger's machine jumped or stands still, so it can't tell what has ended"
        }
        Reason::ArtifactExpired => "the artifact reached its own end",
        Reason::AnswerFull => "it does not fit one answer",
        Reason::Unspecified => "no reason was recorded",
    }
}

/// What would change a decision.
fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::NoConsent | Reason::ConsentExpired => "Consent by the person would change it.",
        Reason::ConsentRefused | Reason::ConsentWithdrawn => {
            "Only the person can change it, by consenting to exactly this or to something narrower."
        }
        Reason::NotExplicit => "Explicit consent that names the category would change it.",
        Reason::Restricted
        | Reason::Objected
        | Reason::Paused
        | Reason::OptedOut
        | Reason::SensitiveLimited => "Only the person can change it, by lifting the signal.",
        Reason::Contested => "Only the person can change it, by confirming the fact.",
        Reason::GuardianNeeded => {
            "Consent by the holder of parental responsibility would change it, or a word on how old the person is."
        }
        Reason::AttributeExpired => "A fresh observation would change it.",
        Reason::SourceWithheld => "It follows its sources.",
        Reason::RestoreUnconfirmed => "`sayso confirm-restore` by the operator would change it.",
        Reason::ClockSkewed => {
            "A clock that is right, or `sayso accept-clock` by the operator, would change it."
        }
        Reason::AnswerFull => "A request for fewer categories or keys would bring it.",
        Reason::NotAsked => "Consent by the person that names this conversation would change it.",
        Reason::Forbidden => "Only what the rule asks for would change it, or whoever publishes it.",
        Reason::NotPermitted | Reason::PolicyError => "Only whoever publishes the rules can change it.",
        _ => "",
    }
}

/// A refused recording as a sentence or two.
#[must_use]
pub fn recording_refused(refused: &RecordingRefused) -> String {
    let facts = if refused.count == 1 { "fact" } else { "facts" };
    let article = if refused.article.is_empty() { String::new() } else { format!(", {}", refused.article) };
    let text = format!(
        "{} {} {facts} of category `{}` may not be recorded: {}. Decided by {} (`{}`{article}). {}",
        refused.count,
        provenance(refused.provenance()),
        refused.category,
        reason(refused.reason()),
        tier(refused.decided_by()),
        refused.policy,
        remedy(refused.reason()),
    );
    text.trim_end().to_owned()
}

/// What a class is: so many facts of this kind.
#[must_use]
pub fn what(class: &WithheldClass) -> String {
    let source = Provenance::try_from(class.provenance).unwrap_or_default();
    let facts = if class.count == 1 { "fact" } else { "facts" };
    format!("{} {} {facts} of category `{}`", class.count, provenance(source), class.category)
}

/// What would change that a class is withheld.
#[must_use]
pub fn remedy_of(class: &WithheldClass) -> &'static str {
    let why = Reason::try_from(class.reason).unwrap_or_default();
    if class.policy.starts_with("personal/") && why != Reason::NotAsked {
        return "Only the person can change it, by changing their own bounds.";
    }
    remedy(why)
}

/// A withheld class as a sentence or two.
#[must_use]
pub fn withheld(class: &WithheldClass) -> String {
    let why = Reason::try_from(class.reason).unwrap_or_default();
    let decider = Tier::try_from(class.decided_by).unwrap_or_default();
    let article = if class.article.is_empty() { String::new() } else { format!(", {}", class.article) };
    let text = format!(
        "{} withheld: {}. Decided by {} (`{}`{article}). {}",
        what(class),
        reason(why),
        tier(decider),
        class.policy,
        remedy_of(class),
    );
    text.trim_end().to_owned()
}
