//! Rust source for `src/api/access/message_limits.rs`: the limits of every message that a request can reach, from the options of its
//! fields. A text, bytes or repeated field without one fails the build.
use protox::prost_reflect::{DescriptorPool, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Bytes around a field on the wire: its tag and its length.
const FRAMING_BYTES: u64 = 10;
/// Room in a message for fields that this build does not know.
const UNKNOWN_BYTES: u64 = 256;
/// As in `src/api/access/message_limits.rs`, which counts in arrays of that length.
const FIELDS_MAX: usize = 16;

/// A message that was written down: the name of its static and its largest size, bytes.
type Written = BTreeMap<String, Option<(String, u64)>>;

struct Limits {
    option: ExtensionDescriptor,
    written: Written,
    source: String,
    without: Vec<String>,
}

/// The whole source.
pub fn source(pool: &DescriptorPool, package: &str) -> Result<String, Box<dyn std::error::Error>> {
    let option = pool.get_extension_by_name(&format!("{package}.limit")).ok_or("no option `limit`")?;
    let (written, source, without) = (BTreeMap::new(), String::new(), Vec::new());
    let mut limits = Limits { option, written, source, without };
    let mut methods = Vec::new();
    for service in pool.services().filter(|service| service.package_name() == package) {
        for method in service.methods() {
            let (shape, _) = limits.message(&method.input())?;
            methods.push((format!("{}/{}", service.name(), method.name()), shape));
        }
    }
    if !limits.without.is_empty() {
        let fields = limits.without.join(", ");
        return Err(format!("without a limit (`[(limit) = {{...}}]`, limits.proto): {fields}").into());
    }
    let mut source = limits.source;
    writeln!(source, "/// What a request of each method may hold.")?;
    writeln!(source, "static METHODS: &[(&str, &Shape)] = &[")?;
    for (method, shape) in methods {
        writeln!(source, "    ({method:?}, &{shape}),")?;
    }
    writeln!(source, "];")?;
    Ok(source)
}

impl Limits {
    fn message(&mut self, of: &MessageDescriptor) -> Result<(String, u64), Box<dyn std::error::Error>> {
        match self.written.get(of.full_name()) {
            Some(Some(written)) => return Ok(written.clone()),
            Some(None) => {
                return Err(format!("{}: a request that holds itself has no size", of.full_name()).into());
            }
            None => {}
        }
        self.written.insert(of.full_name().to_owned(), None);
        let (mut fields, mut bytes_max) = (String::new(), UNKNOWN_BYTES);
        let mut count = 0;
        for field in of.fields() {
            let (line, most) = self.field(&field)?;
            count += usize::from(!line.is_empty());
            fields.push_str(&line);
            bytes_max = bytes_max.saturating_add(most);
        }
        if count > FIELDS_MAX {
            return Err(format!("{}: more than {FIELDS_MAX} fields with limits", of.full_name()).into());
        }
        let name = of.full_name().replace('.', "_").to_uppercase();
        let bytes = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        writeln!(
            self.source,
            "static {name}: Shape = Shape {{ bytes_max: {bytes}, fields: &[\n{fields}] }};"
        )?;
        let written = (name, bytes_max);
        self.written.insert(of.full_name().to_owned(), Some(written.clone()));
        Ok(written)
    }

    /// A line of the table, empty for a number, and how many bytes it may have on the wire.
    fn field(&mut self, field: &FieldDescriptor) -> Result<(String, u64), Box<dyn std::error::Error>> {
        let limit = field.options().get_extension(&self.option).into_owned();
        let said = |name: &str| {
            let value = limit.as_message().and_then(|limit| limit.get_field_by_name(name)?.as_u32());
            u64::from(value.unwrap_or_default())
        };
        let (bytes, count, total) = (said("bytes"), said("count"), said("total_bytes"));
        let is_text = matches!(field.kind(), Kind::String | Kind::Bytes);
        if (is_text && bytes == 0) || (field.is_list() && count == 0) {
            self.without.push(field.full_name().to_owned());
        }
        let (kind, each) = match field.kind() {
            Kind::Message(_) if field.is_map() => return Err(teach(field, "a map")),
            Kind::Message(message) => {
                let (shape, most) = self.message(&message)?;
                (format!("Kind::Message(&{shape})"), most)
            }
            Kind::String | Kind::Bytes => (format!("Kind::Text({bytes})"), bytes),
            _ if field.is_list() => return Err(teach(field, "numbers that repeat")),
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

fn teach(field: &FieldDescriptor, what: &str) -> Box<dyn std::error::Error> {
    format!("{}: `src/api/access/message_limits.rs` does not know {what}: teach it", field.full_name()).into()
}
