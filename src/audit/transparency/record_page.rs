//! The record of processing activities as one HTML page.

use super::chart::{escape, prose};
use super::page::{head, minute};
use super::record::Processing;
use crate::domain::wording;
use std::fmt::Write;

/// Renders a record.
#[must_use]
pub fn page(origin: &str, record: &Processing) -> String {
    let declared = &record.declared;
    let mut page = head(&format!("Record of processing activities of {}", declared.controller));
    let _infallible = write!(
        page,
        "<header>\n<h1>Record of processing activities</h1>\n<p class=\"quiet\">GDPR Art. 30(1) · {} · made {} from {} \
         entries</p>\n</header>\n<main>\n",
        escape(origin),
        minute(record.generated_at_ms),
        record.tree_size
    );
    if !record.gaps.is_empty() {
        let _infallible =
            writeln!(page, "<p class=\"note\">Required and not set: {}.</p>", prose(&record.gaps.join("; ")));
    }
    let text = |text: &str| if text.is_empty() { "not set".to_owned() } else { escape(text) };
    table(
        &mut page,
        "a",
        "Controller",
        &["role", "name or contact"],
        vec![
            vec!["Controller".to_owned(), text(&declared.controller)],
            vec!["Contact".to_owned(), text(&declared.contact)],
            vec!["Representative".to_owned(), text(&declared.representative)],
            vec!["Data protection officer".to_owned(), text(&declared.data_protection_officer)],
        ],
    );
    let yes = |holds: bool| if holds { "yes" } else { "no" }.to_owned();
    let purposes = record.purposes.iter().map(|purpose| {
        let (definition, is_used) = (&purpose.definition, yes(purpose.is_used));
        let meaning = match purpose.description.as_str() {
            "" => escape(&definition.title),
            description => format!("{}: {}", escape(&definition.title), escape(description)),
        };
        let basis = wording::legal_bases(definition.declared_basis(), &definition.basis_reference);
        vec![escape(&definition.id), meaning, escape(&definition.parent), escape(&basis), is_used]
    });
    let headings = ["purpose", "meaning", "part of", "legal basis", "used so far"];
    table(&mut page, "b", "Purposes", &headings, purposes.collect());
    list(&mut page, "c", "Categories of data subjects", &declared.data_subjects);
    let categories = record.categories.iter().map(|category| {
        let definition = &category.definition;
        vec![
            escape(&definition.id),
            escape(&definition.title),
            yes(category.is_special),
            yes(category.is_stored),
        ]
    });
    let headings = ["category", "meaning", "special (Art. 9)", "stored now"];
    table(&mut page, "c", "Categories of personal data", &headings, categories.collect());
    let recipients = record.recipients.iter().map(|recipient| {
        let last = recipient.last_grant_at_ms.map_or_else(|| "never".to_owned(), minute);
        let purposes = escape(&recipient.purposes.join(", "));
        vec![escape(&recipient.name), purposes, last, escape(&recipient.description)]
    });
    let headings = ["recipient", "purposes", "last grant", "description"];
    table(&mut page, "d", "Recipients", &headings, recipients.collect());
    list(&mut page, "e", "Transfers to third countries, with safeguards", &declared.transfers);
    let retention = record.retention.iter().map(|limit| vec![escape(&limit.what), escape(&limit.limit)]);
    table(&mut page, "f", "Time limits for erasure", &["applies to", "limit"], retention.collect());
    list(&mut page, "g", "Technical and organizational security measures", &declared.security_measures);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn open(page: &mut String, letter: &str, title: &str) {
    let _infallible = writeln!(page, "<section>\n<h2>({letter}) {}</h2>", escape(title));
}

/// Renders a table. The cells must be escaped.
fn table(page: &mut String, letter: &str, title: &str, headings: &[&str], rows: Vec<Vec<String>>) {
    open(page, letter, title);
    if rows.is_empty() {
        page.push_str("<p class=\"quiet\">None.</p>\n</section>\n");
        return;
    }
    let columns: String = headings
        .iter()
        .map(|heading| format!("<th role=\"columnheader\" scope=\"col\">{heading}</th>"))
        .collect();
    // The ARIA roles are explicit, because a table loses its implicit roles when the style lays it out as
    // cards.
    let _infallible = write!(
        page,
        "<table class=\"cards\" role=\"table\">\n<thead role=\"rowgroup\"><tr role=\"row\">{columns}</tr></thead>\n\
         <tbody role=\"rowgroup\">\n"
    );
    for row in rows {
        page.push_str("<tr role=\"row\">");
        for (number, (cell, heading)) in row.iter().zip(headings).enumerate() {
            let (open, close) = match number {
                0 => ("th role=\"rowheader\" scope=\"row\"", "th"),
                _ => ("td role=\"cell\"", "td"),
            };
            let _infallible = write!(page, "<{open} data-label=\"{heading}\">{cell}</{close}>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
}

fn list(page: &mut String, letter: &str, title: &str, items: &[String]) {
    open(page, letter, title);
    if items.is_empty() {
        page.push_str("<p class=\"quiet\">Not set.</p>\n");
    } else {
        let items: String = items.iter().map(|item| format!("<li>{}</li>\n", escape(item))).collect();
        let _infallible = writeln!(page, "<ul>\n{items}</ul>");
    }
    page.push_str("</section>\n");
}
