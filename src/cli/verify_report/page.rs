//! The report as one HTML page. It has no scripts and loads nothing, and text from the bundle cannot become
//! markup in it.

use super::content::{Checked, Content, Outcome, conditions, pack_name};
use super::sentences;
use crate::cli::output::{count, people};
use crate::package::html::{Html, code, escape, foreign, lines};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sayso_proof::bundle::VerifyFailure;
use sayso_proof::bundle::usage::{GrantRecord, Total, Usage};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Write};

const STYLE: &str = include_str!("page.css");
/// Maximum number of grants on the page, because a browser shows longer tables slowly. The other formats list
/// all grants.
const GRANTS_MAX: u64 = 10_000;
/// The sections of a page about a bundle that verifies, in order, with their titles.
const SECTIONS: [(&str, &str); 7] = [
    ("findings", "Findings"),
    ("unchecked", "Grants that were not checked in full"),
    ("seen", "What was verified"),
    ("totals", "Uses by service, purpose and category"),
    ("grants", "Grants"),
    ("rules", "Rules that grants cite"),
    ("log", "Rules and events of the log"),
];

/// Writes the page.
pub(super) fn write(content: &Content<'_>, out: &mut dyn Write) -> io::Result<()> {
    begin(content, out)?;
    match &content.outcome {
        Outcome::Failed(failure) => failed(content, failure, out)?,
        Outcome::Checked(checked) => {
            out.write_all(b"<nav aria-label=\"Contents\">\n<ul>\n")?;
            for (id, title) in SECTIONS {
                writeln!(out, "<li><a href=\"#{id}\">{title}</a></li>")?;
            }
            out.write_all(b"</ul>\n</nav>\n<main>\n")?;
            findings(checked, out)?;
            unchecked(checked, out)?;
            seen(content, checked, out)?;
            totals(checked, out)?;
            let sets = sentences::rule_sets(checked.usage);
            grants(checked, &sets, out)?;
            rules(checked, &sets, out)?;
            log(checked, out)?;
        }
    }
    out.write_all(b"</main>\n</body>\n</html>\n")
}

fn begin(content: &Content<'_>, out: &mut dyn Write) -> io::Result<()> {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let title = match &content.outcome {
        Outcome::Checked(checked) => format!("Verification report: {}", checked.report.origin),
        Outcome::Failed(_) => "Verification report".to_owned(),
    };
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hash}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"robots\" content=\"noindex\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#verdict\">Skip to the verdict</a>\n<header>\n<h1>{title}</h1>\n\
         <p class=\"soft\">Made {} by sayso {}, from {}</p>\n",
        sentences::at(content.made_ms),
        env!("CARGO_PKG_VERSION"),
        code(&content.file),
        title = escape(&title),
    )?;
    let (class, meaning) = match (content.status, &content.outcome) {
        (0, _) => ("good", "Every check passed, and every grant was checked in full."),
        (6, _) => ("doubt", "No check failed, but not all grants could be checked in full."),
        (7, _) => ("doubt", "This is neither a proof that the log is right nor that it is forged."),
        (_, Outcome::Failed(_)) => ("bad", "Nothing in this bundle is known to be true."),
        (_, Outcome::Checked(_)) => ("bad", "The log is intact and shows what should not have happened."),
    };
    writeln!(
        out,
        "<div id=\"verdict\" class=\"verdict {class}\"><strong>{}</strong>\n<p>{meaning} Exit status: {}.</p></div>\n\
         </header>",
        escape(&content.verdict),
        content.status,
    )
}

fn failed(content: &Content<'_>, failure: &VerifyFailure, out: &mut dyn Write) -> io::Result<()> {
    let position = failure.position.map_or_else(|| "none".to_owned(), |position| position.to_string());
    out.write_all(b"<main>\n<section id=\"failure\">\n<h2>What failed</h2>\n<dl>\n")?;
    fact(out, "Reason", &foreign(&failure.reason))?;
    fact(out, "Position of the entry", &escape(&position))?;
    fact(out, "Place", &code(&failure.place))?;
    fact(out, "Key of the log", &code(&content.key))?;
    fact(out, "Given", &escape(content.given.trim_start_matches("given: ")))?;
    out.write_all(
        b"</dl>\n<p>Checks stop at the first failure. So this report lists no grants, uses or rules: none of them \
          was checked to the end.</p>\n</section>\n",
    )
}

fn fact(out: &mut dyn Write, name: &str, value: &Html) -> io::Result<()> {
    writeln!(out, "<dt>{name}</dt><dd>{value}</dd>")
}

/// Begins one of the [`SECTIONS`].
fn section(out: &mut dyn Write, id: &str, about: &str) -> io::Result<()> {
    let title = SECTIONS.iter().find(|(of, _)| *of == id).map_or("", |(_, title)| *title);
    writeln!(out, "<section id=\"{id}\">\n<h2>{title}</h2>")?;
    if about.is_empty() { Ok(()) } else { writeln!(out, "<p>{about}</p>") }
}

fn begin_table(out: &mut dyn Write, headings: &[&str]) -> io::Result<()> {
    out.write_all(b"<div class=\"scroll\"><table>\n<thead><tr>")?;
    for heading in headings {
        let (heading, class) = numeric(heading);
        write!(out, "<th scope=\"col\"{class}>{heading}</th>")?;
    }
    out.write_all(b"</tr></thead>\n<tbody>\n")
}

/// Splits a table heading into its text and its CSS class. A leading `#` marks a column of numbers.
fn numeric(heading: &str) -> (&str, &'static str) {
    heading.strip_prefix('#').map_or((heading, ""), |heading| (heading, " class=\"n\""))
}

fn end_table(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"</tbody>\n</table></div>\n")
}

fn end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"</section>\n")
}

fn none(out: &mut dyn Write, text: &str) -> io::Result<()> {
    writeln!(out, "<p class=\"none\">{text}</p>")
}

fn seen(content: &Content<'_>, checked: &Checked<'_>, out: &mut dyn Write) -> io::Result<()> {
    let report = checked.report;
    section(out, "seen", "")?;
    out.write_all(b"<dl>\n")?;
    fact(out, "Log", &foreign(&report.origin))?;
    let last = sentences::at(report.recorded_to_ms);
    fact(out, "Entries", &escape(&format!("{}, up to ", report.tree_size)).with(&last))?;
    let counts = format!(
        "{} opened, {} about the log itself, {} withheld, {} erased; {}; {} verified",
        report.opened,
        report.plain,
        report.withheld,
        report.erased,
        people(report.subjects),
        count(report.signatures, "signature"),
    );
    fact(out, "Of these", &escape(&counts))?;
    fact(out, "Root of the tree", &code(&report.root))?;
    fact(out, "Key of the log", &code(&content.key))?;
    fact(out, "Given", &escape(content.given.trim_start_matches("given: ")))?;
    let edition = report.rules.edition;
    let edition = if edition == 0 { "none stated".to_owned() } else { edition.to_string() };
    fact(out, "Edition of the rules of decisions", &escape(&edition))?;
    out.write_all(b"</dl>\n<h3>What the verdict does not show</h3>\n<ul>\n")?;
    for sentence in checked.not_shown {
        writeln!(out, "<li>{}</li>", escape(sentence))?;
    }
    for file in &report.stated_only {
        writeln!(
            out,
            "<li>what the operator states in the file {}, which no entry contains</li>",
            code(file)
        )?;
    }
    out.write_all(
        b"<li>whether the rules that a grant cites are good rules: the verifier checks which rules were in force \
          and who signed them, and does not evaluate their policies</li>\n\
          <li>uses that a service did not report</li>\n</ul>\n",
    )?;
    end(out)
}

fn findings(checked: &Checked<'_>, out: &mut dyn Write) -> io::Result<()> {
    let findings = &checked.report.grants.findings;
    section(out, "findings", "What should not be as it is, in the order of the log.")?;
    if findings.is_empty() {
        none(out, "None.")?;
        return end(out);
    }
    begin_table(out, &["position", "what is wrong", "grant", "attribute"])?;
    for finding in findings {
        let id = |id: &str| if id.is_empty() { escape("–") } else { code(id) };
        // The link leads to the grant, if it is in the list.
        let grant = match finding.grant.as_str() {
            "" => "–".to_owned(),
            grant => format!("<a href=\"#grant-{}\">{}</a>", escape(grant), code(grant)),
        };
        writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{grant}</td><td>{}</td></tr>",
            finding.position,
            escape(&finding.fault.to_string()),
            id(finding.attribute.as_deref().unwrap_or_default()),
        )?;
    }
    end_table(out)?;
    if findings.len() >= 1000 {
        out.write_all(b"<p>Only the first 1,000 findings are listed.</p>\n")?;
    }
    end(out)
}

fn unchecked(checked: &Checked<'_>, out: &mut dyn Write) -> io::Result<()> {
    let grants = &checked.report.grants;
    let about = "What could be checked about these grants is right. What is missing was erased or withheld.";
    section(out, "unchecked", about)?;
    if grants.unchecked == 0 {
        none(out, "None.")?;
        return end(out);
    }
    begin_table(out, &["position", "grant", "what is missing"])?;
    for grant in &grants.unchecked_grants {
        let doubts = lines(grant.doubts.iter().map(|doubt| escape(&doubt.to_string())));
        let (position, id) = (grant.position, code(&grant.grant));
        writeln!(out, "<tr><th scope=\"row\">{position}</th><td>{id}</td><td>{doubts}</td></tr>")?;
    }
    end_table(out)?;
    let left_out = grants.unchecked.saturating_sub(grants.unchecked_grants.len() as u64);
    if left_out > 0 {
        writeln!(out, "<p>And {}.</p>", count(left_out, "more grant"))?;
    }
    end(out)
}

/// Says which grants are listed.
fn listed(checked: &Checked<'_>, out: &mut dyn Write) -> io::Result<()> {
    let usage = checked.usage;
    let conditions = conditions(usage.query());
    if conditions.is_empty() {
        out.write_all(b"<p>All grants that allow something.</p>\n")?;
    } else {
        let conditions: Vec<String> =
            conditions.iter().map(|condition| format!("<li>{}</li>", foreign(condition))).collect();
        writeln!(
            out,
            "<p>The verdict and the findings above are about the whole log. From here on, this report has only \
             grants that allow something and fit all of this:</p>\n<ul>{}</ul>",
            conditions.concat()
        )?;
    }
    for word in usage.undefined() {
        writeln!(out, "<p class=\"doubt\">The log does not define {}.</p>", foreign(&word))?;
    }
    let report = checked.report;
    if report.erased > 0 || report.withheld > 0 {
        writeln!(
            out,
            "<p class=\"doubt\">{} erased and {} withheld. Grants and uses among them are not listed.</p>",
            count(report.erased, "entry"),
            report.withheld
        )?;
    }
    Ok(())
}

fn totals(checked: &Checked<'_>, out: &mut dyn Write) -> io::Result<()> {
    section(out, "totals", "")?;
    listed(checked, out)?;
    let (totals, left_out) = checked.usage.totals();
    if totals.is_empty() {
        none(out, "No grant fits.")?;
        return end(out);
    }
    let headings = [
        "service",
        "purpose",
        "category",
        "#grants",
        "#people",
        "#reported uses shaped by it",
        "#not checked in full",
        "#with a finding",
    ];
    begin_table(out, &headings)?;
    for Total { of, grants, people, uses, not_in_full, findings } in &totals {
        write!(out, "<tr><th scope=\"row\">{}</th>", foreign(&of.recipient))?;
        write!(out, "<td>{}</td><td>{}</td>", foreign(&of.purpose), foreign(&of.category))?;
        for number in [grants, people, uses, not_in_full, findings] {
            write!(out, "<td class=\"n\">{number}</td>")?;
        }
        out.write_all(b"</tr>\n")?;
    }
    end_table(out)?;
    if left_out > 0 {
        writeln!(out, "<p>{} of further combinations not counted here.</p>", count(left_out, "grant"))?;
    }
    end(out)
}

fn grants(checked: &Checked<'_>, sets: &BTreeMap<Vec<u64>, usize>, out: &mut dyn Write) -> io::Result<()> {
    let about = "Each grant with the data that it allowed, what allowed it, and the uses that the service reported. \
                 A person is shown by the handle that stands for them in the log. Values are not shown. Times are in UTC.";
    section(out, "grants", about)?;
    let usage = checked.usage;
    if usage.count() == 0 {
        none(out, "No grant fits.")?;
        return end(out);
    }
    let headings = [
        "grant",
        "service and purpose",
        "data and what allowed it",
        "person",
        "rules",
        "use and end",
        "check",
    ];
    begin_table(out, &headings)?;
    let mut written = 0;
    usage.for_each(&mut |grant| {
        written += 1;
        if written <= GRANTS_MAX { write_grant(out, &grant, sets) } else { Ok(()) }
    })?;
    end_table(out)?;
    let left_out = usage.left_out().saturating_add(usage.count().saturating_sub(GRANTS_MAX));
    if left_out > 0 {
        writeln!(
            out,
            "<p class=\"doubt\">{} more not shown on this page. Narrow the query with `--query`, or write the report \
             as CSV or JSON.</p>",
            count(left_out, "grant")
        )?;
    }
    end(out)
}

fn write_grant(out: &mut dyn Write, grant: &GrantRecord, sets: &BTreeMap<Vec<u64>, usize>) -> io::Result<()> {
    let position = grant.position;
    let conversation = match grant.conversation.as_str() {
        "" => Html::default(),
        conversation => escape("conversation ").with(&foreign(conversation)),
    };
    let rules = match (sets.get(&grant.packs), grant.packs.as_slice()) {
        (_, []) => "none".to_owned(),
        (Some(number), _) => format!("<a href=\"#r{number}\">R{number}</a>"),
        (None, packs) => packs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    writeln!(
        out,
        "<tr id=\"grant-{}\"><th scope=\"row\">{}<br><span class=\"soft\">position {position}</span></th><td>{}</td>\
         <td>{}</td><td>{}</td><td>{rules}</td><td>{}</td><td>{}</td></tr>",
        escape(&grant.grant),
        sentences::short(grant.recorded_at_ms),
        lines([foreign(&grant.recipient), foreign(&grant.purpose), conversation]),
        sentences::data(grant),
        code(&grant.person),
        sentences::uses(grant),
        sentences::check(grant.check),
    )
}

fn rules(checked: &Checked<'_>, sets: &BTreeMap<Vec<u64>, usize>, out: &mut dyn Write) -> io::Result<()> {
    let about = "The packs of bounds that were in force when a grant was issued, as the grant cites them.";
    section(out, "rules", about)?;
    if sets.keys().all(Vec::is_empty) {
        none(out, "No grant cites a rule.")?;
        return end(out);
    }
    begin_table(out, &["set", "packs"])?;
    for (set, number) in sets.iter().filter(|(set, _)| !set.is_empty()) {
        writeln!(
            out,
            "<tr id=\"r{number}\"><th scope=\"row\">R{number}</th><td>{}</td></tr>",
            packs(checked.usage, set)
        )?;
    }
    end_table(out)?;
    end(out)
}

fn packs(usage: &Usage, set: &[u64]) -> Html {
    lines(set.iter().map(|position| foreign(&pack_name(usage, *position))))
}

fn log(checked: &Checked<'_>, out: &mut dyn Write) -> io::Result<()> {
    let about = "Who published which rules, and what happened to the log. A version of a rule is in force until the \
                 next one takes effect. Times are in UTC.";
    section(out, "log", about)?;
    let (left_out, first_words) = checked.usage.log_events_left_out();
    begin_table(out, &["position", "recorded", "event", "takes effect", "by", "check"])?;
    for event in checked.usage.log_events() {
        let from = event.effective_from_ms.map_or_else(|| escape("when recorded"), sentences::short);
        let check = if event.has_finding { "<span class=\"tag bad\">finding</span>" } else { "" };
        writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{from}</td><td>{}</td><td>{check}</td></tr>",
            event.position,
            sentences::short(event.recorded_at_ms),
            sentences::event(event),
            sentences::author(event),
        )?;
    }
    end_table(out)?;
    if first_words > 0 {
        let words = count(first_words, "purpose and category");
        let words = words.replace("purpose and categories", "purposes and categories");
        writeln!(out, "<p>Not listed: {words} that the log began with.</p>")?;
    }
    let commitments = checked.usage.map_commitments();
    if commitments > 0 {
        let commitments = count(commitments, "commitment");
        writeln!(out, "<p>Not listed: {commitments} to the subject map, which the verdict covers.</p>")?;
    }
    if left_out > 0 {
        writeln!(out, "<p>And {}.</p>", count(left_out, "more event"))?;
    }
    end(out)
}
