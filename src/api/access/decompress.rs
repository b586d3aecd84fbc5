//! Decompresses messages. Tonic could do that too, but this code counts every byte against a limit before it
//! allocates memory for it.

use std::io::{self, Read};
use tonic::Status;
use tonic::codegen::http::HeaderMap;

/// The largest window of a zstd frame that is accepted, as an exponent of two: 8 MiB, which zstd's highest
/// standard level uses.
const WINDOW_LOG_MAX: u32 = 23;
/// The number of bytes that are decompressed between two checks of the limits.
const STEP_BYTES: usize = 16 << 10;

/// The compression of a request's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// The compression that the headers name. `None` if they name none, or one that no service accepts.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        match headers.get("grpc-encoding")?.as_bytes() {
            b"gzip" => Some(Self::Gzip),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Decompresses a message and passes it to `add` in pieces of at most 16 KiB.
    ///
    /// # Errors
    /// The errors of `add`; `INTERNAL` if the bytes cannot be decompressed, as gRPC requires.
    pub fn decompress(
        self,
        message: &[u8],
        mut add: impl FnMut(&[u8]) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let mut reader = self.reader(message).map_err(|_| unreadable())?;
        let mut piece = vec![0; STEP_BYTES];
        loop {
            let bytes = reader.read(&mut piece).map_err(|_| unreadable())?;
            let Some(read) = piece.get(..bytes).filter(|read| !read.is_empty()) else { return Ok(()) };
            add(read)?;
        }
    }

    fn reader(self, message: &[u8]) -> io::Result<Box<dyn Read + '_>> {
        match self {
            Self::Gzip => Ok(Box::new(flate2::bufread::GzDecoder::new(message))),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(message)?;
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Ok(Box::new(decoder))
            }
        }
    }
}

fn unreadable() -> Status {
    Status::internal("the message cannot be decompressed; check `grpc-encoding`")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        let level = flate2::Compression::default();
        flate2::bufread::GzEncoder::new(bytes, level).read_to_end(&mut packed).unwrap();
        packed
    }

    #[test]
    fn messages_are_decompressed_only_up_to_the_limit() {
        let plain: Vec<u8> = (0..100_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        let packed =
            [(Encoding::Gzip, gzip(&plain)), (Encoding::Zstd, zstd::encode_all(&plain[..], 3).unwrap())];
        for (encoding, packed) in packed {
            let mut whole = Vec::new();
            encoding
                .decompress(&packed, |piece| {
                    whole.extend_from_slice(piece);
                    Ok(())
                })
                .unwrap();
            assert_eq!(whole, plain, "{encoding:?}");
            let (mut left, mut output) = (50_000_usize, Vec::new());
            let refused = encoding.decompress(&packed, |piece| {
                left = left.checked_sub(piece.len()).ok_or_else(|| Status::resource_exhausted("too many"))?;
                output.extend_from_slice(piece);
                Ok(())
            });
            assert_eq!(refused.unwrap_err().code(), tonic::Code::ResourceExhausted);
            assert!(output.len() <= 50_000);
            let torn = encoding.decompress(packed.get(..20).unwrap(), |_| Ok(()));
            assert!(torn.is_err(), "{encoding:?}");
            assert!(encoding.decompress(b"not compressed at all", |_| Ok(())).is_err());
        }
    }

    #[test]
    fn a_frame_with_a_huge_window_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        io::Write::write_all(&mut encoder, &[0; 100]).unwrap();
        let packed = encoder.finish().unwrap();
        assert!(Encoding::Zstd.decompress(&packed, |_| Ok(())).is_err());
    }
}
