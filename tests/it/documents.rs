//! Tests that the documents and the code agree: every test that the threat model names exists, every alert
//! has a row in the operations page, the format page lists every finding, and the page about errors lists
//! exactly the reasons that the API gives.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The texts between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The path and the test that a citation names: `file::test` for a file of `tests/it`, or `path::test`.
fn named_test(quoted: &str) -> Option<(String, &str)> {
    let (file, test) = quoted.split_once("::")?;
    let is_name = |text: &str, more: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
    };
    if !is_name(test, "_") || !is_name(file, "_/.") {
        return None;
    }
    let path = if file.ends_with(".rs") { file.to_owned() } else { format!("tests/it/{file}.rs") };
    Some((path, test))
}

/// Whether the source has a function of this name with a test attribute.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let begins = [format!("fn {name}("), format!("async fn {name}(")];
    let at = lines.iter().position(|line| begins.iter().any(|begin| line.starts_with(begin.as_str())));
    let above = |at: usize| {
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"))
    };
    let is_test = |line: &&str| line.starts_with("#[test") || line.starts_with("#[tokio::test");
    at.is_some_and(|at| above(at).any(is_test))
}

#[test]
fn the_threat_model_names_tests_that_exist() {
    let text = read("docs/threat-model.md");
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, test) in quoted(&text).filter_map(named_test) {
        count += 1;
        if !std::fs::read_to_string(root().join(&path)).is_ok_and(|source| has_test(&source, test)) {
            wrong.push(format!("{path}: no test `{test}`"));
        }
    }
    assert!(count > 30, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Every actor in the list cites a test.
    let (_, actors) = text.split_once("## Who might try").unwrap();
    let (actors, _) = actors.split_once("\n## ").unwrap();
    for actor in actors.split("\n### ").skip(1) {
        assert!(quoted(actor).any(|name| named_test(name).is_some()), "{actor}");
    }
    assert!(!has_test("fn a() {}\n#[test]\nfn b() {}", "a") && has_test("#[test]\nfn b() {}", "b"));
}

#[test]
fn every_alert_has_a_row_in_the_operations_page() {
    let page = read("docs/operations.md");
    let rules = read("deploy/alerts.yaml");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in &alerts {
        assert!(page.contains(&format!("\n| {alert} |")), "{alert} is not in docs/operations.md");
    }
    let rows = page.lines().filter(|line| line.starts_with("| Sayso"));
    assert_eq!(rows.count(), alerts.len());
}

#[test]
fn the_format_lists_every_finding_with_its_meaning() {
    let (format, faults) = (read("docs/format.md"), read("crates/proof/src/replay/fault.rs"));
    let mut listed = 0;
    for variant in faults.split("#[error(\"").skip(1) {
        let (meaning, rest) = variant.split_once("\")]").unwrap();
        let name: String = rest.trim_start().chars().take_while(|c| c.is_alphanumeric()).collect();
        let name = name.char_indices().fold(String::new(), |mut name, (at, c)| {
            if at > 0 && c.is_uppercase() {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
            name
        });
        assert!(format.contains(&format!("\n| `{name}` | {meaning} |\n")), "{name} is not in docs/format.md");
        listed += 1;
    }
    assert!(listed > 50, "the test found the faults");
}

#[test]
fn the_page_about_errors_lists_exactly_the_reasons_of_the_api() {
    let is_reason = |text: &&str| {
        text.len() > 1 && text.chars().all(|c| c.is_ascii_uppercase() || c == '_') && !text.starts_with('_')
    };
    let page = read("docs/errors.md");
    let rows: Vec<Vec<&str>> =
        page.lines().filter(|line| line.starts_with("| `")).map(|line| line.split(" | ").collect()).collect();
    let mut listed = BTreeSet::new();
    for row in &rows {
        let [reason, code, _, advice] = row.as_slice() else { panic!("{row:?}") };
        let reason = reason.trim_start_matches("| ").trim_matches('`');
        assert!(is_reason(&reason) && is_reason(&code.trim_matches('`')) && !advice.is_empty(), "{row:?}");
        assert!(listed.insert(reason), "{reason} has two rows");
    }
    // Every reason is a text in one of these two files. No other file makes an `ErrorInfo`.
    let sources = ["src/api/status.rs", "src/app/reserved.rs"].map(read);
    let code = |source: &str| source.split("#[cfg(test)]").next().unwrap().to_owned();
    let given: Vec<String> = sources.iter().map(|source| code(source)).collect();
    let given: BTreeSet<&str> = given.iter().flat_map(|text| text.split('"').filter(is_reason)).collect();
    assert!(given.len() > 25, "the test found the reasons: {given:?}");
    assert_eq!(listed, given);
    for path in crate::harness::files_below(&root().join("src/api")) {
        let makes = code(&std::fs::read_to_string(&path).unwrap()).contains("with_error_info");
        assert_eq!(makes, path.ends_with("src/api/status.rs"), "{}", path.display());
    }
}
