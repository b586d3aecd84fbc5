//! Tracks where the frames of a client's HTTP/2 connection begin and end (RFC 9113, section 4.1).

/// The first bytes that a client sends on an HTTP/2 connection (RFC 9113, section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The size of a frame's header: length (3 bytes), type, flags, and stream (4 bytes).
pub const HEADER_BYTES: usize = 9;

const HEADERS: u8 = 0x1;
const PUSH_PROMISE: u8 = 0x5;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;

/// The place in the frames of one connection. It begins behind the preface.
#[derive(Default)]
pub struct FrameTracker {
    /// The bytes of the next frame's header that have arrived.
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// How many bytes of the current frame's payload are still to come.
    payload_left: usize,
    /// Whether a header block has begun and not ended. Only CONTINUATION may follow then.
    is_in_header_block: bool,
}

impl FrameTracker {
    /// Moves on by these bytes of the client.
    pub fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left = self.payload_left.saturating_sub(skipped);
            bytes = bytes.get(skipped..).unwrap_or_default();
            while let Some((first, rest)) = bytes.split_first().filter(|_| self.payload_left == 0) {
                if let Some(place) = self.header.get_mut(self.header_bytes) {
                    *place = *first;
                }
                self.header_bytes = self.header_bytes.saturating_add(1);
                bytes = rest;
                if self.header_bytes == HEADER_BYTES {
                    self.begin_frame();
                }
            }
        }
    }

    fn begin_frame(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.header_bytes = 0;
        self.payload_left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
            self.is_in_header_block = flags & END_HEADERS == 0;
        }
    }

    /// Whether another frame could begin here.
    pub fn is_between_frames(&self) -> bool {
        self.payload_left == 0 && self.header_bytes == 0 && !self.is_in_header_block
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let [.., high, middle, low] = payload.to_be_bytes();
        let mut frame = vec![high, middle, low, kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER_BYTES + payload, 0xff);
        frame
    }

    #[test]
    fn no_frame_begins_within_a_header_block() {
        let mut tracker = FrameTracker::default();
        tracker.advance(&frame(HEADERS, 0, 5));
        assert!(!tracker.is_between_frames());
        tracker.advance(&frame(CONTINUATION, 0, 0));
        assert!(!tracker.is_between_frames());
        tracker.advance(&frame(CONTINUATION, END_HEADERS, 3));
        assert!(tracker.is_between_frames());
    }

    proptest! {
        #[test]
        fn frames_end_at_the_same_places_however_their_bytes_arrive(
            payloads in prop::collection::vec(0_usize..300, 1..8),
            pieces in prop::collection::vec(1_usize..40, 1..200),
        ) {
            let frames: Vec<Vec<u8>> = payloads.iter().map(|payload| frame(0, 0, *payload)).collect();
            let ends: Vec<usize> = frames.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) }).collect();
            let bytes = frames.concat();
            let (mut tracker, mut at) = (FrameTracker::default(), 0);
            for piece in pieces {
                prop_assert_eq!(tracker.is_between_frames(), at == 0 || ends.contains(&at));
                let next = (at + piece).min(bytes.len());
                tracker.advance(&bytes[at..next]);
                at = next;
            }
        }
    }
}
