//! The controller, as packages and receipts name it.

use serde::Serialize;

/// The controller, as packages and receipts name it. An empty value is shown as "not stated".
#[derive(Clone, Debug, Default, Serialize)]
pub struct Controller {
    /// Its id in the ledger.
    pub id: String,
    /// Its legal name.
    pub name: String,
    /// How to reach its privacy team.
    pub contact: String,
    /// Its postal address.
    pub address: String,
    /// Its website.
    pub url: String,
    /// Where people exercise their rights.
    pub rights_url: String,
    /// Whose law applies: `EU`, `EEA` or an ISO 3166-1 alpha-2 country code.
    pub jurisdiction: String,
    /// Where data are stored, in the form of `jurisdiction`.
    pub storage_locations: Vec<String>,
}
