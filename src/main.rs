//! The `sayso` program: parses the command line and runs the command.

use mimalloc::MiMalloc;
use std::process::ExitCode;
use zeroizing_alloc::ZeroAlloc;

/// Overwrites all freed memory. Texts and keys pass through the buffers of many libraries, and those
/// libraries do not clear them.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

fn main() -> ExitCode {
    sayso::cli::main()
}
