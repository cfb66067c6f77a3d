//! Transport packets: their header, and where each one begins (ISO/IEC 13818-1, 2.4.3).
//!
//! Everything that has to agree on packet boundaries to the byte uses this module: the writer,
//! which discards torn packets; the tail, which reads the recording behind the writer; the
//! demuxer; and `scenetap send`.
//!
//! ```text
//! header       the four bytes at the front, the adaptation field, where the payload begins
//! aligner      bytes in pieces of any size → whole packets, and the bytes between them
//! packet_size  188, 192 (M2TS) or 204 bytes (with parity)
//! pcr          the program clock reference
//! crc32        CRC-32/MPEG-2, the checksum of every table
//! ```

mod aligner;
mod crc32;
mod header;
mod packet_size;
mod pcr;

pub use aligner::{Aligned, Aligner};
pub use crc32::crc32_mpeg2;
pub use header::{
    Header, NULL_PID, adaptation_field_length, discontinuity, payload, payload_start, pid,
};
pub use packet_size::{in_step, is_conclusive, probe_packet_bytes};
pub use pcr::{PCR_PER_TICK, PCR_WRAP, pcr, pcr_at, pcr_base};

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
}

impl TsPacket<'_> {
    /// Returns the offset of the first byte after the packet.
    pub fn end(&self) -> ByteOffset {
        ByteOffset(self.at.0 + TS_PACKET_BYTES as u64)
    }
}
