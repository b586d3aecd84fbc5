//! Who the controller is, as people are told.

use super::ConfigError;
use serde::Deserialize;

/// Who the controller is: what access packages and consent receipts say (GDPR Art. 13(1)(a), 15(1); ISO/IEC TS
/// 27560:2023 party fields). What is left empty is shown as not stated, never made up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Organisation {
    /// Its legal name. Default: the `controller` id. At most 256 bytes, as each of these.
    pub name: String,
    /// Where its privacy team is reached: an e-mail address, a telephone number.
    pub contact: String,
    /// Its postal address.
    pub address: String,
    /// Its site: an `https:` or `http:` URL.
    pub url: String,
    /// Where people see, change and withdraw, and exercise their rights: a URL.
    pub rights_url: String,
    /// Whose law applies: `EU`, `EEA`, or a country of ISO 3166-1 alpha-2. Default `EU`.
    pub jurisdiction: String,
    /// Where the ledger's machines stand: as `jurisdiction`; at most 32.
    pub storage_locations: Vec<String>,
}

impl Default for Organisation {
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

impl Organisation {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bound = |holds: bool, key, bound| {
            if holds { Ok(()) } else { Err(ConfigError::OutOfBounds { key, bound }) }
        };
        let is_text = |text: &str| text.len() <= 256 && !text.chars().any(char::is_control);
        let is_url = |text: &str| {
            let outside = |c: char| c.is_whitespace() || "<>\"{}|\\^`".contains(c);
            let known = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
            text.is_empty() || (is_text(text) && known && !text.contains(outside))
        };
        let is_place =
            |code: &String| matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_uppercase());
        bound(is_text(&self.name), "organisation.name", "at most 256 bytes, no control characters")?;
        bound(is_text(&self.contact), "organisation.contact", "at most 256 bytes, no control characters")?;
        bound(is_text(&self.address), "organisation.address", "at most 256 bytes, no control characters")?;
        bound(is_url(&self.url), "organisation.url", "an http: or https: URL of at most 256 bytes")?;
        bound(
            is_url(&self.rights_url),
            "organisation.rights_url",
            "an http: or https: URL of at most 256 bytes",
        )?;
        let place = "`EU`, `EEA` or a two-letter country of ISO 3166-1";
        bound(is_place(&self.jurisdiction), "organisation.jurisdiction", place)?;
        let places = &self.storage_locations;
        bound(places.len() <= 32 && places.iter().all(is_place), "organisation.storage_locations", place)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::Config;

    #[test]
    fn an_organisation_says_what_documents_can_hold() {
        let with = |text: &str| {
            let organisation = toml::from_str(text).unwrap();
            Config { organisation, ..Config::default() }.check()
        };
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
