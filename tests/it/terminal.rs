//! Tests of what commands print on a terminal: no text that other people wrote can move the cursor, hide text
//! or reorder it.

use crate::harness::{Harness, fact, stdout};
use sayso::proto::Role;
use std::process::Command;

/// Runs the real binary on a terminal, with `script` of util-linux, and returns what the terminal receives.
fn on_terminal(harness: &Harness, arguments: &str) -> String {
    let token = harness.daemon.issuer.mint(Role::Steward, "privacy-team", 3_600).unwrap();
    let file = harness.dir.path().join("steward.token");
    std::fs::write(&file, token).unwrap();
    let command = format!("{} {arguments}", env!("CARGO_BIN_EXE_sayso"));
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("SAYSO_ADDR", format!("http://{}", harness.daemon.grpc))
        .env("SAYSO_TOKEN_FILE", file)
        .output()
        .unwrap();
    stdout(&output)
}

const DANGEROUS: [char; 8] =
    ['\u{1b}', '\u{9b}', '\u{7f}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{61c}', '\u{2028}'];

#[tokio::test(flavor = "multi_thread")]
async fn no_text_reaches_a_terminal_that_would_control_it_neither_as_text_nor_as_json() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: this machine has no `script`");
        return;
    }
    let harness = Harness::start().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let value: String = DANGEROUS.iter().collect();
    steward.profile.record_attributes(fact("ada", "tone", "work", &value)).await.unwrap();
    for arguments in ["profile ada", "--json profile ada", "history ada", "--json history ada"] {
        let shown = on_terminal(&harness, arguments);
        assert!(!shown.contains(DANGEROUS), "{arguments}: {shown:?}");
        assert!(shown.contains("\\u202e") && shown.contains("\\u2028"), "{arguments}: {shown:?}");
    }
    let shown = on_terminal(&harness, "--json profile ada");
    let json: serde_json::Value = serde_json::from_str(shown.trim()).unwrap();
    let shown: String = serde_json::from_str(json["attributes"][0]["valueJson"].as_str().unwrap()).unwrap();
    assert_eq!(shown, value, "escaped JSON is the same JSON");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_receives_text_as_it_was_recorded() {
    let harness = Harness::start().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    steward.profile.record_attributes(fact("ada", "tone", "work", "a\u{202e}b")).await.unwrap();
    let text = stdout(&harness.cli(Role::Steward, "privacy-team", &["profile", "ada"]));
    assert!(text.contains("a\u{202e}b"), "{text:?}");
}
