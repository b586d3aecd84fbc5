//! The certificate that a client presented in its handshake.
//!
//! While the connection is open, the certificate may expire or be revoked, and its authority may stop being
//! trusted. So each call checks the certificate again. The check uses the clock of the ledger that the call
//! goes to.

use super::certificates::Certificates;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};

/// A client certificate that the handshake accepted. The handshake ignores whether its dates include the
/// present time, so it may be expired or not valid yet. [`ClientCertificate::is_valid`] checks that.
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    uri_names: Vec<String>,
    certificates: Arc<Certificates>,
    /// When the certificate was last found valid: the edition of the files then, and the time in seconds.
    /// Only [`ClientCertificate::is_valid`] changes it.
    last_valid: Mutex<Option<(u64, u64)>>,
}

impl fmt::Debug for ClientCertificate {
    /// Shows nothing of the certificate, because it names the client.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

impl ClientCertificate {
    /// The chain that the handshake accepted; `None` if it is empty.
    pub(super) fn new(chain: &[CertificateDer<'_>], certificates: Arc<Certificates>) -> Option<Self> {
        let leaf = webpki::EndEntityCert::try_from(chain.first()?).ok();
        let uri_names = leaf.iter().flat_map(|leaf| leaf.valid_uri_names().map(str::to_owned)).collect();
        let chain = chain.iter().map(|each| each.clone().into_owned()).collect();
        Some(Self { chain, uri_names, certificates, last_valid: Mutex::new(None) })
    }

    /// The URI names of the client's own certificate.
    #[must_use]
    pub fn uri_names(&self) -> &[String] {
        &self.uri_names
    }

    /// Whether the certificate is valid at `now_ms`: not expired, not revoked, and signed by an authority
    /// that is still trusted. While the files are unchanged, a valid result is reused for the rest of the
    /// second. The times in certificates have no finer resolution.
    #[must_use]
    pub fn is_valid(&self, now_ms: u64) -> bool {
        let now_s = now_ms / 1_000;
        let mut last_valid = self.last_valid.lock().unwrap_or_else(PoisonError::into_inner);
        if *last_valid == Some((self.certificates.edition(), now_s)) {
            return true;
        }
        let (edition, Some(verifier)) = self.certificates.client_verifier() else { return false };
        let Some((leaf, intermediates)) = self.chain.split_first() else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s));
        let verified = verifier.verify_client_cert(leaf, intermediates, now);
        if let Err(error) = &verified {
            self.certificates.report_outdated_crl(error);
        }
        let is_valid = verified.is_ok();
        *last_valid = is_valid.then_some((edition, now_s));
        is_valid
    }
}
