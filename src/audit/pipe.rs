//! Bytes on their way out, in pieces.

use std::io::{Error, ErrorKind, Write};

/// Bytes in one piece.
const PIECE: usize = 256 << 10;

/// Hands bytes on in pieces; fails once nobody takes them.
pub struct Pipe<F> {
    waiting: Vec<u8>,
    send: F,
}

impl<F: FnMut(Vec<u8>) -> bool> Pipe<F> {
    /// `send` gets a piece and says whether somebody takes more.
    pub fn new(send: F) -> Self {
        Self { waiting: Vec::with_capacity(PIECE), send }
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        let bytes = std::mem::replace(&mut self.waiting, Vec::with_capacity(PIECE));
        if (self.send)(bytes) {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::BrokenPipe, "nobody takes the export"))
        }
    }
}

impl<F: FnMut(Vec<u8>) -> bool> Write for Pipe<F> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PIECE {
            self.pass_on()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() { Ok(()) } else { self.pass_on() }
    }
}
