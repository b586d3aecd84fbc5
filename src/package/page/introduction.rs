//! The head of a page, and its last section, which is about the person's rights.

use super::html::{Html, code, count, escape, foreign, link, time};
use crate::package::controller::Controller;
use crate::package::format::Kind;
use crate::package::record::Subject;
use std::fmt::Write as _;

/// What the head of a page says.
#[derive(Debug)]
pub struct Head<'a> {
    /// What the package contains.
    pub kind: Kind,
    /// The controller.
    pub controller: &'a Controller,
    /// The person that the package is about.
    pub subject: &'a Subject,
    /// When the package was made, RFC 3339.
    pub made_at: &'a str,
    /// The origin of the log that it comes from.
    pub origin: &'a str,
    /// How much the package contains.
    pub counts: Counts,
}

/// How much a package contains.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Attributes that are stored.
    pub attributes: u64,
    /// Consent decisions of the person.
    pub decisions: u64,
    /// Events about the person.
    pub events: u64,
}

impl Head<'_> {
    /// The title of the page.
    pub(super) fn title(&self) -> Html {
        let name = or(&self.controller.name, &self.controller.id);
        escape(&match self.kind {
            Kind::Access => format!("What {name} has stored about you"),
            Kind::Portability => format!("What you gave to {name}"),
        })
    }

    /// The paragraph and the list below the title.
    pub(super) fn introduction(&self) -> Html {
        let controller = self.controller;
        let stated = |text: &str| match text {
            "" => "<span class=\"none\">not stated</span>".to_owned(),
            text => escape(text).0,
        };
        let first = match self.kind {
            Kind::Access => {
                "This is a copy of everything that is stored about you in this ledger: where each detail comes from, who \
                 received it, and what it was used for (GDPR Art. 15). The file “package.json” contains the same for \
                 machines."
            }
            Kind::Portability => {
                "This is what you said yourself, and what was observed about you, in a form that another service can \
                 import (GDPR Art. 20): the file “package.json”. The access package contains what models concluded \
                 about you."
            }
        };
        let url = if controller.url.is_empty() { stated("") } else { link(&controller.url).0 };
        let Counts { attributes, decisions, events } = self.counts;
        Html(format!(
            "<p>{first}</p>\n<dl>\n<dt>Made on</dt><dd>{made}</dd>\n<dt>Your id</dt><dd>{subject}</dd>\n\
             {described}<dt>Responsible for your data</dt><dd>{name}</dd>\n<dt>Address</dt><dd>{address}</dd>\n\
             <dt>Contact</dt><dd>{contact}</dd>\n<dt>Website</dt><dd>{url}</dd>\n<dt>Ledger</dt><dd>{origin}</dd>\n\
             <dt>In short</dt><dd>{attributes} stored, {decisions} by you, {events} recorded</dd>\n</dl>\n",
            made = time(self.made_at).0,
            subject = foreign(&self.subject.id).0,
            described = described(self.subject),
            name = stated(or(&controller.name, &controller.id)),
            address = stated(&controller.address),
            contact = stated(&controller.contact),
            origin = code(self.origin).0,
            attributes = count(attributes, "detail", "details"),
            decisions = count(decisions, "decision", "decisions"),
            events = count(events, "event", "events"),
        ))
    }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// The age and the jurisdiction of the person, if known. They are shown because the rules depend on them.
fn described(subject: &Subject) -> String {
    let mut out = String::new();
    let mut add = |term: &str, text: &str| {
        let _infallible = writeln!(out, "<dt>{term}</dt><dd>{}</dd>", escape(text).0);
    };
    match (subject.age_band, subject.age_years) {
        (Some(band), Some(years)) => add("Your age", &format!("{band}, {years} years")),
        (Some(band), None) => add("Your age", band),
        (None, _) => {}
    }
    if let Some(born) = &subject.born {
        add("Born", born);
    }
    if let Some(place) = &subject.jurisdiction {
        add("Whose law protects you", place);
    }
    out
}

/// The last section: the person's rights, and how to exercise them.
pub(super) fn rights(kind: Kind, controller: &Controller) -> Html {
    let place = match (controller.rights_url.as_str(), controller.contact.as_str()) {
        ("", "") => "To exercise them, ask the organization that gave you this package.".to_owned(),
        ("", contact) => format!("To exercise them, contact {}.", escape(contact).0),
        (url, _) => format!("You can exercise them here: {}", link(url).0),
    };
    let more = match kind {
        Kind::Access => "Each line of the history is in a log in which every later change would be noticed.",
        Kind::Portability => {
            "Another Sayso ledger can import this package with <code>sayso import --package</code>."
        }
    };
    Html(format!(
        "<section id=\"rights\">\n<h2>Your rights</h2>\n<p>{place}</p>\n<ul>\n\
         <li>You can have wrong details corrected (GDPR Art. 16), and contest what a model concluded about you.</li>\n\
         <li>You can withdraw a consent at any time, as easily as you gave it (Art. 7(3)).</li>\n\
         <li>You can have everything erased (Art. 17), or its use restricted (Art. 18).</li>\n\
         <li>You can take your data to another service (Art. 20).</li>\n\
         <li>You can object to a use (Art. 21), and refuse decisions that machines alone make about you (Art. \
         22).</li>\n\
         <li>You can complain to a data protection authority where you live, where you work, or where the problem \
         occurred (Art. 77).</li>\n</ul>\n\
         <p>{more} You can verify the receipts of your decisions with <code>sayso verify</code>, without trusting the \
         operator of the ledger. This file contains personal data: keep it where only you can read it.</p>\n\
         </section>\n"
    ))
}
