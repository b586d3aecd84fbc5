//! The error of a failed command: its exit status, its message for people, and its JSON for programs.

use sayso_proof::bundle::{FailureKind, VerifyFailure};
use sayso_proof::entry::EntryError;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::process::ExitCode;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Exit status of a failed command. The help of `sayso` lists every status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Exit {
    #[default]
    Failed = 1,
    Usage = 2,
    Denied = 3,
    Unverified = 4,
    GrantInvalid = 5,
    Unchecked = 6,
    TooNew = 7,
}

/// The error of a failed command. Boxed, because it is large and rare.
#[derive(Debug)]
pub(super) struct CliError(Box<Failure>);

#[derive(Debug, Default)]
struct Failure {
    exit: Exit,
    reason: String,
    message: String,
    /// Fields that the daemon refused, each with a text that says what is allowed.
    violations: Vec<(String, String)>,
    /// Current values from the daemon, such as `current_version`.
    metadata: BTreeMap<String, String>,
    /// When to try again.
    retry_after: Option<Duration>,
    /// Where verification failed.
    verify_failure: Option<VerifyFailure>,
    /// What to do next.
    next: Option<String>,
    /// Whether nothing is written to standard error.
    is_silent: bool,
}

impl CliError {
    fn new(exit: Exit, reason: &str, message: impl Display) -> Self {
        let (reason, message) = (reason.to_owned(), message.to_string());
        Self(Box::new(Failure { exit, reason, message, ..Failure::default() }))
    }

    fn silent(exit: Exit, reason: &str, message: &str) -> Self {
        let mut error = Self::new(exit, reason, message);
        error.0.is_silent = true;
        error
    }

    /// The command failed: status 1.
    pub fn failed(error: impl Display) -> Self {
        Self::new(Exit::Failed, "FAILED", error)
    }

    /// The command line, or a file that it names, is wrong: status 2.
    pub fn usage(error: impl Display) -> Self {
        Self::new(Exit::Usage, "USAGE", error)
    }

    /// The request was denied: status 3.
    pub fn denied(error: impl Display) -> Self {
        Self::new(Exit::Denied, "DENIED", error)
    }

    /// Verification failed, or a data folder is damaged: status 4.
    pub fn unverified(error: impl Display) -> Self {
        Self::new(Exit::Unverified, "UNVERIFIED", error)
    }

    /// No check failed, but not everything could be checked: status 6.
    pub fn unchecked(error: impl Display) -> Self {
        Self::new(Exit::Unchecked, "UNCHECKED", error)
    }

    /// What was verified comes from a newer version, so this version cannot judge it: status 7.
    pub fn too_new(error: impl Display) -> Self {
        let error = Self::new(Exit::TooNew, "TOO_NEW", format!("too new for this version: {error}"));
        error.next("verify it with a newer version of sayso")
    }

    /// A document does not verify: status 4. If its entry has fields of a newer version, the status is 7.
    pub fn document(error: impl std::error::Error + 'static) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(one) = cause {
            if one.downcast_ref::<EntryError>().is_some_and(EntryError::is_unknown) {
                return Self::too_new(&error);
            }
            cause = one.source();
        }
        Self::unverified(error)
    }

    /// A bundle does not verify: status 4, with the place of the failure. If the bundle is too new, the
    /// status is 7; if this machine could not verify it, the status is 1.
    pub fn bundle(failure: VerifyFailure) -> Self {
        let mut error = match failure.kind {
            FailureKind::TooNew { .. } => Self::too_new(&failure),
            FailureKind::Broken => Self::unverified(&failure),
            FailureKind::Machine => Self::failed(&failure),
        };
        error.0.verify_failure = Some(failure);
        error
    }

    /// A checked grant is not valid: status 5. Nothing is written to standard error, because standard output
    /// has the answer.
    pub fn grant_invalid() -> Self {
        Self::silent(Exit::GrantInvalid, "GRANT_INVALID", "the grant is not valid")
    }

    /// The reader of standard output is gone: status 1. Nothing is written to standard error.
    pub fn closed() -> Self {
        Self::silent(Exit::Failed, "FAILED", "standard output was closed")
    }

    /// Adds what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Display) -> Self {
        self.0.next = Some(next.to_string());
        self
    }

    /// Adds to a failed verification what to do next, unless the error has such advice already.
    #[must_use]
    pub fn or_next(mut self, next: &str) -> Self {
        if self.0.exit == Exit::Unverified {
            self.0.next.get_or_insert_with(|| next.to_owned());
        }
        self
    }

    /// The exit status of the process.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.0.exit as u8)
    }

    /// The exit status of the process, as a number.
    pub fn status(&self) -> u8 {
        self.0.exit as u8
    }

    /// What went wrong, without the advice on what to do next.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether nothing is to be written to standard error.
    pub fn is_silent(&self) -> bool {
        self.0.is_silent
    }

    /// Whether the error only says that a checked grant is not valid.
    pub fn is_grant_invalid(&self) -> bool {
        self.0.exit == Exit::GrantInvalid
    }

    /// The error as JSON, in the style of the JSON mapping of protocol buffers.
    pub fn json(&self) -> Value {
        let failure = &self.0;
        let mut error = Map::new();
        error.insert("reason".into(), failure.reason.as_str().into());
        error.insert("message".into(), failure.message.as_str().into());
        if !failure.violations.is_empty() {
            let violations = failure.violations.iter().map(
                |(field, description)| serde_json::json!({ "field": field, "description": description }),
            );
            error.insert("violations".into(), violations.collect());
        }
        if !failure.metadata.is_empty() {
            let fields = failure.metadata.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
            error.insert("metadata".into(), Value::Object(fields.collect()));
        }
        if let Some(after) = failure.retry_after {
            let seconds = format!("{}.{:03}s", after.as_secs(), after.subsec_millis());
            error.insert("retryAfter".into(), seconds.into());
        }
        if let Some(found) = &failure.verify_failure {
            error.insert("position".into(), found.position.map(|position| position.to_string()).into());
            error.insert("place".into(), found.place.as_str().into());
        }
        if let Some(next) = &failure.next {
            error.insert("next".into(), next.as_str().into());
        }
        serde_json::json!({ "error": error })
    }
}

impl Display for CliError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.violations.as_slice() {
            [] | [_] => write!(f, "sayso: {}", self.0.message)?,
            several => {
                write!(f, "sayso: {} fields are invalid:", several.len())?;
                for (field, description) in several {
                    write!(f, "\n  `{field}` {description}")?;
                }
            }
        }
        match &self.0.next {
            Some(next) => write!(f, "\n  {next}"),
            None => Ok(()),
        }
    }
}

/// The exit status for a gRPC code. A denied call has an exit status of its own, so that scripts can
/// recognize it. A grant that allows nothing is a successful answer and has no error code.
fn exit_of(code: Code) -> Exit {
    match code {
        Code::Unauthenticated | Code::PermissionDenied => Exit::Denied,
        _ => Exit::Failed,
    }
}

/// Advice on what to do next, if there is any. `has_reason`: the daemon itself gave a reason for
/// the error, which shows that the daemon runs.
fn next_of(code: Code, has_reason: bool) -> Option<&'static str> {
    match code {
        Code::Unauthenticated => Some(
            "name a valid token with --token-file, or the data folder of a `sayso serve --dev` with --data",
        ),
        Code::PermissionDenied => {
            Some("call in another role: --as ROLE for a `sayso serve --dev`, or another --token-file")
        }
        Code::Aborted => Some("read the current state, then decide again"),
        Code::AlreadyExists => {
            Some("a repeated request must be byte-identical; a different request needs a new idempotency key")
        }
        Code::Unavailable | Code::Unknown if !has_reason => {
            Some("check that the daemon runs; `sayso serve --dev` starts one")
        }
        _ => None,
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        let code = status.code();
        let info = status.get_details_error_info();
        let has_reason = info.is_some();
        let (reason, metadata) = match info {
            Some(info) => (info.reason, info.metadata.into_iter().collect()),
            None => (name_of(code), BTreeMap::new()),
        };
        let message = match (has_reason, code, status.message()) {
            (_, _, "") => code.description().to_owned(),
            (false, Code::Unknown | Code::Unavailable, _) => "lost the connection to the daemon".to_owned(),
            (_, _, message) => message.to_owned(),
        };
        let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
        Self(Box::new(Failure {
            exit: exit_of(code),
            reason,
            message,
            violations: violations.into_iter().map(|each| (each.field, each.description)).collect(),
            metadata,
            retry_after: status.get_details_retry_info().and_then(|info| info.retry_delay),
            next: next_of(code, has_reason).map(str::to_owned),
            ..Failure::default()
        }))
    }
}

/// The name of a code as in `google.rpc.Code`.
fn name_of(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use sayso_proof::proof::TlogProofError;
    use std::collections::HashMap;
    use tonic_types::{ErrorDetails, FieldViolation};

    #[test]
    fn every_code_has_its_exit_status() {
        for code in (0..=16).map(Code::from_i32).filter(|code| *code != Code::Ok) {
            let error = CliError::from(Status::new(code, "text"));
            let denied = matches!(code, Code::Unauthenticated | Code::PermissionDenied);
            assert_eq!(error.0.exit, if denied { Exit::Denied } else { Exit::Failed }, "{code:?}");
            assert_eq!(error.0.next.is_some(), next_of(code, false).is_some());
        }
        let own = [
            CliError::failed("x"),
            CliError::usage("x"),
            CliError::denied("x"),
            CliError::unverified("x"),
            CliError::grant_invalid(),
            CliError::closed(),
            CliError::unchecked("x"),
            CliError::too_new("x"),
        ];
        assert_eq!(own.map(|error| error.0.exit as u8), [1, 2, 3, 4, 5, 1, 6, 7]);
    }

    #[test]
    fn invalid_fields_are_listed() {
        let mut details = ErrorDetails::with_error_info("INVALID", "sayso", HashMap::<String, String>::new());
        let two = ["key", "category"].map(|field| FieldViolation::new(field, "must be something"));
        details.set_bad_request(two.to_vec());
        let status = Status::with_error_details(Code::InvalidArgument, "two fields are invalid", details);
        let error = CliError::from(status);
        assert_eq!(
            error.to_string(),
            "sayso: 2 fields are invalid:\n  `key` must be something\n  `category` must be something"
        );
        let json = error.json();
        assert_eq!(json["error"]["reason"], "INVALID");
        assert_eq!(json["error"]["violations"][1]["field"], "category");
        assert!(json["error"].get("metadata").is_none());
    }

    #[test]
    fn current_values_from_the_daemon_are_in_the_json() {
        let current = HashMap::from([("current_version".to_owned(), "3".to_owned())]);
        let details = ErrorDetails::with_error_info("STALE_VERSION", "sayso", current);
        let error = CliError::from(Status::with_error_details(Code::Aborted, "stale", details));
        assert_eq!(error.json()["error"]["metadata"]["current_version"], "3");
    }

    #[test]
    fn a_retry_delay_is_a_proto_json_duration() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1_250)));
        let error = CliError::from(Status::with_error_details(Code::ResourceExhausted, "busy", details));
        assert_eq!(error.json()["error"]["retryAfter"], "1.250s");
    }

    #[test]
    fn the_place_of_a_verification_failure_is_in_the_json() {
        let mut failure = VerifyFailure {
            position: Some(7),
            place: "entries/000000.jsonl".into(),
            reason: "bad".into(),
            kind: FailureKind::Broken,
        };
        let error = CliError::bundle(failure.clone());
        assert_eq!((error.0.exit, &error.json()["error"]["position"]), (Exit::Unverified, &"7".into()));
        assert!(error.to_string().contains("position 7"));
        failure.kind = FailureKind::TooNew { edition: 99 };
        let error = CliError::bundle(failure.clone());
        assert_eq!((error.0.exit, &error.json()["error"]["reason"]), (Exit::TooNew, &"TOO_NEW".into()));
        failure.kind = FailureKind::Machine;
        assert_eq!(CliError::bundle(failure).0.exit, Exit::Failed);
    }

    #[test]
    fn a_document_with_a_field_of_a_newer_version_is_too_new() {
        let of = |entry: EntryError| CliError::document(TlogProofError::from(entry));
        assert_eq!(of(EntryError::UnknownField(99)).0.exit, Exit::TooNew);
        assert_eq!(of(EntryError::Body).0.exit, Exit::Unverified);
    }

    #[test]
    fn an_error_without_a_reason_has_the_name_of_its_grpc_code() {
        assert_eq!(name_of(Code::PermissionDenied), "PERMISSION_DENIED");
        assert_eq!(CliError::from(Status::unavailable("tcp: connection refused")).0.reason, "UNAVAILABLE");
    }
}
