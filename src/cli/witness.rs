//! The command `sayso witness`.

use super::error::CliError;
use super::interrupt::interrupted;
use super::output::Out;
use super::verify::read_key;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::telemetry::{self, LogForm};
use crate::tls::{ConnectionLimits, Incoming, TlsFiles};
use crate::web;
use crate::witness::Witness as Cosigner;
use clap::Args;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Largest number of open connections. A further connection evicts the oldest connection from the address
/// that has the most connections.
const CONNECTIONS_MAX: usize = 256;

/// Run a witness that cosigns checkpoints of logs.
///
/// For each log, the witness keeps the last checkpoint that it cosigned. It cosigns a new
/// checkpoint only if the new one continues the kept one. Run a witness to keep a ledger's operator
/// honest: a log that was forked or rolled back gets no further cosignatures. If a checkpoint with
/// the log's signature contradicts the kept one, the witness stores it as evidence. The witness
/// speaks C2SP tlog-witness at POST /add-checkpoint, and works with any log that has C2SP
/// checkpoints. Keep the witness's folder: a witness that has lost its folder must not continue
/// under the same name.
///
/// The witness has two keys, and signs with both: Ed25519, and ML-DSA-44, which is designed to resist
/// quantum computers. Publish both verifier keys.
///
/// Example: `sayso witness --name witness.example/w1 --log log.vkey --folder sayso-witness`
#[derive(Args)]
pub(super) struct Witness {
    /// Name of the witness, such as a URL without a scheme. Its keys have this name.
    #[arg(long)]
    name: String,
    /// Verifier key of a log to witness, or a file with that key. May be repeated: once for each log, and
    /// once for each further key of the same log.
    #[arg(long = "log", value_name = "VKEY", required = true)]
    logs: Vec<String>,
    /// Folder for the keys of the witness and the checkpoints that it cosigned.
    #[arg(long, default_value = "sayso-witness", value_name = "DIR")]
    folder: PathBuf,
    /// Address to listen on. An address other than loopback needs --certificate.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7119")]
    listen: SocketAddr,
    /// Certificate (PEM) for https; needs --certificate-key.
    #[arg(long, value_name = "FILE", requires = "certificate_key")]
    certificate: Option<PathBuf>,
    /// Private key (PEM) of the certificate, mode 0600.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    certificate_key: Option<PathBuf>,
}

impl Witness {
    pub async fn run(self, out: Out) -> Result<(), CliError> {
        telemetry::start(LogForm::of_output(out.json), None);
        if self.certificate.is_none() && !self.listen.ip().is_loopback() {
            return Err(CliError::usage("an address beyond loopback in --listen needs --certificate"));
        }
        let logs = self.logs.iter().map(|log| read_key(log)).collect::<Result<Vec<_>, _>>()?;
        let cosigner = Cosigner::open(&self.folder, &self.name, &logs, Arc::new(SystemClock));
        let cosigner = Arc::new(cosigner.map_err(CliError::failed)?);
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
        let incoming = Incoming::new(listener, certificates.map(Arc::new), connection_limits());
        let [key, ml_dsa_44] = cosigner.verifier_keys().map(|key| key.to_string());
        let ready = serde_json::json!({ "http": at.to_string(), "key": key, "keyMlDsa44": ml_dsa_44 });
        let text =
            format!("sayso witness listens on {at}\nverifier key {key}\nML-DSA-44 verifier key {ml_dsa_44}");
        out.print_value(&ready, &text)?;
        // The parent process may wait for this line.
        std::io::stdout().flush().map_err(CliError::failed)?;
        let ended = async {
            let _signal = interrupted().await;
        };
        web::serve_witness(incoming.map_err(CliError::failed)?, ended, cosigner)
            .await
            .map_err(CliError::failed)
    }
}

/// The same limits as for the daemon's HTTP connections, but with fewer connections.
fn connection_limits() -> ConnectionLimits {
    let limits = crate::daemon::limits::open_connections(&Config::default());
    ConnectionLimits { connections_max: CONNECTIONS_MAX, ..limits }
}
