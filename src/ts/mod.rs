//! Transport packets: their header, and where each one begins (ISO/IEC 13818-1, 2.4.3).
//!
//! All modules that have to agree on packet boundaries to the byte use this module: the writer,
//! which discards torn packets; the tail, which reads the recording behind the writer; the demuxer;
//! and `scenetap send`.
//!
//! ```text
//! header       the four bytes at the front, the adaptation field, where the payload begins
//! aligner      bytes in pieces of any size → whole packets, and the bytes between them
//! packet_size  188, 192 (M2TS) or 204 bytes (with parity)
//! discontinuity  marks where clock and counters jump
//! parity       the Reed-Solomon parity of packets of 204 bytes
//! phase        where the packets begin in bytes of unknown phase and size
//! pcr          the program clock reference
//! crc32        CRC-32/MPEG-2, the checksum of every table
//! ```

mod aligner;
mod crc32;
mod discontinuity;
mod header;
mod packet_size;
mod parity;
mod pcr;
mod phase;

pub use aligner::{Aligned, Aligner};
pub use crc32::crc32_mpeg2;
pub use discontinuity::{discontinuity_packet, set_discontinuity};
pub use header::{
    Header, NULL_PID, adaptation_field_length, discontinuity, payload, payload_start, pid,
};
pub use packet_size::{PacketSize, probe_packet_size};
pub use parity::{PARITY_BYTES, parity};
pub use pcr::{PCR_PER_TICK, PCR_WRAP, pcr, pcr_at, pcr_base};
pub use phase::{PHASE_BYTES, find_phase, in_step, is_conclusive, phase_of};

use crate::byte_offset::ByteOffset;

/// Bytes in a transport packet (ISO/IEC 13818-1, 2.4.3.2).
pub const TS_PACKET_BYTES: usize = 188;

/// The first byte of every transport packet.
pub const SYNC_BYTE: u8 = 0x47;

/// One aligned transport packet and its offset in the recording.
#[derive(Debug, Clone, Copy)]
pub struct TsPacket<'a> {
    /// Offset of the sync byte.
    pub at: ByteOffset,
    /// The packet, sync byte first.
    pub bytes: &'a [u8; TS_PACKET_BYTES],
    /// Packet size of the stream at this packet.
    pub size: PacketSize,
    /// The packet with its additional bytes. Shorter than [`TsPacket::size`] states if the stream
    /// begins or ends within it.
    pub raw: &'a [u8],
}

impl<'a> TsPacket<'a> {
    /// Returns a packet of 188 bytes.
    pub fn new(at: ByteOffset, bytes: &'a [u8; TS_PACKET_BYTES]) -> Self {
        TsPacket { at, bytes, size: PacketSize::Plain, raw: bytes }
    }

    /// Returns the offset of the first byte of the packet, including additional bytes in front of
    /// it.
    pub fn start(&self) -> ByteOffset {
        ByteOffset(self.at.0.saturating_sub(self.size.leading_bytes() as u64))
    }

    /// Returns the offset after the last byte of the packet, including additional bytes.
    pub fn end(&self) -> ByteOffset {
        ByteOffset(self.at.0 + (TS_PACKET_BYTES + self.size.trailing_bytes()) as u64)
    }
}
