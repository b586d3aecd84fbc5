//! How a command fails: what people read, what machines read, and the exit status.

use super::output::Out;
use std::fmt::Display;
use std::process::ExitCode;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A failed command.
#[derive(Debug)]
pub(super) struct CliError {
    code: u8,
    reason: String,
    message: String,
}

impl CliError {
    /// It did not work: status 1.
    pub fn failed(error: impl Display) -> Self {
        Self { code: 1, reason: "FAILED".into(), message: error.to_string() }
    }

    /// It was called wrongly: status 2.
    pub fn usage(error: impl Display) -> Self {
        Self { code: 2, reason: "USAGE".into(), message: error.to_string() }
    }

    /// What was to be verified does not hold: status 4.
    pub fn unverified(error: impl Display) -> Self {
        Self { code: 4, reason: "UNVERIFIED".into(), message: error.to_string() }
    }

    /// Says what is wrong, on standard error.
    pub fn report(&self, out: Out) -> ExitCode {
        if out.json {
            let error = serde_json::json!({ "error": { "reason": self.reason, "message": self.message } });
            eprintln!("{error}");
        } else {
            eprintln!("sayso: {}", self.message);
        }
        ExitCode::from(self.code)
    }
}

impl Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sayso: {}", self.message)
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        let code = match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => 3,
            _ => 1,
        };
        let reason = status.get_details_error_info().map(|info| info.reason);
        let hint = match status.code() {
            Code::Unavailable => " (is the daemon running? `sayso serve --dev` starts one)",
            Code::Unauthenticated => " (name a token with --token-file, or --data beside a `--dev` daemon)",
            _ => "",
        };
        let message =
            if status.message().is_empty() { status.code().description() } else { status.message() };
        let reason = reason.unwrap_or_else(|| status.code().description().to_owned());
        Self { code, reason, message: format!("{message}{hint}") }
    }
}
