//! Bytes → whole packets: decides where each packet begins and ends.
//!
//! The writer and the tail both use it. The writer publishes the length up to which packets are
//! whole, so that the tail never reads part of one. If the two did not agree to the byte, the tail
//! would lose sync at a torn packet that was discarded.
//!
//! Alignment is FFmpeg's (`libavformat/mpegts.c`, `read_packet` and `mpegts_resync`): a packet
//! begins where a sync byte is expected and found; otherwise at the next sync byte.

use super::{SYNC_BYTE, TS_PACKET_BYTES, TsPacket};
use crate::byte_offset::ByteOffset;

/// Distance between the packets of an M2TS stream, each preceded by a timestamp of 4 bytes.
const TIMED_PACKET_BYTES: usize = 192;

/// Result of [`Aligner::find`].
#[derive(Debug)]
pub enum Aligned<'a> {
    /// The next packet.
    Packet(TsPacket<'a>),
    /// Bytes that belong to no packet.
    SyncLost {
        /// Offset of the first of them.
        at: ByteOffset,
        /// Number of these bytes.
        skipped_bytes: u64,
    },
}

/// Finds packets in bytes pushed in pieces of any size.
#[derive(Debug)]
pub struct Aligner {
    buffer: Vec<u8>,
    /// Index in `buffer` of the next byte to look at.
    next: usize,
    /// Offset of `buffer[0]`.
    base: u64,
    /// Bytes from the end of a packet's 188 bytes to the next sync byte: 0, 4 or 16.
    gap_bytes: usize,
    /// Bytes of the gap not pushed yet.
    gap_left: usize,
    /// See [`Aligner::whole_until`].
    whole_until: u64,
    /// Offset at which sync was lost.
    lost_at: Option<u64>,
}

impl Aligner {
    /// Returns an aligner for bytes from offset `at` on, in packets of `packet_bytes`: 188, 192 or
    /// 204.
    pub fn new(at: ByteOffset, packet_bytes: usize) -> Self {
        Aligner {
            buffer: Vec::new(),
            next: 0,
            base: at.0,
            gap_bytes: packet_bytes.saturating_sub(TS_PACKET_BYTES),
            gap_left: 0,
            whole_until: at.0,
            lost_at: None,
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
        self.skip_gap();
        let rest = self.buffer.get(self.next..).filter(|_| self.gap_left == 0)?;
        if *rest.first()? != SYNC_BYTE {
            let lost_at = *self.lost_at.get_or_insert(self.base + self.next as u64);
            let Some(found) = memchr::memchr(SYNC_BYTE, rest) else {
                self.next = self.buffer.len();
                self.whole_until = self.base + self.next as u64;
                return None;
            };
            self.next += found;
            self.whole_until = self.base + self.next as u64;
            self.lost_at = None;
            let skipped_bytes = self.whole_until - lost_at;
            return Some(Aligned::SyncLost { at: ByteOffset(lost_at), skipped_bytes });
        }
        if let Some(lost_at) = self.lost_at.take() {
            let skipped_bytes = self.base + self.next as u64 - lost_at;
            return Some(Aligned::SyncLost { at: ByteOffset(lost_at), skipped_bytes });
        }
        let bytes = rest.first_chunk()?;
        let at = ByteOffset(self.base + self.next as u64);
        self.next += TS_PACKET_BYTES;
        self.gap_left = self.gap_bytes;
        if !self.has_parity() {
            self.whole_until = self.base + self.next as u64;
        }
        Some(Aligned::Packet(TsPacket { at, bytes }))
    }

    /// Returns whether [`Aligner::find`] would return something. Skips the bytes before it.
    pub fn has_found(&mut self) -> bool {
        let (next, gap_left) = (self.next, self.gap_left);
        let (lost_at, whole_until) = (self.lost_at, self.whole_until);
        if self.find().is_none() {
            return false;
        }
        (self.next, self.gap_left) = (next, gap_left);
        (self.lost_at, self.whole_until) = (lost_at, whole_until);
        true
    }

    /// Skips everything that [`Aligner::find`] would return, and returns [`Aligner::whole_until`].
    pub fn find_all(&mut self) -> u64 {
        while self.find().is_some() {}
        self.whole_until
    }

    /// Returns the offset after the last whole packet found, or after bytes that belong to no
    /// packet. The bytes after this offset are part of a packet. A packet of 204 bytes is whole
    /// only with its parity; a packet of 192 bytes begins with its timestamp.
    pub fn whole_until(&self) -> u64 {
        self.whole_until
    }

    /// Ends the input. Returns the remaining bytes, which belong to no packet.
    pub fn finish(&mut self) -> Option<Aligned<'static>> {
        let end = self.base + self.buffer.len() as u64;
        let at = self.lost_at.take().unwrap_or(self.base + self.next as u64);
        self.next = self.buffer.len();
        (end > at).then_some(Aligned::SyncLost { at: ByteOffset(at), skipped_bytes: end - at })
    }

    /// Returns the offset of the byte to push next.
    pub fn end(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    /// Returns whether the gap between packets is parity, which belongs to the packet before it.
    fn has_parity(&self) -> bool {
        self.gap_bytes > TIMED_PACKET_BYTES - TS_PACKET_BYTES
    }

    fn skip_gap(&mut self) {
        let skipped = self.gap_left.min(self.buffer.len() - self.next);
        self.gap_left -= skipped;
        self.next += skipped;
        if skipped > 0 && self.gap_left == 0 && self.has_parity() {
            self.whole_until = self.base + self.next as u64;
        }
    }

    fn make_room(&mut self) {
        self.base += self.next as u64;
        self.buffer.drain(..self.next);
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Packet(u64, u8),
        Lost(u64, u64),
    }

    fn seen(found: &Aligned<'_>) -> Seen {
        match found {
            Aligned::Packet(packet) => Seen::Packet(packet.at.0, packet.bytes[1]),
            Aligned::SyncLost { at, skipped_bytes } => Seen::Lost(at.0, *skipped_bytes),
        }
    }

    fn align(pieces: &[&[u8]], packet_bytes: usize) -> Vec<Seen> {
        let mut aligner = Aligner::new(ByteOffset(1000), packet_bytes);
        let mut all = Vec::new();
        for piece in pieces {
            aligner.push(piece);
            while let Some(found) = aligner.find() {
                all.push(seen(&found));
            }
        }
        all.extend(aligner.finish().as_ref().map(seen));
        all
    }

    fn whole_until(bytes: &[u8], packet_bytes: usize) -> u64 {
        let mut aligner = Aligner::new(ByteOffset(0), packet_bytes);
        aligner.push(bytes);
        aligner.find_all()
    }

    fn packet(mark: u8) -> Vec<u8> {
        let mut bytes = vec![0; TS_PACKET_BYTES];
        (bytes[0], bytes[1]) = (SYNC_BYTE, mark);
        bytes
    }

    #[test]
    fn garbage_between_packets_is_passed_over_and_told_once() {
        let bytes = [packet(1), vec![9; 10], packet(2), packet(3)[..100].to_vec()].concat();
        assert_eq!(
            align(&[&bytes], 188),
            [
                Seen::Packet(1000, 1),
                Seen::Lost(1188, 10),
                Seen::Packet(1198, 2),
                Seen::Lost(1386, 100)
            ]
        );
    }

    #[test]
    fn packets_of_192_and_204_bytes_are_found_at_their_sync_bytes() {
        for packet_bytes in [192, 204] {
            let gap = vec![1; packet_bytes - 188];
            let bytes = [packet(1), gap.clone(), packet(2), gap.clone(), packet(3), gap].concat();
            let last = 1000 + 2 * packet_bytes as u64;
            assert_eq!(align(&[&bytes], packet_bytes)[2], Seen::Packet(last, 3));
        }
    }

    #[test]
    fn a_packet_is_whole_with_its_parity_and_without_the_next_time_stamp() {
        let two = |gap: usize| [packet(1), vec![1; gap], packet(2), vec![1; gap]].concat();
        assert_eq!(whole_until(&two(0), 188), 376);
        assert_eq!(whole_until(&two(0)[..375], 188), 188);
        let timed = two(4);
        assert_eq!(whole_until(&timed[..380], 192), 380);
        assert_eq!(whole_until(&timed[..383], 192), 380);
        assert_eq!(whole_until(&timed[..379], 192), 188);
        let with_parity = two(16);
        assert_eq!(whole_until(&with_parity, 204), 408);
        assert_eq!(whole_until(&with_parity[..407], 204), 204);
        assert_eq!(whole_until(&[9; 50], 188), 50, "bytes that belong to no packet are kept");
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_packets(
            pieces in proptest::collection::vec((any::<bool>(), 0_usize..40, any::<u8>()), 1..12),
            cuts in proptest::collection::vec(0_usize..4000, 0..12),
            packet_bytes in prop_oneof![Just(188), Just(192), Just(204)],
        ) {
            let bytes: Vec<u8> = pieces
                .iter()
                .flat_map(|(whole, junk, mark)| {
                    if *whole { packet(*mark) } else { vec![*mark; *junk] }
                })
                .collect();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let split: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(align(&split, packet_bytes), align(&[&bytes], packet_bytes));
            let mut aligner = Aligner::new(ByteOffset(0), packet_bytes);
            for piece in split {
                aligner.push(piece);
                let whole = aligner.find_all();
                prop_assert!(whole <= aligner.end());
            }
            prop_assert_eq!(aligner.whole_until(), whole_until(&bytes, packet_bytes));
        }
    }
}
