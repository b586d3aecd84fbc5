//! Limits JSON while it is read: total bytes, bytes of one item, and nesting. Nothing is buffered.

use std::cell::Cell;
use std::io::{self, Read};

/// Limits of a whole document.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonLimits {
    /// Total bytes.
    pub bytes_max: u64,
    /// Levels of nested arrays and objects.
    pub depth_max: u32,
}

/// What has been read so far. The reader and the parser share it, since the parser knows where an item
/// begins.
#[derive(Debug)]
pub(super) struct Guard {
    limits: JsonLimits,
    bytes: Cell<u64>,
    depth: Cell<u32>,
    in_string: Cell<bool>,
    escaped: Cell<bool>,
    /// The current item's limit and the bytes that are left of it; `None` if only the document is limited.
    item: Cell<Option<(u64, u64)>>,
}

impl Guard {
    pub fn new(limits: JsonLimits) -> Self {
        let (bytes, depth, item) = (Cell::new(0), Cell::new(0), Cell::new(None));
        Self { limits, bytes, depth, in_string: Cell::new(false), escaped: Cell::new(false), item }
    }

    /// Begins an item: at most `bytes_max` bytes may follow until the next item or [`Guard::end_item`].
    pub fn begin_item(&self, bytes_max: u64) {
        self.item.set(Some((bytes_max, bytes_max)));
    }

    /// Ends an item: from here on only the document is limited.
    pub fn end_item(&self) {
        self.item.set(None);
    }

    fn count(&self, byte: u8) -> io::Result<()> {
        let bytes = self.bytes.get().saturating_add(1);
        self.bytes.set(bytes);
        if bytes > self.limits.bytes_max {
            return refused(format!("it is larger than {} bytes unpacked", self.limits.bytes_max));
        }
        if let Some((bytes_max, left)) = self.item.get() {
            let Some(left) = left.checked_sub(1) else {
                return refused(format!("an attribute or a name in it is larger than {bytes_max} bytes"));
            };
            self.item.set(Some((bytes_max, left)));
        }
        self.nest(byte)
    }

    fn nest(&self, byte: u8) -> io::Result<()> {
        if self.escaped.replace(false) {
            return Ok(());
        }
        match (byte, self.in_string.get()) {
            (b'\\', true) => self.escaped.set(true),
            (b'"', in_string) => self.in_string.set(!in_string),
            (b'[' | b'{', false) => {
                let depth = self.depth.get().saturating_add(1);
                self.depth.set(depth);
                if depth > self.limits.depth_max {
                    return refused(format!("it is nested more than {} levels deep", self.limits.depth_max));
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

/// A reader that counts bytes on their way to the parser.
pub(super) struct LimitedReader<'a, R> {
    from: R,
    guard: &'a Guard,
}

impl<'a, R: Read> LimitedReader<'a, R> {
    pub fn new(from: R, guard: &'a Guard) -> Self {
        Self { from, guard }
    }
}

impl<R: Read> Read for LimitedReader<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(bytes)?;
        for byte in bytes.iter().take(count) {
            self.guard.count(*byte)?;
        }
        Ok(count)
    }
}
