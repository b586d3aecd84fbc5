//! The certificate that a client has shown, and whether it is still good: judged at each call by the time of the ledger that
//! it goes to, since it ends, may be taken back, and its authority may be dropped.

use super::Certificates;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};

/// What a client has shown in its handshake, which was good at some time.
pub struct Shown {
    chain: Vec<CertificateDer<'static>>,
    names: Vec<String>,
    by: Arc<Certificates>,
    /// Owned by [`Shown::is_good`]: the edition of the files and the second that it was last good by.
    good: Mutex<Option<(u64, u64)>>,
}

impl fmt::Debug for Shown {
    /// Says nothing of whose it is.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Shown").finish_non_exhaustive()
    }
}

impl Shown {
    /// What the handshake has accepted; none of an empty chain.
    pub(super) fn new(chain: &[CertificateDer<'_>], by: Arc<Certificates>) -> Option<Self> {
        let own = webpki::EndEntityCert::try_from(chain.first()?).ok();
        let names = own.iter().flat_map(|own| own.valid_uri_names().map(str::to_owned)).collect();
        let chain = chain.iter().map(|each| each.clone().into_owned()).collect();
        Some(Self { chain, names, by, good: Mutex::new(None) })
    }

    /// URI names of the client's own certificate.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it is still good: within its time, of an authority that is still trusted, not taken back. Judged once a
    /// second, which is as exact as its time is written, and whenever the files have changed.
    #[must_use]
    pub fn is_good(&self, now_ms: u64) -> bool {
        let now_s = now_ms / 1_000;
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if *good == Some((self.by.edition(), now_s)) {
            return true;
        }
        let (edition, Some(judge)) = self.by.judge() else { return false };
        let Some((own, above)) = self.chain.split_first() else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s));
        let judged = judge.verify_client_cert(own, above, now);
        if let Err(error) = &judged {
            self.by.say_why(error);
        }
        let is_good = judged.is_ok();
        *good = is_good.then_some((edition, now_s));
        is_good
    }
}
