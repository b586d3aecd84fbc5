//! `index.html`: the package for a person to read. One file, no scripts, nothing loaded from anywhere.

use super::record::{
    Attribute, By, Consent, Cover, Disclosure, Fall, History, NamedAttribute, PermittedUse, Recipient,
    Signal, Use, Withheld,
};
use super::text::{Html, code, escape, foreign, lines, time, value};
use super::{Controller, Kind, Record, Section, Sink, Subject};
use base64::Engine;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{self, Write};

const STYLE: &str = include_str!("page.css");

/// What the head of a page says.
#[derive(Debug)]
pub struct Head<'a> {
    /// What the package holds.
    pub kind: Kind,
    /// Who holds it.
    pub controller: &'a Controller,
    /// Whom it is about.
    pub subject: &'a Subject,
    /// When it was made, RFC 3339.
    pub made_at: &'a str,
    /// The log that it comes from.
    pub origin: &'a str,
    /// How many attributes are held, decisions were made, events are there.
    pub counts: [usize; 3],
}

/// The page on its way out.
pub struct Page<W: Write> {
    out: W,
    kind: Kind,
    section: Option<Section>,
    records: bool,
}

/// What a section is called, what it tells, and the headings of its table.
struct Words {
    title: &'static str,
    about: &'static str,
    headings: &'static [&'static str],
}

fn words(section: Section) -> Words {
    let of = |title, about, headings| Words { title, about, headings };
    match section {
        Section::Attributes => of(
            "What is held about you",
            "Each fact, where it comes from, how long it is kept, and what it may be used for today. “Declared” is what \
             you said, “observed” is from what you did, “inferred” is what a model concluded.",
            &["Fact", "What it says", "Kind", "Where it comes from", "Kept", "May be used for"],
        ),
        Section::PermittedUses => of(
            "Who may use what, today",
            "Decided when this page was made, from what you decided and from the rules in force. What is held back \
             stands with its reason.",
            &["For what", "Who", "May use", "Held back, and why"],
        ),
        Section::Recipients => of(
            "Who has received your data",
            "Every service by name.",
            &["Service", "First", "Last", "How often", "For what", "Kinds of data"],
        ),
        Section::Disclosures => of(
            "Each time data were handed out",
            "What a service was given, when, for what, and which of your decisions allowed it.",
            &["When", "To whom", "What", "For what", "Because of", "Permission"],
        ),
        Section::Uses => of(
            "Each use that was reported",
            "Replies that your data shaped, as the services themselves reported them.",
            &["When", "By whom", "What", "For what", "Because of", "Reply"],
        ),
        Section::Revocations => of(
            "Permissions that were taken back",
            "The service was told at once.",
            &["When", "Whose", "Why", "Permission"],
        ),
        Section::Consents => of(
            "What you decided",
            "Each yes and each no, with the text that you saw. A receipt of each is in the folder “receipts”.",
            &["When", "Decision", "For what", "Kinds of data", "Services", "How", "Stands"],
        ),
        Section::Notices => of("The texts that you saw", "Word for word, as they were served.", &[]),
        Section::Signals => of(
            "What else you said",
            "Objections, restrictions and pauses that stand today.",
            &["When", "What", "For what"],
        ),
        Section::History => of(
            "Everything that was recorded",
            "In order, also what was corrected, contested, replaced or removed since. The last line is this package.",
            &["Number", "When", "What happened", "Who"],
        ),
    }
}

impl<W: Write> Page<W> {
    /// Writes everything above the first section.
    ///
    /// # Errors
    /// Writing.
    pub fn begin(mut out: W, head: &Head<'_>) -> io::Result<Self> {
        let name = said(&head.controller.name, &head.controller.id);
        let title = match head.kind {
            Kind::Access => format!("What {name} holds about you"),
            Kind::Portability => format!("What you gave to {name}"),
        };
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
        write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hash}'; \
             base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"robots\" content=\"noindex\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <a class=\"skip\" href=\"#attributes\">To what is held</a>\n<header>\n<h1>{title}</h1>\n",
            title = escape(&title).0
        )?;
        out.write_all(introduction(head).as_bytes())?;
        out.write_all(b"</header>\n<nav aria-label=\"Contents\">\n<ul>\n")?;
        for section in head.kind.sections() {
            writeln!(out, "<li><a href=\"#{}\">{}</a></li>", section.name(), words(*section).title)?;
        }
        out.write_all(b"<li><a href=\"#rights\">Your rights</a></li>\n</ul>\n</nav>\n<main>\n")?;
        Ok(Self { out, kind: head.kind, section: None, records: false })
    }

    fn end_section(&mut self) -> io::Result<()> {
        let Some(section) = self.section.take() else { return Ok(()) };
        match (self.records, section) {
            (false, _) => self.out.write_all(b"<p class=\"none\">Nothing.</p>\n")?,
            (true, Section::Notices) => {}
            (true, _) => self.out.write_all(b"</tbody>\n</table>\n")?,
        }
        self.out.write_all(b"</section>\n")
    }

    /// Writes what stands below the last section and hands the writer back.
    ///
    /// # Errors
    /// Writing.
    pub fn finish(mut self, controller: &Controller) -> io::Result<W> {
        self.end_section()?;
        self.out.write_all(rights(self.kind, controller).as_bytes())?;
        self.out.write_all(b"</main>\n</body>\n</html>\n")?;
        Ok(self.out)
    }

    fn begin_table(&mut self, section: Section) -> io::Result<()> {
        let words = words(section);
        write!(
            self.out,
            "<table role=\"table\">\n<caption>{}</caption>\n<thead role=\"rowgroup\"><tr role=\"row\">",
            words.title
        )?;
        for heading in words.headings {
            write!(self.out, "<th role=\"columnheader\" scope=\"col\">{heading}</th>")?;
        }
        self.out.write_all(b"</tr></thead>\n<tbody role=\"rowgroup\">\n")
    }

    fn row(&mut self, section: Section, cells: &[Html]) -> io::Result<()> {
        // Roles are said again because a table that is laid out as cards loses its own.
        self.out.write_all(b"<tr role=\"row\">")?;
        for (number, (cell, heading)) in cells.iter().zip(words(section).headings).enumerate() {
            let (open, close) = match number {
                0 => ("th role=\"rowheader\" scope=\"row\"", "th"),
                _ => ("td role=\"cell\"", "td"),
            };
            write!(self.out, "<{open} data-label=\"{heading}\">{}</{close}>", cell.0)?;
        }
        self.out.write_all(b"</tr>\n")
    }
}

impl<W: Write> Sink for Page<W> {
    fn section(&mut self, section: Section) -> io::Result<()> {
        self.end_section()?;
        (self.section, self.records) = (Some(section), false);
        let words = words(section);
        writeln!(
            self.out,
            "<section id=\"{}\">\n<h2>{}</h2>\n<p>{}</p>",
            section.name(),
            words.title,
            words.about
        )
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        let Some(section) = self.section else { return Ok(()) };
        if !self.records && section != Section::Notices {
            self.begin_table(section)?;
        }
        self.records = true;
        match record {
            Record::Attribute(held) => self.row(section, &attribute(held)),
            Record::PermittedUse(permitted) => self.row(section, &permitted_use(permitted)),
            Record::Recipient(named) => self.row(section, &recipient(named)),
            Record::Disclosure(given) => self.row(section, &disclosure(given)),
            Record::Use(used) => self.row(section, &reported(used)),
            Record::Fall(fall) => self.row(section, &revoked(fall)),
            Record::Consent(decided) => self.row(section, &consent(decided)),
            Record::Signal(said) => self.row(section, &signal(said)),
            Record::History(event) => self.row(section, &history(event)),
            Record::Notice(notice) => {
                let served = &notice.served;
                let text = notice.text.as_deref().unwrap_or("The ledger does not have this text.");
                let label = format!("{}, version {}", served.id, served.version);
                write!(
                    self.out,
                    "<h3>{}</h3>\n<p class=\"soft\">Language {}; SHA-256 {}</p>\n\
                     <div class=\"notice\" lang=\"{}\" dir=\"auto\">{}</div>\n",
                    escape(&label).0,
                    code(&served.language).0,
                    code(&served.digest).0,
                    escape(&served.language).0,
                    escape(text).0
                )
            }
        }
    }
}

fn said<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

fn link(url: &str) -> Html {
    let safe = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
    let shown = escape(url).0;
    if safe { Html(format!("<a href=\"{shown}\" rel=\"noreferrer\">{shown}</a>")) } else { Html(shown) }
}

fn introduction(head: &Head<'_>) -> String {
    let controller = head.controller;
    let stated = |text: &str| match text {
        "" => "<span class=\"none\">not stated</span>".to_owned(),
        text => escape(text).0,
    };
    let first = match head.kind {
        Kind::Access => {
            "This is a copy of everything that this ledger holds about you, with where it comes from, who received it \
             and what it was used for (GDPR Art. 15). The same is in the file “package.json” for machines."
        }
        Kind::Portability => {
            "This is what you said yourself and what was observed, in a form that another service can take over \
             (GDPR Art. 20): the file “package.json”. What models concluded about you is in the access package."
        }
    };
    let url = if controller.url.is_empty() { stated("") } else { link(&controller.url).0 };
    let [held, decisions, events] = head.counts;
    format!(
        "<p>{first}</p>\n<dl>\n<dt>Made</dt><dd>{made}</dd>\n<dt>You are known as</dt><dd>{subject}</dd>\n{described}\
         <dt>Answerable for it</dt><dd>{name}</dd>\n<dt>Address</dt><dd>{address}</dd>\n\
         <dt>Contact</dt><dd>{contact}</dd>\n<dt>Site</dt><dd>{url}</dd>\n<dt>Ledger</dt><dd>{origin}</dd>\n\
         <dt>In short</dt><dd>{held} facts held, {decisions} decisions of yours, {events} events recorded</dd>\n</dl>\n",
        made = time(head.made_at).0,
        subject = foreign(&head.subject.id).0,
        described = described(head.subject),
        name = stated(said(&controller.name, &controller.id)),
        address = stated(&controller.address),
        contact = stated(&controller.contact),
        origin = code(head.origin).0,
    )
}

/// What the rules need to know of the person, where it is known.
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
    if let Some(place) = &subject.jurisdiction {
        add("Whose law protects you", place);
    }
    out
}

fn rights(kind: Kind, controller: &Controller) -> String {
    let place = match (controller.rights_url.as_str(), controller.contact.as_str()) {
        ("", "") => "Ask whoever gave you this package.".to_owned(),
        ("", contact) => format!("Ask {}.", escape(contact).0),
        (url, _) => format!("Here: {}", link(url).0),
    };
    let receipts = match kind {
        Kind::Access => "Each line of the history stands in a log that nobody can change unseen.",
        Kind::Portability => {
            "Another ledger of this make takes the package with <code>sayso import --package</code>."
        }
    };
    format!(
        "<section id=\"rights\">\n<h2>Your rights</h2>\n<p>{place}</p>\n<ul>\n\
         <li>Have what is wrong corrected (GDPR Art. 16), or say that a conclusion about you is wrong.</li>\n\
         <li>Take a consent back at any time, as easily as you gave it (Art. 7(3)).</li>\n\
         <li>Have everything erased (Art. 17), or its use stopped (Art. 18).</li>\n\
         <li>Take your data along (Art. 20).</li>\n\
         <li>Object to a use (Art. 21); not be subject to a decision made by machines alone (Art. 22).</li>\n\
         <li>Complain to a data protection authority, where you live, where you work, or where it happened \
         (Art. 77).</li>\n</ul>\n\
         <p>{receipts} The receipts of your decisions verify with <code>sayso verify</code>, without trusting whoever \
         runs the ledger. This file holds personal data: keep it where only you can read it.</p>\n</section>\n"
    )
}

fn by(by: &By) -> Html {
    let role = match by.role {
        "subject" => "you",
        "service" => "service",
        "steward" => "the controller’s privacy team",
        "ledger" => "the ledger",
        other => other,
    };
    match &by.name {
        Some(name) => Html(format!("{role} {}", code(name).0)),
        None => Html(role.to_owned()),
    }
}

fn tag(text: &str) -> Html {
    Html(format!("<span class=\"tag\">{}</span>", escape(text).0))
}

fn soft(text: &str) -> Html {
    Html(format!("<span class=\"soft\">{}</span>", escape(text).0))
}

fn attribute(held: &Attribute) -> [Html; 6] {
    let mut kind = vec![escape(&held.category_title)];
    if held.special_category {
        kind.push(tag("special category"));
    }
    let mut source = vec![
        Html(format!("{}, by {}", escape(held.provenance).0, by(&held.source).0)),
        Html(format!("observed {}", time(&held.observed_at).0)),
    ];
    if let Some(model) = &held.model {
        source.push(Html(format!("model {}", code(model).0)));
    }
    if let Some(confidence) = held.confidence {
        source.push(escape(&format!("confidence {confidence}")));
    }
    if !held.evidence.is_empty() {
        let evidence: Vec<String> = held.evidence.iter().map(|piece| foreign(piece).0).collect();
        source.push(Html(format!("rests on {}", evidence.join(", "))));
    }
    if !held.derived_from.is_empty() {
        let facts = if held.derived_from.len() == 1 { "another fact" } else { "other facts" };
        source.push(Html(format!("derived from {facts}")));
    }
    let mut says = vec![value(held.value.get())];
    if held.contested {
        says.push(tag("you said this is wrong; it is not used"));
    }
    if held.confirmed {
        says.push(tag("you said this is right"));
    }
    let uses = match &held.may_be_used_for {
        None => Html::default(),
        Some(none) if none.is_empty() => Html("<span class=\"none\">nothing</span>".into()),
        Some(purposes) => lines(purposes.iter().map(|purpose| escape(purpose))),
    };
    let kept = [Html(format!("since {}", time(&held.recorded_at).0)), escape(&held.retention)];
    [foreign(&held.key), lines(says), lines(kind), lines(source), lines(kept), uses]
}

fn keys(of: &[NamedAttribute]) -> Html {
    lines(of.iter().map(|named| Html(format!("{} {}", foreign(&named.key).0, soft(&named.category).0))))
}

fn permitted_use(of: &PermittedUse) -> [Html; 4] {
    let who = match &of.recipient {
        Some(name) => code(name),
        None => Html("any other service that asks".into()),
    };
    let may = if of.allowed.is_empty() {
        Html("<span class=\"none\">nothing</span>".into())
    } else {
        keys(&of.allowed)
    };
    let withheld = held_back(&of.withheld);
    [lines([escape(&of.purpose_title), code(&of.purpose)]), who, may, withheld]
}

/// Classes with one reason together: what decides is the reason, and `package.json` has each by itself.
fn held_back(classes: &[Withheld]) -> Html {
    let mut reasons: Vec<(String, u64, Vec<&str>)> = Vec::new();
    for class in classes {
        let why = why(class);
        let count = u64::from(class.count);
        match reasons.iter_mut().find(|(known, ..)| *known == why) {
            Some((_, total, categories)) => {
                *total = total.saturating_add(count);
                if !categories.contains(&class.category.as_str()) {
                    categories.push(&class.category);
                }
            }
            None => reasons.push((why, count, vec![&class.category])),
        }
    }
    lines(reasons.into_iter().map(|(why, count, categories)| {
        let facts = if count == 1 { "fact" } else { "facts" };
        let categories = soft(&format!("({})", categories.join(", "))).0;
        Html(format!("{count} {facts}: {} {categories}", escape(&why).0))
    }))
}

/// A reason to the person it is about; a rule of somebody else's speaks for itself.
fn why(of: &Withheld) -> String {
    match of.reason {
        "REASON_NO_CONSENT" => "you have not consented to this use",
        "REASON_CONSENT_REFUSED" => "you refused this use",
        "REASON_CONSENT_WITHDRAWN" => "you took back your consent to this use",
        "REASON_CONSENT_EXPIRED" => "your consent to this use has ended",
        "REASON_NOT_EXPLICIT" => "it is of a special category, and no explicit consent of yours names it",
        "REASON_RESTRICTED" => "you restricted use",
        "REASON_OBJECTED" => "you objected to this purpose",
        "REASON_PAUSED" => "you paused personalisation",
        "REASON_OPTED_OUT" => "you opted out",
        "REASON_CONTESTED" => "you said that it is wrong",
        "REASON_ATTRIBUTE_EXPIRED" => "its time has passed",
        "REASON_SOURCE_WITHHELD" => "what it was derived from may not be used",
        _ => return of.explanation.replace('`', ""),
    }
    .to_owned()
}

fn recipient(of: &Recipient) -> [Html; 6] {
    let times = |count: u64| if count == 1 { "once".to_owned() } else { format!("{count} times") };
    let often = format!("given {}, use reported {}", times(of.disclosures), times(of.uses));
    let all = |names: &[String]| lines(names.iter().map(|name| escape(name)));
    let (first, last) = (time(&of.first_received_at), time(&of.last_received_at));
    [code(&of.name), first, last, escape(&often), all(&of.purposes), all(&of.categories)]
}

fn because(consents: &[String]) -> Html {
    lines(consents.iter().map(|consent| Html(format!("your consent {}", code(consent).0))))
}

fn disclosure(of: &Disclosure) -> [Html; 6] {
    let mut grant = vec![code(&of.grant_id), Html(format!("until {}", time(&of.expires_at).0))];
    if !of.interaction.is_empty() {
        grant.push(Html(format!("in {}", foreign(&of.interaction).0)));
    }
    let purpose = escape(&of.purpose_title);
    [time(&of.at), code(&of.recipient), keys(&of.attributes), purpose, because(&of.consents), lines(grant)]
}

fn reported(of: &Use) -> [Html; 6] {
    let mut reply = vec![foreign(&of.reply), Html(format!("permission {}", code(&of.grant_id).0))];
    if of.count > 1 {
        reply.push(escape(&format!("{} times", of.count)));
    }
    if of.ai_disclosure_shown {
        reply.push(Html("you were told that a machine answers".into()));
    }
    let purpose = escape(&of.purpose_title);
    [time(&of.at), code(&of.recipient), keys(&of.attributes), purpose, because(&of.consents), lines(reply)]
}

fn revoked(of: &Fall) -> [Html; 4] {
    [time(&of.at), code(&of.recipient), escape(of.explanation), code(&of.grant_id)]
}

fn consent(of: &Consent) -> [Html; 7] {
    let all = |covers: &[Cover], none: &str| match covers {
        [] => Html(none.to_owned()),
        _ => lines(covers.iter().map(|cover| escape(&cover.title))),
    };
    let is_yes = matches!(of.decision, "given" | "renewed");
    let decision = match of.decision {
        "given" => "yes",
        "renewed" => "yes, again",
        "refused" => "no",
        _ => "no longer",
    };
    let mut decided = vec![Html(format!("<strong>{decision}</strong>"))];
    if of.explicit {
        decided.push(Html("explicit".into()));
    }
    let categories = all(&of.categories, if is_yes { "all but special ones" } else { "all" });
    let recipients = match of.recipients.as_slice() {
        [] => Html("all".into()),
        names => lines(names.iter().map(|name| code(name))),
    };
    let mut how = vec![Html(format!("through {}", by(&of.brought_by).0))];
    if !of.channel.is_empty() {
        how.push(Html(format!("by {}", foreign(&of.channel).0)));
    }
    if let Some(notice) = &of.notice {
        how.push(escape(&format!("text “{}”, version {}", notice.id, notice.version)));
    }
    let stands = match (of.in_force, &of.until) {
        (true, Some(until)) => Html(format!("yes, until {}", time(until).0)),
        (true, None) => Html("yes, until you take it back".into()),
        (false, _) if is_yes => Html("no longer".into()),
        (false, _) => Html("as a no".into()),
    };
    let when = lines([time(&of.recorded_at), code(&of.event_id)]);
    [when, lines(decided), all(&of.purposes, "all purposes"), categories, recipients, lines(how), stands]
}

fn signal(of: &Signal) -> [Html; 3] {
    let what = match of.kind {
        "objection" => "You object (GDPR Art. 21)",
        "restriction" => "You restricted use (GDPR Art. 18)",
        "opt_out" => "You opted out of sale and sharing (CCPA)",
        "limit_sensitive" => "You limited the use of sensitive data (CPRA)",
        _ => "You paused personalisation",
    };
    let purposes = match of.purposes.as_slice() {
        [] if of.interaction.is_some() => Html("one conversation".into()),
        [] => Html("everything".into()),
        names => lines(names.iter().map(|name| escape(name))),
    };
    [time(&of.recorded_at), Html(what.into()), purposes]
}

fn history(of: &History) -> [Html; 4] {
    let number = escape(&of.version.saturating_add(1).to_string());
    [number, time(&of.recorded_at), foreign(&of.explanation), by(&of.by)]
}
