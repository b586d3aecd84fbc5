//! Errors of the API: the only place that maps a failure to a gRPC code and to a machine-readable reason
//! (`ErrorInfo.reason`). docs/errors.md lists the reasons. The answer has a message that is safe to show to
//! the caller. The cause of an internal error is only logged, once, and that happens here.

use crate::api::access::error::CredentialError;
use crate::app::AppError;
use crate::domain::event::RecordingRefused;
use crate::domain::recorder_usage::{AttributeLimitReached, Load};
use crate::domain::wording;
use std::collections::HashMap;
use std::time::Duration;
use tonic::body::Body;
use tonic::codegen::http::Response;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

const DOMAIN: &str = "sayso";
/// The largest number of recorders (callers who recorded attributes) that an error names.
const RECORDERS_MAX: usize = 16;
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// The key in `ErrorInfo.metadata` under which a denial lists the allowed roles, separated by commas. It is
/// the only key of a denial: the metadata is a hash map, so with several keys, equal denials could be encoded
/// as different bytes.
const ALLOWED_ROLES: &str = "allowed_roles";

fn reason(name: &str) -> ErrorDetails {
    ErrorDetails::with_error_info(name, DOMAIN, HashMap::<String, String>::new())
}

fn reason_with<const N: usize>(name: &str, metadata: [(&str, String); N]) -> ErrorDetails {
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value));
    ErrorDetails::with_error_info(name, DOMAIN, HashMap::from(metadata))
}

fn retry(name: &str, after: Duration) -> ErrorDetails {
    let mut details = reason(name);
    details.set_retry_info(Some(after));
    details
}

/// The status of a failed use case.
#[must_use]
pub fn of(error: AppError) -> Status {
    let message = error.to_string();
    let with = |code, details| Status::with_error_details(code, message.clone(), details);
    match error {
        AppError::Invalid(violations) => {
            let mut details = reason("INVALID_REQUEST");
            let violations = violations.0.into_iter();
            let violation = |found: crate::domain::Violation| FieldViolation::new(found.field, found.problem);
            details.set_bad_request(violations.map(violation).collect::<Vec<_>>());
            with(Code::InvalidArgument, details)
        }
        AppError::Denied(_) => with(Code::PermissionDenied, reason("REQUEST_NOT_ALLOWED")),
        AppError::Reserved { rule, .. } => {
            let details = reason_with(rule.reason(), [(ALLOWED_ROLES, rule.allowed_roles().to_owned())]);
            with(Code::PermissionDenied, details)
        }
        AppError::NotFound(_) | AppError::GrantGone | AppError::UnknownSubject | AppError::NothingToErase => {
            with(Code::NotFound, reason("NOT_FOUND"))
        }
        AppError::StaleVersion { actual, .. } => {
            let details = reason_with("STALE_VERSION", [("current_version", actual.to_string())]);
            with(Code::Aborted, details)
        }
        AppError::StaleDecisions => with(Code::Aborted, reason("STALE_VERSION")),
        AppError::KeyReused => with(Code::AlreadyExists, reason("IDEMPOTENCY_KEY_REUSED")),
        AppError::Erased | AppError::ConsentErased | AppError::GrantErased(_) => {
            precondition(&message, "ERASED")
        }
        AppError::Precondition(_) => precondition(&message, "INVALID_STATE"),
        AppError::ClockSkewed => precondition(&message, "CLOCK_SKEWED"),
        AppError::RecordingRefused(refused) => recording_refused(&refused),
        AppError::AttributeLimit(reached) => with(Code::ResourceExhausted, attribute_limit(&reached)),
        AppError::Overtaken => with(Code::Aborted, reason("ERASED_DURING_EXPORT")),
        AppError::LimitReached { what, open } => {
            let metadata = [("limit", what.to_owned()), ("open", open.to_string())];
            with(Code::ResourceExhausted, reason_with("OPEN_LIMIT_REACHED", metadata))
        }
        AppError::TooLong(_) => with(Code::DeadlineExceeded, reason("PREVIEW_TIMED_OUT")),
        AppError::Overloaded => with(Code::ResourceExhausted, retry("OVERLOADED", RETRY_AFTER)),
        AppError::Unavailable => with(Code::Unavailable, reason("STORE_UNAVAILABLE")),
        AppError::ShuttingDown => with(Code::Unavailable, reason("SHUTTING_DOWN")),
        AppError::Stopped => with(Code::Unavailable, reason("STORE_FAILED")),
        AppError::Internal(cause) => {
            tracing::error!(%cause, "a call failed with an internal error");
            with(Code::Internal, reason("INTERNAL"))
        }
    }
}

fn recording_refused(refused: &[RecordingRefused]) -> Status {
    let mut details = reason("RECORDING_REFUSED");
    let explanations: Vec<String> = refused.iter().map(wording::recording_refused).collect();
    for (kind, explanation) in refused.iter().zip(&explanations) {
        let provenance = wording::provenance(kind.provenance);
        let subject = format!("{provenance} {}", kind.category);
        details.add_precondition_failure_violation("RECORDING_REFUSED", subject, explanation);
    }
    Status::with_error_details(Code::FailedPrecondition, explanations.join(" "), details)
}

/// The limit on attributes that is reached, with only the details that the caller may know.
fn attribute_limit(reached: &AttributeLimitReached) -> ErrorDetails {
    let mut metadata = HashMap::new();
    let mut add = |name: &str, load: Load| {
        metadata.insert(format!("{name}_attributes"), load.count.to_string());
        metadata.insert(format!("{name}_bytes"), load.bytes.to_string());
        metadata.insert(format!("{name}_embedding_bytes"), load.embedding_bytes.to_string());
    };
    match reached {
        AttributeLimitReached::OfService { used, max } => {
            add("own", *used);
            add("max", *max);
        }
        AttributeLimitReached::OfSubject { used } => add("own", *used),
        AttributeLimitReached::OfSubjectByRecorder { used, max, .. } => {
            add("all", *used);
            add("max", *max);
        }
    }
    let mut details = ErrorDetails::with_error_info("ATTRIBUTE_LIMIT_REACHED", DOMAIN, metadata);
    if let AttributeLimitReached::OfSubjectByRecorder { by, .. } = reached {
        for (recorder, load) in by.iter().take(RECORDERS_MAX) {
            details.add_quota_failure_violation(recorder.to_string(), load.to_string());
        }
    }
    details
}

fn precondition(message: &str, kind: &str) -> Status {
    let mut details = reason(kind);
    details.add_precondition_failure_violation(kind, DOMAIN, message);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// A watcher did not read its stream of revocations in time.
#[must_use]
pub fn watcher_too_slow(cursor: u64) -> Status {
    let mut details = reason_with("WATCHER_TOO_SLOW", [("cursor", cursor.to_string())]);
    details.set_retry_info(Some(RETRY_AFTER));
    let message = format!("the stream of revocations was not read in time; resume after cursor {cursor}");
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// The credential is missing or not valid.
#[must_use]
pub fn of_credential(error: &CredentialError) -> Status {
    if matches!(error, CredentialError::Elsewhere) {
        return not_allowed();
    }
    if let CredentialError::TooMany(wait) = error {
        let details = retry("TOO_MANY_INVALID_CREDENTIALS", *wait);
        return Status::with_error_details(Code::ResourceExhausted, error.to_string(), details);
    }
    Status::with_error_details(Code::Unauthenticated, error.to_string(), reason("INVALID_CREDENTIAL"))
}

const NOT_ALLOWED: &str = "this role may not call this method";

/// A denial that does not reveal its cause. The cause is that the credential is for a controller that this
/// daemon does not serve, or that a service was reached without access control.
#[must_use]
pub fn not_allowed() -> Status {
    Status::with_error_details(Code::PermissionDenied, NOT_ALLOWED, reason("ROLE_NOT_ALLOWED"))
}

/// The caller's role may not call a method.
#[must_use]
pub fn role_not_allowed(caller: &str, allowed: &str) -> Status {
    let advice = if allowed.is_empty() {
        "no role may call it, or it does not exist".to_owned()
    } else {
        format!("use a credential with one of the roles {allowed}")
    };
    let message = format!("{NOT_ALLOWED}: the caller's role is {caller}; {advice}");
    let details = reason_with("ROLE_NOT_ALLOWED", [(ALLOWED_ROLES, allowed.to_owned())]);
    Status::with_error_details(Code::PermissionDenied, message, details)
}

/// Adds the caller's role to the message of a denial, and the allowed roles if the denial has them. Answers
/// that are not denials stay as they are.
#[must_use]
pub fn name_caller(answer: Response<Body>, caller: &str) -> Response<Body> {
    let status = Status::from_header_map(answer.headers());
    let Some(denial) = status.filter(|status| status.code() == Code::PermissionDenied) else { return answer };
    let details = denial.get_error_details();
    let allowed = details.error_info().and_then(|info| info.metadata.get(ALLOWED_ROLES));
    let allowed = allowed.map(|roles| format!("; roles allowed: {roles}")).unwrap_or_default();
    let message = format!("{} (caller's role: {caller}{allowed})", denial.message());
    let metadata = denial.metadata().clone();
    Status::with_error_details_and_metadata(Code::PermissionDenied, message, details, metadata).into_http()
}

/// A credential, or an address, makes too many calls or sends too many bytes.
#[must_use]
pub fn too_many_calls(retry_after: Duration) -> Status {
    let message = "too many calls with this credential; try again later";
    let details = retry("TOO_MANY_CALLS", retry_after);
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// All callers together have too many bytes in progress.
#[must_use]
pub fn too_many_bytes(retry_after: Duration) -> Status {
    let message = "too many bytes are in progress; try again later";
    let details = retry("TOO_MANY_BYTES_IN_PROGRESS", retry_after);
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// One field of a request is malformed.
#[must_use]
pub fn invalid(field: &str, problem: &str) -> Status {
    of(AppError::Invalid(crate::domain::Violations::one(field, problem)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::app::Reserved;

    #[test]
    fn a_denial_names_the_role_of_the_caller_and_those_allowed() {
        let denied = role_not_allowed("auditor", "service, channel");
        assert!(denied.message().contains("auditor") && denied.message().contains("service, channel"));
        let reserved =
            AppError::Reserved { rule: Reserved::RefusedBySubject, why: "the person refused this".into() };
        let named =
            Status::from_header_map(name_caller(of(reserved).into_http(), "channel").headers()).unwrap();
        let details = named.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (&*info.reason, &*info.metadata["allowed_roles"]),
            ("REFUSED_BY_SUBJECT", "subject, steward")
        );
        assert_eq!(
            named.message(),
            "the person refused this (caller's role: channel; roles allowed: subject, steward)"
        );
    }

    #[test]
    fn answers_that_are_not_denials_are_unchanged() {
        let before = invalid("key", "must not be empty").into_http();
        let headers = before.headers().clone();
        assert_eq!(name_caller(before, "service").headers(), &headers);
    }
}
