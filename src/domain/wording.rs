//! Explains decisions to people: why something is withheld or refused, which rule decided, who set that rule,
//! and what would change the result.

use crate::domain::TIME_MS_MAX;
use crate::domain::event::{
    ErasureScope, Provenance, Ranking, RankingMethod, Reason, RecordingRefused, Tier, WithheldClass,
};
use crate::domain::legal_basis::DeclaredBasis;
use jiff::SignedDuration;
use jiff::civil::DateTime;

/// Formats milliseconds since the Unix epoch as RFC 3339, UTC. A time after the year 9999, which earlier
/// versions accepted, is shown as the end of that year.
#[must_use]
pub fn time(ms: u64) -> String {
    // A timestamp of jiff ends 26 hours before the year 9999 does; a date and time on the calendar does not.
    const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    let since = i64::try_from(ms.min(TIME_MS_MAX)).map(SignedDuration::from_millis).unwrap_or_default();
    EPOCH.checked_add(since).map_or_else(|_| "an unknown time".to_owned(), |time| format!("{time}Z"))
}

/// How the attributes of a grant were chosen.
#[must_use]
pub fn ranking(ranking: &Ranking) -> String {
    let by = match ranking.method {
        RankingMethod::Lexical => "words",
        RankingMethod::Embedding => "embeddings",
        RankingMethod::Hybrid => "words and embeddings",
        RankingMethod::Unspecified => "an unspecified method",
    };
    let Ranking { version, permitted, chosen, without_embedding, .. } = ranking;
    let without = match without_embedding {
        0 => String::new(),
        1 => " 1 of them had no embedding of the model.".to_owned(),
        _ => format!(" {without_embedding} of them had no embedding of the model."),
    };
    format!(
        "A ranking chose {chosen} of {permitted} permitted attributes that fit the text of the request best, by {by} \
         (version {version}).{without} The text is not recorded."
    )
}

/// Who set the rules of a tier.
#[must_use]
pub fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Public => "the law (public bounds)",
        Tier::Provider => "the provider's own bounds",
        Tier::Individual => "the person",
        Tier::Unspecified => "an unspecified tier",
    }
}

/// The legal bases of a purpose: consent, and the one that is declared in addition, with what it rests on.
#[must_use]
pub fn legal_bases(declared: Option<DeclaredBasis>, reference: &str) -> String {
    declared
        .map_or_else(|| "consent".to_owned(), |basis| format!("consent, or {} ({reference})", basis.title()))
}

/// Whether an attribute was declared, observed or inferred.
#[must_use]
pub fn provenance(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Declared => "declared",
        Provenance::Observed => "observed",
        Provenance::Inferred => "inferred",
        Provenance::Unspecified => "unspecified",
    }
}

/// The words for a reason: the end of a sentence about attributes, a grant or an artifact. The words say "the
/// data" where the sentence may be about several attributes.
#[must_use]
pub fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::NoConsent => "the person has not consented to this use",
        Reason::ConsentRefused => "the person refused this use",
        Reason::ConsentWithdrawn => "the person withdrew consent to this use",
        Reason::ConsentExpired => "the person's consent to this use has ended",
        Reason::WordsChanged => "the person consented before the words of the consent got this meaning",
        Reason::NoticeOutdated => "the person consented to a version of the notice that no longer counts",
        Reason::ConsentTooOld => "the person consented too long ago",
        Reason::NotExplicit => "it is a special category, and no explicit consent names it",
        Reason::Restricted => "the person restricted processing",
        Reason::Objected => "the person objected to this purpose",
        Reason::Paused => "the person paused personalization",
        Reason::AttributeExpired => "the data has expired",
        Reason::Contested => "the person says that the data is wrong",
        Reason::SourceWithheld => "the data was derived from other data that may not be used",
        Reason::KeptOnly => {
            "the person asked for the erasure of the data, and it is kept on a legal ground only, not for use"
        }
        Reason::Forbidden => "a rule forbids it",
        Reason::NotPermitted => "no rule of the provider permits it",
        Reason::PolicyError => "a rule could not be evaluated, and when in doubt, use is denied",
        Reason::Erased => "the person's data was erased",
        Reason::PartlyErased => "it was based on a part of the person's data that was erased",
        Reason::AttributeRemoved => "the data was removed",
        Reason::AttributeCorrected => "the data was corrected",
        Reason::AttributeReplaced => "the data was recorded anew, with another value or category",
        Reason::GrantExpired => "the grant has expired",
        Reason::OptedOut => "the person opted out",
        Reason::OptedOutAutomated => "the person opted out of automated decisions",
        Reason::NotAsked => {
            "the person wants to be asked each time, and was not asked about this conversation"
        }
        Reason::SensitiveLimited => "the person limited the use of sensitive data",
        Reason::GuardianNeeded => {
            "the person is, or counts as, too young to consent alone, and no holder of parental responsibility \
             consented"
        }
        Reason::GuardianEnded => {
            "a guardian consented, and the person has reached, or may have reached, the age at which they consent \
             alone"
        }
        Reason::RestoreUnconfirmed => {
            "the log was restored from a backup, and refusals made after the backup may be missing from it"
        }
        Reason::ClockSkewed => {
            "the clock of the ledger's machine jumped or stands still, so the ledger can't tell what has expired"
        }
        Reason::ArtifactExpired => "the artifact has expired",
        Reason::AnswerFull => "it does not fit in one answer",
        Reason::Unspecified => "no reason was recorded",
    }
}

/// The same as [`reason`], addressed to the data subject.
#[must_use]
pub fn reason_to_subject(of: Reason) -> &'static str {
    match of {
        Reason::NoConsent => "you have not consented to this use",
        Reason::ConsentRefused => "you refused this use",
        Reason::ConsentWithdrawn => "you withdrew your consent to this use",
        Reason::ConsentExpired => "your consent to this use has ended",
        Reason::WordsChanged => "you consented before the words of your consent got this meaning",
        Reason::NoticeOutdated => "you consented to a version of the notice that no longer counts",
        Reason::ConsentTooOld => "you consented too long ago",
        Reason::NotExplicit => {
            "this kind of data is specially protected, and you have not explicitly consented to its use"
        }
        Reason::Restricted => "you restricted the use of your data",
        Reason::Objected => "you objected to this purpose",
        Reason::Paused => "you paused personalization",
        Reason::OptedOut => "you opted out",
        Reason::OptedOutAutomated => "you opted out of automated decisions",
        Reason::Contested => "you said that the data is wrong",
        Reason::KeptOnly => {
            "you asked for the erasure of the data, and it is kept on a legal ground only, not for use"
        }
        Reason::NotAsked => "you want to be asked each time, and were not asked about this conversation",
        Reason::SensitiveLimited => "you limited the use of sensitive data",
        Reason::GuardianNeeded => {
            "you are, or count as, too young to consent alone, and no holder of parental responsibility \
             consented"
        }
        Reason::GuardianEnded => {
            "a guardian consented for you, and you have reached, or may have reached, the age at which you consent \
             alone"
        }
        Reason::Erased => "your data was erased",
        Reason::PartlyErased => "it was based on a part of your data that was erased",
        other => reason(other),
    }
}

/// What an opt-out does, to be shown to the data subject. `overridden_ms` are the times of the consents that
/// it overrides. The text says which law asks for the opt-out. Among the laws of the packs, only California's
/// does, so the text names it for a person who is or may be there. With `None`, the text does not depend on
/// where the person is. `has_more` says that there may be more consents than these.
#[must_use]
pub fn opt_out(
    stopped: &[&str],
    overridden_ms: &[u64],
    has_more: bool,
    jurisdiction: Option<&str>,
) -> String {
    if stopped.is_empty() {
        return "this opt-out stops nothing: an opt-out is about sale, sharing and advertising; to stop other uses, \
                refuse them or object to them"
            .to_owned();
    }
    let by = match jurisdiction {
        None => "the ledger does this wherever the person is",
        Some("" | "US" | "US-CA") => "Cal. Civ. Code s. 1798.120, 1798.135",
        Some(_) => "no law of the packs asks for this where the person is; the ledger does it all the same",
    };
    let purposes = stopped.join("`, `");
    let overridden = match overridden_ms {
        [] if has_more => ". It may override earlier consents".to_owned(),
        [] => String::new(),
        [newest, ..] if has_more => format!(
            ". It overrides {} earlier consents and maybe more, the newest of {}",
            overridden_ms.len(),
            time(*newest)
        ),
        [one] => format!(". It overrides an earlier consent, of {}", time(*one)),
        [newest, ..] => {
            format!(
                ". It overrides {} earlier consents, the newest of {}",
                overridden_ms.len(),
                time(*newest)
            )
        }
    };
    format!("nothing is used for `{purposes}` or a purpose below ({by}){overridden}")
}

/// What an erasure of this scope erased. `is_whole` says whether it erased everything in the scope.
#[must_use]
pub fn erased(scope: ErasureScope, is_whole: bool) -> &'static str {
    match scope {
        ErasureScope::All if is_whole => "the person's data was erased",
        ErasureScope::All => "the person's data was erased, except what is kept on a legal ground",
        ErasureScope::Profile => "the person's profile was erased; their decisions are kept",
        ErasureScope::Category => "one category of the person's data was erased; the rest is kept",
        ErasureScope::Key => "what was recorded under one key was erased; the rest of the data is kept",
        ErasureScope::Content => {
            "everything that holds a certain text was erased; the rest of the data is kept"
        }
        ErasureScope::Retention | ErasureScope::Unspecified => "data reached the end of its retention",
    }
}

/// What would change a decision that was made for this reason, addressed to the data subject; empty if
/// nothing would.
fn remedy_to_subject(class: &WithheldClass) -> &'static str {
    if class.policy.starts_with("personal/") && class.reason != Reason::NotAsked {
        return "Only you can change it, by changing your own rules.";
    }
    match class.reason {
        Reason::NoConsent | Reason::ConsentExpired | Reason::WordsChanged => "Your consent would change it.",
        Reason::NoticeOutdated => "Your consent to the current notice would change it.",
        Reason::ConsentTooOld => "Your new consent would change it.",
        Reason::ConsentRefused | Reason::ConsentWithdrawn => {
            "Only you can change it, by consenting to exactly this or to something narrower."
        }
        Reason::NotExplicit => "Your explicit consent that names this kind of data would change it.",
        Reason::Restricted
        | Reason::Objected
        | Reason::Paused
        | Reason::OptedOut
        | Reason::OptedOutAutomated
        | Reason::SensitiveLimited => "Only you can change it, by lifting the signal.",
        Reason::Contested => "Only you can change it, by confirming the detail.",
        Reason::KeptOnly => "Only you can change it, by withdrawing your request for erasure.",
        Reason::GuardianNeeded => {
            "Consent by the holder of parental responsibility would change it, or a statement of your age."
        }
        Reason::GuardianEnded => "Your own consent would change it.",
        Reason::NotAsked => "Your consent that names this conversation would change it.",
        other => remedy(other),
    }
}

/// Explains a withheld class in one or two sentences, addressed to the data subject.
#[must_use]
pub fn withheld_to_subject(class: &WithheldClass) -> String {
    let article = if class.article.is_empty() { String::new() } else { format!(", {}", class.article) };
    let decider = match class.decided_by {
        Tier::Individual => "you",
        other => tier(other),
    };
    let text = format!(
        "{} withheld: {}. Decided by {decider} (`{}`{article}). {}",
        what(class),
        reason_to_subject(class.reason),
        class.policy,
        remedy_to_subject(class),
    );
    text.trim_end().to_owned()
}

/// What would change a decision that was made for this reason; empty if nothing would.
fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::NoConsent | Reason::ConsentExpired | Reason::WordsChanged => {
            "Consent by the person would change it."
        }
        Reason::NoticeOutdated => "Ask again: consent by the person to the current notice would change it.",
        Reason::ConsentTooOld => "Ask again: new consent by the person would change it.",
        Reason::ConsentRefused | Reason::ConsentWithdrawn => {
            "Only the person can change it, by consenting to exactly this or to something narrower."
        }
        Reason::NotExplicit => "Explicit consent that names the category would change it.",
        Reason::Restricted
        | Reason::Objected
        | Reason::Paused
        | Reason::OptedOut
        | Reason::OptedOutAutomated
        | Reason::SensitiveLimited => "Only the person can change it, by lifting the signal.",
        Reason::Contested => "Only the person can change it, by confirming the attribute.",
        Reason::KeptOnly => "Only the person can change it, by withdrawing the request for erasure.",
        Reason::GuardianNeeded => {
            "Consent by the holder of parental responsibility would change it, or a statement of the person's age."
        }
        Reason::GuardianEnded => "Consent by the person would change it.",
        Reason::AttributeExpired => "A newer observation would change it.",
        Reason::SourceWithheld => "Permission to use its sources would change it.",
        Reason::RestoreUnconfirmed => "`sayso confirm-restore` by the operator would change it.",
        Reason::ClockSkewed => {
            "Setting the clock would change it, or `sayso accept-clock` by the operator if the clock is right."
        }
        Reason::AnswerFull => "A request for fewer categories or keys would change it.",
        Reason::NotAsked => "Consent by the person that names this conversation would change it.",
        Reason::Forbidden => {
            "Only meeting the rule's conditions, or a new version of the rule, would change it."
        }
        Reason::NotPermitted | Reason::PolicyError => "Only the publisher of the rules can change it.",
        _ => "",
    }
}

/// Explains a refused recording in one or two sentences.
#[must_use]
pub fn recording_refused(refused: &RecordingRefused) -> String {
    let noun = attributes(refused.count);
    let why = match refused.reason {
        Reason::NotExplicit => {
            "it is a special category or was derived from one, and no explicit consent names that category"
        }
        other => reason(other),
    };
    let article = if refused.article.is_empty() { String::new() } else { format!(", {}", refused.article) };
    let text = format!(
        "{} {} {noun} of category `{}` may not be recorded: {}. Decided by {} (`{}`{article}). {}",
        refused.count,
        provenance(refused.provenance),
        refused.category,
        why,
        tier(refused.decided_by),
        refused.policy,
        remedy(refused.reason),
    );
    text.trim_end().to_owned()
}

fn attributes(count: u32) -> &'static str {
    if count == 1 { "attribute" } else { "attributes" }
}

/// Describes a withheld class: its count, provenance and category.
#[must_use]
pub fn what(class: &WithheldClass) -> String {
    let noun = attributes(class.count);
    format!("{} {} {noun} of category `{}`", class.count, provenance(class.provenance), class.category)
}

/// What would let a withheld class be used; empty if nothing would.
#[must_use]
pub fn remedy_of(class: &WithheldClass) -> &'static str {
    let why = class.reason;
    if class.policy.starts_with("personal/") && why != Reason::NotAsked {
        return "Only the person can change it, by changing their own bounds.";
    }
    remedy(why)
}

/// Explains a withheld class in one or two sentences.
#[must_use]
pub fn withheld(class: &WithheldClass) -> String {
    let why = class.reason;
    let decider = class.decided_by;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_to_the_data_subject_never_speak_of_a_person() {
        for number in 0..64 {
            let Ok(reason) = Reason::try_from(number) else { continue };
            for policy in ["gdpr/art-6-consent", "personal/never"] {
                let decided_by =
                    if policy.starts_with("personal/") { Tier::Individual } else { Tier::Public };
                let policy = policy.to_owned();
                let class = WithheldClass { reason, policy, decided_by, count: 2, ..Default::default() };
                for text in [reason_to_subject(reason).to_owned(), withheld_to_subject(&class)] {
                    assert!(!text.contains("person "), "{text}");
                    assert!(!text.contains("person\'s") && !text.contains("the person"), "{text}");
                }
            }
        }
    }
}
