//! The packet sizes: with a timestamp in front (M2TS), with parity behind, or with neither.

use serde::{Deserialize, Serialize};

use super::parity::PARITY_BYTES;
use super::{SYNC_BYTE, TS_PACKET_BYTES};

/// Packet size of a stream, including additional bytes.
///
/// Serialized in a checkpoint as the number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum PacketSize {
    /// 188 bytes: no additional bytes.
    #[default]
    Plain,
    /// 192 bytes: an arrival timestamp of 4 bytes (`TP_extra_header` of M2TS) precedes the packet.
    Timed,
    /// 204 bytes: 16 bytes of Reed-Solomon parity follow the packet (EN 300 421).
    Parity,
}

impl PacketSize {
    /// The sizes, in the order in which they are tried.
    pub const ALL: [PacketSize; 3] = [PacketSize::Plain, PacketSize::Timed, PacketSize::Parity];

    /// Number of bytes of the largest size.
    pub const MAX_BYTES: usize = TS_PACKET_BYTES + PARITY_BYTES;

    /// Returns whether packets have no additional bytes.
    pub fn is_plain(&self) -> bool {
        *self == PacketSize::Plain
    }

    /// Returns the distance between two sync bytes.
    pub fn bytes(self) -> usize {
        self.leading_bytes() + TS_PACKET_BYTES + self.trailing_bytes()
    }

    /// Returns the number of bytes that precede the sync byte and belong to the packet.
    pub fn leading_bytes(self) -> usize {
        if self == PacketSize::Timed { 4 } else { 0 }
    }

    /// Returns the number of bytes that follow the 188 bytes and belong to the packet.
    pub fn trailing_bytes(self) -> usize {
        if self == PacketSize::Parity { PARITY_BYTES } else { 0 }
    }
}

impl From<PacketSize> for u16 {
    fn from(size: PacketSize) -> u16 {
        match size {
            PacketSize::Plain => 188,
            PacketSize::Timed => 192,
            PacketSize::Parity => 204,
        }
    }
}

impl TryFrom<u16> for PacketSize {
    type Error = String;

    fn try_from(bytes: u16) -> Result<Self, String> {
        let size = PacketSize::ALL.into_iter().find(|size| u16::from(*size) == bytes);
        size.ok_or_else(|| format!("no packets have {bytes} bytes"))
    }
}

/// Determines the packet size of a file from its first bytes: 188, 192 (M2TS) or 204 (with parity),
/// whichever distance has the most sync bytes. `None` if the file is not MPEG-TS.
///
/// If garbage follows soon, the bytes before it are decisive, with the same minimum as in ffmpeg.
/// If the file begins with garbage, a stretch after it is decisive (`av_probe_input_buffer2`,
/// `mpegts_probe`).
pub fn probe_packet_size(head: &[u8]) -> Option<PacketSize> {
    const FIRST_BYTES: usize = 2048;
    const STRETCH_BYTES: usize = 100 * TS_PACKET_BYTES;
    let beginnings = std::iter::successors(Some(FIRST_BYTES), |bytes| Some(bytes * 2))
        .take_while(|bytes| *bytes < head.len())
        .map(|bytes| &head[..bytes]);
    beginnings.chain([head]).chain(head.chunks_exact(STRETCH_BYTES)).find_map(packet_size_in_step)
}

/// Returns the packet size whose distance has the most sync bytes. `None` if fewer than
/// `ENOUGH_PERCENT` of the expected sync bytes are in place.
fn packet_size_in_step(bytes: &[u8]) -> Option<PacketSize> {
    /// Percentage of expected positions that must have a sync byte.
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
    PacketSize::ALL
        .into_iter()
        .map(|size| (score(size.bytes()), size))
        .filter(|(score, _)| *score >= ENOUGH_PERCENT)
        // On a tie, keep the first: `max_by_key` would return the last.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, size)| size)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn packets(size: PacketSize) -> Vec<u8> {
        let mut packet = vec![1; size.bytes()];
        packet[0] = SYNC_BYTE;
        packet.repeat(100)
    }

    #[test]
    fn a_file_is_recognised_by_what_stands_before_garbage_or_behind_it() {
        let packets = packets(PacketSize::Plain);
        let garbage = vec![SYNC_BYTE + 1; 77];
        let often = [&packets[..], &garbage].concat().repeat(50);
        assert_eq!(probe_packet_size(&often), Some(PacketSize::Plain));
        let late = [&garbage.repeat(1000)[..], &packets.repeat(3)].concat();
        assert_eq!(probe_packet_size(&late), Some(PacketSize::Plain));
        assert_eq!(probe_packet_size(&garbage.repeat(1000)), None);
    }

    #[test]
    fn packets_of_188_192_and_204_bytes_are_told_apart() {
        for size in PacketSize::ALL {
            assert_eq!(probe_packet_size(&packets(size)), Some(size));
        }
        assert_eq!(probe_packet_size(&[b'x'; 4000]), None);
    }

    #[test]
    fn a_size_is_a_number_of_bytes_in_a_checkpoint() {
        let text = serde_json::to_string(&PacketSize::ALL).unwrap();
        assert_eq!(text, "[188,192,204]");
        assert_eq!(serde_json::from_str::<[PacketSize; 3]>(&text).unwrap(), PacketSize::ALL);
        assert!(serde_json::from_str::<PacketSize>("190").is_err());
        let bytes = PacketSize::ALL.map(PacketSize::bytes);
        assert_eq!(bytes, PacketSize::ALL.map(|size| usize::from(u16::from(size))));
    }
}
