//! The README's tour is what the commands really print.

use crate::harness::{Harness, sayso};
use sayso::proto::Role;
use std::path::Path;

/// Words that differ from run to run: anything with a digit in it, and log keys.
fn normal(text: &str) -> String {
    let word =
        |word: &str| if word.chars().any(|c| c.is_ascii_digit()) { "#".to_owned() } else { word.to_owned() };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Commands of the tour with the output that the README shows.
fn tour(readme: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    for block in readme.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match line.strip_prefix("$ ") {
                Some(command) => steps.push((command.to_owned(), String::new())),
                None => {
                    let (_, shown) = steps.last_mut().unwrap();
                    shown.push_str(line);
                    shown.push('\n');
                }
            }
        }
    }
    steps
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (part, quoted) in line.split('\'').zip([false, true].into_iter().cycle()) {
        if quoted {
            words.push(part.to_owned())
        } else {
            words.extend(part.split_whitespace().map(str::to_owned))
        }
    }
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_is_true() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let steps = tour(&readme);
    assert!(steps.len() >= 8, "{}", steps.len());
    let harness = Harness::start().await;
    let data = harness.dir.path().join("tour");
    std::fs::create_dir_all(data.join("sayso-data/dev")).unwrap();
    // What `sayso serve --dev` leaves, as far as the tour goes.
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
    for (command, shown) in steps {
        let arguments = words(&command.replace("$GRANT", &grant));
        assert_eq!(arguments[0], "sayso", "{command}");
        let arguments: Vec<&str> = arguments[1..].iter().map(String::as_str).collect();
        let output = sayso(&arguments)
            .current_dir(&data)
            .env("SAYSO_ADDR", format!("http://{}", harness.daemon.grpc))
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        // `sayso check` exits with 5 where the grant is not valid.
        let expected = if printed.starts_with("not valid") { 5 } else { 0 };
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{command}: {stderr}");
        if let Some(id) = printed.strip_prefix("grant ").and_then(|rest| rest.split_whitespace().next()) {
            id.clone_into(&mut grant);
        }
        assert_eq!(normal(&printed), normal(&shown), "{command}\nprinted:\n{printed}");
    }
}
