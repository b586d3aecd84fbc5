//! Limits on JSON while it is read: bytes in all, bytes of one item, nesting. Nothing is kept.

use std::cell::Cell;
use std::io::{self, Read};

/// Limits of a whole document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes.
    pub bytes_max: u64,
    /// Arrays and objects in one another.
    pub depth_max: u32,
}

/// What has been read so far. Shared between the reader and whoever knows where an item begins.
#[derive(Debug)]
pub(super) struct Guard {
    bounds: Bounds,
    bytes: Cell<u64>,
    depth: Cell<u32>,
    in_text: Cell<bool>,
    escaped: Cell<bool>,
    /// Limit of the item, and what is left of it; none: it may have any length.
    item: Cell<Option<(u64, u64)>>,
}

impl Guard {
    pub fn new(bounds: Bounds) -> Self {
        let (bytes, depth, item) = (Cell::new(0), Cell::new(0), Cell::new(None));
        Self { bounds, bytes, depth, in_text: Cell::new(false), escaped: Cell::new(false), item }
    }

    /// From here on so many bytes may follow, until the next item begins or [`Guard::end_item`].
    pub fn begin_item(&self, bytes_max: u64) {
        self.item.set(Some((bytes_max, bytes_max)));
    }

    /// From here on only the document is bounded.
    pub fn end_item(&self) {
        self.item.set(None);
    }

    fn take(&self, byte: u8) -> io::Result<()> {
        let bytes = self.bytes.get().saturating_add(1);
        self.bytes.set(bytes);
        if bytes > self.bounds.bytes_max {
            return refused(format!("it has more than {} bytes unpacked", self.bounds.bytes_max));
        }
        if let Some((bytes_max, left)) = self.item.get() {
            let Some(left) = left.checked_sub(1) else {
                return refused(format!("one fact or name in it is larger than {bytes_max} bytes"));
            };
            self.item.set(Some((bytes_max, left)));
        }
        self.nest(byte)
    }

    fn nest(&self, byte: u8) -> io::Result<()> {
        if self.escaped.replace(false) {
            return Ok(());
        }
        match (byte, self.in_text.get()) {
            (b'\\', true) => self.escaped.set(true),
            (b'"', in_text) => self.in_text.set(!in_text),
            (b'[' | b'{', false) => {
                let depth = self.depth.get().saturating_add(1);
                self.depth.set(depth);
                if depth > self.bounds.depth_max {
                    return refused(format!("it is more than {} levels deep", self.bounds.depth_max));
                }
            }
            (b']' | b'}', false) => self.depth.set(self.depth.get().saturating_sub(1)),
            _ => {}
        }
        Ok(())
    }
}

fn refused(problem: String) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("not a package: {problem}")))
}

/// Bytes on their way to the parser.
pub(super) struct Guarded<'a, R> {
    from: R,
    guard: &'a Guard,
}

impl<'a, R: Read> Guarded<'a, R> {
    pub fn new(from: R, guard: &'a Guard) -> Self {
        Self { from, guard }
    }
}

impl<R: Read> Read for Guarded<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(bytes)?;
        for byte in bytes.iter().take(count) {
            self.guard.take(*byte)?;
        }
        Ok(count)
    }
}
