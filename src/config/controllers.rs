//! Configuration of the controllers that a daemon serves besides its first one. Each controller has its own
//! log, keys, bounds and data subjects.

use super::keys::{BoundsKeys, Pkcs11};
use super::organization::Organization;
use super::recipients::RecipientConfig;
use super::report::{ProcessingConfig, ReportConfig};
use super::rights::Rights;
use super::tokens::Tokens;
use serde::Deserialize;

/// Most controllers on one daemon. There is a limit because each controller has its own threads, caches and
/// open files.
pub(super) const CONTROLLERS_MAX: usize = 64;

/// A controller besides the first. Without `tokens`, it uses the shared `[tokens]`. Every other field below
/// that is left out has its default, never the first controller's value. Settings without a field below, such
/// as the addresses, `[tls]`, `[limits]`, `[inferences]` and `[witnesses]`, are shared by all controllers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerConfig {
    /// Its name, in the form of `controller`. Its data are in `<data>/controllers/<name>`, with the same
    /// layout as `data`.
    pub name: String,
    /// Its identity, as packages and receipts show it.
    #[serde(alias = "organisation", default)]
    pub organization: Organization,
    /// The keys that its bounds must be signed with.
    #[serde(default)]
    pub bounds: BoundsKeys,
    /// An external token issuer that is trusted for this controller alone, instead of the shared one.
    pub tokens: Option<Tokens>,
    /// The PKCS#11 token that keeps its root key. Required if the first controller has such a token; this one
    /// must be a different token.
    pub pkcs11: Option<Pkcs11>,
    /// Requests of data subjects.
    #[serde(default)]
    pub rights: Rights,
    /// Recipients with a key or a webhook.
    #[serde(default)]
    pub recipients: Vec<RecipientConfig>,
    /// Transparency reports.
    #[serde(default)]
    pub report: ReportConfig,
    /// What it declares for the record of processing activities.
    #[serde(default)]
    pub processing: ProcessingConfig,
}
