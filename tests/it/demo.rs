//! Tests that `sayso demo` shows exactly what the commands of its tour print.

use crate::dev_daemon::DevDaemon;
use crate::harness::sayso;
use crate::readme::normalize;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// A demo that keeps running. It is killed when this value is dropped.
struct Demo {
    child: Child,
    /// The commands that it showed, each with what it printed.
    steps: Vec<(String, String)>,
    /// The folder of its files.
    folder: PathBuf,
}

impl Demo {
    fn start() -> Self {
        let mut child = sayso(&["demo"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (mut steps, mut folder) = (Vec::<(String, String)>::new(), None);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(command) = line.strip_prefix("$ sayso ") {
                steps.push((command.to_owned(), String::new()));
            } else if let Some(invitation) = line.strip_prefix("Try it in another shell: cd ") {
                folder = invitation.split(" && ").next().map(PathBuf::from);
                break;
            } else if let (false, Some((_, printed))) = (line.starts_with('#'), steps.last_mut()) {
                printed.push_str(&line);
                printed.push('\n');
            }
        }
        Self { child, steps, folder: folder.expect("the demo says how to go on") }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
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

/// The IDs of grants in a text, in order.
fn grants(text: &str) -> Vec<String> {
    let is_grant = |word: &&str| word.starts_with('g') && word[1..].starts_with(|c: char| c.is_ascii_digit());
    text.split([' ', ',', ':', '\n']).filter(is_grant).map(str::to_owned).collect()
}

#[test]
fn the_demo_prints_what_the_commands_print() {
    let demo = Demo::start();
    assert!(demo.steps.len() >= 15, "{:?}", demo.steps);
    let daemon = DevDaemon::start();
    std::fs::copy(demo.folder.join("people.jsonl"), daemon.dir().join("people.jsonl")).unwrap();
    let (mut watch, mut verified) = (None, 0);
    let mut own_grants: Vec<(String, String)> = Vec::new();
    for (command, shown) in &demo.steps {
        // The daemon here issues other grants than the daemon of the demo did.
        let mut run = command.clone();
        for (theirs, own) in &own_grants {
            run = run.replace(theirs.as_str(), own);
        }
        let arguments = split_arguments(&run);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if arguments[0] == "watch" {
            let mut child = daemon.sayso(&arguments).stdout(Stdio::piped()).spawn().unwrap();
            let mut first = String::new();
            let mut lines = BufReader::new(child.stdout.take().unwrap());
            lines.read_line(&mut first).unwrap();
            assert_eq!(normalize(&first), normalize(shown), "{command}");
            watch = Some((child, lines));
            continue;
        }
        verified += usize::from(arguments[0] == "verify");
        if verified == 2 {
            let bundle = daemon.dir().join("log.tar.zst");
            let middle = std::fs::metadata(&bundle).unwrap().len() / 2;
            crate::harness::flip(&bundle, middle, 1);
        }
        let output = daemon.sayso(&arguments).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).unwrap();
        // Which check finds the changed byte depends on the bytes.
        let printed = if verified == 2 { printed.split(' ').next().unwrap().to_owned() } else { printed };
        let mut expected = shown.clone();
        if verified == 2 {
            expected = expected.split(' ').next().unwrap().to_owned();
        }
        // The watch reports the withdrawal.
        if run.starts_with("consent withdraw") {
            let (child, lines) = watch.as_mut().unwrap();
            let (own, reported) = expected.split_at(expected.find('\n').unwrap() + 1);
            let mut heard = String::new();
            for _ in reported.lines().filter(|line| !line.is_empty()) {
                lines.read_line(&mut heard).unwrap();
            }
            assert_eq!(normalize(&heard), normalize(reported), "watch");
            child.kill().unwrap();
            child.wait().unwrap();
            expected = own.to_owned();
        }
        own_grants.extend(grants(shown).into_iter().zip(grants(&printed)));
        assert_eq!(normalize(&printed), normalize(&expected), "{command}\nprinted:\n{printed}");
    }
    assert_eq!(verified, 2);
}

#[test]
fn the_demo_ends_with_exit_and_ignores_the_settings_of_other_daemons() {
    let mut command = sayso(&["demo", "--exit"]);
    command.env("SAYSO_ADDR", "http://127.0.0.1:9").env("SAYSO_DATA", "/nonexistent").stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success() && text.contains("no longer verifies"), "{text}");
}
