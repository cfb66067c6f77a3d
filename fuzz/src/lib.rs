//! Code shared by the fuzz targets.

use scenetap::media::ByteOffset;
use scenetap::ts::{self, Aligner, PacketSize, SYNC_BYTE, TS_PACKET_BYTES, TsPacket};
use scenetap_testkit::crc32;

/// Maximum number of bytes at the end of an input that specify the sizes of pieces.
const MAX_CUTS: usize = 16;

/// Separates an input into the bytes to parse and the sizes of the pieces. The sizes are
/// at the end, so that a plain file is a valid seed.
pub fn with_cuts(input: &[u8]) -> (&[u8], &[u8]) {
    input.split_at(input.len() - MAX_CUTS.min(input.len() / 8))
}

/// Splits the bytes into pieces with the sizes in `cuts`, repeatedly; a piece may be
/// empty.
pub fn pieces<'a>(mut bytes: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut sizes = cuts.iter().chain(&[1]).cycle();
    while !bytes.is_empty() {
        let size = sizes.next().map_or(1, |size| usize::from(*size));
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// Result of an [`Aligner`]: a packet at its offset, or the number of bytes skipped
/// there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A whole packet, and its size including additional bytes.
    Packet(u64, [u8; TS_PACKET_BYTES], usize),
    /// Bytes that belong to no packet.
    Lost(u64, u64),
}

impl From<ts::Aligned<'_>> for Found {
    fn from(found: ts::Aligned<'_>) -> Self {
        match found {
            ts::Aligned::Packet(packet) => {
                Found::Packet(packet.at.0, *packet.bytes, packet.raw.len())
            }
            ts::Aligned::SyncLost { at, skipped_bytes } => Found::Lost(at.0, skipped_bytes),
        }
    }
}

/// Finds the packets in a stream that is read in `pieces`. Packets have this `size` unless the
/// bytes show another.
pub fn align(pieces: &[&[u8]], size: PacketSize) -> Vec<Found> {
    let mut aligner = Aligner::begin(ByteOffset(0), size);
    let mut all = Vec::new();
    for piece in pieces {
        aligner.push(piece);
        while let Some(found) = aligner.find() {
            all.push(found.into());
        }
    }
    aligner.end_input();
    while let Some(found) = aligner.find() {
        all.push(found.into());
    }
    all.extend(aligner.finish().map(Found::from));
    all
}

/// Returns the packets among the results.
pub fn packets(found: &[Found]) -> impl Iterator<Item = TsPacket<'_>> {
    found.iter().filter_map(|found| match found {
        Found::Packet(at, bytes, _) => Some(TsPacket::new(ByteOffset(*at), bytes)),
        Found::Lost(..) => None,
    })
}

/// Corrects the CRC of the sections in packets that begin with a PAT or a PMT: otherwise
/// no table changed by the fuzzer would be accepted.
pub fn repair_tables(stream: &mut [u8]) {
    let mut at = 0;
    while let Some(packet) = stream.get_mut(at..at + TS_PACKET_BYTES) {
        if packet[0] != SYNC_BYTE {
            at += 1;
            continue;
        }
        let field_bytes = if packet[3] & 0x20 != 0 { 1 + usize::from(packet[4]) } else { 0 };
        if let Some(payload @ [0, 0 | 2, ..]) = packet.get_mut(4 + field_bytes..) {
            repair_sections(payload);
        }
        at += TS_PACKET_BYTES;
    }
}

/// Corrects the CRC of the sections in a payload, from its pointer field on.
pub fn repair_sections(payload: &mut [u8]) {
    let mut from = payload.first().map_or(0, |pointer| 1 + usize::from(*pointer));
    while let Some(&[_, high, low]) = payload.get(from..).and_then(<[u8]>::first_chunk) {
        let end = from + 3 + usize::from(u16::from_be_bytes([high, low]) & 0x0fff);
        let Some((body, crc)) = payload.get_mut(from..end).and_then(<[u8]>::split_last_chunk_mut)
        else {
            return;
        };
        *crc = crc32(body).to_be_bytes();
        from = end;
    }
}
