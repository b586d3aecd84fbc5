//! Generates Rust source for `src/api/access/message_limits.rs`: the limits of every message that a request
//! can contain, from the `limit` options of its fields. A string, bytes or repeated field without a limit
//! fails the build.
use protox::prost_reflect::{DescriptorPool, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The number of bytes that the tag and the length of a field may take on the wire.
const FRAMING_BYTES: u64 = 10;
/// The number of bytes that a message may have for fields that this build does not know.
const UNKNOWN_BYTES: u64 = 256;
/// The largest number of fields with a limit in one message. `src/api/access/message_limits.rs` counts in
/// arrays of this length.
const FIELDS_MAX: usize = 16;

/// The generated messages by full name. Each has the name of its generated static and its largest size in
/// bytes, or `None` while it is being generated.
type Generated = BTreeMap<String, Option<(String, u64)>>;

struct Limits {
    option: ExtensionDescriptor,
    generated: Generated,
    source: String,
    /// Full names of fields that need a limit and have none.
    unlimited: Vec<String>,
}

/// Generates the whole source.
///
/// # Errors
/// A field has no limit, or a message has a form that the limits do not support.
pub fn source(pool: &DescriptorPool, package: &str) -> Result<String, Box<dyn std::error::Error>> {
    let option = pool.get_extension_by_name(&format!("{package}.limit")).ok_or("no option `limit`")?;
    let (generated, source, unlimited) = (BTreeMap::new(), String::new(), Vec::new());
    let mut limits = Limits { option, generated, source, unlimited };
    let mut methods = Vec::new();
    for service in pool.services().filter(|service| service.package_name() == package) {
        for method in service.methods() {
            let (shape, _) = limits.message(&method.input())?;
            methods.push((format!("{}/{}", service.name(), method.name()), shape));
        }
    }
    if !limits.unlimited.is_empty() {
        let fields = limits.unlimited.join(", ");
        return Err(
            format!("fields without a limit: {fields}; add `[(limit) = {{...}}]` (limits.proto)").into()
        );
    }
    let mut source = limits.source;
    writeln!(source, "/// The limits of each method's request.")?;
    writeln!(source, "static METHODS: &[(&str, &Shape)] = &[")?;
    for (method, shape) in methods {
        writeln!(source, "    ({method:?}, &{shape}),")?;
    }
    writeln!(source, "];")?;
    Ok(source)
}

impl Limits {
    fn message(&mut self, of: &MessageDescriptor) -> Result<(String, u64), Box<dyn std::error::Error>> {
        match self.generated.get(of.full_name()) {
            Some(Some(generated)) => return Ok(generated.clone()),
            Some(None) => {
                return Err(format!("{}: a request message must not contain itself", of.full_name()).into());
            }
            None => {}
        }
        self.generated.insert(of.full_name().to_owned(), None);
        let (mut fields, mut bytes_max) = (String::new(), UNKNOWN_BYTES);
        let mut count = 0;
        for field in of.fields() {
            let (line, most) = self.field(&field)?;
            count += usize::from(!line.is_empty());
            fields.push_str(&line);
            bytes_max = bytes_max.saturating_add(most);
        }
        if count > FIELDS_MAX {
            return Err(
                format!("{}: must have at most {FIELDS_MAX} fields with limits", of.full_name()).into()
            );
        }
        let name = of.full_name().replace('.', "_").to_uppercase();
        let bytes = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        writeln!(
            self.source,
            "static {name}: Shape = Shape {{ bytes_max: {bytes}, fields: &[\n{fields}] }};"
        )?;
        let generated = (name, bytes_max);
        self.generated.insert(of.full_name().to_owned(), Some(generated.clone()));
        Ok(generated)
    }

    /// Returns the field's line in the generated table, and its largest size on the wire in bytes. The line
    /// is empty for a number.
    fn field(&mut self, field: &FieldDescriptor) -> Result<(String, u64), Box<dyn std::error::Error>> {
        let limit = field.options().get_extension(&self.option).into_owned();
        let option = |name: &str| {
            let value = limit.as_message().and_then(|limit| limit.get_field_by_name(name)?.as_u32());
            u64::from(value.unwrap_or_default())
        };
        let (bytes, count, total) = (option("bytes"), option("count"), option("total_bytes"));
        let is_text = matches!(field.kind(), Kind::String | Kind::Bytes);
        if (is_text && bytes == 0) || (field.is_list() && count == 0) {
            self.unlimited.push(field.full_name().to_owned());
        }
        let (kind, each) = match field.kind() {
            Kind::Message(_) if field.is_map() => return Err(unsupported(field, "maps")),
            Kind::Message(message) => {
                let (shape, most) = self.message(&message)?;
                (format!("Kind::Message(&{shape})"), most)
            }
            Kind::String | Kind::Bytes => (format!("Kind::Text({bytes})"), bytes),
            _ if field.is_list() => return Err(unsupported(field, "repeated numbers")),
            _ => return Ok((String::new(), FRAMING_BYTES * 2)),
        };
        let count = if field.is_list() { count } else { 1 };
        let total = if total == 0 { each.saturating_mul(count) } else { total };
        let most = total.min(each.saturating_mul(count)).saturating_add(count * FRAMING_BYTES);
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        let (number, name, repeats) = (field.number(), field.name(), field.is_list());
        let limits = format!("count_max: {count}, total_max: {total}, repeats: {repeats}");
        Ok((format!("    Field {{ number: {number}, name: {name:?}, kind: {kind}, {limits} }},\n"), most))
    }
}

fn unsupported(field: &FieldDescriptor, what: &str) -> Box<dyn std::error::Error> {
    format!(
        "{}: {what} have no limits yet; add them to `src/api/access/message_limits.rs`",
        field.full_name()
    )
    .into()
}
