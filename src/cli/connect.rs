//! Where the daemon is, and with which credential it is called.

use super::daemon::Layout;
use super::error::CliError;
use clap::Args;
use std::path::{Path, PathBuf};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Where the daemon is and who calls it.
#[derive(Args, Clone, Debug)]
pub(super) struct Connection {
    /// The daemon's gRPC address.
    #[arg(long, global = true, env = "SAYSO_ADDR", default_value = "http://127.0.0.1:7117")]
    pub addr: String,
    /// File with the token to call with. Default: the role's token of the `--dev` daemon in --data.
    #[arg(long, global = true, env = "SAYSO_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Data folder of a `--dev` daemon, to find its tokens.
    #[arg(long, global = true, env = "SAYSO_DATA", default_value = "sayso-data")]
    pub data: PathBuf,
    /// Role to call as, with the tokens in --data: service, steward, auditor, operator. Default: whichever the command
    /// is for.
    #[arg(long = "as", global = true, value_name = "ROLE")]
    pub role: Option<String>,
}

/// Adds the token to every call.
#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// What the generated clients are made over.
pub(super) type Link = InterceptedService<Channel, Bearer>;

impl Connection {
    /// A link to the daemon with the token of a role, unless another is named.
    pub async fn link(&self, role: &str) -> Result<Link, CliError> {
        let bearer = self.bearer(role)?;
        Ok(InterceptedService::new(self.channel().await?, bearer))
    }

    /// A connection without a credential.
    pub async fn channel(&self) -> Result<Channel, CliError> {
        let endpoint = Endpoint::from_shared(self.addr.clone());
        let endpoint =
            endpoint.map_err(|_| CliError::usage("--addr must be a URL like http://127.0.0.1:7117"))?;
        endpoint.tcp_nodelay(true).connect().await.map_err(|_| {
            CliError::failed(format!("no daemon answers at {}; `sayso serve --dev` starts one", self.addr))
        })
    }

    /// The token to call with.
    pub fn bearer(&self, role: &str) -> Result<Bearer, CliError> {
        let role = self.role.as_deref().unwrap_or(role);
        let path = match &self.token_file {
            Some(path) => path.clone(),
            None => dev_token(&self.data, role),
        };
        let token = std::fs::read_to_string(&path).map_err(|error| {
            CliError::usage(format!(
                "no token: {}: {error}; name one with --token-file, or the folder of a `sayso serve --dev` with --data",
                path.display()
            ))
        })?;
        let value = format!("Bearer {}", token.trim());
        value.parse().map(Bearer).map_err(|_| CliError::usage("the token file holds no token"))
    }
}

/// Where a `--dev` daemon leaves a role's token.
pub(super) fn dev_token(data: &Path, role: &str) -> PathBuf {
    Layout::new(data).dev().join(format!("{role}.token"))
}

/// A time as RFC 3339, or a plain date as its beginning.
pub(super) fn parse_time(text: &str) -> Result<prost_types::Timestamp, String> {
    let time: jiff::Timestamp = text
        .parse()
        .or_else(|_| format!("{text}T00:00:00Z").parse())
        .map_err(|_| "must be a time like 2026-01-31T12:00:00Z, or a date".to_owned())?;
    Ok(prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() })
}

/// A span like `10m` or `1h 30m`.
pub(super) fn parse_span(text: &str) -> Result<std::time::Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|_| "must be a span like 10m or 1h".to_owned())?;
    std::time::Duration::try_from(span).map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn times_and_spans_are_read() {
        assert_eq!(parse_time("1970-01-02").unwrap().seconds, 86_400);
        assert_eq!(parse_time("1970-01-01T00:00:01.5Z").unwrap().nanos, 500_000_000);
        assert!(parse_time("yesterday").is_err());
        assert_eq!(parse_span("10m").unwrap().as_secs(), 600);
        assert!(parse_span("soon").is_err() && parse_span("-1s").is_err());
    }
}
