//! A writer that passes the written bytes to a receiver in pieces. With it, exports and backups are sent to
//! the caller while they are made.

use std::io::{Error, ErrorKind, Write};

/// Bytes of a piece.
const PIECE: usize = 256 << 10;

/// A writer that hands bytes to a receiver in pieces. Writing fails with `BrokenPipe` once the receiver is
/// gone.
pub struct Pipe<F> {
    waiting: Vec<u8>,
    send: F,
}

impl<F: FnMut(Vec<u8>) -> bool> Pipe<F> {
    /// `send` receives a piece, and returns whether the receiver takes more.
    pub fn new(send: F) -> Self {
        Self { waiting: Vec::with_capacity(PIECE), send }
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        let bytes = std::mem::replace(&mut self.waiting, Vec::with_capacity(PIECE));
        if (self.send)(bytes) {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::BrokenPipe, "the receiver of the export is gone"))
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
