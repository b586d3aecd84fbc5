//! Compiles `events.proto` without protoc, with its descriptor for JSON.
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let proto = "../../proto";
    println!("cargo:rerun-if-changed={proto}/sayso/v1/events.proto");
    let set = protox::compile(["sayso/v1/events.proto"], [proto])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("events.bin"), prost::Message::encode_to_vec(&set))?;
    prost_build::Config::new().btree_map(["."]).compile_fds(set)?;
    Ok(())
}
