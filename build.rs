//! Compiles `proto/` without protoc. Code for the types of events.proto is not generated again here, because
//! the crate `sayso-proof` has it.
use std::error::Error;

#[path = "build/limits.rs"]
mod limits;

const FILES: [&str; 8] = ["events", "common", "profile", "consent", "grant", "rights", "bounds", "audit"];
const PACKAGE: &str = "sayso.v1";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let names = FILES.iter().chain(["operator"].iter());
    let files: Vec<String> = names.map(|name| format!("sayso/v1/{name}.proto")).collect();
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_files(&files)?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    // protox encodes the descriptors itself, because `prost_types` would drop the options of fields.
    std::fs::write(out.join("sayso.bin"), compiler.encode_file_descriptor_set())?;
    std::fs::write(out.join("limits.rs"), limits::source(&compiler.descriptor_pool(), PACKAGE)?)?;

    // No code is generated for the files that define the options.
    let mut set = compiler.file_descriptor_set();
    set.file.retain(|file| {
        !file.name().ends_with("/limits.proto") && !file.name().ends_with("/descriptor.proto")
    });
    let mut builder = tonic_prost_build::configure();
    for file in set.file.iter().filter(|file| file.name().ends_with("events.proto")) {
        let messages = file.message_type.iter().map(|message| message.name());
        for name in messages.chain(file.enum_type.iter().map(|item| item.name())) {
            builder =
                builder.extern_path(format!(".{PACKAGE}.{name}"), format!("::sayso_proof::event::{name}"));
        }
    }
    // The names of messages tell the requests of different methods apart.
    let mut config = prost_build::Config::new();
    config.enable_type_names();
    builder.compile_fds_with_config(set, config)?;
    Ok(())
}
