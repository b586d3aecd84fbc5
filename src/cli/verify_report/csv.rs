//! The report as CSV (RFC 4180): one line for each grant, category and legal basis (a consent or another
//! basis). Lines that begin with `#` have the verdict and what the list does not show.

use super::content::{Checked, Content, Outcome, conditions, pack_name};
use super::json::basis_name;
use crate::cli::output::count;
use crate::domain::wording;
use crate::telemetry::escaped;
use sayso_proof::bundle::usage::{AllowedData, Check, GrantRecord, Usage};
use std::borrow::Cow;
use std::io::{self, Write};

const COLUMNS: &str = "position,recorded_at,recipient,purpose,conversation,person,grant,category,attributes,\
                       basis,ground_position,consented_at,recorded_by,guardian,explicit,notice,notice_version,\
                       notice_language,notice_position,rules,expires_at,revoked_at,revocation_reason,\
                       uses_reported,last_use_reported_at,reused,check";

/// Writes the report.
pub(super) fn write(content: &Content<'_>, out: &mut dyn Write) -> io::Result<()> {
    comment(out, &content.verdict)?;
    comment(out, &format!("file {}; {}", content.file, content.given))?;
    comment(out, &format!("made {} by sayso {}", wording::time(content.made_ms), env!("CARGO_PKG_VERSION")))?;
    let Outcome::Checked(Checked { report, usage, not_shown, .. }) = &content.outcome else {
        return comment(out, "nothing is listed, because nothing in this bundle is known to be true");
    };
    for finding in &report.grants.findings {
        comment(out, &format!("finding: {finding}"))?;
    }
    for sentence in *not_shown {
        comment(out, &format!("not shown: {sentence}"))?;
    }
    let unseen = report.erased.saturating_add(report.withheld);
    if unseen > 0 {
        let entries = count(unseen, "entry");
        comment(out, &format!("{entries} erased or withheld: the list has no grants and uses from them"))?;
    }
    let conditions = conditions(usage.query());
    if !conditions.is_empty() {
        comment(out, &format!("only {}", conditions.join("; ")))?;
    }
    if usage.left_out() > 0 {
        comment(
            out,
            &format!("{} left out, because the list is too long", count(usage.left_out(), "grant")),
        )?;
    }
    write!(out, "{COLUMNS}\r\n")?;
    usage.for_each(&mut |grant| write_grant(out, &grant, usage))
}

/// Writes a comment line. Line breaks in the text become spaces, so text from the bundle can't begin a line.
fn comment(out: &mut dyn Write, text: &str) -> io::Result<()> {
    write!(out, "# {}\r\n", escaped(text).replace(['\r', '\n'], " "))
}

fn write_grant(out: &mut dyn Write, grant: &GrantRecord, usage: &Usage) -> io::Result<()> {
    let rules: Vec<String> = grant.packs.iter().map(|position| pack_name(usage, *position)).collect();
    let rules = rules.join("; ");
    for data in &grant.data {
        let cells = cells_of(grant, data, &rules)?;
        let cells: Vec<Cow<'_, str>> = cells.iter().map(|text| cell(text)).collect();
        write!(out, "{}\r\n", cells.join(","))?;
    }
    Ok(())
}

fn cells_of(grant: &GrantRecord, data: &AllowedData, rules: &str) -> io::Result<Vec<String>> {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let time = |ms: Option<u64>| ms.map(wording::time).unwrap_or_default();
    let notice = data.notice.as_ref();
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let revoked = grant.revoked.as_ref();
    let uses = grant.uses.iter().fold(0_u64, |sum, used| sum.saturating_add(used.count));
    let check = match grant.check {
        Check::Full => "full",
        Check::NotInFull => "not_in_full",
        Check::Finding => "finding",
    };
    Ok(vec![
        grant.position.to_string(),
        wording::time(grant.recorded_at_ms),
        grant.recipient.clone(),
        grant.purpose.clone(),
        grant.conversation.clone(),
        grant.person.clone(),
        grant.grant.clone(),
        data.category.clone(),
        data.attributes.to_string(),
        basis_name(data)?,
        number(data.ground_at),
        time(data.consented_at_ms),
        data.recorded_by.clone(),
        data.guardian.to_string(),
        data.explicit.to_string(),
        text(notice.map(|notice| &notice.id)),
        text(notice.map(|notice| &notice.version)),
        text(notice.map(|notice| &notice.language)),
        number(notice.and_then(|notice| notice.published_at)),
        rules.to_owned(),
        wording::time(grant.expires_at_ms),
        time(revoked.map(|revoked| revoked.recorded_at_ms)),
        text(revoked.map(|revoked| &revoked.reason)),
        uses.to_string(),
        time(grant.uses.last().map(|used| used.recorded_at_ms)),
        grant.reused.to_string(),
        check.to_owned(),
    ])
}

/// A cell, in quotes if it needs them. A spreadsheet would take text that begins with one of a few characters
/// for a formula, so such text gets an apostrophe before it.
fn cell(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) };
    if text.contains(['"', ',', '\r', '\n']) {
        return Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_bundle_is_one_cell_and_no_formula() {
        assert_eq!(cell("tutor"), "tutor");
        assert_eq!(cell("a,b"), "\"a,b\"");
        assert_eq!(cell("say \"hi\"\r\n1,2"), "\"say \"\"hi\"\"\r\n1,2\"");
        for formula in ["=1+1", "+1", "-1", "@x", "\tx"] {
            assert_eq!(cell(formula), format!("'{formula}"));
        }
        assert_eq!(cell("=HYPERLINK(\"x\",1)"), "\"'=HYPERLINK(\"\"x\"\",1)\"");
    }

    #[test]
    fn a_comment_stays_on_its_line() {
        let mut out = Vec::new();
        assert!(comment(&mut out, "one\r\n1,2\u{2028}three\u{1b}[1m").is_ok());
        let text = String::from_utf8_lossy(&out);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("# one") && text.ends_with("\r\n") && !text.contains('\u{1b}'), "{text}");
    }
}
