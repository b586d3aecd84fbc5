//! `sayso witness`

use super::error::CliError;
use super::output::Out;
use super::serve::interrupted;
use super::verify::read_key;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::telemetry;
use crate::tls::{ConnectionLimits, Incoming, TlsFiles};
use crate::web;
use crate::witness::Witness as Book;
use clap::Args;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Connections at once; further ones wait.
const CONNECTIONS_MAX: usize = 256;

/// Run a witness: it cosigns checkpoints of logs that it is told of, each only if it continues the last one it cosigned.
///
/// Whoever doubts a ledger's operator runs one: a log that was forked, or went back, is not cosigned any more, and what it
/// signed is kept as evidence. It speaks C2SP tlog-witness at POST /add-checkpoint, for any log with C2SP checkpoints. Keep
/// its folder: a witness that lost it must not go on under its name.
/// Example: `sayso witness --name witness.example/w1 --log log.vkey --folder sayso-witness`
#[derive(Args)]
pub(super) struct Witness {
    /// Its key name: a URL without a scheme, say.
    #[arg(long)]
    name: String,
    /// A log's verifier key, or a file with it; as often as there are logs, or keys of one log.
    #[arg(long = "log", value_name = "VKEY", required = true)]
    logs: Vec<String>,
    /// Where it keeps its key and what it cosigned.
    #[arg(long, default_value = "sayso-witness", value_name = "DIR")]
    folder: PathBuf,
    /// Where it listens; beyond loopback give a certificate.
    #[arg(long, default_value = "127.0.0.1:7119")]
    listen: SocketAddr,
    /// A certificate (PEM) for https; goes with --certificate-key.
    #[arg(long, value_name = "FILE", requires = "certificate_key")]
    certificate: Option<PathBuf>,
    /// Its private key (PEM), mode 0600.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    certificate_key: Option<PathBuf>,
}

impl Witness {
    pub async fn run(self, out: Out) -> Result<(), CliError> {
        telemetry::start(out.json || !std::io::stderr().is_terminal(), None);
        if self.certificate.is_none() && !self.listen.ip().is_loopback() {
            return Err(CliError::usage("--listen beyond loopback needs --certificate"));
        }
        let logs = self.logs.iter().map(|log| read_key(log)).collect::<Result<Vec<_>, _>>()?;
        let book = Book::open(&self.folder, &self.name, &logs, Arc::new(SystemClock));
        let book = Arc::new(book.map_err(CliError::failed)?);
        let files = self.certificate.zip(self.certificate_key);
        let files = files.map(|(certificate, key)| TlsFiles {
            certificate,
            key,
            client_ca: None,
            client_crls: Vec::new(),
        });
        let certificates = files.map(crate::tls::Certificates::open).transpose().map_err(CliError::failed)?;
        let listener = tokio::net::TcpListener::bind(self.listen).await;
        let listener = listener.map_err(|error| CliError::failed(format!("{}: {error}", self.listen)))?;
        let at = listener.local_addr().map_err(CliError::failed)?;
        let incoming = Incoming::new(listener, certificates.map(Arc::new), connection_bounds());
        let key = book.verifier_key().to_string();
        let ready = serde_json::json!({ "http": at.to_string(), "key": key });
        out.print_value(&ready, &format!("sayso witness listens on {at}\nits key is {key}"))?;
        // Whoever started it may wait for this line.
        std::io::stdout().flush().map_err(CliError::failed)?;
        let ended = async {
            let _signal = interrupted().await;
        };
        web::serve_witness(incoming.map_err(CliError::failed)?, ended, book).await.map_err(CliError::failed)
    }
}

/// As those of the daemon's door; each of its own.
fn connection_bounds() -> ConnectionLimits {
    let bounds = crate::daemon::limits::open_connections(&Config::default());
    ConnectionLimits { connections_max: CONNECTIONS_MAX, ..bounds }
}
