//! TLS 1.3 with certificates and revocation lists read from files, again whenever they change.

use super::handshake_time::AnyTime;
use crate::secret;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{self, CertificateError, RootCertStore, ServerConfig, version};

/// The first byte of a revocation list in DER: a SEQUENCE.
const DER: u8 = 0x30;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("`{path}`: {problem}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it; nothing of its contents.
        problem: String,
    },
    /// The files don't fit together.
    #[error("tls: {0}")]
    Config(String),
}

/// Where certificates lie, PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The daemon's certificate, then those above it.
    pub certificate: PathBuf,
    /// Its private key; nobody else may read the file.
    pub key: PathBuf,
    /// Who signs clients' certificates; none: nobody is asked for one.
    pub client_ca: Option<PathBuf>,
    /// Which of those are taken back (RFC 5280 s. 5; PEM or DER); none: nothing is asked about that.
    pub client_crls: Vec<PathBuf>,
}

/// Does handshakes with the newest certificates that could be used.
#[derive(Debug)]
pub struct Certificates {
    files: TlsFiles,
    /// Owned by [`Certificates::reload`].
    current: RwLock<Current>,
    /// Whether it was said that a revocation list is too old; unsaid again by [`Certificates::reload`].
    told: AtomicBool,
}

/// What is in use.
#[derive(Debug)]
struct Current {
    bytes: Vec<Vec<u8>>,
    config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    /// Goes up at every change.
    edition: u64,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// One can't be read, the key may be read by others, or they don't fit together.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let bytes = read(&files)?;
        let (config, clients) = configure(&files, &bytes)?;
        let current = RwLock::new(Current { bytes, config, clients, edition: 0 });
        Ok(Self { files, current, told: AtomicBool::new(false) })
    }

    /// Reads them again; true where they had changed. New connections get the new certificate, old ones live on as long
    /// as what their client has shown is good by the new files.
    ///
    /// # Errors
    /// As [`Certificates::open`]; the old ones stay in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let bytes = read(&self.files)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).bytes == bytes {
            return Ok(false);
        }
        let (config, clients) = configure(&self.files, &bytes)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Current { bytes, config, clients, edition: current.edition.saturating_add(1) };
        self.told.store(false, Ordering::Relaxed);
        Ok(true)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).config))
    }

    /// Who judges clients' certificates now, if somebody does; and the number of this edition of the files.
    pub(super) fn judge(&self) -> (u64, Option<Arc<dyn ClientCertVerifier>>) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        (current.edition, current.clients.clone())
    }

    /// The number of this edition of the files.
    pub(super) fn edition(&self) -> u64 {
        self.current.read().unwrap_or_else(PoisonError::into_inner).edition
    }

    /// Says once for each edition that a revocation list is past its end: then no client certificate is good.
    pub(super) fn say_why(&self, error: &rustls::Error) {
        let is_old = matches!(
            error,
            rustls::Error::InvalidCertificate(
                CertificateError::ExpiredRevocationList
                    | CertificateError::ExpiredRevocationListContext { .. }
            )
        );
        if is_old && !self.told.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "a list of `tls.client_crls` is past its next update: clients with certificates are refused until the file is renewed"
            );
        }
    }
}

fn bad(path: &Path) -> impl Fn(String) -> TlsError {
    move |problem| TlsError::File { path: path.to_owned(), problem }
}

/// The contents of all files: certificate, key, authority if there is one, revocation lists.
fn read(files: &TlsFiles) -> Result<Vec<Vec<u8>>, TlsError> {
    let key = std::fs::metadata(&files.key).and_then(|metadata| secret::check_private(&metadata));
    key.map_err(|error| bad(&files.key)(error.to_string()))?;
    let all = [&files.certificate, &files.key].into_iter().chain(&files.client_ca).chain(&files.client_crls);
    all.map(|path| std::fs::read(path).map_err(|error| bad(path)(error.to_string()))).collect()
}

type Configured = (Arc<ServerConfig>, Option<Arc<dyn ClientCertVerifier>>);

fn configure(files: &TlsFiles, bytes: &[Vec<u8>]) -> Result<Configured, TlsError> {
    let [certificate, key, rest @ ..] = bytes else { return Err(TlsError::Config("no certificate".into())) };
    let chain =
        certificates(certificate).ok_or_else(|| bad(&files.certificate)("holds no certificates".into()))?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| bad(&files.key)("holds no private key".into()))?;
    let builder = ServerConfig::builder_with_protocol_versions(&[&version::TLS13]);
    let clients = match (rest, &files.client_ca) {
        ([authority, lists @ ..], Some(path)) => {
            Some(verifier((path, authority), &files.client_crls, lists)?)
        }
        _ => None,
    };
    let builder = match &clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::new(AnyTime(Arc::clone(clients)))),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(wrong)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(config), clients))
}

fn wrong(error: impl std::fmt::Display) -> TlsError {
    TlsError::Config(error.to_string())
}

/// Who judges clients' certificates. With revocation lists, every certificate of a chain must be covered by one that is
/// not past its next update: on doubt, nobody is let in.
fn verifier(
    (path, authority): (&Path, &[u8]),
    paths: &[PathBuf],
    lists: &[Vec<u8>],
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(authority).ok_or_else(|| bad(path)("holds no certificates".into()))? {
        roots.add(root).map_err(wrong)?;
    }
    let mut revoked = Vec::new();
    for (path, list) in paths.iter().zip(lists) {
        let found = revocation_lists(list);
        revoked.extend(found.ok_or_else(|| bad(path)("holds no revocation lists".into()))?);
    }
    // Whoever shows none must bring a token instead; the door sees to that.
    let builder = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated();
    builder.with_crls(revoked).enforce_revocation_expiration().build().map_err(wrong)
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    Some(found).filter(|found| !found.is_empty())
}

fn revocation_lists(bytes: &[u8]) -> Option<Vec<CertificateRevocationListDer<'static>>> {
    if bytes.first() == Some(&DER) {
        return Some(vec![bytes.to_vec().into()]);
    }
    let found: Vec<_> = CertificateRevocationListDer::pem_slice_iter(bytes).collect::<Result<_, _>>().ok()?;
    Some(found).filter(|found| !found.is_empty())
}
