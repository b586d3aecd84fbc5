//! How a command fails: what people read, what machines read, and the exit status.

use super::output::Out;
use sayso_proof::bundle::VerifyFailure;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Exit status of a failed command, as the help says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Exit {
    #[default]
    Failed = 1,
    Usage = 2,
    Denied = 3,
    Unverified = 4,
}

/// A failed command. Boxed, since it is seldom and holds much.
#[derive(Debug)]
pub(super) struct CliError(Box<Fault>);

#[derive(Debug, Default)]
struct Fault {
    exit: Exit,
    reason: String,
    message: String,
    /// Fields that the daemon refused: which, and what is allowed.
    violations: Vec<(String, String)>,
    /// What is current, from the daemon: `current_version` and the like.
    metadata: BTreeMap<String, String>,
    /// When to try again.
    retry_after: Option<Duration>,
    /// Where verification failed.
    failure: Option<VerifyFailure>,
    /// What to do next.
    next: Option<String>,
    /// Nobody is there to read it.
    silent: bool,
}

impl CliError {
    fn new(exit: Exit, reason: &str, message: impl Display) -> Self {
        let (reason, message) = (reason.to_owned(), message.to_string());
        Self(Box::new(Fault { exit, reason, message, ..Fault::default() }))
    }

    /// It did not work: status 1.
    pub fn failed(error: impl Display) -> Self {
        Self::new(Exit::Failed, "FAILED", error)
    }

    /// It was called wrongly: status 2.
    pub fn usage(error: impl Display) -> Self {
        Self::new(Exit::Usage, "USAGE", error)
    }

    /// It was refused: status 3.
    pub fn denied(error: impl Display) -> Self {
        Self::new(Exit::Denied, "DENIED", error)
    }

    /// What was to be verified does not hold: status 4.
    pub fn unverified(error: impl Display) -> Self {
        Self::new(Exit::Unverified, "UNVERIFIED", error)
    }

    /// A bundle does not hold: status 4, with the place.
    pub fn bundle(failure: VerifyFailure) -> Self {
        let mut error = Self::unverified(&failure);
        error.0.failure = Some(failure);
        error
    }

    /// Whoever read the output has gone: status 1, without a word.
    pub fn closed() -> Self {
        let mut error = Self::failed("the output was closed");
        error.0.silent = true;
        error
    }

    /// Adds what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Display) -> Self {
        self.0.next = Some(next.to_string());
        self
    }

    /// Says what is wrong, on standard error.
    pub fn report(&self, out: Out) -> ExitCode {
        if !self.0.silent {
            let text = if out.json { self.0.json().to_string() } else { self.to_string() };
            out.complain(&text);
        }
        ExitCode::from(self.0.exit as u8)
    }
}

impl Fault {
    fn json(&self) -> Value {
        let mut error = Map::new();
        error.insert("reason".into(), self.reason.as_str().into());
        error.insert("message".into(), self.message.as_str().into());
        if !self.violations.is_empty() {
            let violations = self.violations.iter();
            let json =
                violations.map(|(field, problem)| serde_json::json!({ "field": field, "problem": problem }));
            error.insert("violations".into(), json.collect());
        }
        if !self.metadata.is_empty() {
            let fields = self.metadata.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
            error.insert("metadata".into(), Value::Object(fields.collect()));
        }
        if let Some(after) = self.retry_after {
            let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            error.insert("retry_after_ms".into(), millis.into());
        }
        if let Some(failure) = &self.failure {
            error.insert("position".into(), failure.position.into());
            error.insert("place".into(), failure.place.as_str().into());
        }
        if let Some(next) = &self.next {
            error.insert("next".into(), next.as_str().into());
        }
        serde_json::json!({ "error": error })
    }
}

impl Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.violations.as_slice() {
            [] | [_] => write!(f, "sayso: {}", self.0.message)?,
            several => {
                write!(f, "sayso: {} fields were refused:", several.len())?;
                for (field, problem) in several {
                    write!(f, "\n  `{field}` {problem}")?;
                }
            }
        }
        match &self.0.next {
            Some(next) => write!(f, "\n  {next}"),
            None => Ok(()),
        }
    }
}

/// Exit status of a gRPC code. Being denied is told apart, so that scripts can; a grant that allows nothing is an answer
/// and never comes here.
fn exit_of(code: Code) -> Exit {
    match code {
        Code::Unauthenticated | Code::PermissionDenied => Exit::Denied,
        _ => Exit::Failed,
    }
}

/// What helps, where something does. `known` says that the daemon itself gave a reason.
fn next_of(code: Code, known: bool) -> Option<&'static str> {
    match code {
        Code::Unauthenticated => {
            Some("name a good token with --token-file, or the folder of a `sayso serve --dev` with --data")
        }
        Code::PermissionDenied => {
            Some("call as another role: --as ROLE beside a `sayso serve --dev`, or another --token-file")
        }
        Code::Aborted => Some("look at what is current, then decide again"),
        Code::AlreadyExists => {
            Some("a repeated request must be the same to the byte; a new one takes a new key")
        }
        Code::Unavailable | Code::Unknown if !known => {
            Some("is the daemon running? `sayso serve --dev` starts one")
        }
        _ => None,
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        let code = status.code();
        let info = status.get_details_error_info();
        let known = info.is_some();
        let (reason, metadata) = match info {
            Some(info) => (info.reason, info.metadata.into_iter().collect()),
            None => (name_of(code), BTreeMap::new()),
        };
        let message = match (known, code, status.message()) {
            (_, _, "") => code.description().to_owned(),
            (false, Code::Unknown | Code::Unavailable, _) => "the connection to the daemon broke".to_owned(),
            (_, _, message) => message.to_owned(),
        };
        let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
        Self(Box::new(Fault {
            exit: exit_of(code),
            reason,
            message,
            violations: violations.into_iter().map(|one| (one.field, one.description)).collect(),
            metadata,
            retry_after: status.get_details_retry_info().and_then(|info| info.retry_delay),
            next: next_of(code, known).map(str::to_owned),
            ..Fault::default()
        }))
    }
}

/// A code as in `google.rpc.Code`.
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
        let own =
            [CliError::failed("x"), CliError::usage("x"), CliError::closed(), CliError::unverified("x")];
        assert_eq!(own.map(|error| error.0.exit as u8), [1, 2, 1, 4]);
    }

    #[test]
    fn refused_fields_are_listed() {
        let mut details = ErrorDetails::with_error_info("INVALID", "sayso", HashMap::<String, String>::new());
        let two = ["key", "category"].map(|field| FieldViolation::new(field, "must be something"));
        details.set_bad_request(two.to_vec());
        let status = Status::with_error_details(Code::InvalidArgument, "both in a line", details);
        let error = CliError::from(status);
        assert_eq!(
            error.to_string(),
            "sayso: 2 fields were refused:\n  `key` must be something\n  `category` must be something"
        );
        let json = error.0.json();
        assert_eq!(json["error"]["reason"], "INVALID");
        assert_eq!(json["error"]["violations"][1]["field"], "category");
        assert!(json["error"].get("metadata").is_none());
    }

    #[test]
    fn what_is_current_is_told_to_machines() {
        let current = HashMap::from([("current_version".to_owned(), "3".to_owned())]);
        let details = ErrorDetails::with_error_info("STALE_VERSION", "sayso", current);
        let error = CliError::from(Status::with_error_details(Code::Aborted, "stale", details));
        assert_eq!(error.0.json()["error"]["metadata"]["current_version"], "3");
    }

    #[test]
    fn where_a_bundle_fails_is_told_to_machines() {
        let failure =
            VerifyFailure { position: Some(7), place: "entries/000000.jsonl".into(), reason: "bad".into() };
        let error = CliError::bundle(failure);
        assert_eq!((error.0.exit, &error.0.json()["error"]["position"]), (Exit::Unverified, &7.into()));
        assert!(error.to_string().contains("position 7"));
    }

    #[test]
    fn codes_without_a_reason_have_their_grpc_name() {
        assert_eq!(name_of(Code::PermissionDenied), "PERMISSION_DENIED");
        assert_eq!(CliError::from(Status::unavailable("tcp: connection refused")).0.reason, "UNAVAILABLE");
    }
}
