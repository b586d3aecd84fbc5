//! What a person takes away: the access and portability package, and consent receipts. Documents only: what goes in
//! is decided in `app`.
//!
//! A package is a ZIP file, because that is what opens with a double click on every system: `index.html` to read,
//! `package.json` for machines, `receipts/` to keep. `docs/access-package.md` has every field and its law.

mod guard;
mod json;
mod page;
mod read;
mod receipt;
mod record;
mod text;
mod zip;

pub use json::JsonFile;
pub use page::{Head, Page};
pub use read::{Imported, ImportedAttribute, ReadError, read};
pub use receipt::{Asked, Receipt, Signed};
pub use record::{
    Attribute, By, Consent, Cover, Disclosure, Fall, History, Ledger, NamedAttribute, Notice, NoticeServed,
    PermittedUse, Recipient, Record, Section, Signal, Subject, Use, Withheld,
};
pub use zip::Zip;

use serde::Serialize;
use std::io;

/// What packages of this form say of themselves.
pub const FORMAT: &str = "sayso-package";
/// The form's version; a reader refuses others.
pub const VERSION: u32 = 1;

/// What a package holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything (GDPR Art. 15).
    Access,
    /// What the person provided, for another controller (GDPR Art. 20).
    Portability,
}

impl Kind {
    /// As the package names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Portability => "portability",
        }
    }

    /// Its parts, in order.
    #[must_use]
    pub fn sections(self) -> &'static [Section] {
        match self {
            Self::Access => &Section::ALL,
            Self::Portability => {
                &[Section::Attributes, Section::Consents, Section::Notices, Section::Signals]
            }
        }
    }
}

/// Who the controller is, as documents say it. What is empty is shown as not stated.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Controller {
    /// The ledger's own name for it.
    pub id: String,
    /// Legal name.
    pub name: String,
    /// Where its privacy team is reached.
    pub contact: String,
    /// Postal address.
    pub address: String,
    /// Its site.
    pub url: String,
    /// Where people exercise their rights.
    pub rights_url: String,
    /// `EU`, `EEA` or ISO 3166-1 alpha-2.
    pub jurisdiction: String,
    /// Where data are stored; as `jurisdiction`.
    pub storage_locations: Vec<String>,
}

/// Takes the parts of a package, one record at a time.
pub trait Sink {
    /// The next part begins. Every record that follows is of it.
    ///
    /// # Errors
    /// Writing.
    fn section(&mut self, section: Section) -> io::Result<()>;

    /// The next record.
    ///
    /// # Errors
    /// Writing.
    fn record(&mut self, record: &Record) -> io::Result<()>;
}
