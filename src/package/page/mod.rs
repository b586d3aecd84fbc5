//! Writes `index.html`, the form of the package that a person reads. It is one file without scripts, and
//! loads nothing.

mod cells;
pub mod html;
mod introduction;
mod json_text;
mod merged;
mod sections;
mod titles;

pub use introduction::{Counts, Head};
pub use titles::Titles;

use super::controller::Controller;
use super::format::{Kind, Section};
use super::record::{Disclosure, Notice, Record, Sink};
use base64::Engine;
use html::{Html, code, escape};
use merged::Merged;
use sha2::{Digest, Sha256};
use std::io::{self, Write};

const STYLE: &str = include_str!("page.css");

/// Writes the page.
pub struct Page<W: Write> {
    out: W,
    kind: Kind,
    titles: Titles,
    section: Option<Section>,
    /// Whether the current section has records.
    has_records: bool,
    /// Disclosures that will share a line.
    merged: Option<Merged>,
}

impl<W: Write> Page<W> {
    /// Writes everything above the first section.
    ///
    /// # Errors
    /// Writing failed.
    pub fn begin(mut out: W, head: &Head<'_>, titles: Titles) -> io::Result<Self> {
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
        write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hash}'; \
             base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"robots\" content=\"noindex\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <a class=\"skip\" href=\"#attributes\">Skip to what is stored</a>\n<header>\n<h1>{title}</h1>\n",
            title = head.title().0
        )?;
        out.write_all(head.introduction().0.as_bytes())?;
        out.write_all(b"</header>\n<nav aria-label=\"Contents\">\n<ul>\n")?;
        for section in head.kind.sections() {
            writeln!(out, "<li><a href=\"#{}\">{}</a></li>", section.name(), sections::text(*section).title)?;
        }
        out.write_all(b"<li><a href=\"#rights\">Your rights</a></li>\n</ul>\n</nav>\n<main>\n")?;
        Ok(Self { out, kind: head.kind, titles, section: None, has_records: false, merged: None })
    }

    /// Writes the line of the disclosures that were collected.
    fn write_merged(&mut self) -> io::Result<()> {
        match self.merged.take() {
            Some(merged) => self.row(Section::Disclosures, &cells::disclosure(&merged, &self.titles)),
            None => Ok(()),
        }
    }

    fn disclosure(&mut self, of: &Disclosure) -> io::Result<()> {
        if self.merged.as_mut().is_some_and(|merged| merged.add(of)) {
            return Ok(());
        }
        self.write_merged()?;
        self.merged = Some(Merged::new(of));
        Ok(())
    }

    fn end_section(&mut self) -> io::Result<()> {
        self.write_merged()?;
        let Some(section) = self.section.take() else { return Ok(()) };
        match (self.has_records, section) {
            (false, _) => self.out.write_all(b"<p class=\"none\">Nothing.</p>\n")?,
            (true, Section::Notices) => {}
            (true, _) => self.out.write_all(b"</tbody>\n</table>\n")?,
        }
        self.out.write_all(b"</section>\n")
    }

    /// Writes everything below the last section and returns the writer.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(mut self, controller: &Controller) -> io::Result<W> {
        self.end_section()?;
        self.out.write_all(introduction::rights(self.kind, controller).0.as_bytes())?;
        self.out.write_all(b"</main>\n</body>\n</html>\n")?;
        Ok(self.out)
    }

    fn begin_table(&mut self, section: Section) -> io::Result<()> {
        let text = sections::text(section);
        write!(
            self.out,
            "<table role=\"table\">\n<caption>{}</caption>\n<thead role=\"rowgroup\"><tr role=\"row\">",
            text.title
        )?;
        for heading in text.headings {
            write!(self.out, "<th role=\"columnheader\" scope=\"col\">{heading}</th>")?;
        }
        self.out.write_all(b"</tr></thead>\n<tbody role=\"rowgroup\">\n")
    }

    fn row(&mut self, section: Section, cells: &[Html]) -> io::Result<()> {
        // The ARIA roles are explicit, because a table loses its implicit roles when the style lays it out as
        // cards.
        self.out.write_all(b"<tr role=\"row\">")?;
        for (number, (cell, heading)) in cells.iter().zip(sections::text(section).headings).enumerate() {
            let (open, close) = match number {
                0 => ("th role=\"rowheader\" scope=\"row\"", "th"),
                _ => ("td role=\"cell\"", "td"),
            };
            write!(self.out, "<{open} data-label=\"{heading}\">{}</{close}>", cell.0)?;
        }
        self.out.write_all(b"</tr>\n")
    }

    fn notice(&mut self, notice: &Notice) -> io::Result<()> {
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

impl<W: Write> Sink for Page<W> {
    fn section(&mut self, section: Section) -> io::Result<()> {
        self.end_section()?;
        (self.section, self.has_records) = (Some(section), false);
        let text = sections::text(section);
        writeln!(
            self.out,
            "<section id=\"{}\">\n<h2>{}</h2>\n<p>{}</p>",
            section.name(),
            text.title,
            text.about
        )
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        let Some(section) = self.section else { return Ok(()) };
        if !self.has_records && section != Section::Notices {
            self.begin_table(section)?;
        }
        self.has_records = true;
        match record {
            Record::Attribute(of) => self.row(section, &cells::attribute(of)),
            Record::PermittedUse(of) => self.row(section, &cells::permitted_use(of, &self.titles)),
            Record::Recipient(of) => self.row(section, &cells::recipient(of, &self.titles)),
            Record::PriorRecipient(of) => self.row(section, &cells::prior_recipient(of, &self.titles)),
            Record::Disclosure(of) => self.disclosure(of),
            Record::Use(of) => self.row(section, &cells::reported_use(of, &self.titles)),
            Record::Artifact(of) => self.row(section, &cells::artifact(of, &self.titles)),
            Record::RevokedGrant(of) => self.row(section, &cells::revoked_grant(of)),
            Record::Consent(of) => self.row(section, &cells::consent(of)),
            Record::Signal(of) => self.row(section, &cells::signal(of, &self.titles)),
            Record::History(of) => self.row(section, &cells::history(of)),
            Record::Notice(of) => self.notice(of),
        }
    }
}
