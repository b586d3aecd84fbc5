//! Where the daemon is, and with which credential it is called.

use super::error::CliError;
use crate::config::{has_userinfo, is_loopback};
use crate::daemon::data_dir::Layout;
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::codegen::http::Uri;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

/// Largest answer taken, bytes: whole profiles and pages of events are longer than the usual 4 MiB.
pub(super) const ANSWER_BYTES_MAX: usize = 256 << 20;
/// How long a daemon may take to answer the connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How often a quiet connection is asked whether it still stands: a watch must not wait for a daemon that is gone.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// Where the daemon is and who calls it.
#[derive(Args, Clone, Debug)]
pub(super) struct Connection {
    /// The daemon's gRPC address.
    #[arg(long, global = true, env = "SAYSO_ADDR", default_value = "http://127.0.0.1:7117")]
    pub addr: String,
    /// Who signed the daemon's certificate (PEM), for an https:// address. Default: whom the system trusts.
    #[arg(long, global = true, env = "SAYSO_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// A certificate (PEM) to call with, instead of a token; goes with --tls-key.
    #[arg(long, global = true, env = "SAYSO_CERT", value_name = "FILE", requires = "tls_key")]
    pub cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, global = true, env = "SAYSO_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// File with the token to call with. Default: the role's token of the `--dev` daemon in --data.
    #[arg(long, global = true, env = "SAYSO_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Data folder: of a `--dev` daemon, to find its tokens; for `serve`, `token` and `restore`, the one to work on, before what
    /// --config says (SAYSO_DATA counts only where there is no --config).
    #[arg(long, global = true, env = "SAYSO_DATA", default_value = "sayso-data", value_name = "DIR")]
    pub data: PathBuf,
    /// Whether --data stands on the command line itself.
    #[arg(skip)]
    pub is_data_given: bool,
    /// Send the token over an http:// address of another machine, where anybody on the way can read and use it.
    #[arg(long, global = true)]
    pub insecure: bool,
    /// Role to call as, with the tokens in --data. Default: whichever the command is for.
    #[arg(id = "as", long = "as", global = true, value_name = "ROLE", value_parser = ROLES_WITH_TOKENS)]
    pub role: Option<String>,
}

/// Roles that may have a token in the data folder.
const ROLES_WITH_TOKENS: [&str; 8] =
    ["service", "channel", "service-channel", "steward", "auditor", "operator", "authority", "subject"];

/// Adds the token to every call.
#[derive(Clone)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// What the generated clients are made over.
pub(super) type Link = InterceptedService<Channel, Bearer>;

/// A generated client over a link, with this program's bound on answers.
macro_rules! client {
    ($client:ident, $link:expr) => {
        $client::new($link).max_decoding_message_size($crate::cli::connect::ANSWER_BYTES_MAX)
    };
}
pub(super) use client;

impl Connection {
    /// A link to the daemon with the token of a role, unless another is named.
    pub async fn link(&self, role: &str) -> Result<Link, CliError> {
        let bearer = self.bearer(role)?;
        Ok(InterceptedService::new(self.channel().await?, bearer))
    }

    /// A connection without a credential.
    pub async fn channel(&self) -> Result<Channel, CliError> {
        let endpoint = self.endpoint()?.tcp_nodelay(true).connect_timeout(CONNECT_MAX);
        let endpoint = endpoint.http2_keep_alive_interval(KEEP_ALIVE_INTERVAL).keep_alive_while_idle(true);
        endpoint.connect().await.map_err(|_| {
            let hint = if self.addr.starts_with("https://") {
                "; does --ca (SAYSO_CA) name who signed its certificate?"
            } else {
                "; `sayso serve --dev` starts one"
            };
            CliError::failed(format!("no daemon answers at {}{hint}", self.addr))
        })
    }

    /// The address with everything that TLS needs.
    fn endpoint(&self) -> Result<Endpoint, CliError> {
        let endpoint = endpoint(&self.addr)?;
        if !self.addr.starts_with("https://") {
            return match (&self.ca, &self.cert) {
                (None, None) => Ok(endpoint),
                _ => Err(CliError::usage("--ca and --cert go with an https:// address")),
            };
        }
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read_pem(path)?)),
            None => tls.with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.cert, &self.tls_key) {
            tls = tls.identity(Identity::from_pem(read_pem(cert)?, read_pem(key)?));
        }
        endpoint.tls_config(tls).map_err(CliError::usage)
    }

    /// The token to call with.
    fn bearer(&self, role: &str) -> Result<Bearer, CliError> {
        match (&self.token_file, &self.role) {
            (None, None) if self.cert.is_some() => Ok(Bearer(None)),
            (Some(_), Some(_)) => Err(CliError::usage(
                "--as picks a token in --data, and --token-file (or SAYSO_TOKEN_FILE) names one: give only one of them",
            )),
            (Some(path), None) => self.token_in(path),
            (None, named) => self.dev_bearer(named.as_deref().unwrap_or(role)),
        }
    }

    /// The token of a role in the data folder of a `--dev` daemon.
    pub fn dev_bearer(&self, role: &str) -> Result<Bearer, CliError> {
        self.token_in(&dev_token(&self.data, role))
    }

    /// The token in a file, unless it would be sent in clear beyond this machine.
    fn token_in(&self, path: &Path) -> Result<Bearer, CliError> {
        let uri: Uri = self.addr.parse().map_err(|_| not_a_url())?;
        if !self.insecure && uri.scheme_str() == Some("http") && !is_loopback(&uri) {
            return Err(CliError::usage(
                "--addr is an http:// address of another machine: the token would be sent in clear; use https://, or --insecure to \
                 send it all the same",
            ));
        }
        read_token(path)
    }
}

fn endpoint(addr: &str) -> Result<Endpoint, CliError> {
    let is_url = |addr: &&str| ["http://", "https://"].iter().any(|scheme| addr.starts_with(scheme));
    let endpoint = Some(addr).filter(is_url).map(str::to_owned);
    let endpoint = endpoint.and_then(|addr| Endpoint::from_shared(addr).ok());
    endpoint.filter(|endpoint| !has_userinfo(endpoint.uri())).ok_or_else(not_a_url)
}

fn not_a_url() -> CliError {
    CliError::usage("--addr must be a URL like http://127.0.0.1:7117, without a user name or password")
}

fn read_pem(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|error| CliError::usage(format!("{}: {error}", path.display())))
}

fn read_token(path: &Path) -> Result<Bearer, CliError> {
    let token = std::fs::read_to_string(path).map_err(|error| {
        CliError::usage(format!("no token: {}: {error}", path.display())).next(
            "`sayso serve --dev` writes DATA/dev/<role>.token: name its folder with --data (or SAYSO_DATA), or a token's \
             file with --token-file (or SAYSO_TOKEN_FILE); `sayso token` makes one for a subject",
        )
    })?;
    let token = token.trim();
    let value = Some(token).filter(|token| !token.is_empty()).map(|token| format!("Bearer {token}"));
    let value = value.and_then(|value| value.parse::<MetadataValue<Ascii>>().ok());
    let mut value = value.ok_or_else(|| CliError::usage(format!("{} holds no token", path.display())))?;
    value.set_sensitive(true);
    Ok(Bearer(Some(value)))
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
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = |_| "must be a span like 10m, 1h or 7d".to_owned();
    let span: jiff::Span = text.parse().map_err(wrong)?;
    let span = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(wrong)?;
    Duration::try_from(span).map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn times_and_spans_are_read() {
        assert_eq!(parse_time("1970-01-02").unwrap().seconds, 86_400);
        assert_eq!(parse_time("1970-01-01T00:00:01.5Z").unwrap().nanos, 500_000_000);
        assert_eq!(parse_time("1970-01-01T01:00:00+01:00").unwrap().seconds, 0);
        for bad in ["yesterday", "", "1970-13-01", "1970-01-01T00:00:00"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_span("10m").unwrap().as_secs(), 600);
        assert_eq!(parse_span("1h 30m").unwrap().as_secs(), 5_400);
        assert_eq!(parse_span("1.5s").unwrap().as_millis(), 1_500);
        assert!(parse_span("soon").is_err() && parse_span("-1s").is_err() && parse_span("10").is_err());
    }

    #[test]
    fn addresses_are_urls() {
        assert!(endpoint("http://127.0.0.1:7117").is_ok() && endpoint("https://example.org").is_ok());
        for bad in ["127.0.0.1:7117", "", "http://", "unix:/tmp/socket", "https://me:secret@example.org"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_comes_from_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("named.token");
        let dev = dev_token(folder.path(), "steward");
        std::fs::create_dir_all(dev.parent().unwrap()).unwrap();
        std::fs::write(&dev, "of-the-role\n").unwrap();
        std::fs::write(&path, "named\n").unwrap();
        let at = |token_file: Option<&PathBuf>, role: Option<&str>| Connection {
            addr: "http://127.0.0.1:7117".into(),
            ca: None,
            cert: None,
            tls_key: None,
            token_file: token_file.cloned(),
            data: folder.path().to_owned(),
            is_data_given: false,
            insecure: false,
            role: role.map(str::to_owned),
        };
        let token = |at: &Connection| {
            at.bearer("steward").map(|bearer| bearer.0.unwrap().to_str().unwrap().to_owned())
        };
        assert_eq!(token(&at(None, None)).unwrap(), "Bearer of-the-role");
        assert_eq!(token(&at(Some(&path), None)).unwrap(), "Bearer named");
        assert!(token(&at(Some(&path), Some("steward"))).unwrap_err().to_string().contains("only one"));
        assert!(token(&at(None, Some("auditor"))).unwrap_err().to_string().contains("serve --dev"));
        let far = |addr: &str, insecure| Connection { addr: addr.into(), insecure, ..at(Some(&path), None) };
        for addr in ["http://10.0.0.1:7117", "http://sayso.example:7117", "http://127.0.0.1.example"] {
            assert!(token(&far(addr, false)).unwrap_err().to_string().contains("--insecure"), "{addr}");
            assert_eq!(token(&far(addr, true)).unwrap(), "Bearer named");
        }
        for addr in ["https://sayso.example:7117", "http://[::1]:7117", "http://localhost:7117"] {
            assert_eq!(token(&far(addr, false)).unwrap(), "Bearer named");
        }
        std::fs::write(&path, " \n").unwrap();
        assert!(token(&at(Some(&path), None)).unwrap_err().to_string().contains("holds no token"));
    }
}
