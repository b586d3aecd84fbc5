//! How a command reaches a daemon: its address, its certificate and the credential of the caller.

use super::error::CliError;
use crate::config::{Config, has_userinfo, is_loopback};
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

/// Largest response accepted, in bytes. A response that is not divided into pages, such as a transparency
/// report, may exceed gRPC's default of 4 MiB.
pub(super) const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Time limit for connecting to a daemon.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// The address if none is given and no `--dev` daemon runs in the data folder.
const ADDR_DEFAULT: &str = "http://127.0.0.1:7117";
/// Interval of keep-alive pings, so that a watch notices a daemon that is gone.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// The daemon's address and the caller's credential.
#[derive(Args, Clone, Debug)]
pub(super) struct Connection {
    /// The daemon's gRPC address. Default: the address of a `--dev` daemon that runs in --data, otherwise
    /// http://127.0.0.1:7117.
    #[arg(long, global = true, env = "SAYSO_ADDR", value_name = "URL")]
    pub addr: Option<String>,
    /// CA certificates (PEM) to verify an https:// daemon with. Default: those that the system trusts.
    #[arg(long, global = true, env = "SAYSO_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Client certificate (PEM) to call with instead of a token; needs --tls-key.
    #[arg(long, global = true, env = "SAYSO_CERT", value_name = "FILE", requires = "tls_key")]
    pub cert: Option<PathBuf>,
    /// Private key (PEM) of the client certificate.
    #[arg(long, global = true, env = "SAYSO_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// File with the token to call with. Default: the token that a `--dev` daemon left in --data for the
    /// command's role.
    #[arg(long, global = true, env = "SAYSO_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Data folder. Most commands look there for the tokens of a `--dev` daemon; `serve`, `token` and
    /// `restore` work on the folder itself. On the command line, --data overrides `data` in --config;
    /// SAYSO_DATA is used only without --config.
    #[arg(long, global = true, env = "SAYSO_DATA", default_value = "sayso-data", value_name = "DIR")]
    pub data: PathBuf,
    /// Whether --data is given on the command line.
    #[arg(skip)]
    pub is_data_given: bool,
    /// Allow sending the token unencrypted to another machine. Anyone on the network path can then read and
    /// use it.
    #[arg(long, global = true)]
    pub insecure: bool,
    /// Call as this role, with the role's token in the data folder (--data). Default: the role that
    /// the command is meant for.
    #[arg(id = "as", long = "as", global = true, value_name = "ROLE", value_parser = ROLES_WITH_TOKENS)]
    pub role: Option<String>,
}

/// The values of `--as`. `subject` is refused with advice: the data folder has no token of that role.
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

/// The transport of the generated clients.
pub(super) type Link = InterceptedService<Channel, Bearer>;

/// Makes a generated client over a [`Link`], with the command line's limit on the size of a response.
macro_rules! client {
    ($client:ident, $link:expr) => {
        $client::new($link).max_decoding_message_size($crate::cli::connect::ANSWER_BYTES_MAX)
    };
}
pub(super) use client;

impl Connection {
    /// The configuration in the file if one is named, otherwise the defaults. `--data` on the command line
    /// overrides the file's `data`. `SAYSO_DATA`, which may be set for other commands, is used only without a
    /// file.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn config(&self, file: Option<&Path>) -> Result<Config, CliError> {
        let Some(file) = file else { return Ok(Config { data: self.data.clone(), ..Config::default() }) };
        let mut config = Config::read(file).map_err(CliError::usage)?;
        if self.is_data_given {
            config.data.clone_from(&self.data);
        }
        Ok(config)
    }

    /// The daemon's address: the one that is given, or the one that a `--dev` daemon left in the data folder,
    /// or the default.
    fn address(&self) -> String {
        let left = || std::fs::read_to_string(Layout::new(&self.data).dev_address()).ok();
        let found = self.addr.clone().or_else(|| left().map(|text| text.trim().to_owned()));
        found.unwrap_or_else(|| ADDR_DEFAULT.to_owned())
    }

    /// Connects with the credential that the flags name, or with the token of `role` in the data folder.
    pub async fn link(&self, role: &str) -> Result<Link, CliError> {
        let bearer = self.bearer(role)?;
        Ok(InterceptedService::new(self.channel().await?, bearer))
    }

    /// Connects without a credential.
    pub async fn channel(&self) -> Result<Channel, CliError> {
        let addr = self.address();
        let endpoint = self.endpoint(&addr)?.tcp_nodelay(true).connect_timeout(CONNECT_MAX);
        let endpoint = endpoint.http2_keep_alive_interval(KEEP_ALIVE_INTERVAL).keep_alive_while_idle(true);
        endpoint.connect().await.map_err(|_| {
            let hint = if addr.starts_with("https://") {
                "; does --ca (SAYSO_CA) name the CA that signed its certificate?"
            } else {
                "; `sayso serve --dev` starts one"
            };
            CliError::failed(format!("no daemon answers at {addr}{hint}"))
        })
    }

    /// The endpoint, with the TLS settings of an https:// address.
    fn endpoint(&self, addr: &str) -> Result<Endpoint, CliError> {
        let endpoint = endpoint(addr)?;
        if !addr.starts_with("https://") {
            return match (&self.ca, &self.cert) {
                (None, None) => Ok(endpoint),
                _ => Err(CliError::usage("--ca and --cert need an https:// address in --addr")),
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
        match (&self.token_file, self.role.as_deref()) {
            (None, None) if self.cert.is_some() => Ok(Bearer(None)),
            (Some(_), Some(_)) => Err(CliError::usage(
                "--as chooses a token in --data, and --token-file (or SAYSO_TOKEN_FILE) names one: give only one of them",
            )),
            (Some(path), None) => self.token_in(path),
            (None, Some("subject")) => Err(CliError::usage(
                "--as subject: no token is written for the role subject, because its token names one person",
            )
            .next(
                "`sayso token --role subject --subject ID > FILE` mints one; name the file with --token-file",
            )),
            (None, named) => self.dev_bearer(named.unwrap_or(role)),
        }
    }

    /// The token that a `--dev` daemon wrote to the data folder for a role.
    pub fn dev_bearer(&self, role: &str) -> Result<Bearer, CliError> {
        self.token_in(&dev_token(&self.data, role))
    }

    /// Reads the token from a file. Fails if the token would travel unencrypted to another machine, unless
    /// `--insecure` allows that.
    fn token_in(&self, path: &Path) -> Result<Bearer, CliError> {
        let uri: Uri = self.address().parse().map_err(|_| not_a_url())?;
        if !self.insecure && uri.scheme_str() == Some("http") && !is_loopback(&uri) {
            return Err(CliError::usage(
                "--addr is an http:// address of another machine, so the token would be sent unencrypted: use https://, \
                 or send it anyway with --insecure",
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
            "`sayso serve --dev` writes tokens to DATA/dev/ROLE.token: name its data folder with --data (SAYSO_DATA), or \
             one token file with --token-file (SAYSO_TOKEN_FILE); `sayso token` mints further tokens",
        )
    })?;
    let token = token.trim();
    let value = Some(token).filter(|token| !token.is_empty()).map(|token| format!("Bearer {token}"));
    let value = value.and_then(|value| value.parse::<MetadataValue<Ascii>>().ok());
    let mut value =
        value.ok_or_else(|| CliError::usage(format!("{}: the file contains no token", path.display())))?;
    value.set_sensitive(true);
    Ok(Bearer(Some(value)))
}

/// The path at which a `--dev` daemon leaves a role's token.
pub(super) fn dev_token(data: &Path, role: &str) -> PathBuf {
    Layout::new(data).dev().join(format!("{role}.token"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_address_must_be_a_url() {
        assert!(endpoint("http://127.0.0.1:7117").is_ok() && endpoint("https://example.org").is_ok());
        for bad in ["127.0.0.1:7117", "", "http://", "unix:/tmp/socket", "https://me:secret@example.org"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_comes_from_exactly_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("named.token");
        let dev = dev_token(folder.path(), "steward");
        std::fs::create_dir_all(dev.parent().unwrap()).unwrap();
        std::fs::write(&dev, "of-the-role\n").unwrap();
        std::fs::write(&path, "named\n").unwrap();
        let at = |token_file: Option<&PathBuf>, role: Option<&str>| Connection {
            addr: Some("http://127.0.0.1:7117".into()),
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
        let far =
            |addr: &str, insecure| Connection { addr: Some(addr.into()), insecure, ..at(Some(&path), None) };
        for addr in ["http://10.0.0.1:7117", "http://sayso.example:7117", "http://127.0.0.1.example"] {
            assert!(token(&far(addr, false)).unwrap_err().to_string().contains("--insecure"), "{addr}");
            assert_eq!(token(&far(addr, true)).unwrap(), "Bearer named");
        }
        for addr in ["https://sayso.example:7117", "http://[::1]:7117", "http://localhost:7117"] {
            assert_eq!(token(&far(addr, false)).unwrap(), "Bearer named");
        }
        std::fs::write(&path, " \n").unwrap();
        assert!(token(&at(Some(&path), None)).unwrap_err().to_string().contains("contains no token"));
    }
}
