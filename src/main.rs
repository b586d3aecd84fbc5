//! The binary: parse and dispatch.

use mimalloc::MiMalloc;
use std::process::ExitCode;
use zeroizing_alloc::ZeroAlloc;

/// Overwrites whatever is freed: texts and keys pass through buffers of many libraries, none of which clears
/// them.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

fn main() -> ExitCode {
    sayso::cli::main()
}
