//! The trailer of an archive: a zstd skippable frame with a signed digest of every byte before it.
//!
//! The digest also covers the tar headers and the padding, which no other signature covers. Programs that
//! unpack `.tar.zst` skip the trailer.

use super::allowance::BytesRead;
use crate::merkle::Hash;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, Read, Write};

/// Length of the trailer: magic number, length, digest, signature.
pub const TRAILER_BYTES: usize = 8 + CONTENT_BYTES;
const CONTENT_BYTES: usize = 32 + 64;
/// Magic number of a skippable frame (RFC 8878 s. 3.1.2) and length of its content, both little-endian.
const HEAD: [u8; 8] = [0x53, 0x2a, 0x4d, 0x18, 96, 0, 0, 0];
/// Precedes the digest in the signed bytes.
const TAG: &[u8] = b"sayso bundle trailer v1\n";

fn signed_bytes(digest: &Hash) -> Vec<u8> {
    [TAG, digest].concat()
}

/// Makes the trailer of an archive with this digest.
pub(super) fn make(digest: &Hash, key: &SigningKey) -> Vec<u8> {
    [HEAD.as_slice(), digest, &key.sign(&signed_bytes(digest)).to_bytes()].concat()
}

/// Checks a trailer against the digest of the bytes before it.
pub(super) fn check(trailer: &[u8], digest: &Hash, key: &VerifyingKey) -> Result<(), &'static str> {
    let content = trailer.strip_prefix(&HEAD).ok_or("no trailer after the archive")?;
    let (stated, signature) = content.split_at_checked(32).ok_or("the trailer is truncated")?;
    let signature = Signature::from_slice(signature).map_err(|_| "the trailer has the wrong length")?;
    if stated != digest {
        return Err("the digest in the trailer does not match the archive");
    }
    key.verify_strict(&signed_bytes(digest), &signature)
        .map_err(|_| "the trailer's signature does not verify")
}

/// Writes bytes to `out` and hashes them.
pub(super) struct DigestWriter<W> {
    pub out: W,
    pub digest: Sha256,
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Hashes the bytes that are consumed, not those that are buffered, so the digest ends where the zstd frame
/// of the archive ends.
pub(super) struct DigestReader<R> {
    pub inner: R,
    pub digest: Sha256,
    pub read: BytesRead,
}

impl<R: BufRead> Read for DigestReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for DigestReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // Consumed bytes are already in the buffer, so this call reads nothing and cannot fail.
        if let Ok(buffer) = self.inner.fill_buf() {
            self.digest.update(buffer.get(..count).unwrap_or(buffer));
        }
        self.inner.consume(count);
        self.read.add(count as u64);
    }
}
