//! Makes bundles as an operator with the log's key could forge them: any content, with valid signatures.

use super::*;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer;
use prost::Message;
use sayso_proof::checkpoint::sign_note;
use sayso_proof::json::to_json;
use sha2::{Digest, Sha256};
use std::io::Write;

/// Bytes of a block of a tar stream.
pub const BLOCK: usize = 512;

/// Appends a field with a length to a payload.
fn push(payload: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    payload.push(tag);
    prost::encoding::encode_varint(bytes.len() as u64, payload);
    payload.extend_from_slice(bytes);
}

/// The field of an empty body: its tag and length, the plaintext, and the tag of the cipher.
const BARE_FIELD_BYTES: usize = 2 + 16;
const PADDED_FIELD_BYTES: usize = 3 + 384 + 16;

impl Log {
    /// Appends a system event whose body has exactly these bytes.
    pub fn append_raw_system_event(&mut self, body: &[u8]) {
        let header = self.header(Handle::SYSTEM);
        let mut payload = entry::plain(&header, &EventBody::default()).unwrap();
        payload.truncate(payload.len() - 2);
        push(&mut payload, 0x4a, body);
        self.push(&header, payload, None);
    }

    /// Appends an event of a data subject whose body has exactly these bytes.
    pub fn append_raw(&mut self, handle: Handle, body: &[u8]) {
        let key = EventKey::derive(&[8; 32], &event_id(self.size()));
        self.append_raw_with_key(handle, body, key);
    }

    /// Appends an event of a data subject that this key seals.
    pub fn append_raw_with_key(&mut self, handle: Handle, body: &[u8], key: EventKey) {
        let is_padded = self.edition >= 5;
        let plaintext = if is_padded { padded(body) } else { body.to_vec() };
        self.append_plaintext(handle, &plaintext, key);
    }

    /// Appends an event of a data subject with exactly this plaintext, padding included.
    pub fn append_plaintext(&mut self, handle: Handle, plaintext: &[u8], key: EventKey) {
        let (header, payload) = self.payload_with(handle, plaintext, &key);
        self.push(&header, payload, Some(key));
    }

    /// The payload of an event of a data subject with exactly this plaintext.
    pub fn payload_with(&mut self, handle: Handle, plaintext: &[u8], key: &EventKey) -> (Header, Vec<u8>) {
        let header = self.header(handle);
        let mut payload = entry::seal(&header, &EventBody::default(), key).unwrap();
        let field = if self.edition >= 5 { PADDED_FIELD_BYTES } else { BARE_FIELD_BYTES };
        payload.truncate(payload.len() - field);
        let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key.as_bytes()));
        let sealed = cipher.encrypt(&Nonce::default(), Payload { msg: plaintext, aad: &payload }).unwrap();
        push(&mut payload, 0x42, &sealed);
        (header, payload)
    }

    /// The body of an entry as a lenient reader decodes it.
    fn lenient_body(&self, at: usize) -> EventBody {
        let bytes = &self.entries[at];
        let header = entry::parse_header(bytes).unwrap();
        let mut start =
            entry::plain(&Header { key_commitment: None, ..header.clone() }, &EventBody::default());
        if header.handle != Handle::SYSTEM {
            start = entry::seal(&header, &EventBody::default(), self.keys[at].as_ref().unwrap());
        }
        let start = start.unwrap();
        let is_padded = header.schema_version == SchemaVersion::Two;
        let field = match header.handle == Handle::SYSTEM {
            true => 2,
            false if is_padded => PADDED_FIELD_BYTES,
            false => BARE_FIELD_BYTES,
        };
        let associated = &start[..start.len() - field];
        let found = bytes.windows(associated.len()).position(|window| window == associated).unwrap();
        let mut rest = &bytes[found + associated.len() + 1..];
        let length = prost::encoding::decode_varint(&mut rest).unwrap() as usize;
        let body = &rest[..length];
        let Some(key) = &self.keys[at] else { return EventBody::decode(body).unwrap() };
        let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key.as_bytes()));
        let opened = cipher.decrypt(&Nonce::default(), Payload { msg: body, aad: associated }).unwrap();
        let end = opened.iter().rposition(|byte| *byte != 0).filter(|_| is_padded).unwrap_or(opened.len());
        // Padding of the wrong form has no body to read.
        EventBody::decode(&opened[..end]).unwrap_or_default()
    }

    fn forged_line(&self, at: usize) -> String {
        let body = to_json(&self.lenient_body(at)).unwrap();
        let key = self.keys[at].as_ref().map(|key| STANDARD.encode(key.as_bytes()));
        let key = key.map_or_else(String::new, |key| format!("\"key\":\"{key}\","));
        let entry = STANDARD.encode(&self.entries[at]);
        let recorded = self.recorded[at];
        format!(
            "{{\"position\":{at},\"state\":\"present\",\"recorded_at_ms\":{recorded},\"entry\":\"{entry}\",\
             {key}\"body\":{body}}}\n"
        )
    }

    /// The files of a bundle, without manifest and note. Bodies may have any encoding.
    pub fn forged_files(&self) -> Vec<(String, Vec<u8>)> {
        let size = self.entries.len();
        let mut files = vec![
            ("checkpoint".to_owned(), self.checkpoint(self.size()).into_bytes()),
            ("keys.jsonl".to_owned(), self.chain.to_jsonl().into_bytes()),
            ("leaf-hashes.bin".to_owned(), self.leaves.concat()),
            (
                "entries/000000.jsonl".to_owned(),
                (0..size).map(|at| self.forged_line(at)).collect::<String>().into(),
            ),
        ];
        for folder in ["bounds", "notices"] {
            for at in 0..size {
                let body = self.lenient_body(at);
                let is_here = match &body.event {
                    Some(Event::BoundsPublished(_)) => folder == "bounds",
                    Some(Event::NoticePublished(_)) => folder == "notices",
                    _ => false,
                };
                if is_here {
                    let text = serde_json::to_string_pretty(&to_json(&body).unwrap()).unwrap() + "\n";
                    files.push((format!("{folder}/{at}.json"), text.into_bytes()));
                }
            }
        }
        files
    }

    /// A bundle of these files, with manifest, note and trailer by the log's key.
    pub fn forged_bundle(&self, files: Vec<(String, Vec<u8>)>) -> Vec<u8> {
        self.archive(&tar_of(&self.signed_files(files)))
    }

    /// Adds the manifest and its note.
    pub fn signed_files(&self, mut files: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
        let mut manifest = format!(
            "{{\n  \"format\": \"sayso bundle manifest v1\",\n  \"origin\": \"{ORIGIN}\",\n  \"tree_size\": {},\n  \
             \"files\": [",
            self.size()
        );
        for (number, (name, bytes)) in files.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            manifest.push_str(&format!(
                "{comma}\n    {{\n      \"name\": \"{name}\",\n      \"length\": {},\n      \"sha256\": \"{}\"\n    }}",
                bytes.len(),
                hex::encode(Sha256::digest(bytes))
            ));
        }
        manifest.push_str("\n  ]\n}\n");
        let digest = hex::encode(Sha256::digest(&manifest));
        let note = sign_note(&format!("sayso bundle manifest v1\n{ORIGIN}\n{digest}\n"), ORIGIN, &self.key);
        files.push(("manifest.json".to_owned(), manifest.into_bytes()));
        files.push(("manifest.note".to_owned(), note.into_bytes()));
        files
    }

    /// Compresses a tar stream, and signs the trailer.
    pub fn archive(&self, tar: &[u8]) -> Vec<u8> {
        self.with_trailer(compressed(tar))
    }

    pub fn with_trailer(&self, mut frame: Vec<u8>) -> Vec<u8> {
        let digest: Hash = Sha256::digest(&frame).into();
        frame.extend([0x53, 0x2a, 0x4d, 0x18, 96, 0, 0, 0]);
        frame.extend(digest);
        frame.extend(self.key.sign(&[b"sayso bundle trailer v1\n".as_slice(), &digest].concat()).to_bytes());
        frame
    }
}

pub fn compressed(tar: &[u8]) -> Vec<u8> {
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.include_checksum(true).unwrap();
    zstd.write_all(tar).unwrap();
    zstd.finish().unwrap()
}

/// Compresses with the largest window that a bundle may have.
pub fn compressed_far(tar: &[u8]) -> Vec<u8> {
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.include_checksum(true).unwrap();
    zstd.window_log(27).unwrap();
    zstd.long_distance_matching(true).unwrap();
    zstd.write_all(tar).unwrap();
    zstd.finish().unwrap()
}

pub fn tar_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Sets the checksum of a tar header.
pub fn set_checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
}

/// A body with its padding, as docs/format.md describes it.
pub fn padded(body: &[u8]) -> Vec<u8> {
    let classes = (8..).flat_map(|power| [1 << power, 3 << (power - 1)]).filter(|class| *class >= 384);
    let class = classes.take(40).find(|class| *class > body.len()).unwrap();
    let mut padded = [body, &[0x80]].concat();
    padded.resize(class, 0);
    padded
}
