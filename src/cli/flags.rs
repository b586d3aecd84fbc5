//! Refuses global flags that a command does not use, instead of ignoring them. The global flags are --json
//! and the connection flags, such as --addr, which say how to reach a daemon.

use clap::error::{Error, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

/// IDs of the flags that say where the daemon is and how to call it.
pub(super) const CONNECTION_FLAGS: [&str; 8] =
    ["addr", "ca", "cert", "tls_key", "token_file", "data", "as", "insecure"];

/// Commands that print no JSON.
const WITHOUT_JSON: [&str; 2] = ["demo", "completions"];

/// A connection flag that is used by a command that calls no daemon, and the flag's help in that command.
pub(super) type OwnFlag = (&'static str, &'static str);

/// Commands that call no daemon, each with the connection flags that it nevertheless uses.
const OFFLINE_COMMANDS: [(&str, &[OwnFlag]); 12] = [
    (
        "serve",
        &[(
            "data",
            "Data folder of the daemon. On the command line, --data overrides `data` in --config; SAYSO_DATA is used \
             only without --config",
        )],
    ),
    (
        "token",
        &[(
            "data",
            "Data folder of the daemon that accepts the token. On the command line, --data overrides `data` in \
             --config; SAYSO_DATA is used only without --config",
        )],
    ),
    (
        "restore",
        &[(
            "data",
            "Data folder to restore the log to. On the command line, --data overrides `data` in --config; SAYSO_DATA \
             is used only without --config",
        )],
    ),
    ("demo", &[]),
    ("verify", &[]),
    ("fsck", &[]),
    ("witness", &[]),
    (
        "monitor",
        &[(
            "ca",
            "CA certificates (PEM) to verify an https:// address of the log with. Default: those that the system \
             trusts",
        )],
    ),
    ("bounds test", &[]),
    ("bounds keygen", &[]),
    ("completions", &[]),
    ("man", &[]),
];

/// The connection flags that an offline command uses. `None` if the command calls a daemon, and so uses all
/// of them. `path` has the words of the command after `sayso`, such as `bounds test`.
pub(super) fn used_offline(path: &str) -> Option<&'static [OwnFlag]> {
    OFFLINE_COMMANDS.iter().find(|(command, _)| *command == path).map(|(_, used)| *used)
}

/// Whether a command uses a global flag: a connection flag or `json`.
pub(super) fn uses(path: &str, flag: &str) -> bool {
    if flag == "json" {
        return !WITHOUT_JSON.contains(&path);
    }
    used_offline(path).is_none_or(|used| used.iter().any(|(name, _)| *name == flag))
}

/// Returns an error if the command line has a global flag that its command does not use. Environment
/// variables are not refused: they may be set for other commands.
///
/// # Errors
/// The command line has a global flag that the command does not use.
pub(super) fn refuse_unused(command: &mut Command, matches: &ArgMatches) -> Result<(), Error> {
    let (path, last) = last_subcommand(matches);
    let is_unused = |flag: &str| !uses(&path, flag) && is_on_command_line(last, flag);
    if is_unused("json") {
        let message = format!("`sayso {path}` prints no JSON: leave out `--json`");
        return Err(command.error(ErrorKind::ArgumentConflict, message));
    }
    let unused = CONNECTION_FLAGS.iter().find(|flag| is_unused(flag));
    let Some(flag) = unused else { return Ok(()) };
    let flag = flag.replace('_', "-");
    let instead = match path.as_str() {
        "serve" => "; set its own addresses with --listen and --http, and its certificate in --config",
        _ => "",
    };
    let message =
        format!("`--{flag}` says how to call a daemon, but `sayso {path}` calls none: leave it out{instead}");
    Err(command.error(ErrorKind::ArgumentConflict, message))
}

/// Whether a flag is given on the command line, before or after the command.
pub(super) fn is_given(matches: &ArgMatches, flag: &str) -> bool {
    is_on_command_line(last_subcommand(matches).1, flag)
}

fn is_on_command_line(matches: &ArgMatches, flag: &str) -> bool {
    matches.value_source(flag) == Some(ValueSource::CommandLine)
}

/// The innermost subcommand, and its path.
fn last_subcommand(matches: &ArgMatches) -> (String, &ArgMatches) {
    let (mut path, mut last) = (Vec::new(), matches);
    while let Some((name, inner)) = last.subcommand() {
        path.push(name);
        last = inner;
    }
    (path.join(" "), last)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::cli::{Cli, Command as CliCommand};
    use crate::config::Config;
    use clap::CommandFactory;
    use std::ffi::OsString;
    use std::path::PathBuf;

    fn parsed(line: &str) -> Result<Cli, Error> {
        Cli::parse_line(line.split_whitespace().map(OsString::from))
    }

    /// The configuration that results from a `serve` command line.
    fn serve_config(line: &str) -> Config {
        let cli = parsed(line).unwrap();
        let CliCommand::Serve(serve) = &cli.command else { unreachable!("{line}") };
        serve.config(&cli.connection).unwrap()
    }

    #[test]
    fn every_flag_of_serve_overrides_the_configuration_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sayso.toml");
        std::fs::write(&file, "data = 'of-the-file'\nlisten = '127.0.0.1:1'\nhttp = '127.0.0.1:2'").unwrap();
        let serve = format!("sayso serve --config {}", file.display());
        let plain = serve_config(&serve);
        assert_eq!((plain.data, plain.listen.port()), (PathBuf::from("of-the-file"), 1));
        for line in [format!("{serve} --data mine"), serve.replacen("sayso", "sayso --data mine", 1)] {
            let config = serve_config(&line);
            assert_eq!((config.data, config.listen.port()), (PathBuf::from("mine"), 1), "{line}");
        }
        // A flag overrides the file even where its value is the default.
        assert_eq!(serve_config(&format!("{serve} --data sayso-data")).data, PathBuf::from("sayso-data"));
        let listening = serve_config(&format!("{serve} --listen 127.0.0.1:3"));
        assert_eq!((listening.listen.port(), listening.http.port()), (3, 2));
        let listening = serve_config(&format!("{serve} --http 127.0.0.1:4"));
        assert_eq!((listening.listen.port(), listening.http.port()), (1, 4));
        // A new flag of `serve` needs a case above.
        let command = Cli::command();
        let flags = command.find_subcommand("serve").unwrap().get_arguments();
        let flags: Vec<&str> = flags.map(|flag| flag.get_id().as_str()).collect();
        assert_eq!(flags, ["config", "dev", "listen", "http"]);
    }

    #[test]
    fn commands_refuse_connection_flags_that_they_do_not_use() {
        for (flag, name) in [
            ("--addr http://127.0.0.1:1", "addr"),
            ("--ca a", "ca"),
            ("--cert a --tls-key b", "cert"),
            ("--token-file a", "token_file"),
            ("--data a", "data"),
            ("--as steward", "as"),
            ("--insecure", "insecure"),
        ] {
            for (line, command) in [
                ("serve", "serve"),
                ("token --role steward --name a", "token"),
                ("restore a", "restore"),
                ("demo", "demo"),
                ("verify a --key b", "verify"),
                ("fsck a", "fsck"),
                ("bounds test a", "bounds test"),
                ("man a", "man"),
            ] {
                for line in [format!("sayso {flag} {line}"), format!("sayso {line} {flag}")] {
                    let refused = parsed(&line).err().map(|error| error.kind());
                    let expected = (!uses(command, name)).then_some(ErrorKind::ArgumentConflict);
                    assert_eq!(refused, expected, "{line}");
                }
            }
            assert!(parsed(&format!("sayso {flag} stats")).is_ok(), "{flag}");
        }
    }

    #[test]
    fn commands_that_print_no_json_refuse_the_flag() {
        for line in ["demo", "completions fish"] {
            for line in [format!("sayso --json {line}"), format!("sayso {line} --json")] {
                let refused = parsed(&line).err().unwrap();
                assert_eq!(refused.kind(), ErrorKind::ArgumentConflict, "{line}");
                assert!(refused.to_string().contains("prints no JSON"), "{refused}");
            }
        }
        assert!(parsed("sayso --json man pages").is_ok());
    }

    #[test]
    fn every_global_flag_is_listed_and_every_listed_command_exists() {
        let command = Cli::command();
        let flags: Vec<&str> = command.get_arguments().map(|flag| flag.get_id().as_str()).collect();
        for flag in CONNECTION_FLAGS {
            assert!(flags.contains(&flag), "{flag}");
        }
        let others: Vec<_> = flags.iter().filter(|flag| !CONNECTION_FLAGS.contains(flag)).collect();
        assert_eq!(others, [&"json"], "is this flag a connection flag?");
        for path in OFFLINE_COMMANDS.map(|(path, _)| path).into_iter().chain(WITHOUT_JSON) {
            let found = path.split(' ').try_fold(&command, |command, name| command.find_subcommand(name));
            assert!(found.is_some(), "{path}");
        }
    }
}
