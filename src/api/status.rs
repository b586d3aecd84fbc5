//! Errors of the API. Only this module maps the errors of use cases to gRPC codes and machine-readable
//! reasons (`ErrorInfo.reason`). docs/errors.md lists the reasons. The answer has a message that is safe
//! to show to the caller. The cause of an internal error is only logged, once, and that happens here.

use crate::api::access::error::CredentialError;
use crate::api::access::role_names::names_of;
use crate::app::AppError;
use crate::domain::event::RecordingRefused;
use crate::domain::recorder_usage::{AttributeLimitReached, Load};
use crate::domain::wording;
use crate::roles::Permitted;
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
/// Separates the names of roles in `allowed_roles` and in messages.
const ROLES_SEPARATOR: &str = ", ";
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
        AppError::RefusalsRecorded(error) => refusals_recorded(&of(*error), message.clone()),
        AppError::Denied { allowed, .. } => {
            let allowed = names_of(|role| allowed.contains(&role)).join(ROLES_SEPARATOR);
            with(Code::PermissionDenied, reason_with("REQUEST_NOT_ALLOWED", [(ALLOWED_ROLES, allowed)]))
        }
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

/// The status of a request that failed, although the refusals in it were recorded. A precondition failure
/// says that they were.
fn refusals_recorded(failed: &Status, message: String) -> Status {
    let mut details = failed.get_error_details();
    let recorded = "the refusals and withdrawals in the request are recorded";
    details.add_precondition_failure_violation(AppError::REFUSALS_RECORDED, DOMAIN, recorded);
    Status::with_error_details(failed.code(), message, details)
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

/// The caller's role may not call a method. `caller` is the name of the role.
#[must_use]
pub fn role_not_allowed(caller: &str, permitted: Permitted) -> Status {
    let allowed = names_of(|role| permitted.to(role)).join(ROLES_SEPARATOR);
    let problem =
        if allowed.is_empty() { "there is no such method, or no role may call it" } else { NOT_ALLOWED };
    let message = with_roles(problem, caller, &allowed);
    let details = reason_with("ROLE_NOT_ALLOWED", [(ALLOWED_ROLES, allowed)]);
    Status::with_error_details(Code::PermissionDenied, message, details)
}

/// The message of a denial, with the caller's role and the allowed roles.
fn with_roles(problem: &str, caller: &str, allowed: &str) -> String {
    let allowed = if allowed.is_empty() { "none" } else { allowed };
    format!("{problem} (caller's role: {caller}; roles allowed: {allowed})")
}

/// The roles that a denial of an admitted call names.
#[derive(Clone, Copy, Debug)]
pub struct CallRoles {
    /// The name of the caller's role.
    pub caller: &'static str,
    /// The roles that may call the method.
    pub permitted: Permitted,
}

impl CallRoles {
    /// Adds the caller's role and the allowed roles to the message of a denial by a use case. Of the roles
    /// that the use case allows, only those that may call the method stay in the message and in the details.
    /// An error that is no denial, or that has no allowed roles, stays as it is.
    #[must_use]
    pub fn name_in(self, error: Status) -> Status {
        if error.code() != Code::PermissionDenied {
            return error;
        }
        let mut details = error.get_error_details();
        let Some(info) = details.error_info().cloned() else { return error };
        let Some(allowed) = info.metadata.get(ALLOWED_ROLES) else { return error };
        let callers = names_of(|role| self.permitted.to(role));
        let allowed: Vec<&str> =
            allowed.split(ROLES_SEPARATOR).filter(|name| callers.contains(name)).collect();
        let allowed = allowed.join(ROLES_SEPARATOR);
        let message = with_roles(error.message(), self.caller, &allowed);
        let changed = HashMap::from([(ALLOWED_ROLES.to_owned(), allowed)]);
        details.set_error_info(info.reason, info.domain, changed);
        let metadata = error.metadata().clone();
        Status::with_error_details_and_metadata(Code::PermissionDenied, message, details, metadata)
    }

    /// Does the same with the error of an answer, if it has one in its headers.
    #[must_use]
    pub fn name_in_answer(self, answer: Response<Body>) -> Response<Body> {
        let status = Status::from_header_map(answer.headers());
        match status.filter(|status| status.code() == Code::PermissionDenied) {
            Some(denial) => self.name_in(denial).into_http(),
            None => answer,
        }
    }
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
    use crate::domain::event::Role;

    fn permitted(names: &[&str]) -> Permitted {
        Permitted::evaluate(|name| Ok::<_, ()>(names.contains(&name))).unwrap()
    }

    /// The reason, the allowed roles and the message of a denial that reaches the caller.
    fn named(error: AppError, caller: &'static str, permitted: Permitted) -> (String, String, String) {
        let answer = CallRoles { caller, permitted }.name_in_answer(of(error).into_http());
        let status = Status::from_header_map(answer.headers()).unwrap();
        let info = status.get_details_error_info().unwrap();
        (info.reason, info.metadata["allowed_roles"].clone(), status.message().to_owned())
    }

    #[test]
    fn a_denial_names_the_role_of_the_caller_and_those_allowed() {
        let denied = role_not_allowed("auditor", permitted(&["channel"]));
        assert_eq!(
            denied.message(),
            "this role may not call this method (caller's role: auditor; roles allowed: channel, service-channel)"
        );
        let unknown = role_not_allowed("auditor", Permitted::default());
        assert!(unknown.message().ends_with("(caller's role: auditor; roles allowed: none)"), "{unknown:?}");
        let reserved =
            AppError::Reserved { rule: Reserved::RefusedBySubject, why: "the person refused this".into() };
        let all = permitted(&["service", "channel", "subject", "steward"]);
        assert_eq!(
            named(reserved, "channel", all),
            (
                "REFUSED_BY_SUBJECT".into(),
                "subject, steward".into(),
                "the person refused this (caller's role: channel; roles allowed: subject, steward)".into()
            )
        );
    }

    #[test]
    fn a_denial_names_only_roles_that_may_call_the_method() {
        let denied = AppError::Denied { why: "only that person", allowed: &[Role::Steward, Role::Auditor] };
        let (reason, allowed, message) = named(denied, "subject", permitted(&["subject", "steward"]));
        assert_eq!((&*reason, &*allowed), ("REQUEST_NOT_ALLOWED", "steward"));
        assert_eq!(message, "only that person (caller's role: subject; roles allowed: steward)");
    }

    #[test]
    fn answers_that_are_not_denials_are_unchanged() {
        let before = invalid("key", "must not be empty").into_http();
        let headers = before.headers().clone();
        let roles = CallRoles { caller: "service", permitted: permitted(&["service"]) };
        assert_eq!(roles.name_in_answer(before).headers(), &headers);
    }
}
