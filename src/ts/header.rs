//! The header of a transport packet, and the adaptation field up to the payload.

use super::{SYNC_BYTE, TS_PACKET_BYTES};

/// PID of null packets, which carry no data and have no meaningful continuity counter
/// (ISO/IEC 13818-1, table 2-3).
pub const NULL_PID: u16 = 0x1fff;

/// The four bytes at the front of a packet (ISO/IEC 13818-1, 2.4.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header([u8; 4]);

impl Header {
    /// Returns the header of a whole packet. The sync byte is not checked.
    pub fn of(packet: &[u8; TS_PACKET_BYTES]) -> Self {
        let [sync, flags_and_pid, pid_low, control, ..] = *packet;
        Header([sync, flags_and_pid, pid_low, control])
    }

    /// Returns the header in the first bytes of `bytes`. `None` if they are fewer than four or do
    /// not begin with a sync byte.
    pub fn read(bytes: impl IntoIterator<Item = u8>) -> Option<Self> {
        let mut bytes = bytes.into_iter();
        let header = [bytes.next()?, bytes.next()?, bytes.next()?, bytes.next()?];
        (header[0] == SYNC_BYTE).then_some(Header(header))
    }

    /// Returns the packet identifier, 13 bits.
    pub fn pid(self) -> u16 {
        pid(self.0[1], self.0[2])
    }

    /// Returns `payload_unit_start_indicator`: a PES packet or a section begins in the payload.
    pub fn unit_start(self) -> bool {
        self.0[1] & 0x40 != 0
    }

    /// Returns `transport_error_indicator`: the packet was received with errors that could not
    /// be corrected.
    pub fn transport_error(self) -> bool {
        self.0[1] & 0x80 != 0
    }

    /// Returns whether `transport_scrambling_control` is not 0.
    pub fn is_scrambled(self) -> bool {
        self.0[3] & 0xc0 != 0
    }

    /// Returns `continuity_counter`, which counts the packets of a PID that have a payload,
    /// modulo 16.
    pub fn continuity_counter(self) -> u8 {
        self.0[3] & 0x0f
    }

    /// Returns whether no field has a reserved value, and the packet was received without errors.
    pub fn is_valid(self) -> bool {
        !self.transport_error() && (self.has_payload() || self.has_adaptation_field())
    }

    /// Returns whether the packet has a payload, possibly an empty one, and thus advances the
    /// continuity counter.
    pub fn has_payload(self) -> bool {
        self.0[3] & 0x10 != 0
    }

    /// Returns whether an adaptation field precedes the payload.
    pub fn has_adaptation_field(self) -> bool {
        self.0[3] & 0x20 != 0
    }
}

/// Returns the packet identifier in two bytes of a header or table: the low 13 bits.
pub fn pid(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low]) & 0x1fff
}

/// Returns the stated length of the adaptation field in bytes, without its length byte. It is 0
/// if there is no adaptation field, and at most 255, which is more than fits into a packet.
pub fn adaptation_field_length(packet: &[u8; TS_PACKET_BYTES]) -> usize {
    if Header::of(packet).has_adaptation_field() { usize::from(packet[4]) } else { 0 }
}

/// Returns `discontinuity_indicator`: the clock or the continuity counter may jump at this packet
/// (ISO/IEC 13818-1, 2.4.3.5).
pub fn discontinuity(packet: &[u8; TS_PACKET_BYTES]) -> bool {
    adaptation_field_length(packet) > 0 && packet[5] & 0x80 != 0
}

/// Returns the index of the first byte of the payload, or [`TS_PACKET_BYTES`] if the stated
/// adaptation field does not fit into the packet.
pub fn payload_start(packet: &[u8; TS_PACKET_BYTES]) -> usize {
    const HEADER_BYTES: usize = 4;
    let field =
        if Header::of(packet).has_adaptation_field() { 1 + usize::from(packet[4]) } else { 0 };
    (HEADER_BYTES + field).min(TS_PACKET_BYTES)
}

/// Returns the bytes after header and adaptation field; empty for a packet without payload.
pub fn payload(packet: &[u8; TS_PACKET_BYTES]) -> &[u8] {
    if Header::of(packet).has_payload() { &packet[payload_start(packet)..] } else { &[] }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn packet(head: &[u8]) -> [u8; TS_PACKET_BYTES] {
        let mut bytes = [0xff; TS_PACKET_BYTES];
        bytes[..head.len()].copy_from_slice(head);
        bytes
    }

    #[test]
    fn every_field_of_a_header_is_read_from_its_own_bits() {
        let header = Header::of(&packet(&[0x47, 0xdf, 0xfe, 0x7b]));
        assert_eq!((header.pid(), header.continuity_counter()), (0x1ffe, 11));
        assert!(header.transport_error() && header.unit_start() && header.is_scrambled());
        assert!(header.has_payload() && header.has_adaptation_field());
        let header = Header::of(&packet(&[0x47, 0x20, 0x01, 0x00]));
        assert_eq!((header.pid(), header.continuity_counter()), (1, 0));
        assert!(!header.transport_error() && !header.unit_start() && !header.is_scrambled());
        assert!(!header.has_payload() && !header.has_adaptation_field());
        assert_eq!(Header::read([0x47, 0x20, 0x01, 0x00]), Some(header));
        assert_eq!(Header::read([0x46, 0x20, 0x01, 0x00]), None);
        assert_eq!(Header::read([0x47, 0x20, 0x01]), None);
    }

    #[test]
    fn the_payload_begins_behind_the_adaptation_field() {
        assert_eq!(payload(&packet(&[0x47, 0, 0, 0x10])).len(), 184);
        assert_eq!(payload(&packet(&[0x47, 0, 0, 0x30, 7])).len(), 176);
        assert_eq!(payload(&packet(&[0x47, 0, 0, 0x30, 183])).len(), 0);
        assert_eq!(payload(&packet(&[0x47, 0, 0, 0x30, 200])).len(), 0);
        assert_eq!(payload(&packet(&[0x47, 0, 0, 0x20, 7])).len(), 0);
    }

    #[test]
    fn an_empty_adaptation_field_has_no_flags() {
        assert!(discontinuity(&packet(&[0x47, 0, 0, 0x30, 1, 0x80])));
        assert!(!discontinuity(&packet(&[0x47, 0, 0, 0x30, 0, 0x80])));
        assert!(!discontinuity(&packet(&[0x47, 0, 0, 0x10, 1, 0x80])));
    }
}
