//! Accepts a client certificate in the handshake regardless of its dates.
//!
//! The machine's clock may be wrong. Even then, a person must be able to refuse or withdraw consent. So the
//! handshake accepts a certificate that seems expired or not valid yet. Each call then checks the dates
//! (`ClientCertificate::is_valid`) by the `CredentialClock` of the ledger that the call goes to. While the
//! machine's clock is in doubt, the `CredentialClock` gives the earlier of the machine's time and the
//! ledger's time. So a certificate counts as expired only if it has expired by both times.

use std::sync::Arc;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
};

/// How many points in time are tried. Each certificate of a chain and each revocation list may require a
/// different one.
const TRIES_MAX: usize = 8;

/// A verifier that checks everything except the time.
#[derive(Debug)]
pub struct AnyTime(pub Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AnyTime {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    /// Asks the inner verifier whether the chain is valid at `now`. If only a date is wrong, it asks again
    /// with the nearest time that the date allows. Each attempt checks signatures, names and revocations.
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut at = now;
        let mut verified = self.0.verify_client_cert(leaf, intermediates, at);
        for _ in 1..TRIES_MAX {
            let Some(nearest) = verified.as_ref().err().and_then(nearest_valid_time) else { break };
            at = nearest;
            verified = self.0.verify_client_cert(leaf, intermediates, at);
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The nearest time at which this error would not occur. `None` if the error is not about a date.
fn nearest_valid_time(error: &Error) -> Option<UnixTime> {
    let Error::InvalidCertificate(error) = error else { return None };
    match error {
        CertificateError::ExpiredContext { not_after, .. } => Some(*not_after),
        CertificateError::NotValidYetContext { not_before, .. } => Some(*not_before),
        // A revocation list is no longer valid in the second of its next update.
        CertificateError::ExpiredRevocationListContext { next_update, .. } => {
            Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                next_update.as_secs().saturating_sub(1),
            )))
        }
        _ => None,
    }
}
