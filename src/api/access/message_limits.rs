//! Checks that request messages are within their limits: the bytes of each text and the elements of each
//! list. The check reads the encoded message before it is decoded, because decoded objects are many times
//! larger than the bytes of a message. It takes time linear in the size of the message, allocates nothing and
//! uses no reflection. The limits are generated from the options of the fields
//! (`proto/sayso/v1/limits.proto`).

use crate::api::status;
use crate::domain::Violation;
use tonic::Status;

/// The largest number of fields with limits in one message. `build/limits.rs` enforces it.
const FIELDS_MAX: usize = 16;
/// The largest size of a text in a request that needs no credential, in bytes.
const OPEN_TEXT_BYTES_MAX: u32 = 256;
/// The largest size of a request that needs no credential, in bytes.
const OPEN_BYTES_MAX: u32 = 1 << 10;

/// The limits of a message.
#[derive(Debug)]
pub struct Shape {
    /// The largest size in bytes of a message within its limits, with some room for unknown fields.
    pub bytes_max: u32,
    fields: &'static [Field],
}

#[derive(Debug)]
struct Field {
    number: u32,
    name: &'static str,
    kind: Kind,
    count_max: u32,
    /// The largest size of all elements together, in bytes.
    total_max: u32,
    repeats: bool,
}

#[derive(Debug)]
enum Kind {
    /// A string or bytes, with its largest size in bytes.
    Text(u32),
    Message(&'static Shape),
}

include!(concat!(env!("OUT_DIR"), "/limits.rs"));

/// A text field of a request that needs no credential.
const fn open(number: u32, name: &'static str) -> Field {
    let kind = Kind::Text(OPEN_TEXT_BYTES_MAX);
    Field { number, name, kind, count_max: 1, total_max: OPEN_TEXT_BYTES_MAX, repeats: false }
}

/// The limits of an unknown method: only an empty message is allowed.
static NOTHING: Shape = Shape { bytes_max: 0, fields: &[] };
static HEALTH: Shape = Shape { bytes_max: OPEN_BYTES_MAX, fields: &[open(1, "service")] };
static EXTENSION: Shape = Shape { bytes_max: OPEN_BYTES_MAX, fields: &[open(1, "containing_type")] };
static REFLECTION: Shape = Shape {
    bytes_max: OPEN_BYTES_MAX,
    fields: &[
        open(1, "host"),
        open(3, "file_by_filename"),
        open(4, "file_containing_symbol"),
        Field {
            number: 5,
            name: "file_containing_extension",
            kind: Kind::Message(&EXTENSION),
            count_max: 1,
            total_max: OPEN_BYTES_MAX,
            repeats: false,
        },
        open(6, "all_extension_numbers_of_type"),
        open(7, "list_services"),
    ],
};
/// The limits for standard gRPC services. Their proto files have no options for limits.
static OTHERS: &[(&str, &Shape)] = &[
    ("grpc.health.v1.Health/Check", &HEALTH),
    ("grpc.health.v1.Health/List", &HEALTH),
    ("grpc.health.v1.Health/Watch", &HEALTH),
    ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &REFLECTION),
];

/// The limits of a method's requests, by the method's name in the role table. An unknown method allows only
/// an empty message.
#[must_use]
pub fn of(method: &str) -> &'static Shape {
    let found = METHODS.iter().chain(OTHERS).find(|(name, _)| *name == method);
    found.map_or(&NOTHING, |(_, shape)| shape)
}

impl Shape {
    /// Checks that an encoded message is within its limits.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the message exceeds a limit, with the path of the first field that does; or if
    /// the bytes are not a message.
    pub fn check(&self, message: &[u8]) -> Result<(), Status> {
        self.walk(message).map_err(|Violation { field, problem }| match field.as_str() {
            "" => status::invalid("request", &problem),
            field => status::invalid(field, &problem),
        })
    }

    fn walk(&self, mut rest: &[u8]) -> Result<(), Violation> {
        let (mut counts, mut totals) = ([0_u32; FIELDS_MAX], [0_u32; FIELDS_MAX]);
        while !rest.is_empty() {
            let (number, value) = next(&mut rest).ok_or_else(unreadable)?;
            let Some(value) = value else { continue };
            let known = self.fields.iter().zip(counts.iter_mut().zip(totals.iter_mut()));
            let Some((field, (count, total))) = known.into_iter().find(|(field, _)| field.number == number)
            else {
                continue;
            };
            let place = *count;
            *count = count.saturating_add(1);
            *total = total.saturating_add(u32::try_from(value.len()).unwrap_or(u32::MAX));
            field.check(place, *count, *total, value)?;
        }
        Ok(())
    }
}

impl Field {
    /// Checks the element at `place`. `count` and `total` include it.
    fn check(&self, place: u32, count: u32, total: u32, value: &[u8]) -> Result<(), Violation> {
        if count > self.count_max {
            let most = match self.repeats {
                true => format!("must have at most {}", self.count_max),
                false => "must be set only once".to_owned(),
            };
            return Err(Violation::new(self.name, most));
        }
        let at = || if self.repeats { format!("{}[{place}]", self.name) } else { self.name.to_owned() };
        match self.kind {
            Kind::Text(most) if u32::try_from(value.len()).is_ok_and(|bytes| bytes <= most) => {}
            Kind::Text(most) => return Err(Violation::new(at(), format!("must have at most {most} bytes"))),
            Kind::Message(shape) => shape.walk(value).map_err(|inner| match inner.field.as_str() {
                "" => inner,
                field => Violation::new(format!("{}.{field}", at()), inner.problem),
            })?,
        }
        if total > self.total_max {
            return Err(Violation::new(
                self.name,
                format!("must have at most {} bytes in total", self.total_max),
            ));
        }
        Ok(())
    }
}

fn unreadable() -> Violation {
    Violation::new("", "must be a valid message of the method")
}

/// The next field: its number, and its bytes if it has a length. `None` if the bytes are not a message.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u32, Option<&'a [u8]>)> {
    let tag = varint(rest)?;
    let number = u32::try_from(tag >> 3).ok()?;
    let value = match tag & 7 {
        0 => varint(rest).map(|_| None)?,
        1 => split(rest, 8).map(|_| None)?,
        2 => {
            let bytes = usize::try_from(varint(rest)?).ok()?;
            Some(split(rest, bytes)?)
        }
        5 => split(rest, 4).map(|_| None)?,
        // Protobuf groups. No message of the API has one, and they could nest without limit.
        _ => return None,
    };
    Some((number, value))
}

fn split<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (first, after) = rest.split_at_checked(bytes)?;
    *rest = after;
    Some(first)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The encoded message with only its numeric fields, such as the number that a caller gave it. All texts,
/// bytes and nested messages are left out.
#[must_use]
pub fn numbers_of(message: &[u8]) -> Vec<u8> {
    let (mut rest, mut numbers) = (message, Vec::new());
    while !rest.is_empty() {
        let before = rest;
        let Some((_, value)) = next(&mut rest) else { break };
        let bytes = before.len().saturating_sub(rest.len());
        if let (None, Some(field)) = (value, before.get(..bytes)) {
            numbers.extend_from_slice(field);
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
    use super::*;
    use crate::api::access::method_names::{action_of, methods};
    use crate::proto;
    use prost::Message;
    use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, Value};
    use tonic_types::StatusExt;

    fn pools() -> Vec<DescriptorPool> {
        let sets = [
            proto::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        ];
        sets.iter().map(|set| DescriptorPool::decode(*set).unwrap()).collect()
    }

    /// Makes a message whose field at the end of `path` has this value. Each list on the path gets one
    /// element.
    fn message(of: &MessageDescriptor, path: &[FieldDescriptor], value: &Value) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        let (field, inside) = path.split_first().unwrap();
        let inner = match inside {
            [] => value.clone(),
            _ => {
                let inner = Value::Message(self::message(field.kind().as_message().unwrap(), inside, value));
                if field.is_list() { Value::List(vec![inner]) } else { inner }
            }
        };
        message.set_field(field, inner);
        message
    }

    /// Every path to a text, bytes or repeated field.
    fn paths(of: &MessageDescriptor, before: &[FieldDescriptor], found: &mut Vec<Vec<FieldDescriptor>>) {
        for field in of.fields() {
            let path = [before, std::slice::from_ref(&field)].concat();
            let is_text = matches!(field.kind(), prost_reflect::Kind::String | prost_reflect::Kind::Bytes);
            if is_text || field.is_list() {
                found.push(path.clone());
            }
            if let prost_reflect::Kind::Message(inner) = field.kind() {
                assert!(path.len() < 8, "{} nests", field.full_name());
                paths(&inner, &path, found);
            }
        }
    }

    fn text(field: &FieldDescriptor, bytes: usize) -> Value {
        match field.kind() {
            prost_reflect::Kind::String => Value::String("x".repeat(bytes)),
            prost_reflect::Kind::Bytes => Value::Bytes(vec![b'x'; bytes].into()),
            prost_reflect::Kind::Message(of) => Value::Message(DynamicMessage::new(of)),
            other => panic!("{}: {other:?}", field.full_name()),
        }
    }

    fn field_of(status: &Status) -> String {
        status.get_details_bad_request().unwrap().field_violations.remove(0).field
    }

    #[test]
    fn every_text_and_list_of_every_request_has_a_limit_that_is_enforced() {
        let (mut checked, known) = (0, methods());
        for method in pools().iter().flat_map(|pool| {
            pool.services().flat_map(|each| each.methods().collect::<Vec<_>>()).collect::<Vec<_>>()
        }) {
            let full = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let action = action_of(&full);
            assert!(known.iter().any(|name| name == action), "{action}");
            let (input, shape) = (method.input(), of(action));
            let mut found = Vec::new();
            paths(&input, &[], &mut found);
            assert!(shape.bytes_max > 0, "{action} has no limits");
            for path in found {
                let field = path.last().unwrap();
                let name = path.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".");
                let problem = |value: Value| {
                    let bytes = message(&input, &path, &value).encode_to_vec();
                    shape.check(&bytes).err().map(|status| field_of(&status).replace("[0]", ""))
                };
                let one = |value: Value| if field.is_list() { Value::List(vec![value]) } else { value };
                let is_accepted = |bytes: usize| problem(one(text(field, bytes))).is_none();
                if !matches!(field.kind(), prost_reflect::Kind::Message(_)) {
                    assert!(is_accepted(16), "{action} {name}");
                    let too_long = problem(one(text(field, (256 << 10) + 1)));
                    assert_eq!(too_long.as_deref(), Some(name.as_str()), "{action}");
                    checked += 1;
                }
                if field.is_list() {
                    let many = Value::List(vec![text(field, 0); 1_025]);
                    assert_eq!(problem(many).as_deref(), Some(name.as_str()), "{action}");
                    checked += 1;
                }
            }
        }
        assert!(checked > 100, "{checked}");
    }

    #[test]
    fn limits_are_those_of_the_options() {
        let ask =
            |keys: Vec<String>| proto::RequestGrantRequest { keys, ..Default::default() }.encode_to_vec();
        let shape = of("GrantService/RequestGrant");
        let problem = |bytes: &[u8]| shape.check(bytes).err().map(|status| status.message().to_owned());
        assert_eq!(problem(&ask(vec!["k".repeat(256); 64])), None);
        assert_eq!(problem(&ask(vec!["k".repeat(257)])).unwrap(), "`keys[0]` must have at most 256 bytes");
        assert_eq!(
            problem(&ask(vec!["k".repeat(256); 65])).unwrap(),
            "`keys` must have at most 16384 bytes in total"
        );
        assert_eq!(problem(&ask(vec![String::new(); 129])).unwrap(), "`keys` must have at most 128");
        // First, a text inside another message. Then a message that is set twice, which decoding would merge.
        let options = proto::WriteOptions { idempotency_key: "k".repeat(129), ..Default::default() };
        let long = proto::RequestGrantRequest { options: Some(options), ..Default::default() };
        let problem_inside = problem(&long.encode_to_vec()).unwrap();
        assert_eq!(problem_inside, "`options.idempotency_key` must have at most 128 bytes");
        let one = proto::RequestGrantRequest { options: Some(Default::default()), ..Default::default() };
        assert_eq!(problem(&one.encode_to_vec().repeat(2)).unwrap(), "`options` must be set only once");
        // Unknown fields are ignored. Bytes that are not a message are refused.
        assert_eq!(problem(&[0xfa, 0x3f, 1, b'x', 8, 1]), None);
        for bad in [&[0xff_u8; 11][..], &[10, 5, b'x'], &[11], &[12], &[9, 1], &[13, 1]] {
            assert!(problem(bad).is_some(), "{bad:?}");
        }
        assert!(of("ProfileService/Nothing").check(b"").is_ok());
        assert_eq!(of("ProfileService/Nothing").bytes_max, 0);
    }

    #[test]
    fn numbers_remain_of_a_message_without_texts() {
        let record = proto::RecordAttributesRequest { subject: "ada".into(), ..Default::default() };
        let full = proto::RecordStreamRequest { sequence: 300, record: Some(record) };
        let left = proto::RecordStreamRequest::decode(numbers_of(&full.encode_to_vec()).as_slice()).unwrap();
        assert_eq!(left, proto::RecordStreamRequest { sequence: 300, record: None });
    }
}
