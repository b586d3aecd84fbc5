//! Documents that a person can take to another service: access and portability packages, and consent
//! receipts. This module writes the documents; `app` decides what they contain. The module also reads
//! packages from other ledgers, for `sayso import`.
//!
//! A package is a ZIP file, because every system opens ZIP files with a double click. It contains
//! `index.html` for people, `package.json` for machines, the consent receipts in `receipts/`, and a signed
//! manifest of these files.
//! `docs/access-package.md` lists every field with the law that it serves.

mod compare_receipt;
mod controller;
mod error;
mod format;
mod json_file;
mod json_limits;
mod manifest;
mod package_proofs;
mod page;
mod read;
mod receipt;
mod receipt_nodes;
mod record;
mod signed_receipt;
mod stated;
mod unzip;
mod verify_completeness;
mod verify_package;
mod verify_receipt;
mod zip;

pub use controller::Controller;
pub use error::{PackageError, ReadError, ReceiptError};
pub use format::{FORMAT, Kind, Section, VERSION};
pub use json_file::JsonFile;
pub use page::{Counts, Head, Page, Titles, html};
pub use read::{Imported, ImportedAttribute, is_zip, read};
pub use receipt::{ConsentRequest, Receipt, ReceiptProof};
pub use record::{
    ActorName, Artifact, Attribute, Consent, Disclosure, History, Ledger, NamedAttribute, Notice,
    NoticeServed, PermittedUse, PriorRecipient, Recipient, Record, RevokedGrant, Signal, Sink, Subject, Use,
    VocabularyTerm, Withheld,
};
pub use signed_receipt::sign_receipt;
pub use verify_completeness::{COMPLETENESS, Completeness, ENTRIES, RUN_PROOFS};
pub use verify_package::{VerifiedPackage, verify_package};
pub use verify_receipt::{VerifiedReceipt, is_receipt, receipt_checkpoint, verify_receipt};
pub use zip::Zip;
