//! The daemon's configuration: typed, documented on its fields, and checked once at the start. Unknown keys
//! are refused.

mod addresses;
mod client_limits;
mod controllers;
mod error;
mod keys;
mod limits;
mod names;
mod organization;
mod recipients;
mod relevance;
mod report;
mod rights;
mod root;
mod telemetry;
mod timestamps;
mod tls;
mod tokens;
mod witnesses;

pub use addresses::{has_userinfo, is_loopback, is_safe_url};
pub use client_limits::{CallsConfig, ClientLimits};
pub use controllers::ControllerConfig;
pub use error::ConfigError;
pub use keys::{BoundsKeys, Pkcs11};
pub use limits::Limits;
pub use organization::Organization;
pub use recipients::{RecipientConfig, recipient_keys};
pub use relevance::Relevance;
pub use report::{ProcessingConfig, ReportConfig};
pub use rights::{Inferences, RequestRules, Rights};
pub use root::{Config, LockMemory};
pub use telemetry::TelemetryConfig;
pub use timestamps::Timestamps;
pub use tls::Tls;
pub use tokens::{BuiltInTokens, Tokens};
pub use witnesses::{WitnessConfig, Witnesses};
