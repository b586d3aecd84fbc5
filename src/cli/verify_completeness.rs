//! The part of `sayso verify` that says whether entries or streams could be missing from a bundle.

use super::error::CliError;
use super::output::{count, people};
use crate::domain::wording;
use sayso_proof::bundle::{LeftOut, Report};
use sayso_proof::subject_map::SubjectProof;
use std::path::PathBuf;

/// Reads the files of `--subject-proof`, and the files in its folders.
pub(super) fn read_subject_proofs(given: &[PathBuf]) -> Result<Vec<SubjectProof>, CliError> {
    let mut proofs = Vec::new();
    for path in given {
        let wrong = |error: String| CliError::usage(format!("--subject-proof: {}: {error}", path.display()));
        let mut files = vec![path.clone()];
        if path.is_dir() {
            let found = std::fs::read_dir(path).and_then(|folder| {
                folder.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
            });
            files = found.map_err(|error| wrong(error.to_string()))?;
            files.sort();
        }
        for file in files {
            let text = std::fs::read_to_string(&file).map_err(|error| wrong(error.to_string()))?;
            let proof = SubjectProof::parse(&text);
            proofs.push(proof.map_err(|error| wrong(format!("{}: {error}", file.display())))?);
        }
    }
    Ok(proofs)
}

/// What the bundle does not show because the content of entries was erased, or left out of the
/// export.
fn not_shown_of_content(report: &Report) -> impl Iterator<Item = String> {
    let hidden = [(report.withheld, "sealed entry"), (report.erased, "erased entry")];
    let hidden = hidden.into_iter().filter(|(number, _)| *number > 0);
    let content = |number, what| format!("the content of {}", count(number, what));
    hidden.map(move |(number, what)| content(number, what) + "; a grant to any recipient may be in there")
}

/// Everything that the bundle does not show because entries, their content or streams are or could
/// be missing.
pub(super) fn not_shown(report: &Report) -> Vec<String> {
    not_shown_of_content(report).chain(not_shown_of_map(report)).collect()
}

/// What the bundle does not show about the streams of people, such as that none was left out.
fn not_shown_of_map(report: &Report) -> Vec<String> {
    let Some(map) = &report.subject_map else {
        let reason = "that no stream about a person was left out, because the log has no subject map";
        return vec![reason.to_owned()];
    };
    let mut not_shown = Vec::new();
    if map.unlinked > 0 {
        let streams = count(map.unlinked, "stream");
        not_shown.push(format!("the person of {streams} from before the log had a map"));
    }
    if map.later_entries > 0 {
        let entries = count(map.later_entries, "entry");
        let from = map.later_from_ms.map(|from_ms| format!(", from {} on", wording::time(from_ms)));
        not_shown.push(format!(
            "the right person for {entries} after the newest commitment to the subject map{}",
            from.unwrap_or_default()
        ));
    }
    not_shown
}

/// The lines of the answer about the subject map, which can show that no stream is missing, and about the
/// checks that were left out for early entries.
pub(super) fn text(report: &Report) -> String {
    let left_out = report.left_out.iter().map(|LeftOut { edition, entries, checks }| {
        let early = count(*entries, "entry");
        let checks: String = checks.iter().map(|check| format!("\n  {check}")).collect();
        format!("\nnot checked for {early} from before edition {edition} of the rules:{checks}")
    });
    text_of_map(report) + &left_out.collect::<String>()
}

fn text_of_map(report: &Report) -> String {
    let Some(map) = &report.subject_map else { return String::new() };
    let mut text = format!(
        "\ncomplete: the subject map at position {} has {}, and every stream of the first {} is in it",
        map.position,
        people(map.subjects),
        count(map.tree_size, "entry")
    );
    if map.not_checked > 0 {
        let earlier = count(map.not_checked, "earlier commitment");
        text.push_str(&format!(
            "\nnot checked: {earlier} to the subject map, from before an erasure or before the id of each person \
             was known"
        ));
    }
    if let Some(given) = &report.given_subjects {
        let (ids, found) = (count(given.ids, "id"), given.found);
        text.push_str(&format!("\ngiven {ids}, of which {found} have a stream"));
        let others = count(given.others, "stream");
        let handles = given.other_handles.iter().map(|handle| format!("\n  {handle}"));
        text.push_str(&format!("\n{others} of other ids{}", handles.collect::<String>()));
    }
    text
}
