//! Documents that a person can take to another service: access and portability packages, and consent
//! receipts. This module writes the documents; `app` decides what they contain. The module also reads
//! packages from other ledgers, for `sayso import`.
//!
//! A package is a ZIP file, because every system opens ZIP files with a double click. It contains
//! `index.html` for people, `package.json` for machines, and the consent receipts in `receipts/`.
//! `docs/access-package.md` lists every field with the law that it serves.

mod controller;
mod error;
mod format;
mod json_file;
mod json_limits;
mod page;
mod read;
mod receipt;
mod record;
mod unzip;
mod zip;

pub use controller::Controller;
pub use error::ReadError;
pub use format::{FORMAT, Kind, Section, VERSION};
pub use json_file::JsonFile;
pub use page::{Counts, Head, Page};
pub use read::{Imported, ImportedAttribute, read};
pub use receipt::{ConsentRequest, Receipt, ReceiptProof};
pub use record::{
    ActorName, Attribute, Consent, Disclosure, History, Ledger, NamedAttribute, Notice, NoticeServed,
    PermittedUse, Recipient, Record, RevokedGrant, Signal, Sink, Subject, Use, VocabularyTerm, Withheld,
};
pub use zip::Zip;
