//! Growing file → aligned packets.
//!
//! [`Aligner`] is pure: bytes in, packets out, whatever pieces the bytes come in.
//! [`FileTail`] reads a file into it: one that grows, or one that is finished.
//!
//! Alignment is FFmpeg's (`libavformat/mpegts.c`, `read_packet` and
//! `mpegts_resync`): a packet is taken wherever a sync byte stands in its place;
//! where none does, the next sync byte begins a packet.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Context, Result, Stage};
use crate::media::{ByteOffset, SYNC_BYTE, TS_PACKET_BYTES, TsPacket, WaitOutcome, Written};

/// Bytes read from the file at once.
const READ_BYTES: usize = 1 << 20;

/// How long a wait for new bytes lasts before [`Next::Waiting`] is told.
const WAIT: Duration = Duration::from_millis(250);

/// What an [`Aligner`] finds.
#[derive(Debug)]
pub enum Found<'a> {
    /// The next packet.
    Packet(TsPacket<'a>),
    /// Bytes that belong to no packet were passed over.
    SyncLost {
        /// Where they begin.
        at: ByteOffset,
        /// How many they are.
        skipped_bytes: u64,
    },
}

/// Finds packets in bytes.
#[derive(Debug)]
pub struct Aligner {
    buffer: Vec<u8>,
    /// Index in `buffer` of the next byte to look at.
    next: usize,
    /// Offset of `buffer[0]`.
    base: u64,
    /// From the end of a packet's 188 bytes to the next: 0, 4 or 16.
    gap_bytes: usize,
    /// Bytes of the gap that are still to come.
    gap_left: usize,
    /// Where sync was lost.
    lost_at: Option<u64>,
}

impl Aligner {
    /// For bytes from `at` on, in packets of `packet_bytes`: 188, 192 or 204.
    pub fn new(at: ByteOffset, packet_bytes: usize) -> Self {
        Aligner {
            buffer: Vec::new(),
            next: 0,
            base: at.0,
            gap_bytes: packet_bytes.saturating_sub(TS_PACKET_BYTES),
            gap_left: 0,
            lost_at: None,
        }
    }

    /// Takes the bytes that follow.
    pub fn push(&mut self, bytes: &[u8]) {
        self.make_room();
        self.buffer.extend_from_slice(bytes);
    }

    /// The next packet, or the next damage. `None` when more bytes are needed.
    pub fn find(&mut self) -> Option<Found<'_>> {
        let skipped = self.gap_left.min(self.buffer.len() - self.next);
        self.gap_left -= skipped;
        self.next += skipped;
        let rest = self.buffer.get(self.next..).filter(|_| self.gap_left == 0)?;
        if *rest.first()? != SYNC_BYTE {
            let lost_at = *self.lost_at.get_or_insert(self.base + self.next as u64);
            let Some(found) = memchr::memchr(SYNC_BYTE, rest) else {
                self.next = self.buffer.len();
                return None;
            };
            self.next += found;
            self.lost_at = None;
            let skipped_bytes = self.base + self.next as u64 - lost_at;
            return Some(Found::SyncLost { at: ByteOffset(lost_at), skipped_bytes });
        }
        if let Some(lost_at) = self.lost_at.take() {
            let skipped_bytes = self.base + self.next as u64 - lost_at;
            return Some(Found::SyncLost { at: ByteOffset(lost_at), skipped_bytes });
        }
        let bytes = rest.first_chunk()?;
        let at = ByteOffset(self.base + self.next as u64);
        self.next += TS_PACKET_BYTES;
        self.gap_left = self.gap_bytes;
        Some(Found::Packet(TsPacket { at, bytes }))
    }

    /// No more bytes come: the bytes that are left belong to no packet.
    pub fn finish(&mut self) -> Option<Found<'static>> {
        let end = self.base + self.buffer.len() as u64;
        let at = self.lost_at.take().unwrap_or(self.base + self.next as u64);
        self.next = self.buffer.len();
        (end > at).then_some(Found::SyncLost { at: ByteOffset(at), skipped_bytes: end - at })
    }

    /// Offset of the byte that has to be pushed next.
    pub fn end(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    fn make_room(&mut self) {
        self.base += self.next as u64;
        self.buffer.drain(..self.next);
        self.next = 0;
    }
}

/// The size of a file's packets, 188, 192 (M2TS) or 204 (with parity), from its
/// first bytes: the one at which sync bytes repeat most. Where garbage comes soon,
/// the bytes before it tell, as few as ffmpeg asks for first; where it comes at
/// once, some stretch behind it (`av_probe_input_buffer2`, `mpegts_probe`).
/// `None` if it is no MPEG-TS.
pub fn probe_packet_bytes(head: &[u8]) -> Option<usize> {
    const FIRST_BYTES: usize = 2048;
    const STRETCH_BYTES: usize = 100 * TS_PACKET_BYTES;
    let beginnings = std::iter::successors(Some(FIRST_BYTES), |bytes| Some(bytes * 2))
        .take_while(|bytes| *bytes < head.len())
        .map(|bytes| &head[..bytes]);
    beginnings.chain([head]).chain(head.chunks_exact(STRETCH_BYTES)).find_map(packet_bytes_in_step)
}

/// The size at which sync bytes repeat most, if most stand in their places.
fn packet_bytes_in_step(bytes: &[u8]) -> Option<usize> {
    /// Of 100 places where a sync byte should stand, so many must have one.
    const ENOUGH_PERCENT: usize = 60;
    let score = |packet_bytes: usize| -> usize {
        let mut counts = vec![0_usize; packet_bytes];
        for at in memchr::memchr_iter(SYNC_BYTE, bytes) {
            counts[at % packet_bytes] += 1;
        }
        let most = counts.into_iter().max().unwrap_or(0);
        let whole_packets = bytes.len() / packet_bytes;
        (most * 100).checked_div(whole_packets).unwrap_or(0)
    };
    [TS_PACKET_BYTES, 192, 204]
        .into_iter()
        .map(|packet_bytes| (score(packet_bytes), packet_bytes))
        .filter(|(score, _)| *score >= ENOUGH_PERCENT)
        // The first of equals: `max_by_key` would give the last.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, packet_bytes)| packet_bytes)
}

/// Where a file ends.
#[derive(Debug, Clone)]
pub enum End {
    /// It is being written: at the length published.
    Growing(Written),
    /// It is finished: at this length, in bytes.
    Finished(u64),
}

/// What a [`FileTail`] gives.
#[derive(Debug)]
pub enum Next<'a> {
    /// The next packet.
    Packet(TsPacket<'a>),
    /// Bytes that belong to no packet were passed over.
    SyncLost {
        /// Where they begin.
        at: ByteOffset,
        /// How many they are.
        skipped_bytes: u64,
    },
    /// No new bytes for a while; ask again.
    Waiting,
    /// There is no more.
    End,
}

impl<'a> From<Found<'a>> for Next<'a> {
    fn from(found: Found<'a>) -> Self {
        match found {
            Found::Packet(packet) => Next::Packet(packet),
            Found::SyncLost { at, skipped_bytes } => Next::SyncLost { at, skipped_bytes },
        }
    }
}

/// Reads the packets of a file, and of what is yet to be written to it.
#[derive(Debug)]
pub struct FileTail {
    file: File,
    path: PathBuf,
    end: End,
    aligner: Aligner,
    scratch: Vec<u8>,
}

impl FileTail {
    /// Reads `path` from `at` on, in packets of `packet_bytes`.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn open(path: &Path, at: ByteOffset, packet_bytes: usize, end: End) -> Result<Self> {
        let file = File::open(path).context(Stage::Tail, path, "cannot open")?;
        let aligner = Aligner::new(at, packet_bytes);
        Ok(FileTail { file, path: path.to_owned(), end, aligner, scratch: vec![0; READ_BYTES] })
    }

    /// The next packet, or why there is none. Waits at most a quarter of a second.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn next_packet(&mut self) -> Result<Next<'_>> {
        loop {
            // The borrow of a packet found ends the function, which the compiler
            // cannot see in a loop: so it is looked for twice.
            if self.aligner.has_found() {
                return Ok(self.aligner.find().map_or(Next::Waiting, Next::from));
            }
            let from = self.aligner.end();
            let limit = match &self.end {
                End::Finished(length) => *length,
                End::Growing(written) => match written.wait_past(from, WAIT) {
                    WaitOutcome::Grown(length) => length,
                    WaitOutcome::TimedOut => return Ok(Next::Waiting),
                    WaitOutcome::Finished(length) => length,
                },
            };
            if !self.read(from, limit)? {
                return Ok(self.aligner.finish().map_or(Next::End, Next::from));
            }
        }
    }

    /// Offset up to which the file was read, in bytes.
    pub fn position(&self) -> ByteOffset {
        ByteOffset(self.aligner.end())
    }

    /// Reads on, never beyond `limit`. False if there is nothing.
    fn read(&mut self, from: u64, limit: u64) -> Result<bool> {
        let wanted = usize::try_from(limit.saturating_sub(from)).unwrap_or(READ_BYTES);
        let buffer = &mut self.scratch[..wanted.min(READ_BYTES)];
        let bytes = loop {
            match self.file.read_at(buffer, from) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => {
                    break read
                        .context(Stage::Tail, &self.path, "cannot read")
                        .map_err(|error| error.at(ByteOffset(from)))?;
                }
            }
        };
        self.aligner.push(&self.scratch[..bytes]);
        Ok(bytes > 0)
    }
}

impl Aligner {
    /// Whether [`Aligner::find`] would give something. Moves over what it would not.
    fn has_found(&mut self) -> bool {
        let (next, gap_left, lost_at) = (self.next, self.gap_left, self.lost_at);
        if self.find().is_none() {
            return false;
        }
        (self.next, self.gap_left, self.lost_at) = (next, gap_left, lost_at);
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Packet(u64, u8),
        Lost(u64, u64),
    }

    fn seen(found: &Found<'_>) -> Seen {
        match found {
            Found::Packet(packet) => Seen::Packet(packet.at.0, packet.bytes[1]),
            Found::SyncLost { at, skipped_bytes } => Seen::Lost(at.0, *skipped_bytes),
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
    fn a_file_is_recognised_by_what_stands_before_garbage_or_behind_it() {
        let packets = packet(0).repeat(100);
        let garbage = vec![SYNC_BYTE + 1; 77];
        let often = [&packets[..], &garbage].concat().repeat(50);
        assert_eq!(probe_packet_bytes(&often), Some(188));
        let late = [&garbage.repeat(1000)[..], &packets.repeat(3)].concat();
        assert_eq!(probe_packet_bytes(&late), Some(188));
        assert_eq!(probe_packet_bytes(&garbage.repeat(1000)), None);
    }

    #[test]
    fn packets_of_192_and_204_bytes_are_found_at_their_sync_bytes() {
        for packet_bytes in [192, 204] {
            let gap = vec![1; packet_bytes - 188];
            let bytes = [packet(1), gap.clone(), packet(2), gap.clone(), packet(3), gap].concat();
            let last = 1000 + 2 * packet_bytes as u64;
            assert_eq!(align(&[&bytes], packet_bytes)[2], Seen::Packet(last, 3));
            assert_eq!(probe_packet_bytes(&bytes.repeat(9)), Some(packet_bytes));
        }
        assert_eq!(probe_packet_bytes(&packet(0).repeat(9)), Some(188));
        assert_eq!(probe_packet_bytes(&[b'x'; 4000]), None);
    }

    #[test]
    fn a_growing_file_is_followed_and_never_read_beyond_what_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording.ts");
        std::fs::write(&path, [packet(1), packet(2)].concat()).unwrap();
        let written = Written::new(188);
        let end = End::Growing(written.clone());
        let mut tail = FileTail::open(&path, ByteOffset(0), 188, end).unwrap();
        assert!(matches!(tail.next_packet().unwrap(), Next::Packet(p) if p.bytes[1] == 1));
        assert!(matches!(tail.next_packet().unwrap(), Next::Waiting));
        written.publish(376);
        assert!(matches!(tail.next_packet().unwrap(), Next::Packet(p) if p.bytes[1] == 2));
        written.finish();
        assert!(matches!(tail.next_packet().unwrap(), Next::End));
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_packets(
            pieces in proptest::collection::vec((any::<bool>(), 0_usize..40, any::<u8>()), 1..12),
            cuts in proptest::collection::vec(0_usize..4000, 0..12),
            packet_bytes in prop_oneof![Just(188), Just(192)],
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
        }
    }
}
