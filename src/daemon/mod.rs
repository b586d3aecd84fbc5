//! The composition root of `sayso serve`: builds the parts of the daemon from the configuration and runs them
//! until shutdown.

pub(crate) mod app_settings;
mod background;
mod controller;
mod cosigning;
pub(crate) mod data_dir;
mod dev_keys;
mod error;
pub(crate) mod harden;
mod issuer_keys;
pub(crate) mod limits;
mod lost_parts;
mod reload;
mod shutdown;
mod start;
#[cfg(test)]
mod tests;
mod timestamping;
mod webhooks;

pub use controller::{OpenController, issuer};
pub use dev_keys::use_dev_tier_keys;
pub use error::DaemonError;
pub use start::Daemon;
