//! Tests the command line against a real daemon: help, exit statuses, files, shell completions, manual pages
//! and JSON.

use crate::harness::{self, Harness, sayso, stdout};
use sayso::proto::Role;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn steward(harness: &Harness, arguments: &[&str]) -> Output {
    harness.cli(Role::Steward, "privacy-team", arguments)
}

/// Records an attribute and a consent of ada, and requests a grant as the service `tutor`. Returns the
/// grant's id.
fn prepare(harness: &Harness) -> String {
    stdout(&steward(harness, &["notice", "publish", "welcome", "--text", "we remember facts about you"]));
    let record = ["record", "ada", "tone", "brief", "--category", "communication-style"];
    stdout(&steward(harness, &record));
    let consent = ["consent", "give", "ada", "--purpose", "tone-adaptation", "--notice", "welcome"];
    stdout(&steward(harness, &consent));
    let grant = ["--json", "grant", "ada", "--purpose", "tone-adaptation"];
    let grant = harness::json(&harness.cli(Role::Service, "tutor", &grant));
    grant["grantId"].as_str().unwrap().to_owned()
}

#[test]
fn the_help_shows_commands_in_groups_and_every_exit_status() {
    let help = stdout(&sayso(&["--help"]).output().unwrap());
    for group in ["People", "Consent", "Use", "Rights", "Rules", "Audit", "Operate", "Develop"] {
        assert_eq!(help.matches(&format!("\n{group}:\n")).count(), 1, "{group}: {help}");
    }
    for command in ["record", "consent", "check", "erase", "bounds", "verify", "serve", "completions"] {
        assert_eq!(help.matches(&format!("\n  {command} ")).count(), 1, "{command}: {help}");
    }
    for status in 0..=5 {
        assert!(help.contains(&format!("\n  {status}  ")), "{status}: {help}");
    }
}

#[test]
fn connection_flags_are_only_in_the_help_of_sayso_itself() {
    let help = |arguments: &[&str]| stdout(&sayso(arguments).arg("--help").output().unwrap());
    assert!(help(&[]).contains("--token-file"));
    for command in [&["stats"][..], &["consent", "give"], &["verify"], &["bounds", "test"], &["completions"]]
    {
        assert!(!help(command).contains("--token-file"), "{command:?}");
    }
    assert!(help(&["stats"]).contains("`sayso --help`") && !help(&["verify"]).contains("`sayso --help`"));
    assert!(help(&["serve"]).contains("--data") && !help(&["serve"]).contains("--addr"));
}

#[test]
fn a_misspelled_command_gets_a_suggestion() {
    let output = sayso(&["profil", "ada"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("'profile'"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_exits_with_5_where_the_grant_is_not_valid() {
    let harness = Harness::start().await;
    let grant = prepare(&harness);
    let check = |arguments: &[&str]| harness.cli(Role::Service, "tutor", arguments);
    assert!(stdout(&check(&["check", &grant])).starts_with("valid until"));
    stdout(&steward(&harness, &["consent", "withdraw", "ada", "--purpose", "tone-adaptation"]));
    let revoked = check(&["check", &grant]);
    assert_eq!(revoked.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&revoked.stdout).starts_with("not valid: the person withdrew"));
    assert!(revoked.stderr.is_empty(), "{revoked:?}");
    let revoked = check(&["check", &grant, "--json"]);
    assert_eq!(revoked.status.code(), Some(5));
    let json: Value = serde_json::from_slice(&revoked.stdout).unwrap();
    assert_eq!(
        (&json["valid"], &json["reason"]),
        (&false.into(), &"REVOCATION_REASON_CONSENT_WITHDRAWN".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_replaces_a_file_without_force() {
    let harness = Harness::start().await;
    prepare(&harness);
    let erased = ["--json", "erase", "ada", "--scope", "key=tone"];
    let request =
        harness::json(&steward(&harness, &erased))["request"]["requestId"].as_str().unwrap().to_owned();
    let commands: [(Role, &[&str]); 7] = [
        (Role::Auditor, &["audit", "export"]),
        (Role::Operator, &["backup"]),
        (Role::Steward, &["export-subject", "ada"]),
        (Role::Steward, &["consent", "receipt", "ada"]),
        (Role::Steward, &["certificate", &request]),
        (Role::Auditor, &["report", "--from", "2026-01-01", "--to", "2026-01-02"]),
        (Role::Auditor, &["record-of-processing"]),
    ];
    for (number, (role, command)) in commands.into_iter().enumerate() {
        let path = harness.dir.path().join(format!("out-{number}"));
        std::fs::write(&path, "precious").unwrap();
        let with_output = [command, &["-o", path.to_str().unwrap()]].concat();
        let refused = harness.cli(role, "caller", &with_output);
        assert_eq!(refused.status.code(), Some(2), "{command:?}: {refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"), "{command:?}: {refused:?}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious", "{command:?}");
        stdout(&harness.cli(role, "caller", &[&with_output[..], &["--force"]].concat()));
        assert_ne!(std::fs::read(&path).unwrap(), b"precious", "{command:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_says_so() {
    let harness = Harness::start().await;
    // Creates a person without attributes, decisions, grants, artifacts, holds or requests.
    stdout(&steward(&harness, &["describe", "ada", "--age-band", "adult"]));
    for (command, expected) in [
        (&["profile", "ada"][..], "no attributes after "),
        (&["consents", "ada"], "no decisions\n"),
        (&["uses", "ada"], "no uses\n"),
        (&["artifact", "list", "ada"], "no artifacts\n"),
        (&["hold", "list", "ada"], "no holds\n"),
        (&["request", "list"], "no requests\n"),
        (&["request", "list", "ada"], "no requests\n"),
        (&["retention", "list"], "no rules\n"),
        (&["bounds", "show", "--subject", "ada"], "the person has set no bounds\n"),
    ] {
        let printed = stdout(&steward(&harness, command));
        assert!(printed.starts_with(expected), "{command:?}: {printed}");
    }
}

/// Runs a shell on a script, if the shell is installed.
fn parses(shell: &str, arguments: &[&str], script: &Path) {
    match std::process::Command::new(shell).args(arguments).arg(script).output() {
        Ok(output) => assert!(output.status.success(), "{shell}: {output:?}"),
        Err(_) => println!("{shell} is not installed"),
    }
}

#[test]
fn completions_are_scripts_that_the_shells_parse() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, arguments) in [("bash", &["-n"][..]), ("zsh", &["-n"]), ("fish", &["--no-execute"])] {
        let script = stdout(&sayso(&["completions", shell]).output().unwrap());
        for word in ["export-subject", "opt-out", "token-file"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        let path = folder.path().join(shell);
        std::fs::write(&path, script).unwrap();
        parses(shell, arguments, &path);
    }
    assert_eq!(sayso(&["completions", "tcsh"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let write = |more: &[&str]| sayso(&[&["man", pages.to_str().unwrap()], more].concat()).output().unwrap();
    let printed = stdout(&write(&[]));
    let count = std::fs::read_dir(&pages).unwrap().count();
    assert!(count > 60 && printed.starts_with(&format!("{count} pages in ")), "{count}: {printed}");
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    let root = page("sayso.1");
    assert!(root.contains("token\\-file") && root.contains(".SH \"EXIT STATUS\"\n"), "{root}");
    for group in ["People", "Consent", "Use", "Rights", "Rules", "Audit", "Operate", "Develop"] {
        assert_eq!(root.matches(&format!("\n.SS {group}\n")).count(), 1, "{group}: {root}");
    }
    assert!(root.contains("sayso\\-check(1)\n"), "{root}");
    for file in std::fs::read_dir(&pages).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = text.split(".SH NAME\n").nth(1).unwrap().split("\n.SH").next().unwrap();
        let is_one_sentence = name.split(". ").skip(1).all(|rest| !rest.starts_with(char::is_uppercase));
        assert!(is_one_sentence && !text.contains(".SH EXTRA"), "{path:?}: {name}");
    }
    assert!(page("sayso-consent-give.1").contains("explicit"));
    assert!(!page("sayso-consent-give.1").contains("token\\-file"));
    assert_eq!(write(&[]).status.code(), Some(2), "they exist");
    stdout(&write(&["--force"]));
}

/// Fails if JSON is not in the style of proto JSON: names in camelCase, no times in milliseconds, no integer
/// that needs more than 32 bits, and no JSON in a string except in the fields for values.
pub fn assert_proto_style(json: &Value, at: &str) {
    match json {
        Value::Object(members) => {
            for (name, value) in members {
                let is_map = at.ends_with("erasedByCategory") || at.ends_with("metadata");
                let is_camel = name.starts_with(|letter: char| letter.is_ascii_lowercase())
                    && name.chars().all(|letter| letter.is_ascii_alphanumeric());
                assert!(is_map || is_camel, "{at}: {name}");
                // The history, and the proof of an entry, show events as they are in the log.
                let may_have_ms = at.starts_with("history") || at.contains(".body");
                assert!(may_have_ms || !name.ends_with("Ms"), "{at}: {name}");
                if name != "valueJson" {
                    assert_proto_style(value, &format!("{at}.{name}"));
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| assert_proto_style(item, at)),
        Value::Number(number) => {
            assert!(
                number.is_f64() || number.as_i64().is_some_and(|it| i32::try_from(it).is_ok()),
                "{at}: {number}"
            );
        }
        Value::String(text) => assert!(!text.trim_start().starts_with(['{', '[']), "{at}: {text}"),
        Value::Bool(_) | Value::Null => {}
    }
}

/// Fails unless a command printed lines, each of which is one value in the style of proto JSON.
fn check_style(output: &Output, of: &[&str]) {
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(!printed.is_empty(), "{of:?}: {output:?}");
    printed.lines().for_each(|line| assert_proto_style(&serde_json::from_str(line).unwrap(), &of.join(" ")));
}

/// Runs a command with --json as a caller with the name `tutor`, and checks the style of its output.
fn run_styled(harness: &Harness, role: Role, arguments: &[&str]) -> Output {
    let output = harness.cli(role, "tutor", &[arguments, &["--json"]].concat());
    check_style(&output, arguments);
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_of_lists_and_answers_is_in_the_style_of_proto_json() {
    let harness = Harness::start().await;
    let grant = prepare(&harness);
    let run = |role: Role, arguments: &[&str]| run_styled(&harness, role, arguments);
    run(Role::Steward, &["request", "submit", "access", "ada"]);
    let lists: [&[&str]; 11] = [
        &["profile", "ada"],
        &["consents", "ada"],
        &["artifact", "list", "ada"],
        &["hold", "list", "ada"],
        &["request", "list"],
        &["retention", "list"],
        &["purpose", "list"],
        &["category", "list"],
        &["bounds", "show"],
        &["bounds", "show", "--history"],
        &["bounds", "show", "--subject", "ada"],
    ];
    for list in lists {
        let printed = stdout(&run(Role::Steward, list));
        assert!(!printed.contains("nextPageToken"), "{list:?}: {printed}");
        assert_eq!(
            printed.contains("\"categories\":[{"),
            list == ["category", "list"],
            "{list:?}: {printed}"
        );
        assert_eq!(printed.contains("\"purposes\":[{"), list == ["purpose", "list"], "{list:?}: {printed}");
    }
    run(Role::Service, &["grant", "ada", "--purpose", "tone-adaptation"]);
    run(Role::Service, &["lost", &grant]);
    run(Role::Steward, &["why", &grant]);
    let evaluate = ["evaluate", "ada", "--purpose", "tone-adaptation", "--recipient", "tutor"];
    run(Role::Steward, &evaluate);
    run(Role::Auditor, &["checkpoint"]);
    run(Role::Auditor, &["proof", "0"]);
    run(Role::Auditor, &["report", "--from", "2026-01-01", "--to", "2026-01-02"]);
    run(Role::Auditor, &["record-of-processing"]);
    run(Role::Operator, &["stats"]);
    run(Role::Operator, &["keys", "rotate", "--transition", "0s"]);
    run(Role::Steward, &["erase", "ada", "--scope", "key=tone"]);
    run(Role::Steward, &["erasures", "outstanding"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_about_documents_and_of_the_monitor_is_in_the_style_of_proto_json() {
    let harness = Harness::start().await;
    prepare(&harness);
    let file = |name: &str| harness.dir.path().join(name).display().to_string();
    let (receipt, package, proof) = (file("receipt.jsonld"), file("ada.zip"), file("ada.proof"));
    stdout(&steward(&harness, &["consent", "receipt", "ada", "-o", &receipt]));
    stdout(&steward(&harness, &["export-subject", "ada", "-o", &package]));
    // A subject proof is a JSON document, which is printed as it is.
    let printed = stdout(&steward(&harness, &["prove-subject", "ada", "--json"]));
    let document: Value = serde_json::from_str(&printed).unwrap();
    assert!(document["format"].as_str().unwrap().starts_with("sayso subject proof "), "{printed}");
    std::fs::write(&proof, printed).unwrap();
    let key = &harness.daemon.vkey;
    for document in [&receipt, &package, &proof] {
        let verified = sayso(&["verify", document, "--key", key, "--json"]).output().unwrap();
        assert!(verified.status.success(), "{document}: {verified:?}");
        check_style(&verified, &["verify", document]);
    }
    let (url, state) = (format!("http://{}", harness.daemon.http), file("monitor.json"));
    let monitor = ["monitor", &url, "--key", key, "--state", &state, "--once", "--json"];
    let looked = sayso(&monitor).output().unwrap();
    check_style(&looked, &["monitor"]);
    let looked: Value = serde_json::from_slice(&looked.stdout).unwrap();
    assert!(looked["at"].as_str().unwrap().ends_with('Z'), "{looked}");
    assert!(looked["age"].as_str().unwrap().ends_with('s'), "{looked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_json_is_in_the_style_of_proto_json() {
    let harness = Harness::start().await;
    let grant = prepare(&harness);
    let file = |name: &str| harness.dir.path().join(name).display().to_string();
    let (bundle, package, backup, proof) =
        (file("log.tar.zst"), file("ada.zip"), file("backup"), file("proof"));
    std::fs::write(file("lines.jsonl"), "{\"subject\":\"ada\"}\n").unwrap();
    let certificate = file("certificate");
    let run = |role: Role, arguments: &[&str]| run_styled(&harness, role, arguments);
    run(Role::Service, &["used", &grant, "--reply", "r", "--shaped-by", "tone"]);
    run(Role::Service, &["check", &grant]);
    run(Role::Steward, &["uses", "ada"]);
    run(Role::Steward, &["history", "ada"]);
    run(Role::Steward, &["profile", "ada"]);
    run(Role::Service, &["import", &file("lines.jsonl")]);
    run(Role::Steward, &["export-subject", "ada", "--kind", "portability", "-o", &package]);
    run(Role::Steward, &["import", &package, "--package", "--subject", "ben"]);
    let erased = harness::json(&run(Role::Steward, &["erase", "ben", "--scope", "all"]));
    let request = erased["request"]["requestId"].as_str().unwrap();
    stdout(&steward(&harness, &["certificate", request, "-o", &certificate, "--proof", &proof]));
    run(Role::Auditor, &["keys", "show"]);
    run(Role::Auditor, &["audit", "export", "-o", &bundle]);
    run(Role::Operator, &["backup", "-o", &backup]);
    let key = &harness.daemon.vkey;
    let offline: [&[&str]; 7] = [
        &["verify", &bundle, "--key", key],
        &["verify", &certificate, "--key", key],
        &["verify", &proof, "--key", key],
        &["bounds", "test"],
        &["bounds", "keygen", &file("tier.key")],
        &["token", "--data", &file("tokens"), "--role", "steward", "--name", "a"],
        &["man", &file("man1")],
    ];
    for arguments in offline {
        check_style(&sayso(&[arguments, &["--json"]].concat()).output().unwrap(), arguments);
    }
    // Errors are JSON on standard error.
    let failed = sayso(&["--json", "verify", &bundle, "--key", "no-such-key"]).output().unwrap();
    assert_proto_style(&serde_json::from_slice(&failed.stderr).unwrap(), "error");
    let dir = harness.stop().await;
    let data = dir.path().display().to_string();
    check_style(&sayso(&["fsck", &data, "--json"]).output().unwrap(), &["fsck"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lifting_the_pause_of_a_conversation_lifts_nothing_else() {
    let harness = Harness::start().await;
    prepare(&harness);
    let lines = |arguments: &[&str]| {
        stdout(&steward(&harness, &[&["signal"], arguments].concat()));
    };
    lines(&["object", "ada"]);
    lines(&["restrict", "ada"]);
    lines(&["opt-out", "ada"]);
    lines(&["pause", "ada", "--interaction", "chat-7"]);
    lines(&["pause", "ada", "--interaction", "chat-8"]);
    lines(&["lift", "ada", "--interaction", "chat-7"]);
    let in_force = || {
        let profile = harness::json(&steward(&harness, &["--json", "profile", "ada"]));
        let signals = profile["signals"].as_array().unwrap().clone().into_iter();
        let mut names: Vec<String> = signals
            .map(|signal| {
                let interaction = signal["interaction"].as_str().unwrap_or_default();
                format!("{} {interaction}", signal["kind"].as_str().unwrap()).trim().to_owned()
            })
            .collect();
        names.sort();
        names
    };
    let left = [
        "SIGNAL_KIND_OBJECTION",
        "SIGNAL_KIND_OPT_OUT",
        "SIGNAL_KIND_PAUSE chat-8",
        "SIGNAL_KIND_RESTRICTION",
    ];
    assert_eq!(in_force(), left);
    // Other signals are not limited to a conversation.
    let refused = ["signal", "lift", "ada", "--interaction", "chat-8", "--what", "pause", "--what", "object"];
    let refused = steward(&harness, &refused);
    assert_ne!(refused.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--interaction"), "{refused:?}");
    assert_eq!(in_force(), left);
    lines(&["lift", "ada"]);
    assert!(in_force().is_empty(), "{:?}", in_force());
}
