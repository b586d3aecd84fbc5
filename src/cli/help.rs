//! Adapts clap's definition of the command line for the help, the manual pages and the shell completions. The
//! help shows commands in groups.
//!
//! Only the help of `sayso` itself shows all connection flags. The help of a command that calls the daemon
//! refers to that help. Some commands call no daemon, but use a connection flag, such as `--data` of
//! `sayso token`. The help of such a command shows that flag.

use super::flags::{used_offline, uses};
use clap::{Arg, Command};
use std::fmt::Write as _;

/// Every command, in the groups in which the help shows them.
const GROUPS: [(&str, &[&str]); 8] = [
    ("People", &["record", "remove", "contest", "confirm", "profile", "history", "describe", "import"]),
    ("Consent", &["consent", "consents", "signal"]),
    (
        "Use",
        &["grant", "check", "used", "why", "uses", "evaluate", "lost", "watch", "acknowledge", "artifact"],
    ),
    ("Rights", &["request", "erase", "certificate", "erasures", "export-subject", "hold", "retention"]),
    ("Rules", &["purpose", "category", "notice", "bounds"]),
    ("Audit", &["audit", "verify", "checkpoint", "proof", "prove-subject", "report", "record-of-processing"]),
    (
        "Operate",
        &[
            "serve",
            "token",
            "stats",
            "keys",
            "backup",
            "restore",
            "confirm-restore",
            "accept-clock",
            "fsck",
            "witness",
            "monitor",
        ],
    ),
    ("Develop", &["demo", "bench", "completions", "man"]),
];

/// Shown below the groups.
const SEE_COMMAND_HELP: &str = "`sayso COMMAND --help` shows the flags of a command and an example.";

/// The exit statuses of every command.
pub(super) const EXIT_STATUSES: [&str; 8] = [
    "Success",
    "Failure",
    "The command line, or a file that it names, is wrong",
    "The request was denied",
    "Verification failed, or a data folder is damaged",
    "The checked grant is not valid",
    "What is verified is intact, but not all of it could be checked",
    "What is verified was made by a newer version",
];

/// Sentence that is added to the help of the commands that call a daemon.
const SEE_CONNECTION_FLAGS: &str = "The flags for the connection to the daemon are in `sayso --help`.";

/// The command line as `--help` shows it.
pub(super) fn for_help(command: Command) -> Command {
    let command = for_readers(command);
    let header = *command.get_styles().get_header();
    let mut groups = String::new();
    for (name, members) in GROUPS {
        let _infallible = write!(groups, "{header}{name}:{header:#}\n{}\n", rows(&command, members));
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{SEE_COMMAND_HELP}\n\n{{all-args}}{{after-help}}"
    );
    let mut statuses = "Exit status:".to_owned();
    for (status, meaning) in EXIT_STATUSES.iter().enumerate() {
        let _infallible = write!(statuses, "\n  {status}  {meaning}");
    }
    // clap can't group subcommands, so they are hidden from clap's own list. That also hides them from the
    // usage line.
    let command = command.mut_subcommands(|inner| inner.hide(true)).after_help(statuses);
    command.override_usage("sayso [OPTIONS] <COMMAND>").help_template(template)
}

/// The command line as the manual pages show it: with a short text of one sentence for each command.
pub(super) fn for_manual(command: Command) -> Command {
    let shape = |inner: Command| shaped(inner, "", &|inner, _| with_short_about(inner));
    with_short_about(for_readers(command).mut_subcommands(shape))
}

/// The command line as shells complete it: global flags are completed only after a command that uses them.
pub(super) fn for_completions(command: Command) -> Command {
    let flags = global_flags(&command);
    let shape = |inner: Command| shaped(inner, "", &|inner, path| add_used_flags(inner, path, &flags));
    let command = command.mut_subcommands(shape);
    flags.iter().fold(command, |command, flag| command.mut_arg(flag.get_id(), |arg| arg.global(false)))
}

/// The groups of commands, each with the names of its commands and the first sentences of their help.
pub(super) fn groups(command: &Command) -> Vec<(&'static str, Vec<(&str, String)>)> {
    GROUPS.iter().map(|(name, names)| (*name, members(command, names))).collect()
}

/// The command line for people: each command shows only the flags that it uses.
fn for_readers(command: Command) -> Command {
    let flags = global_flags(&command);
    let shape = |inner: Command| shaped(inner, "", &|inner, path| hide_flags(inner, path, &flags));
    command.mut_subcommands(shape)
}

fn global_flags(command: &Command) -> Vec<Arg> {
    command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect()
}

/// Applies a change to a command and to all commands below it. The change is given each command and
/// its path, such as `bounds test`.
fn shaped(command: Command, above: &str, change: &dyn Fn(Command, &str) -> Command) -> Command {
    let path = format!("{above} {}", command.get_name()).trim_start().to_owned();
    let command = command.mut_subcommands(|inner| shaped(inner, &path, change));
    change(command, &path)
}

/// Hides the global flags that a command does not use, and connection flags where the command calls a
/// daemon. An offline command (one that calls no daemon) shows the connection flags that it uses as if
/// they were its own flags.
fn hide_flags(command: Command, path: &str, flags: &[Arg]) -> Command {
    let is_leaf = !command.has_subcommands();
    let own = |flag: &Arg| if is_leaf { own_flag(flag, path) } else { None };
    // clap adds --json to every command that does not have it.
    let is_shown = |flag: &Arg| flag.get_id() == "json" && uses(path, "json");
    let flags = flags.iter().filter(|flag| !is_shown(flag));
    let command = command
        .args(flags.map(|flag| own(flag).unwrap_or_else(|| flag.clone().hide(true))))
        .mut_args(hide_empty_default);
    if is_leaf && used_offline(path).is_none() { command.after_help(SEE_CONNECTION_FLAGS) } else { command }
}

/// The flag in the form in which the help of an offline command shows it. `None` if the command does not
/// use the flag, or calls a daemon.
fn own_flag(flag: &Arg, path: &str) -> Option<Arg> {
    let (_, help) = used_offline(path)?.iter().find(|(name, _)| flag.get_id() == *name)?;
    // Before --json, which is at 998.
    Some(flag.clone().help(*help).help_heading(None).display_order(997))
}

/// Does not show an empty text as the default value of a flag.
fn hide_empty_default(arg: Arg) -> Arg {
    let is_empty = arg.get_default_values().first().is_some_and(|value| value.is_empty());
    if is_empty { arg.hide_default_value(true) } else { arg }
}

fn add_used_flags(command: Command, path: &str, flags: &[Arg]) -> Command {
    if command.has_subcommands() {
        return command;
    }
    let used = flags.iter().filter(|flag| uses(path, flag.get_id().as_str()));
    let shown = used.map(|flag| own_flag(flag, path).unwrap_or_else(|| flag.clone()));
    command.args(shown.map(|flag| flag.global(false)))
}

/// Shortens a command's short text to its first sentence, for the line that lists the command. The long
/// text stays unchanged.
fn with_short_about(command: Command) -> Command {
    let Some(about) = command.get_about().cloned() else { return command };
    let long = command.get_long_about().cloned().unwrap_or_else(|| about.clone());
    command.about(first_sentence(&about.to_string()).to_owned()).long_about(long)
}

/// Commands, each with the first sentence of its help.
fn members<'c>(command: &'c Command, names: &[&str]) -> Vec<(&'c str, String)> {
    let found = names.iter().filter_map(|name| command.find_subcommand(name));
    let about = |inner: &Command| inner.get_about().map(ToString::to_string).unwrap_or_default();
    found.map(|inner| (inner.get_name(), first_sentence(&about(inner)).to_owned())).collect()
}

/// One line for each command of a group: its name and the first sentence of its help.
fn rows(command: &Command, names: &[&str]) -> String {
    let width = command.get_subcommands().map(|inner| inner.get_name().len()).max().unwrap_or_default();
    let literal = command.get_styles().get_literal();
    let mut rows = String::new();
    for (name, about) in members(command, names) {
        let _infallible = writeln!(rows, "  {literal}{name:width$}{literal:#}  {about}");
    }
    rows
}

/// The first sentence of a text, without its full stop. An abbreviation like `Art. 30` does not end a
/// sentence.
fn first_sentence(text: &str) -> &str {
    let starts_sentence =
        |rest: &str| rest.starts_with(|letter: char| letter.is_uppercase() || letter == '`');
    let end = text
        .match_indices(". ")
        .find(|(at, stop)| text.get(at.saturating_add(stop.len())..).is_some_and(starts_sentence));
    end.and_then(|(at, _)| text.get(..at)).unwrap_or(text).trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;
    use std::collections::BTreeSet;

    #[test]
    fn every_command_is_in_exactly_one_group() {
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, members)| members.iter().copied()).collect();
        let command = Cli::command();
        let all: BTreeSet<&str> = command.get_subcommands().map(Command::get_name).collect();
        assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), all);
        assert_eq!(grouped.len(), all.len(), "a command is in two groups");
    }

    #[test]
    fn every_command_fits_on_its_line() {
        for (name, members) in GROUPS {
            let rows = rows(&Cli::command().styles(clap::builder::Styles::plain()), members);
            for row in rows.lines() {
                assert!(row.chars().count() <= 100, "{name}: {row}");
            }
        }
    }

    #[test]
    fn the_first_sentence_ends_before_the_next_one() {
        assert_eq!(first_sentence("Erase a person. Returns when complete."), "Erase a person");
        assert_eq!(
            first_sentence("Show the record (GDPR Art. 30(1)) as of now."),
            "Show the record (GDPR Art. 30(1)) as of now"
        );
    }

    #[test]
    fn the_shaped_commands_are_consistent() {
        for shape in [for_help, for_manual, for_completions] {
            shape(Cli::command()).debug_assert();
        }
    }

    /// The help of the command with this path.
    fn help(path: &[&str]) -> String {
        let mut command = for_help(Cli::command());
        command.build();
        let inner =
            path.iter().fold(&mut command, |command, name| command.find_subcommand_mut(name).unwrap());
        inner.render_long_help().to_string()
    }

    #[test]
    fn connection_flags_are_shown_once_and_where_an_offline_command_uses_them() {
        let root = help(&[]);
        assert!(root.contains("sayso [OPTIONS] <COMMAND>"), "{root}");
        let (options, connection) = root.split_once("Connection to the daemon:").unwrap();
        assert!(options.contains("--json") && !connection.contains("--json"), "{root}");
        for flag in ["--addr", "--ca", "--cert", "--tls-key", "--token-file", "--data", "--insecure", "--as"]
        {
            assert!(root.contains(flag), "{flag}");
        }
        let shown = |path: &[&str]| {
            let help = help(path);
            (help.contains("--addr"), help.contains("--data"), help.contains(SEE_CONNECTION_FLAGS))
        };
        assert_eq!(shown(&["stats"]), (false, false, true));
        assert_eq!(shown(&["consent", "give"]), (false, false, true));
        assert_eq!(shown(&["verify"]), (false, false, false));
        assert_eq!(shown(&["bounds", "test"]), (false, false, false));
        assert_eq!(shown(&["token"]), (false, true, false));
    }

    /// The help of every command without subcommands, with its path.
    fn all_help() -> Vec<(String, String)> {
        fn collect(command: &mut Command, path: &str, found: &mut Vec<(String, String)>) {
            if !command.has_subcommands() {
                found.push((path.to_owned(), command.render_long_help().to_string()));
            }
            for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
                let path = format!("{path} {}", inner.get_name());
                collect(inner, &path, found);
            }
        }
        let mut command = for_help(Cli::command());
        command.build();
        let mut found = Vec::new();
        collect(&mut command, "sayso", &mut found);
        found
    }

    #[test]
    fn the_json_flag_is_listed_last_and_only_where_it_has_an_effect() {
        for (path, help) in all_help() {
            // Flags with a heading of their own come after these.
            let (_, options) = help.split_once("\nOptions:\n").unwrap();
            let options = options.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
            let flags = options.filter_map(|line| line.strip_prefix("      --"));
            let flags: Vec<&str> = flags.map(|line| line.split([' ', '\n']).next().unwrap()).collect();
            let has_json = !["sayso demo", "sayso completions"].contains(&path.as_str());
            assert_eq!(flags.last().is_some_and(|flag| *flag == "json"), has_json, "{path}: {flags:?}");
            assert_eq!(flags.iter().filter(|flag| **flag == "json").count(), usize::from(has_json), "{path}");
        }
    }

    #[test]
    fn no_flag_shows_an_empty_default() {
        for (path, help) in all_help() {
            assert!(!help.contains("[default: ]") && !help.contains("[default: \"\"]"), "{path}: {help}");
        }
    }

    #[test]
    fn an_offline_command_shows_the_flags_that_it_uses_like_its_own() {
        for (path, flag, text) in [
            ("serve", "--data", "Data folder of the daemon."),
            ("token", "--data", "that accepts the token"),
            ("restore", "--data", "to restore the log to"),
            ("monitor", "--ca", "an https:// address of the log"),
        ] {
            let help = help(&[path]);
            let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(help.contains(flag) && words.contains(text), "{help}");
            assert!(!help.contains("Connection to the daemon"), "{help}");
        }
    }

    #[test]
    fn shells_complete_connection_flags_only_where_they_are_used() {
        let command = for_completions(Cli::command());
        let has = |path: &str, flag: &str| {
            let inner =
                path.split(' ').fold(&command, |command, name| command.find_subcommand(name).unwrap());
            inner.get_arguments().any(|arg| arg.get_id() == flag)
        };
        assert!(has("stats", "addr") && has("consent give", "token_file") && has("token", "data"));
        assert!(!has("verify", "addr") && !has("bounds test", "data") && !has("token", "addr"));
        assert!(has("stats", "json") && !has("demo", "json") && !has("completions", "json"));
    }
}
