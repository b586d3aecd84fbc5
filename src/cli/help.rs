//! Adapts clap's definition of the command line for the help, the manual pages and the shell completions. The
//! help shows commands in groups.
//!
//! Only the help of `sayso` itself shows all connection flags. The help of a command that calls the daemon
//! refers to it. A command that calls no daemon but uses a connection flag, such as `--data` of `sayso
//! token`, shows that flag.

use super::flags::{CONNECTION_FLAGS, used_by};
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

/// The exit statuses, as the help shows them.
const EXIT_STATUS: &str = "\
Exit status:
  0  Success
  1  Failure
  2  The command line, or a file that it names, is wrong
  3  The request was denied
  4  Verification failed, or a data folder is damaged
  5  The checked grant is not valid
  6  What is verified is intact, but not all of it could be checked
  7  What is verified was made by a newer version";

/// Sentence that is added to the help of the commands that call a daemon.
const SEE_CONNECTION_FLAGS: &str = "The flags for the connection to the daemon are in `sayso --help`.";

/// The command line as `--help` shows it.
pub(super) fn for_help(command: Command) -> Command {
    let command = for_manual(command);
    let header = *command.get_styles().get_header();
    let mut groups = String::new();
    for (name, members) in GROUPS {
        let _infallible = write!(groups, "{header}{name}:{header:#}\n{}\n", rows(&command, members));
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{SEE_COMMAND_HELP}\n\n{{all-args}}{{after-help}}"
    );
    // clap can't group subcommands, so they are hidden from clap's own list. That also hides them from the
    // usage line.
    let command = command.mut_subcommands(|inner| inner.hide(true));
    command.override_usage("sayso [OPTIONS] <COMMAND>").help_template(template)
}

/// The command line as the manual pages show it: as in the help, but with every command in one list.
pub(super) fn for_manual(command: Command) -> Command {
    let flags = connection_flags(&command);
    let shape = |inner: Command| shaped(inner, "", &|inner, path| hide_flags(inner, path, &flags));
    command.mut_subcommands(shape).after_help(EXIT_STATUS)
}

/// The command line as shells complete it: connection flags are completed only after a command that uses
/// them.
pub(super) fn for_completions(command: Command) -> Command {
    let flags = connection_flags(&command);
    let shape = |inner: Command| shaped(inner, "", &|inner, path| add_used_flags(inner, path, &flags));
    let command = command.mut_subcommands(shape);
    CONNECTION_FLAGS.iter().fold(command, |command, flag| command.mut_arg(flag, |arg| arg.global(false)))
}

fn connection_flags(command: &Command) -> Vec<Arg> {
    let is_connection_flag = |arg: &&Arg| CONNECTION_FLAGS.contains(&arg.get_id().as_str());
    command.get_arguments().filter(is_connection_flag).cloned().collect()
}

/// Applies a change to a command and to all commands below it. The change is given each command and
/// its path, such as `bounds test`.
fn shaped(command: Command, above: &str, change: &dyn Fn(Command, &str) -> Command) -> Command {
    let path = format!("{above} {}", command.get_name()).trim_start().to_owned();
    let command = command.mut_subcommands(|inner| shaped(inner, &path, change));
    change(command, &path)
}

/// Hides connection flags, except those that an offline command (one that calls no daemon) uses.
fn hide_flags(command: Command, path: &str, flags: &[Arg]) -> Command {
    let (is_leaf, used) = (!command.has_subcommands(), used_by(path));
    let calls_daemon = used.len() == CONNECTION_FLAGS.len();
    let is_hidden = |flag: &&Arg| !is_leaf || calls_daemon || !used.contains(&flag.get_id().as_str());
    let command = command.args(flags.iter().filter(is_hidden).map(|flag| flag.clone().hide(true)));
    if is_leaf && calls_daemon { command.after_help(SEE_CONNECTION_FLAGS) } else { command }
}

fn add_used_flags(command: Command, path: &str, flags: &[Arg]) -> Command {
    if command.has_subcommands() {
        return command;
    }
    let used = used_by(path);
    let used = flags.iter().filter(|flag| used.contains(&flag.get_id().as_str()));
    command.args(used.map(|flag| flag.clone().global(false)))
}

/// One line for each command of a group: its name and the first sentence of its help.
fn rows(command: &Command, members: &[&str]) -> String {
    let width = command.get_subcommands().map(|inner| inner.get_name().len()).max().unwrap_or_default();
    let literal = command.get_styles().get_literal();
    let mut rows = String::new();
    for inner in members.iter().filter_map(|name| command.find_subcommand(name)) {
        let name = inner.get_name();
        let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
        let _infallible = writeln!(rows, "  {literal}{name:width$}{literal:#}  {}", first_sentence(&about));
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
    }
}
