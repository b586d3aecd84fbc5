//! Compiles `events.proto` without protoc, and generates the tables of message fields that `src/schema.rs`
//! includes.
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use std::error::Error;
use std::fmt::Write as _;

fn main() -> Result<(), Box<dyn Error>> {
    let proto = "../../proto";
    for file in ["events", "limits"] {
        println!("cargo:rerun-if-changed={proto}/sayso/v1/{file}.proto");
    }
    let mut set = protox::compile(["sayso/v1/events.proto"], [proto])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("events.bin"), prost::Message::encode_to_vec(&set))?;
    // The imported files only define field options of requests, so no code is generated for them.
    set.file.retain(|file| file.name().ends_with("/events.proto"));
    std::fs::write(out.join("json_table.rs"), json_table(&set)?)?;
    prost_build::Config::new().btree_map(["."]).compile_fds(set)?;
    Ok(())
}

/// Rust source with a static for each message and enum, in the form that `src/schema.rs` expects.
fn json_table(set: &FileDescriptorSet) -> Result<String, Box<dyn Error>> {
    let mut source = String::new();
    for file in &set.file {
        let package = format!(".{}", file.package());
        for enum_type in &file.enum_type {
            write_enum(&package, enum_type, &mut source)?;
        }
        for message_type in &file.message_type {
            write_message(&package, message_type, &mut source)?;
        }
    }
    Ok(source)
}

fn write_enum(
    scope: &str,
    enum_type: &EnumDescriptorProto,
    source: &mut String,
) -> Result<(), Box<dyn Error>> {
    let name = identifier(&format!("{scope}.{}", enum_type.name()));
    writeln!(source, "pub(super) static {name}: &[(i32, &str)] = &[")?;
    for value in &enum_type.value {
        writeln!(source, "    ({}, {:?}),", value.number(), value.name())?;
    }
    writeln!(source, "];")?;
    Ok(())
}

fn write_message(scope: &str, message: &DescriptorProto, source: &mut String) -> Result<(), Box<dyn Error>> {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.enum_type {
        write_enum(&name, nested, source)?;
    }
    for nested in &message.nested_type {
        write_message(&name, nested, source)?;
    }
    let is_map = |field: &FieldDescriptorProto| {
        let entry = message
            .nested_type
            .iter()
            .find(|nested| field.type_name().ends_with(&format!(".{}", nested.name())));
        entry.is_some_and(|entry| entry.options.as_ref().is_some_and(|options| options.map_entry()))
    };
    let mut fields: Vec<&FieldDescriptorProto> = message.field.iter().collect();
    fields.sort_by_key(|field| field.json_name().to_owned());
    writeln!(source, "pub(super) static {}: Message = Message(&[", identifier(&name))?;
    for field in fields {
        let kind =
            if is_map(field) { format!("Map(&{})", identifier(field.type_name())) } else { kind(field)? };
        let (json, number) = (field.json_name(), field.number());
        let repeated = field.label() == Label::Repeated;
        writeln!(
            source,
            "    Field {{ number: {number}, name: {json:?}, repeated: {repeated}, kind: Kind::{kind} }},"
        )?;
    }
    writeln!(source, "]);")?;
    Ok(())
}

fn kind(field: &FieldDescriptorProto) -> Result<String, String> {
    Ok(match field.r#type() {
        Type::Bool => "Bool".to_owned(),
        Type::Int32 => "Int32".to_owned(),
        Type::Uint32 => "Uint32".to_owned(),
        Type::Uint64 => "Uint64".to_owned(),
        Type::Double => "Double".to_owned(),
        Type::String => "String".to_owned(),
        Type::Bytes => "Bytes".to_owned(),
        Type::Enum => format!("Enum({})", identifier(field.type_name())),
        Type::Message => format!("Message(&{})", identifier(field.type_name())),
        other => return Err(format!("no JSON form for fields of type {other:?}: add one to `src/json.rs`")),
    })
}

/// The name of the static for a type such as `.sayso.v1.EventBody`.
fn identifier(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.trim_start_matches('.').chars() {
        match letter {
            '.' => snake.push('_'),
            _ if letter.is_uppercase() => {
                snake.push('_');
                snake.push(letter);
            }
            _ => snake.push(letter.to_ascii_uppercase()),
        }
    }
    snake
}
