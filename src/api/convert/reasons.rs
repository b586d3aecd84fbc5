//! Converts reasons. Events have one enum, [`Reason`], for why a use was denied and for why a grant was
//! revoked; the API has a separate enum for each.

use crate::domain::event::Reason;
use crate::proto::{DenialReason, RevocationReason};

/// Why a use is denied.
///
/// A policy may name any reason, including one that the API's enum of denials does not have. Such a reason is
/// returned as `FORBIDDEN`.
#[must_use]
pub fn denial(reason: Reason) -> DenialReason {
    match reason {
        Reason::Unspecified => DenialReason::Unspecified,
        Reason::NoConsent => DenialReason::NoConsent,
        Reason::ConsentRefused => DenialReason::ConsentRefused,
        Reason::ConsentWithdrawn => DenialReason::ConsentWithdrawn,
        Reason::ConsentExpired => DenialReason::ConsentExpired,
        Reason::WordsChanged => DenialReason::WordsChanged,
        Reason::NoticeOutdated => DenialReason::NoticeOutdated,
        Reason::ConsentTooOld => DenialReason::ConsentTooOld,
        Reason::NotExplicit => DenialReason::NotExplicit,
        Reason::Restricted => DenialReason::Restricted,
        Reason::Objected => DenialReason::Objected,
        Reason::Paused => DenialReason::Paused,
        Reason::AttributeExpired => DenialReason::AttributeExpired,
        Reason::Contested => DenialReason::Contested,
        Reason::KeptOnly => DenialReason::KeptOnly,
        Reason::GuardianEnded => DenialReason::GuardianEnded,
        Reason::SourceWithheld => DenialReason::SourceWithheld,
        Reason::Forbidden => DenialReason::Forbidden,
        Reason::NotPermitted => DenialReason::NotPermitted,
        Reason::PolicyError => DenialReason::PolicyError,
        Reason::OptedOut => DenialReason::OptedOut,
        Reason::OptedOutAutomated => DenialReason::OptedOutAutomated,
        Reason::SensitiveLimited => DenialReason::SensitiveLimited,
        Reason::GuardianNeeded => DenialReason::GuardianNeeded,
        Reason::NotAsked => DenialReason::NotAsked,
        Reason::RestoreUnconfirmed => DenialReason::RestoreUnconfirmed,
        Reason::ClockSkewed => DenialReason::ClockSkewed,
        Reason::AnswerFull => DenialReason::AnswerFull,
        Reason::Erased
        | Reason::PartlyErased
        | Reason::AttributeRemoved
        | Reason::AttributeCorrected
        | Reason::AttributeReplaced
        | Reason::GrantExpired
        | Reason::ArtifactExpired => DenialReason::Forbidden,
    }
}

/// Why a grant or an artifact was revoked, or is not valid.
///
/// The ledger never revokes anything because an answer is full. `ANSWER_FULL` gets here only if the
/// annotation `@reason` of a policy names it. It is then returned as `FORBIDDEN`.
#[must_use]
pub fn revocation(reason: Reason) -> RevocationReason {
    match reason {
        Reason::Unspecified => RevocationReason::Unspecified,
        Reason::NoConsent => RevocationReason::NoConsent,
        Reason::ConsentRefused => RevocationReason::ConsentRefused,
        Reason::ConsentWithdrawn => RevocationReason::ConsentWithdrawn,
        Reason::ConsentExpired => RevocationReason::ConsentExpired,
        Reason::WordsChanged => RevocationReason::WordsChanged,
        Reason::NoticeOutdated => RevocationReason::NoticeOutdated,
        Reason::ConsentTooOld => RevocationReason::ConsentTooOld,
        Reason::NotExplicit => RevocationReason::NotExplicit,
        Reason::Restricted => RevocationReason::Restricted,
        Reason::Objected => RevocationReason::Objected,
        Reason::Paused => RevocationReason::Paused,
        Reason::AttributeExpired => RevocationReason::AttributeExpired,
        Reason::Contested => RevocationReason::Contested,
        Reason::KeptOnly => RevocationReason::KeptOnly,
        Reason::GuardianEnded => RevocationReason::GuardianEnded,
        Reason::SourceWithheld => RevocationReason::SourceWithheld,
        Reason::Forbidden => RevocationReason::Forbidden,
        Reason::NotPermitted => RevocationReason::NotPermitted,
        Reason::PolicyError => RevocationReason::PolicyError,
        Reason::Erased => RevocationReason::Erased,
        Reason::PartlyErased => RevocationReason::PartlyErased,
        Reason::AttributeRemoved => RevocationReason::AttributeRemoved,
        Reason::AttributeCorrected => RevocationReason::AttributeCorrected,
        Reason::AttributeReplaced => RevocationReason::AttributeReplaced,
        Reason::GrantExpired => RevocationReason::GrantExpired,
        Reason::OptedOut => RevocationReason::OptedOut,
        Reason::OptedOutAutomated => RevocationReason::OptedOutAutomated,
        Reason::SensitiveLimited => RevocationReason::SensitiveLimited,
        Reason::GuardianNeeded => RevocationReason::GuardianNeeded,
        Reason::NotAsked => RevocationReason::NotAsked,
        Reason::RestoreUnconfirmed => RevocationReason::RestoreUnconfirmed,
        Reason::ArtifactExpired => RevocationReason::ArtifactExpired,
        Reason::ClockSkewed => RevocationReason::ClockSkewed,
        Reason::AnswerFull => RevocationReason::Forbidden,
    }
}

/// Converts the API's reason of a revocation to the enum of events, for clients that explain the reason.
impl From<RevocationReason> for Reason {
    fn from(reason: RevocationReason) -> Self {
        match reason {
            RevocationReason::Unspecified => Self::Unspecified,
            RevocationReason::NoConsent => Self::NoConsent,
            RevocationReason::ConsentRefused => Self::ConsentRefused,
            RevocationReason::ConsentWithdrawn => Self::ConsentWithdrawn,
            RevocationReason::ConsentExpired => Self::ConsentExpired,
            RevocationReason::WordsChanged => Self::WordsChanged,
            RevocationReason::NoticeOutdated => Self::NoticeOutdated,
            RevocationReason::ConsentTooOld => Self::ConsentTooOld,
            RevocationReason::NotExplicit => Self::NotExplicit,
            RevocationReason::Restricted => Self::Restricted,
            RevocationReason::Objected => Self::Objected,
            RevocationReason::Paused => Self::Paused,
            RevocationReason::AttributeExpired => Self::AttributeExpired,
            RevocationReason::Contested => Self::Contested,
            RevocationReason::KeptOnly => Self::KeptOnly,
            RevocationReason::GuardianEnded => Self::GuardianEnded,
            RevocationReason::SourceWithheld => Self::SourceWithheld,
            RevocationReason::Forbidden => Self::Forbidden,
            RevocationReason::NotPermitted => Self::NotPermitted,
            RevocationReason::PolicyError => Self::PolicyError,
            RevocationReason::Erased => Self::Erased,
            RevocationReason::PartlyErased => Self::PartlyErased,
            RevocationReason::AttributeRemoved => Self::AttributeRemoved,
            RevocationReason::AttributeCorrected => Self::AttributeCorrected,
            RevocationReason::AttributeReplaced => Self::AttributeReplaced,
            RevocationReason::GrantExpired => Self::GrantExpired,
            RevocationReason::OptedOut => Self::OptedOut,
            RevocationReason::OptedOutAutomated => Self::OptedOutAutomated,
            RevocationReason::SensitiveLimited => Self::SensitiveLimited,
            RevocationReason::GuardianNeeded => Self::GuardianNeeded,
            RevocationReason::NotAsked => Self::NotAsked,
            RevocationReason::RestoreUnconfirmed => Self::RestoreUnconfirmed,
            RevocationReason::ArtifactExpired => Self::ArtifactExpired,
            RevocationReason::ClockSkewed => Self::ClockSkewed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_the_api_have_the_names_and_numbers_of_events() {
        for number in 0..64 {
            let Ok(reason) = Reason::try_from(number) else { continue };
            let name = reason.as_str_name();
            let (denied, revoked) = (denial(reason), revocation(reason));
            let forbidden = (DenialReason::Forbidden, RevocationReason::Forbidden);
            if denied != forbidden.0 {
                assert_eq!((format!("DENIAL_{name}"), number), (denied.as_str_name().into(), denied.into()));
            }
            if revoked != forbidden.1 {
                assert_eq!(
                    (format!("REVOCATION_{name}"), number),
                    (revoked.as_str_name().into(), revoked.into())
                );
                assert_eq!(Reason::from(revoked), reason);
            }
        }
    }
}
