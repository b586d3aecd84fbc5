//! Compiles `proto/` without protoc. What `sayso-proof` already defines (events.proto) is taken from there.
use std::error::Error;

const FILES: [&str; 8] = ["events", "common", "profile", "consent", "grant", "rights", "bounds", "audit"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files: Vec<String> =
        FILES.iter().chain(["operator"].iter()).map(|name| format!("sayso/v1/{name}.proto")).collect();
    let set = protox::compile(&files, ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("sayso.bin"), prost::Message::encode_to_vec(&set))?;

    let mut builder = tonic_prost_build::configure();
    for file in set.file.iter().filter(|file| file.name().ends_with("events.proto")) {
        let messages = file.message_type.iter().map(|message| message.name());
        for name in messages.chain(file.enum_type.iter().map(|item| item.name())) {
            builder =
                builder.extern_path(format!(".sayso.v1.{name}"), format!("::sayso_proof::event::{name}"));
        }
    }
    builder.compile_fds(set)?;
    Ok(())
}
