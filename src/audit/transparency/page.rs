//! The report as one HTML page: charts beside their tables, without scripts or external resources.

use super::catalog::FIGURES;
use super::chart::{self, Bar, escape, prose};
use super::figure::{Figure, FigureTable, Report, Status, TableForm};
use super::labels::{NO_POLICY, NOT_RECORDED};
use super::number_format::{self, number};
use crate::domain::wording;
use std::fmt::Write;

/// Style of the pages of the report and of the record of processing.
pub(super) const STYLE: &str = include_str!("page.css");
/// Rows of one table on the page; the JSON of the report has all rows.
const ROWS_SHOWN_MAX: usize = 60;

/// The beginning of a page, up to its first heading.
pub(super) fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(title)
    )
}

/// A date in UTC.
pub(super) fn date(ms: u64) -> String {
    wording::time(ms).chars().take(10).collect()
}

/// A time in UTC, to the minute.
pub(super) fn minute(ms: u64) -> String {
    let time: String = wording::time(ms).chars().take(16).collect();
    format!("{} UTC", time.replace('T', " "))
}

/// Renders a report.
#[must_use]
pub fn page(report: &Report) -> String {
    let last_day = report.to_ms.saturating_sub(1);
    let period = format!("{} to {}", date(report.from_ms), date(last_day));
    let mut page = head(&format!("Transparency report of {}, {period}", report.origin));
    let _infallible = write!(
        page,
        "<header>\n<h1>Transparency report</h1>\n<p class=\"quiet\">{} · {period}, whole days in UTC</p>\n",
        escape(&report.origin)
    );
    page.push_str("</header>\n");
    page.push_str(&summary(report));
    page.push_str("<section aria-labelledby=\"made-h\">\n<h2 id=\"made-h\">How it was made</h2>\n");
    page.push_str(&facts(report));
    page.push_str(&how_to_read(report));
    page.push_str("</section>\n<nav aria-label=\"Figures\">\n<ol>\n");
    for figure in &report.figures {
        let _infallible =
            writeln!(page, "<li><a href=\"#{}\">{}</a></li>", figure.spec.id, escape(figure.spec.title));
    }
    page.push_str("</ol>\n</nav>\n<main>\n");
    report.figures.iter().for_each(|figure| section(&mut page, figure, report));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// The most important numbers, before everything else.
fn summary(report: &Report) -> String {
    let mut html =
        "<section id=\"summary\" aria-labelledby=\"summary-h\">\n<h2 id=\"summary-h\">Summary</h2>\n\
         <dl class=\"summary\">\n"
            .to_owned();
    for line in &report.summary {
        let title = prose(&line.title);
        let (title, class) = match line.figure {
            "" => (title, " class=\"quiet\""),
            figure => (format!("<a href=\"#{figure}\">{title}</a>"), ""),
        };
        let _infallible = writeln!(html, "<div><dt>{title}</dt><dd{class}>{}</dd></div>", escape(&line.text));
    }
    html.push_str("</dl>\n</section>\n");
    html
}

fn facts(report: &Report) -> String {
    let noise = if report.epsilon > 0.0 {
        format!(
            "epsilon {} (spent on this period: {} of {})",
            report.epsilon, report.epsilon_spent, report.epsilon_max
        )
    } else {
        "none".to_owned()
    };
    let facts = [
        ("Groups shown", format!("of at least {} people", report.k)),
        ("Noise", noise),
        ("Entries counted", number(super::suppress::as_number(report.tree_size))),
        ("Recorded in the log at position", report.position.to_string()),
        ("Made", minute(report.generated_at_ms)),
        ("Other reports that overlap", report.overlapping.to_string()),
    ];
    let items = facts.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(&value)));
    format!("<dl class=\"facts\">\n{}</dl>\n", items.concat())
}

fn how_to_read(report: &Report) -> String {
    let k = report.k;
    let noise = if report.epsilon > 0.0 {
        " Every count has random noise, so that no figure depends noticeably on any one person. <em>120 ± 30</em> \
         means: in 95 of 100 reports, the count without noise is from 90 to 150. Numbers that are no larger than \
         their noise are not shown, so rows may not add up."
    } else {
        ""
    };
    let overlap = if report.overlapping > 0 && report.epsilon <= 0.0 {
        " Earlier reports cover overlapping periods: the differences between them may concern few people."
    } else {
        ""
    };
    format!(
        "<p>What a ledger of consent and use can measure of the benefits and risks of personalization. Rows of \
         fewer than {k} people are counted in <em>others</em>, together with one larger row, so that the total \
         does not reveal them.{noise}{overlap}</p>\n"
    )
}

fn section(page: &mut String, figure: &Figure, report: &Report) {
    let spec = figure.spec;
    let at = FIGURES.iter().position(|each| each.id == spec.id).map_or(0, |at| at + 1);
    let _infallible = write!(
        page,
        "<section id=\"{}\" aria-labelledby=\"{0}-h\">\n<h2 id=\"{0}-h\">{at}. {}</h2>\n<dl class=\"about\">\n\
         <dt>Counted</dt><dd>{}</dd>\n<dt>Limits</dt><dd>{}</dd>\n<dt>Answers</dt><dd>{}</dd>\n</dl>\n",
        spec.id,
        escape(spec.title),
        prose(spec.definition),
        prose(spec.limits),
        prose(spec.paper),
    );
    let note = match figure.status {
        Status::Available if figure.missing.is_empty() => String::new(),
        Status::Available => format!("Missing: {}.", figure.missing),
        Status::NotAvailable => format!("Not available: {}.", figure.missing),
        Status::NotObservable => "A ledger can't observe this.".to_owned(),
    };
    if !note.is_empty() {
        let _infallible = writeln!(page, "<p class=\"note\">{}</p>", prose(&note));
    }
    if figure.status == Status::Available {
        ratios(page, figure);
        figure.tables.iter().for_each(|table| pair(page, table, report));
    }
    page.push_str("</section>\n");
}

fn ratios(page: &mut String, figure: &Figure) {
    if figure.ratios.is_empty() {
        return;
    }
    page.push_str("<ul class=\"ratios\">\n");
    for ratio in &figure.ratios {
        let value = escape(&number_format::ratio(ratio));
        let title = escape(&ratio.title);
        let _infallible = writeln!(
            page,
            "<li><strong>{value}</strong> {title} <span class=\"quiet small\">{}</span></li>",
            escape(number_format::caveat(ratio))
        );
    }
    page.push_str("</ul>\n");
}

/// Renders a chart and its table.
fn pair(page: &mut String, table: &FigureTable, report: &Report) {
    let derived = if table.derived {
        " <span class=\"quiet small\">computed from the numbers above</span>"
    } else {
        ""
    };
    let _infallible = writeln!(page, "<h3>{}{derived}</h3>", prose(&table.title));
    let shown = &table.shown;
    if shown.suppressed {
        let _infallible = writeln!(page, "<p class=\"note\">Fewer than {} people: not shown.</p>", report.k);
        return;
    }
    if shown.rows.is_empty() && shown.others.is_none() {
        if let Some(note) = unprinted(table) {
            let _infallible = writeln!(page, "<p class=\"note\">{note}</p>");
            return;
        }
        let nothing = if table.derived { "None among the rows shown." } else { "Nothing in this period." };
        let _infallible = writeln!(page, "<p class=\"quiet\">{nothing}</p>");
        return;
    }
    let bars: Vec<Bar> = shown
        .rows
        .iter()
        .map(|(labels, value)| Bar {
            label: label_of(labels),
            value: value.value,
            text: number_format::amount(*value),
            rest: false,
        })
        .chain(shown.others.map(|value| Bar {
            label: "others".into(),
            value: value.value,
            text: number_format::amount(value),
            rest: true,
        }))
        .collect();
    let is_list = table.form == TableForm::List;
    let largest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let max = if table.form == TableForm::Fractions { 1.0 } else { largest };
    page.push_str(if is_list { "<div class=\"pair alone\">\n" } else { "<div class=\"pair\">\n" });
    if !is_list {
        page.push_str(&chart::bars(&format!("c-{}", table.id), &table.title, table.unit, &bars, max));
    }
    rows(page, table);
    page.push_str("</div>\n");
}

/// Which numbers of a table are not printed because they are no larger than their noise; `None` if all
/// numbers are printed.
fn unprinted(table: &FigureTable) -> Option<String> {
    let not_printed = table.unprinted;
    let rows = match not_printed.rows {
        0 => None,
        1 => Some("1 row".to_owned()),
        rows => Some(format!("{} rows", number(f64::from(rows)))),
    };
    let sum = |name: &str, margin: Option<f64>| margin.map(|margin| format!("{name} (± {})", number(margin)));
    let parts = [rows, sum("others", not_printed.others), sum("all", not_printed.total)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("Not shown, because no larger than the noise: {}.", parts.join(", ")))
}

/// The labels of a row in one line, without empty ones.
fn label_of(labels: &[String]) -> String {
    let filled: Vec<&str> = labels
        .iter()
        .map(String::as_str)
        .filter(|label| *label != NOT_RECORDED && *label != NO_POLICY)
        .collect();
    if filled.is_empty() { NOT_RECORDED.to_owned() } else { filled.join(" · ") }
}

fn rows(page: &mut String, table: &FigureTable) {
    let (shown, is_list) = (&table.shown, table.form == TableForm::List);
    let unit = if table.unit.is_empty() { "value" } else { table.unit };
    let _infallible = write!(
        page,
        "<div class=\"scroll\"><table>\n<caption class=\"unseen\">{}</caption>\n<thead><tr>",
        escape(&table.title)
    );
    for dimension in &table.dimensions {
        let _infallible = write!(page, "<th scope=\"col\">{}</th>", escape(dimension));
    }
    if !is_list {
        let _infallible = write!(page, "<th scope=\"col\" class=\"n\">{}</th>", escape(unit));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for (labels, value) in shown.rows.iter().take(ROWS_SHOWN_MAX) {
        page.push_str("<tr>");
        for (at, label) in labels.iter().enumerate() {
            let (open, close) = if at == 0 { ("<th scope=\"row\">", "</th>") } else { ("<td>", "</td>") };
            let _infallible = write!(page, "{open}{}{close}", escape(label));
        }
        if !is_list {
            let _infallible = write!(page, "<td class=\"n\">{}</td>", number_format::amount(*value));
        }
        page.push_str("</tr>\n");
    }
    let columns = table.dimensions.len();
    if let Some(others) = shown.others {
        let _infallible = writeln!(
            page,
            "<tr><th scope=\"row\" colspan=\"{columns}\" class=\"quiet\">others</th><td class=\"n\">{}</td></tr>",
            number_format::amount(others)
        );
    }
    page.push_str("</tbody>\n");
    if let Some(total) = shown.total {
        let _infallible = writeln!(
            page,
            "<tfoot><tr><th scope=\"row\" colspan=\"{columns}\">all</th><td class=\"n\">{}</td></tr></tfoot>",
            number_format::amount(total)
        );
    }
    page.push_str("</table>");
    let more = shown.rows.len().saturating_sub(ROWS_SHOWN_MAX);
    if more > 0 {
        let _infallible =
            write!(page, "<p class=\"quiet small\">{more} more rows are in the JSON of the report.</p>");
    }
    if let Some(note) = unprinted(table) {
        let _infallible = write!(page, "<p class=\"quiet small\">{note}</p>");
    }
    page.push_str("</div>\n");
}
