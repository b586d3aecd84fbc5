//! What stands on the command line itself: a flag that a command would ignore is refused there, and one that a configuration
//! file also says counts before the file.

use super::Cli;
use super::connect::Connection;
use super::error::CliError;
use crate::config::Config;
use clap::error::{Error, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::path::Path;

/// Flags that say how a daemon is called, by their ids.
const CALLING: [&str; 8] = ["addr", "ca", "cert", "tls_key", "token_file", "data", "as", "insecure"];
/// Commands that call no daemon, and which of these flags they take all the same.
const CALL_NOBODY: [(&str, &[&str]); 9] = [
    ("serve", &["data"]),
    ("token", &["data"]),
    ("restore", &["data"]),
    ("demo", &[]),
    ("verify", &[]),
    ("fsck", &[]),
    ("witness", &[]),
    ("bounds test", &[]),
    ("bounds keygen", &[]),
];

impl Cli {
    /// Reads a command line.
    ///
    /// # Errors
    /// It is not one, or it has a flag that would mean nothing.
    pub(super) fn parse_given(line: impl IntoIterator<Item = OsString>) -> Result<Self, Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(line)?;
        let mut cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        let (path, last) = last_of(&matches);
        let given = |flag: &str| last.value_source(flag) == Some(ValueSource::CommandLine);
        if let Some((name, taken)) = CALL_NOBODY.iter().find(|(name, _)| *name == path) {
            let idle = CALLING.iter().find(|flag| !taken.contains(flag) && given(flag));
            if let Some(flag) = idle {
                let flag = flag.replace('_', "-");
                let instead = if *name == "serve" {
                    "; where it listens is --listen and --http, with what certificate stands in --config"
                } else {
                    ""
                };
                let what = format!(
                    "`--{flag}` says how a daemon is called, and `sayso {name}` calls none: leave it out{instead}"
                );
                return Err(command.error(ErrorKind::ArgumentConflict, what));
            }
        }
        cli.connection.is_data_given = given("data");
        Ok(cli)
    }
}

/// The command at the end of the path, and its path.
fn last_of(matches: &ArgMatches) -> (String, &ArgMatches) {
    let (mut path, mut last) = (Vec::new(), matches);
    while let Some((name, inner)) = last.subcommand() {
        path.push(name);
        last = inner;
    }
    (path.join(" "), last)
}

impl Connection {
    /// Settings from a configuration file, if one is named. `--data` on the command line counts before the file; `SAYSO_DATA`,
    /// which may be set for other commands, only where there is no file.
    ///
    /// # Errors
    /// The file can't be read.
    pub(super) fn settings(&self, file: Option<&Path>) -> Result<Config, CliError> {
        let Some(file) = file else { return Ok(Config { data: self.data.clone(), ..Config::default() }) };
        let mut config = Config::read(file).map_err(CliError::usage)?;
        if self.is_data_given {
            config.data.clone_from(&self.data);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::cli::Command;
    use std::path::PathBuf;

    fn parsed(line: &str) -> Result<Cli, Error> {
        Cli::parse_given(line.split_whitespace().map(OsString::from))
    }

    /// The settings that a `serve` would run with.
    fn served(line: &str) -> Config {
        let cli = parsed(line).unwrap();
        let Command::Serve(serve) = &cli.command else { unreachable!("{line}") };
        serve.settings(&cli.connection).unwrap()
    }

    #[test]
    fn every_flag_of_serve_counts_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sayso.toml");
        std::fs::write(&file, "data = 'of-the-file'\nlisten = '127.0.0.1:1'\nhttp = '127.0.0.1:2'").unwrap();
        let serve = format!("sayso serve --config {}", file.display());
        let plain = served(&serve);
        assert_eq!((plain.data, plain.listen.port()), (PathBuf::from("of-the-file"), 1));
        for line in [format!("{serve} --data mine"), serve.replacen("sayso", "sayso --data mine", 1)] {
            let config = served(&line);
            assert_eq!((config.data, config.listen.port()), (PathBuf::from("mine"), 1), "{line}");
        }
        // Also where it says the same as the default.
        assert_eq!(served(&format!("{serve} --data sayso-data")).data, PathBuf::from("sayso-data"));
        let listening = served(&format!("{serve} --listen 127.0.0.1:3"));
        assert_eq!((listening.listen.port(), listening.http.port()), (3, 2));
        let listening = served(&format!("{serve} --http 127.0.0.1:4"));
        assert_eq!((listening.listen.port(), listening.http.port()), (1, 4));
        // A flag that is new has to be looked at here.
        let command = Cli::command();
        let flags = command.find_subcommand("serve").unwrap().get_arguments();
        let flags: Vec<&str> = flags.map(|flag| flag.get_id().as_str()).collect();
        assert_eq!(flags, ["config", "dev", "listen", "http"]);
    }

    #[test]
    fn flags_that_mean_nothing_to_a_command_are_refused() {
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
            ] {
                let (_, taken) = CALL_NOBODY.iter().find(|(each, _)| *each == command).unwrap();
                for line in [format!("sayso {flag} {line}"), format!("sayso {line} {flag}")] {
                    let refused = parsed(&line).err().map(|error| error.kind());
                    let expected = (!taken.contains(&name)).then_some(ErrorKind::ArgumentConflict);
                    assert_eq!(refused, expected, "{line}");
                }
            }
            assert!(parsed(&format!("sayso {flag} stats")).is_ok(), "{flag}");
        }
    }

    #[test]
    fn the_flags_are_all_there_are_and_the_commands_exist() {
        let command = Cli::command();
        let flags: Vec<&str> = command.get_arguments().map(|flag| flag.get_id().as_str()).collect();
        for flag in CALLING {
            assert!(flags.contains(&flag), "{flag}");
        }
        let others: Vec<_> = flags.iter().filter(|flag| !CALLING.contains(flag)).collect();
        assert_eq!(others, [&"json"], "says how a daemon is called?");
        for (path, _) in CALL_NOBODY {
            let found = path.split(' ').try_fold(&command, |command, name| command.find_subcommand(name));
            assert!(found.is_some(), "{path}");
        }
    }
}
