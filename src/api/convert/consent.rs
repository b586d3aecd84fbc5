//! Decisions of data subjects, and notices.

use crate::api::status;
use crate::app;
use crate::domain::consent::Decision;
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
