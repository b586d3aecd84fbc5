//! TLS 1.3 with certificates and revocation lists from files, which are read again when they change.

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

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("`{path}`: {problem}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with the file. This never contains a part of its contents.
        problem: String,
    },
    /// The files do not fit together.
    #[error("tls: {0}")]
    Config(String),
}

/// Paths of the certificate files, PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The daemon's certificate, followed by its intermediates.
    pub certificate: PathBuf,
    /// Its private key. The file must not be readable by other users.
    pub key: PathBuf,
    /// The authorities that sign client certificates. If `None`, clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists of these authorities (RFC 5280 s. 5; PEM or DER). If empty, revocation is not
    /// checked.
    pub client_crls: Vec<PathBuf>,
}

/// The certificates in use: the newest ones that could be read and used.
#[derive(Debug)]
pub struct Certificates {
    files: TlsFiles,
    /// Only [`Certificates::reload`] changes it.
    current: RwLock<Current>,
    /// Whether an outdated revocation list was logged. [`Certificates::reload`] resets this.
    logged_outdated_crl: AtomicBool,
}

/// The contents of the files in use, and what was made from them.
#[derive(Debug)]
struct Current {
    bytes: Vec<Vec<u8>>,
    config: Arc<ServerConfig>,
    client_verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Goes up by one at every change.
    edition: u64,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, other users may read the key, or the files do not fit together.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let bytes = read(&files)?;
        let (config, client_verifier) = configure(&files, &bytes)?;
        let current = RwLock::new(Current { bytes, config, client_verifier, edition: 0 });
        Ok(Self { files, current, logged_outdated_crl: AtomicBool::new(false) })
    }

    /// Reads the files again. Returns true if they have changed. New connections get the new certificate.
    /// Existing ones stay open, and their clients' certificates are checked against the new files from now
    /// on.
    ///
    /// # Errors
    /// As [`Certificates::open`]; the old files stay in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let bytes = read(&self.files)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).bytes == bytes {
            return Ok(false);
        }
        let (config, client_verifier) = configure(&self.files, &bytes)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Current { bytes, config, client_verifier, edition: current.edition.saturating_add(1) };
        self.logged_outdated_crl.store(false, Ordering::Relaxed);
        Ok(true)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).config))
    }

    /// The number of the current edition of the files, and the verifier of client certificates, if there is
    /// one.
    pub(super) fn client_verifier(&self) -> (u64, Option<Arc<dyn ClientCertVerifier>>) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        (current.edition, current.client_verifier.clone())
    }

    /// The number of the current edition of the files.
    pub(super) fn edition(&self) -> u64 {
        self.current.read().unwrap_or_else(PoisonError::into_inner).edition
    }

    /// Logs that a revocation list is past its next update, if `error` says so. Every client certificate is
    /// then refused. It logs this only once for each edition of the files.
    pub(super) fn report_outdated_crl(&self, error: &rustls::Error) {
        let is_outdated = matches!(
            error,
            rustls::Error::InvalidCertificate(
                CertificateError::ExpiredRevocationList
                    | CertificateError::ExpiredRevocationListContext { .. }
            )
        );
        if is_outdated && !self.logged_outdated_crl.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "a revocation list of `tls.client_crls` is past its next update; client certificates are refused until the file \
                 is renewed"
            );
        }
    }
}

fn file_error(path: &Path) -> impl Fn(String) -> TlsError {
    move |problem| TlsError::File { path: path.to_owned(), problem }
}

/// The contents of all files, in this order: certificate, key, client authorities if there are any,
/// revocation lists.
fn read(files: &TlsFiles) -> Result<Vec<Vec<u8>>, TlsError> {
    let key = std::fs::metadata(&files.key).and_then(|metadata| secret::check_private(&metadata));
    key.map_err(|error| file_error(&files.key)(error.to_string()))?;
    let all = [&files.certificate, &files.key].into_iter().chain(&files.client_ca).chain(&files.client_crls);
    all.map(|path| std::fs::read(path).map_err(|error| file_error(path)(error.to_string()))).collect()
}

type Configured = (Arc<ServerConfig>, Option<Arc<dyn ClientCertVerifier>>);

fn configure(files: &TlsFiles, bytes: &[Vec<u8>]) -> Result<Configured, TlsError> {
    let [certificate, key, rest @ ..] = bytes else {
        return Err(TlsError::Config("there is no certificate".into()));
    };
    let chain = certificates(certificate)
        .ok_or_else(|| file_error(&files.certificate)("contains no certificates".into()))?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| file_error(&files.key)("contains no private key".into()))?;
    let builder = ServerConfig::builder_with_protocol_versions(&[&version::TLS13]);
    let client_verifier = match (rest, &files.client_ca) {
        ([authority, lists @ ..], Some(path)) => {
            Some(verifier((path, authority), &files.client_crls, lists)?)
        }
        _ => None,
    };
    let builder = match &client_verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(AnyTime(Arc::clone(verifier)))),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(config_error)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(config), client_verifier))
}

fn config_error(error: impl std::fmt::Display) -> TlsError {
    TlsError::Config(error.to_string())
}

/// The verifier of client certificates. If there are revocation lists, every certificate of a chain needs one
/// that covers it and is not past its next update. Otherwise the client certificate is refused.
fn verifier(
    (path, authority): (&Path, &[u8]),
    paths: &[PathBuf],
    lists: &[Vec<u8>],
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(authority).ok_or_else(|| file_error(path)("contains no certificates".into()))? {
        roots.add(root).map_err(config_error)?;
    }
    let mut revoked = Vec::new();
    for (path, list) in paths.iter().zip(lists) {
        let found = revocation_lists(list);
        revoked.extend(found.ok_or_else(|| file_error(path)("contains no revocation lists".into()))?);
    }
    // A client without a certificate needs a token instead; the API's access layer checks that.
    let builder = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated();
    builder.with_crls(revoked).enforce_revocation_expiration().build().map_err(config_error)
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
