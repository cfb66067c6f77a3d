//! Splits a file into packets and the bytes between them, without losing a byte.

use std::io::{self, Read};

use crate::ts::{PacketSize, SYNC_BYTE, TS_PACKET_BYTES, in_step};

/// Bytes needed to decide whether a packet begins at a position.
const DECISION_BYTES: usize = 5 * PacketSize::MAX_BYTES;

/// Size of the read buffer.
const BUFFER_BYTES: usize = 256 * 1024;

/// Returns whether a whole packet begins at the start of `bytes`: its sync byte and the following
/// ones are at packet distance.
pub fn begins_packet(bytes: &[u8], size: PacketSize) -> bool {
    bytes.len() >= TS_PACKET_BYTES && in_step(bytes, size.bytes())
}

/// A part of the file, in order.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A packet. Changes to it are visible only to the caller.
    Packet(&'a mut [u8; TS_PACKET_BYTES]),
    /// Bytes between packets, or added to a packet by the sender.
    Loose(&'a [u8]),
}

/// Splits the bytes of a reader into [`Piece`]s, with a bounded buffer.
#[derive(Debug)]
pub struct Pieces<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
    is_in_step: bool,
    size: PacketSize,
    /// Number of bytes before the next packet, if packets are in step.
    gap_bytes: usize,
}

impl<R: Read> Pieces<R> {
    /// Returns the pieces of `source`. Its packets have this `size`, and are in step from byte
    /// `first` on.
    pub fn new(source: R, size: PacketSize, first: usize) -> Self {
        let buffer = vec![0; BUFFER_BYTES];
        Pieces {
            source,
            buffer,
            start: 0,
            end: 0,
            at_end: false,
            is_in_step: false,
            size,
            gap_bytes: first,
        }
    }

    /// Returns the next piece, or `None` at the end.
    ///
    /// # Errors
    ///
    /// Returns the errors of the source.
    pub fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        self.fill()?;
        let ahead = &self.buffer[self.start..self.end];
        if ahead.is_empty() {
            return Ok(None);
        }
        if self.gap_bytes > 0 {
            let taken = self.gap_bytes.min(ahead.len());
            self.gap_bytes -= taken;
            self.start += taken;
            return Ok(Some(Piece::Loose(&self.buffer[self.start - taken..self.start])));
        }
        self.is_in_step = match self.is_in_step {
            true => ahead[0] == SYNC_BYTE && ahead.len() >= TS_PACKET_BYTES,
            false => begins_packet(ahead, self.size),
        };
        if self.is_in_step {
            self.gap_bytes = self.size.bytes() - TS_PACKET_BYTES;
        }
        let taken = if self.is_in_step { TS_PACKET_BYTES } else { self.loose(ahead) };
        let piece = &mut self.buffer[self.start..self.start + taken];
        self.start += taken;
        Ok(match self.is_in_step {
            true => piece.first_chunk_mut().map(Piece::Packet),
            false => Some(Piece::Loose(piece)),
        })
    }

    /// Returns the number of the following bytes that certainly belong to no packet.
    fn loose(&self, ahead: &[u8]) -> usize {
        let decided = if self.at_end { ahead.len() } else { ahead.len() - DECISION_BYTES + 1 };
        memchr::memchr_iter(SYNC_BYTE, &ahead[1..decided])
            .map(|at| at + 1)
            .find(|at| begins_packet(&ahead[*at..], self.size))
            .unwrap_or(decided)
    }

    /// Reads until enough bytes are available to decide, or the source has ended.
    fn fill(&mut self) -> io::Result<()> {
        if self.at_end || self.end - self.start >= DECISION_BYTES {
            return Ok(());
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while !self.at_end && self.end < DECISION_BYTES {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.at_end = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use scenetap_testkit as testkit;

    /// A reader that returns at most three bytes at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(3);
            self.0.read(&mut buffer[..count])
        }
    }

    /// Returns all bytes in order, and the offsets of the packets.
    fn split(source: impl Read) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut packets) = (Vec::new(), Vec::new());
        let mut pieces = Pieces::new(source, PacketSize::Plain, 0);
        while let Some(piece) = pieces.next().expect("a slice reads") {
            match piece {
                Piece::Packet(packet) => {
                    packets.push(bytes.len());
                    bytes.extend_from_slice(packet);
                }
                Piece::Loose(loose) => bytes.extend_from_slice(loose),
            }
        }
        (bytes, packets)
    }

    #[test]
    fn garbage_in_front_in_between_and_a_torn_end_come_through() {
        let stream = testkit::paced_stream(10, 3, 0);
        let mut file = vec![SYNC_BYTE; 77];
        file.extend(&stream[..12 * TS_PACKET_BYTES]);
        file.extend([0, 0x47, 0x47, 1, 2]);
        file.extend(&stream[12 * TS_PACKET_BYTES..]);
        file.extend(&stream[..100]);
        for (bytes, packets) in [split(&file[..]), split(Drip(&file))] {
            assert_eq!(bytes, file);
            assert_eq!(packets.len(), 30);
            assert_eq!((packets[0], packets[12]), (77, 77 + 12 * TS_PACKET_BYTES + 5));
        }
    }

    #[test]
    fn a_file_larger_than_the_buffer_without_a_packet_comes_through() {
        let file: Vec<u8> = (0..3 * BUFFER_BYTES).map(|i| (i % 71 + 1) as u8).collect();
        let (bytes, packets) = split(&file[..]);
        assert_eq!((bytes == file, packets.len()), (true, 0));
    }

    #[test]
    fn a_single_packet_is_one() {
        let (_, packets) = split(&testkit::filler(256, 0)[..]);
        assert_eq!(packets, [0]);
        assert_eq!(split(&[][..]), (vec![], vec![]));
    }
}
