//! The composition root of `sayso serve`: builds every room from the configuration and runs them until shutdown.

pub(crate) mod app_settings;
mod controller;
mod cosigning;
pub(crate) mod data_dir;
pub(crate) mod harden;
mod issuer_keys;
pub(crate) mod limits;
mod reload;
mod start;

pub use controller::OpenController;
pub use start::{Daemon, DaemonError, issuer, use_dev_tier_keys};
