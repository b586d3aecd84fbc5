//! Conversions of the API's messages about consents, refusals and withdrawals of data subjects, and about
//! notices.

use crate::api::convert::reasons::denial;
use crate::api::convert::times::time;
use crate::api::status;
use crate::app;
use crate::domain::consent::Decision;
use crate::domain::event::LegalBasis;
use crate::domain::unmatched::Unmatched;
use crate::proto;
use tonic::Status;

/// The decision that a request names.
///
/// # Errors
/// The request names no known decision.
pub fn decision(decision: i32) -> Result<Decision, Status> {
    match proto::ConsentDecision::try_from(decision).unwrap_or_default() {
        proto::ConsentDecision::Given => Ok(Decision::Given),
        proto::ConsentDecision::Refused => Ok(Decision::Refused),
        proto::ConsentDecision::Renewed => Ok(Decision::Renewed),
        proto::ConsentDecision::Withdrawn => Ok(Decision::Withdrawn),
        proto::ConsentDecision::Unspecified => {
            Err(status::invalid("choices.decision", "must be given, refused, renewed or withdrawn"))
        }
    }
}

/// A purpose for which data may still be used.
#[must_use]
pub fn remaining_use(of: app::RemainingUse) -> proto::RemainingUse {
    let legal_basis = LegalBasis::from(of.basis).into();
    proto::RemainingUse { purpose: of.purpose, legal_basis, basis_reference: of.reference }
}

/// A decision as the API names it.
#[must_use]
pub fn decision_name(decision: Decision) -> proto::ConsentDecision {
    match decision {
        Decision::Given => proto::ConsentDecision::Given,
        Decision::Refused => proto::ConsentDecision::Refused,
        Decision::Renewed => proto::ConsentDecision::Renewed,
        Decision::Withdrawn => proto::ConsentDecision::Withdrawn,
    }
}

/// The notice that was shown to the data subject.
#[must_use]
pub fn notice_served(notice: Option<proto::NoticeServed>) -> app::NoticeServed {
    let notice = notice.unwrap_or_default();
    app::NoticeServed {
        id: notice.id,
        version: notice.version,
        language: notice.language,
        digest: notice.digest,
    }
}

/// What a request names although nothing matches it.
#[must_use]
pub fn unmatched(unmatched: Vec<Unmatched>) -> Vec<proto::Unmatched> {
    let message = |unmatched| {
        let (kind, choice, recipient) = match unmatched {
            Unmatched::Subject => (proto::UnmatchedKind::Subject, 0, String::new()),
            Unmatched::Recipient(name) => (proto::UnmatchedKind::Recipient, 0, name),
            Unmatched::Consent(choice) => (proto::UnmatchedKind::Consent, choice, String::new()),
            Unmatched::Signal => (proto::UnmatchedKind::Signal, 0, String::new()),
        };
        proto::Unmatched { kind: kind.into(), choice, recipient }
    };
    unmatched.into_iter().map(message).collect()
}

/// A consent for which a person has to be asked again.
#[must_use]
pub fn outdated(of: app::OutdatedConsent) -> proto::OutdatedConsent {
    let app::OutdatedConsent { subject, handle, lapsed } = of;
    let said_at = Some(time(lapsed.record.said_ms()));
    let terms = lapsed.record.terms;
    proto::OutdatedConsent {
        subject: subject.map(|subject| subject.as_str().to_owned()).unwrap_or_default(),
        handle: handle.to_string(),
        event_id: lapsed.record.event_id.to_string(),
        purposes: lapsed.purposes,
        categories: terms.categories,
        recipients: terms.recipients,
        notice: terms.notice,
        said_at,
        reason: denial(lapsed.reason).into(),
        since: lapsed.since_ms.map(time),
        policy: lapsed.policy,
        required_version: lapsed.required_version,
    }
}
