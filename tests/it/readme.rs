//! Runs the README's tour and compares the output with what the README shows.

use crate::harness::{Harness, sayso};
use sayso::proto::Role;
use std::path::Path;

/// Replaces words that differ from run to run (every word with a digit) with `#`, and drops empty lines.
fn normalize(text: &str) -> String {
    let word =
        |word: &str| if word.chars().any(|c| c.is_ascii_digit()) { "#".to_owned() } else { word.to_owned() };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The commands of the tour, each with the output that the README shows.
fn tour(readme: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    for block in readme.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match line.strip_prefix("$ ") {
                Some(command) => steps.push((command.to_owned(), String::new())),
                None => {
                    let (_, output) = steps.last_mut().unwrap();
                    output.push_str(line);
                    output.push('\n');
                }
            }
        }
    }
    steps
}

/// Splits a command line into arguments; single quotes group words.
fn split_arguments(line: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    for (part, quoted) in line.split('\'').zip([false, true].into_iter().cycle()) {
        if quoted {
            arguments.push(part.to_owned())
        } else {
            arguments.extend(part.split_whitespace().map(str::to_owned))
        }
    }
    arguments
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_prints_what_the_readme_shows() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let steps = tour(&readme);
    assert!(steps.len() >= 8, "{}", steps.len());
    let harness = Harness::start().await;
    let data = harness.dir.path().join("tour");
    std::fs::create_dir_all(data.join("sayso-data/dev")).unwrap();
    // The files of `sayso serve --dev` that the tour needs.
    let roles = [
        (Role::Service, "service"),
        (Role::Channel, "channel"),
        (Role::Steward, "steward"),
        (Role::Auditor, "auditor"),
    ];
    for (role, name) in roles {
        let token = harness.daemon.issuer.mint(role, &format!("dev-{name}"), 600).unwrap();
        std::fs::write(data.join(format!("sayso-data/dev/{name}.token")), token).unwrap();
    }
    std::fs::write(data.join("sayso-data/dev/log.vkey"), &harness.daemon.vkey).unwrap();
    let mut grant = String::new();
    for (command, expected_output) in steps {
        let arguments = split_arguments(&command.replace("$GRANT", &grant));
        assert_eq!(arguments[0], "sayso", "{command}");
        let arguments: Vec<&str> = arguments[1..].iter().map(String::as_str).collect();
        let output = sayso(&arguments)
            .current_dir(&data)
            .env("SAYSO_ADDR", format!("http://{}", harness.daemon.grpc))
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        // `sayso check` exits with 5 if the grant is not valid.
        let expected = if printed.starts_with("not valid") { 5 } else { 0 };
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{command}: {stderr}");
        if let Some(id) = printed.strip_prefix("grant ").and_then(|rest| rest.split_whitespace().next()) {
            id.clone_into(&mut grant);
        }
        assert_eq!(normalize(&printed), normalize(&expected_output), "{command}\nprinted:\n{printed}");
    }
}
