//! Reads and shifts the clock fields of a transport packet in place.
//!
//! ISO/IEC 13818-1: 2.4.3.2 (transport packet), 2.4.3.4 and 2.4.3.5 (adaptation field,
//! PCR), 2.4.3.6 and 2.4.3.7 (PES header, PTS and DTS).

use crate::ts::{
    Header, TS_PACKET_BYTES, adaptation_field_length, payload_start, pcr_at, pcr_base,
};

/// Modulus of PTS, DTS and the base of a PCR (33 bits at 90 kHz).
pub const TIMESTAMP_WRAP: u64 = 1 << 33;

type PacketBytes = [u8; TS_PACKET_BYTES];

/// Sets the continuity counter to the low four bits of `counter`.
pub fn set_continuity(packet: &mut PacketBytes, counter: u8) {
    packet[3] = packet[3] & 0xf0 | counter & 0x0f;
}

/// Shifts PCR and OPCR by `ticks` of 90 kHz. Their extensions stay unchanged.
pub fn shift_pcr(packet: &mut PacketBytes, ticks: u64) {
    for at in [pcr_at(packet), opcr_at(packet)].into_iter().flatten() {
        let base = (pcr_base(packet, at) + ticks) % TIMESTAMP_WRAP;
        packet[at..at + 4].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
        packet[at + 4] = packet[at + 4] & 0x7f | ((base & 1) as u8) << 7;
    }
}

/// Positions of the timestamps of a PES header in its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PesStamps {
    /// `stream_id`, 0xC0 to 0xEF for audio and video.
    pub stream_id: u8,
    /// `PES_packet_length`; 0 if unspecified.
    pub pes_bytes: u16,
    pts_at: usize,
    dts_at: Option<usize>,
}

impl PesStamps {
    /// Finds the timestamps of the PES header that begins in `packet`. Returns `None` if
    /// the packet is scrambled, or the timestamps continue in the next packet.
    pub fn find(packet: &PacketBytes) -> Option<PesStamps> {
        let header = Header::of(packet);
        if !header.unit_start() || header.is_scrambled() || !header.has_payload() {
            return None;
        }
        let start = payload_start(packet);
        let pes = &packet[start..];
        let stream_id = *pes.get(3)?;
        // Stream ids without the optional header: maps, padding, private 2, ECM, EMM, DSM-CC,
        // H.222.1 E, directory.
        let has_no_optional_header =
            matches!(stream_id, 0xbc | 0xbe | 0xbf | 0xf0..=0xf2 | 0xf8 | 0xff);
        if pes.len() < 14
            || pes[..3] != [0, 0, 1]
            || has_no_optional_header
            || pes[6] & 0xc0 != 0x80
        {
            return None;
        }
        let (flags, header_bytes) = (pes[7] >> 6, usize::from(pes[8]));
        let (has_pts, has_dts) = (flags & 0b10 != 0, flags == 0b11);
        let needed = if has_dts { 10 } else { 5 };
        if !has_pts || header_bytes < needed || pes.len() < 9 + needed {
            return None;
        }
        let pes_bytes = u16::from_be_bytes([pes[4], pes[5]]);
        let (pts_at, dts_at) = (start + 9, has_dts.then_some(start + 14));
        Some(PesStamps { stream_id, pes_bytes, pts_at, dts_at })
    }

    /// Returns the decoding time in 90 kHz ticks; the PTS if the header has no DTS.
    pub fn dts(&self, packet: &PacketBytes) -> u64 {
        stamp(packet, self.dts_at.unwrap_or(self.pts_at))
    }

    /// Returns the presentation time in 90 kHz ticks.
    #[cfg(test)]
    pub fn pts(&self, packet: &PacketBytes) -> u64 {
        stamp(packet, self.pts_at)
    }

    /// Shifts PTS and DTS by `ticks`.
    pub fn shift(&self, packet: &mut PacketBytes, ticks: u64) {
        for at in [Some(self.pts_at), self.dts_at].into_iter().flatten() {
            let moved = (stamp(packet, at) + ticks) % TIMESTAMP_WRAP;
            set_stamp(packet, at, moved);
        }
    }
}

fn opcr_at(packet: &PacketBytes) -> Option<usize> {
    let at = if pcr_at(packet).is_some() { 12 } else { 6 };
    (adaptation_field_length(packet) > at && packet[5] & 0x08 != 0).then_some(at)
}

/// Reads a timestamp of five bytes: 4 bits of kind, then 3 + 15 + 15 bits, each followed by a
/// marker bit.
fn stamp(packet: &PacketBytes, at: usize) -> u64 {
    let byte = |i: usize| u64::from(packet[at + i]);
    (byte(0) >> 1 & 0x07) << 30 | byte(1) << 22 | (byte(2) >> 1) << 15 | byte(3) << 7 | byte(4) >> 1
}

fn set_stamp(packet: &mut PacketBytes, at: usize, ticks: u64) {
    packet[at] = packet[at] & 0xf1 | ((ticks >> 30) as u8 & 0x07) << 1;
    packet[at + 1] = (ticks >> 22) as u8;
    packet[at + 2] = packet[at + 2] & 1 | ((ticks >> 15) as u8) << 1;
    packet[at + 3] = (ticks >> 7) as u8;
    packet[at + 4] = packet[at + 4] & 1 | (ticks as u8) << 1;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::ts::{PCR_PER_TICK, PCR_WRAP, pcr};
    use scenetap_testkit as testkit;

    #[test]
    fn pcr_and_stamps_are_read_back_as_written() {
        let packet = testkit::timed(256, 3, Some(5 * PCR_WRAP / 7), 8_000_000_123, 8_000_000_001);
        assert_eq!(Header::of(&packet).pid(), 256);
        assert_eq!(Header::of(&packet).continuity_counter(), 3);
        assert_eq!(pcr(&packet), Some(5 * PCR_WRAP / 7));
        let stamps = PesStamps::find(&packet).expect("a PES header");
        assert_eq!((stamps.pts(&packet), stamps.dts(&packet)), (8_000_000_123, 8_000_000_001));
    }

    #[test]
    fn a_shift_wraps_at_33_bits_and_keeps_the_marker_bits() {
        let mut packet = testkit::timed(256, 0, Some(PCR_WRAP - 7), TIMESTAMP_WRAP - 1, 10);
        shift_pcr(&mut packet, 2);
        let stamps = PesStamps::find(&packet).expect("a PES header");
        stamps.shift(&mut packet, 2);
        assert_eq!(pcr(&packet), Some(PCR_PER_TICK + 293));
        let again = testkit::timed(256, 0, Some(PCR_PER_TICK + 293), 1, 12);
        assert_eq!(packet, again);
    }

    #[test]
    fn an_opcr_behind_a_pcr_moves_too() {
        let mut packet = testkit::timed(256, 0, Some(3000), 1, 1);
        packet[4] = 13;
        packet[5] |= 0x08;
        let pcr_field: [u8; 6] = packet[6..12].try_into().expect("six bytes");
        packet[12..18].copy_from_slice(&pcr_field);
        shift_pcr(&mut packet, 5);
        assert_eq!(packet[6..12], packet[12..18]);
        assert_eq!(pcr(&packet), Some(3000 + 5 * PCR_PER_TICK));
    }

    #[test]
    fn an_adaptation_field_longer_than_the_packet_is_no_header() {
        let mut packet = testkit::timed(256, 0, Some(3000), 1, 1);
        packet[4] = 255;
        assert_eq!(PesStamps::find(&packet), None);
        assert_eq!(pcr(&packet), Some(3000));
    }
}
