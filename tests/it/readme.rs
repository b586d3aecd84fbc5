//! Pastes the README's tour into a shell and compares the output with what the README shows.

use crate::dev_daemon::DevDaemon;
use std::path::Path;
use std::process::Command;

/// Replaces words that differ from run to run (every word with a digit) with `#`, and drops empty lines.
pub fn normalize(text: &str) -> String {
    let word =
        |word: &str| if word.chars().any(|c| c.is_ascii_digit()) { "#".to_owned() } else { word.to_owned() };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The blocks of commands of the tour, each with the output that the README shows.
fn tour(readme: &str) -> Vec<(&str, &str)> {
    let (_, tour) = readme.split_once("\n## Five minutes\n").unwrap();
    let (tour, _) = tour.split_once("\n## ").unwrap();
    let blocks: Vec<(&str, &str)> =
        tour.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap()).collect();
    let pairs = blocks.windows(2).filter(|pair| (pair[0].0, pair[1].0) == ("sh", "text"));
    pairs.map(|pair| (pair[0].1, pair[1].1)).collect()
}

#[test]
fn the_tour_of_the_readme_can_be_pasted_and_prints_what_the_readme_shows() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let steps = tour(&readme);
    assert!(steps.len() >= 5, "{}", steps.len());
    let daemon = DevDaemon::start();
    let marker = "---- end of a block ----";
    let script: String = steps.iter().map(|(block, _)| format!("{block}echo '{marker}'\n")).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_sayso")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec 2>&1\n{script}")]).current_dir(daemon.dir()).env("PATH", path);
    for setting in ["SAYSO_ADDR", "SAYSO_DATA", "SAYSO_TOKEN_FILE"] {
        shell.env_remove(setting);
    }
    let output = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    let printed: Vec<&str> = output.split(marker).collect();
    assert_eq!(printed.len(), steps.len() + 1, "{output}");
    for ((block, expected), printed) in steps.iter().zip(printed) {
        assert_eq!(normalize(printed), normalize(expected), "{block}\nprinted:\n{printed}");
    }
}
