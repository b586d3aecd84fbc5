//! The command `sayso completions`.

use super::error::CliError;
use super::help::for_completions;
use super::output::print_bytes;
use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;

/// A supported shell.
#[derive(Clone, Copy, ValueEnum)]
enum ShellName {
    Bash,
    Zsh,
    Fish,
}

impl From<ShellName> for Shell {
    fn from(name: ShellName) -> Self {
        match name {
            ShellName::Bash => Self::Bash,
            ShellName::Zsh => Self::Zsh,
            ShellName::Fish => Self::Fish,
        }
    }
}

/// Print a completion script for a shell.
///
/// Install the script where the shell looks for completions: for bash
/// `~/.local/share/bash-completion/completions/sayso`, for zsh a file `_sayso` in a folder of `$fpath`, for
/// fish `~/.config/fish/completions/sayso.fish`.
///
/// Example: `sayso completions fish > ~/.config/fish/completions/sayso.fish`
#[derive(Args)]
pub(super) struct Completions {
    /// Shell for which the script is printed.
    #[arg(value_enum)]
    shell: ShellName,
}

impl Completions {
    /// `command` is the whole command line.
    pub fn run(self, command: Command) -> Result<(), CliError> {
        let (mut command, mut script) = (for_completions(command), Vec::new());
        clap_complete::generate(Shell::from(self.shell), &mut command, "sayso", &mut script);
        print_bytes(&script)
    }
}
