//! The binary: parse and dispatch.

use std::process::ExitCode;

fn main() -> ExitCode {
    sayso::cli::main()
}
