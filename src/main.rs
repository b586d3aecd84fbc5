//! The binary: parse and dispatch.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    sayso::cli::run(sayso::cli::Cli::parse())
}
