//! The only place that knows which failure is which gRPC code. Two messages a failure: the safe one goes out,
//! the detailed one is logged here, once.

use crate::api::access::credential::CredentialError;
use crate::app::AppError;
use crate::domain::recorder_usage::{Load, NoRoom};
use crate::domain::wording;
use std::collections::HashMap;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

const DOMAIN: &str = "sayso";
/// Recorders that are named where there is no room.
const RECORDERS_MAX: usize = 16;
const RETRY_AFTER: Duration = Duration::from_millis(100);

fn reason(name: &str) -> ErrorDetails {
    ErrorDetails::with_error_info(name, DOMAIN, HashMap::<String, String>::new())
}

/// What a caller gets for a failed use case.
#[must_use]
pub fn of(error: AppError) -> Status {
    let message = error.to_string();
    let with = |code, details| Status::with_error_details(code, message.clone(), details);
    match error {
        AppError::Invalid(violations) => {
            let mut details = reason("INVALID");
            let violations = violations.0.into_iter();
            let violation = |found: crate::domain::Violation| FieldViolation::new(found.field, found.problem);
            details.set_bad_request(violations.map(violation).collect::<Vec<_>>());
            with(Code::InvalidArgument, details)
        }
        AppError::Denied(_) => with(Code::PermissionDenied, reason("DENIED")),
        AppError::Reserved { reason: rule, .. } => with(Code::PermissionDenied, reason(rule)),
        AppError::NotFound(_) | AppError::UnknownSubject => with(Code::NotFound, reason("NOT_FOUND")),
        AppError::StaleVersion { actual, .. } => {
            let current = HashMap::from([("current_version".to_owned(), actual.to_string())]);
            with(Code::Aborted, ErrorDetails::with_error_info("STALE_VERSION", DOMAIN, current))
        }
        AppError::StaleDecisions => with(Code::Aborted, reason("STALE_VERSION")),
        AppError::KeyReused => with(Code::AlreadyExists, reason("IDEMPOTENCY_KEY_REUSED")),
        AppError::Erased => precondition(&message, "ERASED"),
        AppError::Precondition(_) => precondition(&message, "PRECONDITION"),
        AppError::ClockSkewed => precondition(&message, "CLOCK_SKEWED"),
        AppError::RecordingRefused(refused) => {
            let mut details = reason("RECORDING_REFUSED");
            let said: Vec<String> = refused.iter().map(wording::recording_refused).collect();
            for (kind, said) in refused.iter().zip(&said) {
                let source = wording::provenance(kind.provenance());
                let of = format!("{source} {}", kind.category);
                details.add_precondition_failure_violation("RECORDING_REFUSED", of, said);
            }
            Status::with_error_details(Code::FailedPrecondition, said.join(" "), details)
        }
        AppError::NoRoom(full) => with(Code::ResourceExhausted, no_room(&full)),
        AppError::Overtaken => with(Code::Aborted, reason("OVERTAKEN_BY_ERASURE")),
        AppError::LimitReached { what, open } => {
            let found =
                HashMap::from([("limit".to_owned(), what.to_owned()), ("open".to_owned(), open.to_string())]);
            let details = ErrorDetails::with_error_info("LIMIT_REACHED", DOMAIN, found);
            with(Code::ResourceExhausted, details)
        }
        AppError::TooLong(_) => with(Code::DeadlineExceeded, reason("TOO_LONG")),
        AppError::Overloaded => {
            let mut details = reason("OVERLOADED");
            details.set_retry_info(Some(RETRY_AFTER));
            with(Code::ResourceExhausted, details)
        }
        AppError::Unavailable => with(Code::Unavailable, reason("STORE_UNAVAILABLE")),
        AppError::ShuttingDown => with(Code::Unavailable, reason("SHUTTING_DOWN")),
        AppError::Stopped => with(Code::Unavailable, reason("STOPPED")),
        AppError::Internal(cause) => {
            tracing::error!(%cause, "a request failed inside");
            with(Code::Internal, reason("INTERNAL"))
        }
    }
}

/// What used the room up, as far as its reader may know.
fn no_room(full: &NoRoom) -> ErrorDetails {
    let mut numbers = HashMap::new();
    let mut tell = |name: &str, load: Load| {
        numbers.insert(format!("{name}_facts"), load.facts.to_string());
        numbers.insert(format!("{name}_bytes"), load.bytes.to_string());
    };
    match full {
        NoRoom::OfService { held, max } => {
            tell("own", *held);
            tell("max", *max);
        }
        NoRoom::OfPerson { held } => tell("own", *held),
        NoRoom::OfPersonBy { held, max, .. } => {
            tell("held", *held);
            tell("max", *max);
        }
    }
    let mut details = ErrorDetails::with_error_info("NO_ROOM_FOR_FACTS", DOMAIN, numbers);
    if let NoRoom::OfPersonBy { by, .. } = full {
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

/// What a watch gets that does not take what it is told.
#[must_use]
pub fn fell_behind(cursor: u64) -> Status {
    let mut details = ErrorDetails::with_error_info(
        "WATCH_FELL_BEHIND",
        DOMAIN,
        HashMap::from([("cursor".to_owned(), cursor.to_string())]),
    );
    details.set_retry_info(Some(RETRY_AFTER));
    let message = format!("the watch did not take what it was told; resume after cursor {cursor}");
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// What a caller without a good credential gets.
#[must_use]
pub fn of_credential(error: &CredentialError) -> Status {
    if matches!(error, CredentialError::Elsewhere) {
        return forbidden();
    }
    if let CredentialError::TooMany(wait) = error {
        let mut details = reason("TOO_MANY_REFUSED");
        details.set_retry_info(Some(*wait));
        return Status::with_error_details(Code::ResourceExhausted, error.to_string(), details);
    }
    Status::with_error_details(Code::Unauthenticated, error.to_string(), reason("UNAUTHENTICATED"))
}

/// What a caller gets whose role may not do this, or whose controller is not here.
#[must_use]
pub fn forbidden() -> Status {
    Status::with_error_details(Code::PermissionDenied, "this role may not do this", reason("ROLE"))
}

/// What a caller gets who makes too many calls, or too large ones.
#[must_use]
pub fn too_many(retry_after: Duration) -> Status {
    let mut details = reason("TOO_MANY_CALLS");
    details.set_retry_info(Some(retry_after));
    let message = "too many calls with this credential; try again later";
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// A page token that no answer gave.
#[must_use]
pub fn page_token() -> Status {
    invalid("page_token", "must be the `next_page_token` of the answer before")
}

/// What a caller gets while the requests of everybody together have too many bytes.
#[must_use]
pub fn busy(retry_after: Duration) -> Status {
    let mut details = reason("BUSY");
    details.set_retry_info(Some(retry_after));
    Status::with_error_details(
        Code::ResourceExhausted,
        "too many bytes are under way; try again later",
        details,
    )
}

/// One field that is wrong on the wire already.
#[must_use]
pub fn invalid(field: &str, problem: &str) -> Status {
    of(AppError::Invalid(crate::domain::Violations::one(field, problem)))
}
