//! Settings: the identity of a controller, as packages and receipts show it.

use super::error::{ConfigError, check};
use serde::Deserialize;

/// The identity of a controller, as access packages and consent receipts show it (GDPR Art. 13(1)(a), 15(1);
/// ISO/IEC TS 27560:2023 party fields). An empty value is shown as "not stated".
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Organization {
    /// Its legal name. Default: the `controller` id. This text and each of the following texts have at most
    /// 256 bytes.
    pub name: String,
    /// How to reach its privacy team: an e-mail address, a telephone number.
    pub contact: String,
    /// Its postal address.
    pub address: String,
    /// Its website: an `https:` or `http:` URL.
    pub url: String,
    /// Where people see and change their consents and exercise their rights: a URL.
    pub rights_url: String,
    /// Whose law applies: `EU`, `EEA`, or an ISO 3166-1 alpha-2 country code. Default `EU`.
    pub jurisdiction: String,
    /// Where the ledger's machines are, in the form of `jurisdiction`; at most 32.
    pub storage_locations: Vec<String>,
}

impl Default for Organization {
    fn default() -> Self {
        Self {
            name: String::new(),
            contact: String::new(),
            address: String::new(),
            url: String::new(),
            rights_url: String::new(),
            jurisdiction: "EU".into(),
            storage_locations: Vec::new(),
        }
    }
}

impl Organization {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_text = |text: &str| text.len() <= 256 && !text.chars().any(char::is_control);
        let is_url = |text: &str| {
            let outside = |c: char| c.is_whitespace() || "<>\"{}|\\^`".contains(c);
            let known = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
            text.is_empty() || (is_text(text) && known && !text.contains(outside))
        };
        let is_place =
            |code: &String| matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_uppercase());
        check(is_text(&self.name), "organization.name", "at most 256 bytes without control characters")?;
        check(
            is_text(&self.contact),
            "organization.contact",
            "at most 256 bytes without control characters",
        )?;
        check(
            is_text(&self.address),
            "organization.address",
            "at most 256 bytes without control characters",
        )?;
        check(is_url(&self.url), "organization.url", "an http: or https: URL of at most 256 bytes")?;
        check(
            is_url(&self.rights_url),
            "organization.rights_url",
            "an http: or https: URL of at most 256 bytes",
        )?;
        let place = "`EU`, `EEA` or an ISO 3166-1 alpha-2 country code";
        check(is_place(&self.jurisdiction), "organization.jurisdiction", place)?;
        let places = &self.storage_locations;
        let allowed = "at most 32 of `EU`, `EEA` or ISO 3166-1 alpha-2 country codes";
        check(places.len() <= 32 && places.iter().all(is_place), "organization.storage_locations", allowed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn texts_and_codes_are_checked() {
        let with = |text: &str| toml::from_str::<Organization>(text).unwrap().check();
        with(
            "name = \"A\"\nurl = \"https://a.example\"\njurisdiction = \"DE\"\nstorage_locations = [\"EEA\"]",
        )
        .unwrap();
        for wrong in [
            "url = \"javascript:alert(1)\"",
            "rights_url = \"https://a.example/<b>\"",
            "jurisdiction = \"Germany\"",
            "storage_locations = [\"de\"]",
            "contact = \"a\\nb\"",
        ] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
    }
}
