//! The title, the introduction and the column headings of each section.

use crate::package::format::Section;

/// The texts of a section.
pub(super) struct SectionText {
    /// Its title.
    pub title: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// The headings of its table.
    pub headings: &'static [&'static str],
}

/// The texts of a section.
pub(super) fn text(section: Section) -> SectionText {
    let of = |title, about, headings| SectionText { title, about, headings };
    match section {
        Section::Attributes => of(
            "What is stored about you",
            "Each detail with its source, how long it is kept, and what it may be used for today. “Declared” means that \
             you said it, “observed” that it was seen in what you did, “inferred” that a model concluded it.",
            &["Detail", "Value", "Kind", "Source", "Kept", "May be used for"],
        ),
        Section::PermittedUses => of(
            "Who may use what today",
            "This was decided when this page was made, from your decisions and from the rules in force. If a detail may \
             not be used, the reason is given.",
            &["Purpose", "Service", "May use", "May not use, and why"],
        ),
        Section::Recipients => of(
            "Who has received your data",
            "Every service that has received data about you, and every auditor that exported or viewed records with them. \
             The list is kept longer than the record of each disclosure.",
            &["Who", "First received", "Last received", "How often", "Purposes", "Kinds of data"],
        ),
        Section::PriorRecipients => of(
            "Who had received data that was erased since",
            "The record of what these services had received was erased with the data. Each service was asked to delete \
             its copies. “Confirmed” means that it said that it did.",
            &["Service", "Erased on", "What was erased", "How much it had", "Deletion"],
        ),
        Section::Disclosures => of(
            "Each time your data were given to a service",
            "What the service received, when, for which purpose, and which of your decisions allowed it. Equal \
             disclosures in a row share a line; “package.json” has each of them.",
            &["When", "Service", "Details", "Purpose", "Allowed by", "Permission"],
        ),
        Section::Uses => of(
            "Each reported use of your data",
            "Replies that your data influenced, as the services themselves reported them.",
            &["When", "Service", "Details", "Purpose", "Allowed by", "Reply"],
        ),
        Section::Artifacts => of(
            "What services built from your data",
            "For example an embedding, a summary or an adapted model. It may be used only for its purpose, and only as \
             long as the details that it was built from may be used.",
            &["When", "Service", "Built from", "Purpose", "What", "May be used"],
        ),
        Section::Revocations => of(
            "Permissions that were withdrawn",
            "Each service was notified immediately that it may no longer use the data.",
            &["When", "Service", "Reason", "Permission"],
        ),
        Section::Consents => of(
            "Your decisions",
            "Each time that you agreed or refused, with the text that you saw. The folder “receipts” has a receipt of \
             each decision.",
            &["When", "Decision", "Purposes", "Kinds of data", "Services", "How you decided", "Allows use"],
        ),
        Section::Notices => of("The texts that you saw", "Word for word, as they were shown to you.", &[]),
        Section::Signals => of(
            "Your objections and restrictions",
            "Objections, restrictions and pauses that are in force today.",
            &["When", "What", "Purposes"],
        ),
        Section::History => of(
            "Everything that was recorded",
            "In order, including what has since been corrected, contested, replaced or removed. The last line is this \
             package.",
            &["Number", "When", "What happened", "Who"],
        ),
    }
}
