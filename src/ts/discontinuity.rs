//! Marks a jump of clock and counters (ISO/IEC 13818-1, 2.4.3.5).

use super::{SYNC_BYTE, TS_PACKET_BYTES, adaptation_field_length};

/// `discontinuity_indicator` among the flags of an adaptation field.
const INDICATOR: u8 = 0x80;

/// Sets `discontinuity_indicator` in a packet. Returns false if the packet has no adaptation field with
/// flags.
pub fn set_discontinuity(packet: &mut [u8; TS_PACKET_BYTES]) -> bool {
    let has_flags = adaptation_field_length(packet) > 0;
    if has_flags {
        packet[5] |= INDICATOR;
    }
    has_flags
}

/// Returns a packet without payload in which `discontinuity_indicator` is set. It is inserted in front of
/// the packet of `pid` with the continuity counter `next_counter`.
pub fn discontinuity_packet(pid: u16, next_counter: u8) -> [u8; TS_PACKET_BYTES] {
    let mut packet = [0xff; TS_PACKET_BYTES];
    let [pid_high, pid_low] = pid.to_be_bytes();
    // Adaptation field only. The counter counts only packets with a payload.
    let control = 0x20 | (next_counter.wrapping_sub(1) & 0x0f);
    let head =
        [SYNC_BYTE, pid_high & 0x1f, pid_low, control, (TS_PACKET_BYTES - 5) as u8, INDICATOR];
    packet[..head.len()].copy_from_slice(&head);
    packet
}

#[cfg(test)]
mod tests {
    use super::super::{Header, discontinuity, payload};
    use super::*;

    #[test]
    fn an_inserted_mark_has_no_payload_and_the_counter_before_the_next() {
        let packet = discontinuity_packet(0x1234, 0);
        let header = Header::of(&packet);
        assert_eq!((header.pid(), header.continuity_counter()), (0x1234, 15));
        assert!(discontinuity(&packet) && payload(&packet).is_empty() && !header.unit_start());
    }

    #[test]
    fn a_mark_is_set_where_there_are_flags() {
        let mut packet = [0xff; TS_PACKET_BYTES];
        packet[..6].copy_from_slice(&[SYNC_BYTE, 0, 0x21, 0x31, 7, 0x10]);
        assert!(set_discontinuity(&mut packet) && packet[5] == 0x90);
        packet[4] = 0;
        assert!(!set_discontinuity(&mut packet));
        packet[3] = 0x11;
        assert!(!set_discontinuity(&mut packet));
    }
}
