//! The command `sayso man`.

use super::atomic_file::{AtomicFile, Existing};
use super::error::CliError;
use super::help::{EXIT_STATUSES, for_manual, groups};
use super::output::{Out, count};
use clap::{Args, Command};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};
use std::path::{Path, PathBuf};

/// Write the manual pages: one for `sayso` and one for each command.
///
/// Example: `sayso man ~/.local/share/man/man1`
#[derive(Args)]
pub(super) struct Man {
    /// Folder for the pages. It is created if it does not exist.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Replace pages that exist.
    #[arg(long)]
    force: bool,
}

impl Man {
    /// `command` is the whole command line.
    pub fn run(self, command: Command, out: Out) -> Result<(), CliError> {
        let mut command = for_manual(command).disable_help_subcommand(true);
        command.build();
        let mut pages = Vec::new();
        render(&command, &mut pages)?;
        let cant_write = |error| CliError::failed(format!("{}: {error}", self.folder.display()));
        std::fs::create_dir_all(&self.folder).map_err(cant_write)?;
        let existing = Existing::from_force(self.force);
        let path = |name: &str| -> PathBuf { self.folder.join(Path::new(name)) };
        pages.iter().try_for_each(|(name, _)| existing.check(&path(name)))?;
        for (name, page) in &pages {
            AtomicFile::write_whole(&path(name), existing, page)?;
        }
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        let value = serde_json::json!({ "folder": self.folder, "pages": names });
        let pages = count(pages.len() as u64, "page");
        out.print_value(&value, &format!("{pages} in {}", self.folder.display()))
    }
}

/// Renders the pages of a command and of all commands below it, each with its file name.
fn render(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<(), CliError> {
    let (page, mut text) = (Page::new(command.clone()), Vec::new());
    write_page(&page, command, &mut text).map_err(CliError::failed)?;
    pages.push((page.get_filename(), text));
    command.get_subcommands().filter(|inner| !inner.is_hide_set()).try_for_each(|inner| render(inner, pages))
}

/// Writes the sections of a page. The page of `sayso` itself lists the commands in groups and has the exit
/// statuses; the other pages refer to it.
fn write_page(page: &Page, command: &Command, text: &mut Vec<u8>) -> std::io::Result<()> {
    page.render_title(text)?;
    page.render_name_section(text)?;
    page.render_synopsis_section(text)?;
    page.render_description_section(text)?;
    page.render_options_section(text)?;
    if command.get_version().is_some() {
        commands_section(command).to_writer(text)?;
        exit_status_section().to_writer(text)?;
        return page.render_version_section(text);
    }
    if command.has_subcommands() {
        page.render_subcommands_section(text)?;
    }
    see_also_section(command).to_writer(text)
}

fn commands_section(command: &Command) -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["COMMANDS"]);
    for (group, members) in groups(command) {
        section.control("SS", [group]);
        for (name, about) in members {
            section.control("TP", []);
            section.text([roman(format!("sayso-{name}(1)"))]);
            section.text([roman(about)]);
        }
    }
    section
}

fn exit_status_section() -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in EXIT_STATUSES.iter().enumerate() {
        section.control("TP", []);
        section.text([bold(status.to_string())]);
        section.text([roman(*meaning)]);
    }
    section
}

fn see_also_section(command: &Command) -> Roff {
    let flags = if command.get_after_help().is_some() {
        "the flags for the connection to the daemon and "
    } else {
        ""
    };
    let mut section = Roff::new();
    section.control("SH", ["SEE ALSO"]);
    section.text([bold("sayso"), roman(format!("(1) lists {flags}the exit statuses."))]);
    section
}
