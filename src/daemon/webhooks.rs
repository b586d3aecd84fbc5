//! Notifies recipients of erasures by webhook (Standard Webhooks, standardwebhooks.com), so that they need
//! not watch revocations.
//!
//! Messages to a webhook are delivered in order and at least once; a repeated message has the same id. A
//! message has the ids of the recipient's own grants and artifacts, and nothing about the person. A restart
//! delivers again what the recipient has not answered. Receiving a message is not an answer: the recipient
//! answers by reporting what it did.

use crate::app::{App, AppError, Caller, Revocation};
use crate::clock::SharedClock;
use crate::config::{Config, RecipientConfig};
use crate::daemon::error::DaemonError;
use crate::domain::event::{ErasureScope, Role};
use crate::fetch;
use crate::secret;
use crate::telemetry::metrics;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// The pause after the first failure. Each further failure doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(6 * 3_600);
/// The most ids in one message. The recipient finds the others with `CheckIds`.
const IDS_MAX: usize = 1_024;
/// The largest answer of a webhook that is read.
const ANSWER_BYTES_MAX: usize = 65_536;

/// A webhook and its secret.
struct Webhook {
    recipient: String,
    url: String,
    ca: Option<std::path::PathBuf>,
    secret: Zeroizing<Vec<u8>>,
}

impl Webhook {
    fn of(config: &RecipientConfig) -> Result<Option<Self>, DaemonError> {
        let (Some(url), Some(file)) = (&config.webhook, &config.webhook_secret_file) else { return Ok(None) };
        let failed = |error: std::io::Error| DaemonError::File(file.clone(), error);
        secret::check_private(&std::fs::metadata(file).map_err(failed)?).map_err(failed)?;
        let text = Zeroizing::new(std::fs::read_to_string(file).map_err(failed)?);
        let decoded = text.trim().strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
        let secret = decoded.map(Zeroizing::new).filter(|secret| (24..=64).contains(&secret.len()));
        let wrong = || std::io::Error::other("must have `whsec_` and 24 to 64 bytes in base64");
        Ok(Some(Self {
            recipient: config.name.clone(),
            url: url.clone(),
            ca: config.ca.clone(),
            secret: secret.ok_or_else(wrong).map_err(failed)?,
        }))
    }

    /// The headers of a message.
    fn headers(&self, id: &str, seconds: u64, body: &str) -> Option<[(&'static str, String); 3]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).ok()?;
        mac.update(format!("{id}.{seconds}.{body}").as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let (id, seconds) = (id.to_owned(), seconds.to_string());
        Some([("webhook-id", id), ("webhook-timestamp", seconds), ("webhook-signature", signature)])
    }

    /// Sends a message once. Returns whether the recipient took it.
    async fn send(&self, id: &str, body: &str, now_ms: u64) -> Result<(), String> {
        let headers = self.headers(id, now_ms / 1_000, body).ok_or("the secret can't be used")?;
        let (ca, bytes) = (self.ca.as_deref(), body.as_bytes().to_vec());
        let answer = fetch::post_signed(&self.url, ca, &headers, bytes, ANSWER_BYTES_MAX).await;
        match answer.map_err(|error| error.to_string())?.0 {
            200..=299 => Ok(()),
            status => Err(format!("HTTP status {status}")),
        }
    }
}

/// Delivers the notices of all configured webhooks until `stopped` resolves.
///
/// # Errors
/// The file of a secret can't be read or is malformed.
pub(crate) async fn run(
    config: &Config,
    app: Arc<App>,
    clock: SharedClock,
    stopped: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let mut deliveries = tokio::task::JoinSet::new();
    for recipient in &config.recipients {
        if let Some(webhook) = Webhook::of(recipient)? {
            deliveries.spawn(deliver_all(webhook, Arc::clone(&app), Arc::clone(&clock)));
        }
    }
    if deliveries.is_empty() {
        return Ok(());
    }
    stopped.await;
    deliveries.shutdown().await;
    Ok(())
}

/// Delivers the notices of one webhook, in order.
async fn deliver_all(webhook: Webhook, app: Arc<App>, clock: SharedClock) {
    let (name, channel, subject) = (webhook.recipient.clone(), false, None);
    let caller = Caller { role: Role::Service, channel, name, subject };
    let mut pause = PAUSE_MIN;
    loop {
        match deliver(&webhook, &app, &caller, &clock).await {
            Ok(()) | Err(AppError::ShuttingDown) => return,
            Err(error) => {
                tracing::warn!(%error, recipient = webhook.recipient, "reading notices for a webhook failed");
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(PAUSE_MAX);
            }
        }
    }
}

async fn deliver(
    webhook: &Webhook,
    app: &Arc<App>,
    caller: &Caller,
    clock: &SharedClock,
) -> Result<(), AppError> {
    // What the recipient has answered is not delivered again.
    let after = app.erasure.first_outstanding(&webhook.recipient);
    let mut watch = app.grants.watch_revocations(caller, after)?;
    loop {
        let notice = watch.next().await?;
        if notice.erased_scope == ErasureScope::Unspecified || notice.recorded_at_ms == 0 {
            continue;
        }
        // After a restart, the watch begins before the oldest notice without an answer.
        if !app.erasure.awaits_answer(&webhook.recipient, notice.cursor)? {
            continue;
        }
        let origin = app.ledger().origin();
        let (id, body) = (message_id(origin, webhook, &notice), message(origin, &notice));
        let mut pause = PAUSE_MIN;
        while let Err(error) = webhook.send(&id, &body, clock.now_ms()).await {
            metrics().webhook_delivery(&webhook.recipient, "failed");
            tracing::warn!(error, recipient = webhook.recipient, "a notice was not delivered; trying again");
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
        metrics().webhook_delivery(&webhook.recipient, "delivered");
    }
}

/// The id of a message: the same whenever this notice is sent to this recipient.
fn message_id(origin: &str, webhook: &Webhook, notice: &Revocation) -> String {
    let digest = Sha256::digest(format!("{origin}\n{}\n{}", webhook.recipient, notice.cursor));
    format!("msg_{}", hex::encode(digest.split_at(16).0))
}

/// The body of a message, in the style of proto JSON.
fn message(origin: &str, notice: &Revocation) -> String {
    let first = |ids: &[String]| ids.iter().take(IDS_MAX).cloned().collect::<Vec<_>>();
    let left_out = [&notice.grant_ids, &notice.artifact_ids].map(|ids| ids.len().saturating_sub(IDS_MAX));
    serde_json::json!({
        "type": "erasure.completed",
        "timestamp": crate::domain::wording::time(notice.recorded_at_ms),
        "data": {
            "origin": origin,
            "cursor": notice.cursor.to_string(),
            "scope": notice.erased_scope.as_str_name(),
            "grantIds": first(&notice.grant_ids),
            "artifactIds": first(&notice.artifact_ids),
            "idsLeftOut": left_out.iter().sum::<usize>().to_string(),
            "reminder": notice.reminder,
            "namedBy": notice.named_by,
        },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_published_example() {
        // The example in the specification of Standard Webhooks.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (recipient, url, ca) = ("mailer".into(), String::new(), None);
        let webhook = Webhook { recipient, url, ca, secret: Zeroizing::new(secret) };
        let headers = webhook
            .headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#)
            .unwrap();
        assert_eq!(headers[2].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
