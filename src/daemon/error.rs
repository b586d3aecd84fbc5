//! Why the daemon can't start, or stopped.

use crate::api::{CredentialError, ServeError};
use crate::app::OpenError;
use crate::bounds::BoundsError;
use crate::config::ConfigError;
use crate::ledger::LedgerError;
use crate::store::StoreError;
use crate::tls::TlsError;
use crate::vault::VaultError;
use std::io::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the daemon can't start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file or folder of the daemon can't be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, Error),
    /// A part of the data folder is lost, while another part of it is still there.
    #[error("{lost}: it is lost, but `{left}` is still there; nothing was created; {next}")]
    Lost {
        /// The part that is lost.
        lost: PathBuf,
        /// A part that shows that the lost part existed.
        left: PathBuf,
        /// What to do next.
        next: &'static str,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger failed, for example because its log key can't be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The vault failed, for example because the root key can't be read.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The credential issuer failed.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Certificates can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The keys of a token issuer can't be used.
    #[error("tokens: {0}")]
    IssuerKeys(String),
    /// The role table does not compile.
    #[error(transparent)]
    Roles(#[from] BoundsError),
    /// The application can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// One of several controllers can't be opened.
    #[error("controller `{0}`: {1}")]
    Controller(String, Box<Self>),
    /// No controller is configured.
    #[error("no controller is configured")]
    NoController,
    /// An address can't be listened on.
    #[error("can't listen on {0}: {1}")]
    Listen(SocketAddr, Error),
    /// The gRPC server failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The HTTP server failed.
    #[error("http: {0}")]
    Http(Error),
}
