//! Bytes → whole packets: decides where each packet begins and ends.
//!
//! Both the writer and the tail use it. The writer publishes the length up to which packets are
//! whole, so that the tail never reads part of a packet. If the two disagreed by a byte, the tail
//! would lose sync at a torn packet that was discarded.
//!
//! Alignment follows FFmpeg (`libavformat/mpegts.c`, `read_packet` and `mpegts_resync`): a packet
//! begins where a sync byte is expected and found; otherwise at the next sync byte, where the packet
//! size is determined again. For packets with additional bytes (192 and 204 bytes), the aligner is
//! more careful than FFmpeg, which takes a sync byte in front of the packet for its beginning.

use super::phase::{PHASE_BYTES, in_step, is_conclusive, resync};
use super::{Header, PacketSize, SYNC_BYTE, TS_PACKET_BYTES, TsPacket};
use crate::byte_offset::ByteOffset;

/// Result of [`Aligner::find`].
#[derive(Debug)]
pub enum Aligned<'a> {
    /// The next packet.
    Packet(TsPacket<'a>),
    /// Bytes that belong to no packet.
    SyncLost {
        /// Offset of the first of these bytes.
        at: ByteOffset,
        /// Number of these bytes.
        skipped_bytes: u64,
    },
}

/// A packet in the buffer, or bytes between packets.
#[derive(Debug, Clone, Copy)]
enum BufferedSpan {
    Packet {
        /// Index of the first byte of the packet, including additional bytes.
        start: usize,
        /// Index of its sync byte.
        sync: usize,
        end: usize,
    },
    SyncLost {
        at: u64,
        skipped_bytes: u64,
    },
}

/// Finds packets in bytes pushed in pieces of any size.
#[derive(Debug, Clone)]
pub struct Aligner {
    buffer: Vec<u8>,
    /// Index in `buffer` of the first byte that belongs to no packet found so far.
    next: usize,
    /// Offset of `buffer[0]`.
    base: u64,
    size: PacketSize,
    /// Number of bytes from `next` to the expected sync byte.
    gap_bytes: usize,
    /// Offset from which on a packet is searched, because none begins at the expected position.
    lost_at: Option<u64>,
    /// Offset of a header that looks wrong, once it was determined whether a packet begins there.
    doubted_at: Option<u64>,
    /// See [`Aligner::whole_until`].
    whole_until: u64,
    /// Whether the input has ended.
    at_end: bool,
    /// Item found by [`Aligner::has_found`], to be returned by [`Aligner::find`].
    found: Option<BufferedSpan>,
}

impl Aligner {
    /// Returns an aligner at the beginning of a stream, at offset `at`. The packet size is determined
    /// from the bytes; if they are ambiguous, it is `size`.
    pub fn begin(at: ByteOffset, size: PacketSize) -> Self {
        Aligner { lost_at: Some(at.0), ..Aligner::resume(at, size) }
    }

    /// Returns an aligner in a stream with packets of `size`. The sync byte of a packet is at offset
    /// `at`.
    pub fn resume(at: ByteOffset, size: PacketSize) -> Self {
        Aligner {
            buffer: Vec::new(),
            next: 0,
            base: at.0,
            size,
            gap_bytes: 0,
            lost_at: None,
            doubted_at: None,
            whole_until: at.0,
            at_end: false,
            found: None,
        }
    }

    /// Appends the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.make_room();
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next packet, or the next bytes that belong to no packet. `None` if more bytes
    /// are needed.
    pub fn find(&mut self) -> Option<Aligned<'_>> {
        match self.take()? {
            BufferedSpan::Packet { start, sync, end } => {
                let at = ByteOffset(self.base + sync as u64);
                let bytes = self.buffer.get(sync..)?.first_chunk()?;
                let raw = self.buffer.get(start..end)?;
                Some(Aligned::Packet(TsPacket { at, bytes, size: self.size, raw }))
            }
            BufferedSpan::SyncLost { at, skipped_bytes } => {
                Some(Aligned::SyncLost { at: ByteOffset(at), skipped_bytes })
            }
        }
    }

    /// Returns whether [`Aligner::find`] would return something. Skips the bytes before it.
    pub fn has_found(&mut self) -> bool {
        self.found = self.take();
        self.found.is_some()
    }

    /// Skips everything that [`Aligner::find`] would return, and returns [`Aligner::whole_until`].
    pub fn find_all(&mut self) -> u64 {
        while self.take().is_some() {}
        self.whole_until
    }

    /// Returns the offset after the last whole packet found, or after bytes that belong to no packet.
    /// Later bytes are part of a packet. A packet of 204 bytes is whole only with its parity; a
    /// packet of 192 bytes begins with its timestamp.
    pub fn whole_until(&self) -> u64 {
        self.whole_until
    }

    /// Returns the size of the last packets found.
    pub fn packet_size(&self) -> PacketSize {
        self.size
    }

    /// Ends the input: decides about bytes that would otherwise wait for more.
    pub fn end_input(&mut self) {
        self.at_end = true;
    }

    /// Discards the bytes after [`Aligner::whole_until`], as if they had not been pushed.
    pub fn discard_torn(&mut self) {
        let lost_at = self.lost_at;
        self.end_input();
        let mut is_found = false;
        while let Some(found) = self.take() {
            is_found |= matches!(found, BufferedSpan::Packet { .. });
        }
        self.at_end = false;
        let kept = usize::try_from(self.whole_until.saturating_sub(self.base)).unwrap_or(0);
        self.buffer.truncate(kept);
        if self.next > kept {
            (self.next, self.gap_bytes) = (kept, 0);
        }
        if !is_found {
            self.lost_at = lost_at;
        }
    }

    /// Returns the remaining bytes, which belong to no packet. Called after [`Aligner::end_input`],
    /// once `find` returns `None`.
    pub fn finish(&mut self) -> Option<Aligned<'static>> {
        let end = self.end();
        let added = self.gap_bytes.min(self.buffer.len() - self.next);
        let at = self.lost_at.take().unwrap_or(self.base + (self.next + added) as u64);
        self.next = self.buffer.len();
        (end > at).then_some(Aligned::SyncLost { at: ByteOffset(at), skipped_bytes: end - at })
    }

    /// Returns the offset of the byte to push next.
    pub fn end(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    fn take(&mut self) -> Option<BufferedSpan> {
        self.found.take().or_else(|| self.search())
    }

    fn search(&mut self) -> Option<BufferedSpan> {
        loop {
            if let Some(lost_at) = self.lost_at {
                if let Some(skipped_bytes) = self.resync(lost_at)? {
                    return Some(BufferedSpan::SyncLost { at: lost_at, skipped_bytes });
                }
                continue;
            }
            let rest = &self.buffer[self.next..];
            if *rest.get(self.gap_bytes)? != SYNC_BYTE {
                self.lose_sync();
                continue;
            }
            let sync_at = self.base + (self.next + self.gap_bytes) as u64;
            if self.is_doubtful(&rest[self.gap_bytes..])? && self.doubted_at != Some(sync_at) {
                self.doubted_at = Some(sync_at);
                self.lose_sync();
                continue;
            }
            let end = self.gap_bytes + TS_PACKET_BYTES;
            let whole_end = end + self.size.trailing_bytes();
            if rest.len() >= whole_end {
                self.whole_until = self.whole_until.max(self.base + (self.next + whole_end) as u64);
            } else if rest.len() < end || !self.at_end {
                return None;
            }
            let sync = self.next + self.gap_bytes;
            let start = sync - self.gap_bytes.min(self.size.leading_bytes());
            let last = self.next + whole_end.min(rest.len());
            self.next = sync + TS_PACKET_BYTES;
            self.gap_bytes = self.size.bytes() - TS_PACKET_BYTES;
            return Some(BufferedSpan::Packet { start, sync, end: last });
        }
    }

    /// Starts the search for the next packet, including the parity of the last one, because a packet
    /// may begin within it.
    fn lose_sync(&mut self) {
        let parity_bytes = self.gap_bytes.min(self.size.trailing_bytes());
        self.lost_at = Some(self.base + (self.next + parity_bytes) as u64);
    }

    /// Returns whether the byte may be an additional byte that looks like a sync byte, rather than a
    /// header. `None` if more bytes are needed.
    fn is_doubtful(&self, bytes: &[u8]) -> Option<bool> {
        let header = Header::read(bytes.first_chunk::<4>()?.iter().copied());
        if header.is_some_and(Header::is_valid) {
            return Some(false);
        }
        // Packets of 188 bytes have no additional bytes, unless the size changes here.
        match bytes.get(TS_PACKET_BYTES) {
            _ if self.size != PacketSize::Plain => Some(true),
            Some(next) => Some(*next != SYNC_BYTE),
            None => self.at_end.then_some(false),
        }
    }

    /// Searches for the next packet from `next` on. Returns the number of bytes from `lost_at` on
    /// that belong to no packet, if any. The outer `None` means that more bytes are needed.
    fn resync(&mut self, lost_at: u64) -> Option<Option<u64>> {
        let rest = &self.buffer[self.next..];
        let Some(first) = memchr::memchr(SYNC_BYTE, rest) else {
            // The last bytes may belong to the next packet.
            let kept = PacketSize::Timed.leading_bytes().min(rest.len());
            self.next = self.buffer.len() - kept;
            self.whole_until = self.whole_until.max(self.end());
            return None;
        };
        let candidates = &rest[first..];
        let stride = self.size.bytes();
        let is_certain = self.size == PacketSize::Plain
            && in_step(candidates, stride)
            && is_conclusive(candidates, stride);
        if !is_certain && !self.at_end && candidates.len() < PHASE_BYTES {
            // No packet begins before this position.
            let leading_bytes = PacketSize::Timed.leading_bytes().min(first);
            self.next += first - leading_bytes;
            self.whole_until = self.whole_until.max(self.base + self.next as u64);
            return None;
        }
        let (phase, size) = resync(candidates, self.size);
        self.size = size;
        self.gap_bytes = size.leading_bytes().min(first + phase);
        self.next += first + phase - self.gap_bytes;
        self.lost_at = None;
        let begins_at = self.base + self.next as u64;
        self.whole_until = self.whole_until.max(begins_at);
        Some(begins_at.checked_sub(lost_at).filter(|bytes| *bytes > 0))
    }

    fn make_room(&mut self) {
        if self.found.is_none() {
            self.base += self.next as u64;
            self.buffer.drain(..self.next);
            self.next = 0;
        }
    }
}

#[cfg(test)]
mod tests;
