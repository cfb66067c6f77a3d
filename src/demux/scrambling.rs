//! Decides whether packets with `transport_scrambling_control` are really scrambled.
//!
//! Some multiplexers set the flag on clear payload. A clear payload has clear PES headers, so a
//! start code at the beginning of a PES packet shows that the payload is clear (ISO/IEC 13818-1,
//! 2.4.3.6).

use super::packet::Packet;

/// State derived from the PES packets of one PID.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scrambling {
    /// Whether the last PES packet that began is clear.
    is_clear: bool,
}

impl Scrambling {
    /// Returns the state within a PES packet that is clear.
    pub fn in_clear_pes() -> Self {
        Scrambling { is_clear: true }
    }

    /// Takes the next packet of the PID. Returns whether it is scrambled: it is flagged, and its PES
    /// packet does not begin with a start code.
    pub fn is_scrambled(&mut self, packet: &Packet<'_>) -> bool {
        const START_CODE: [u8; 3] = [0, 0, 1];
        if packet.unit_start {
            let begun = packet.payload.get(..START_CODE.len()).unwrap_or(packet.payload);
            self.is_clear = START_CODE.starts_with(begun);
        }
        packet.scrambled && !self.is_clear
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demux::packet::PacketParser;
    use crate::ts::TS_PACKET_BYTES;

    /// Returns whether packets are scrambled, each given by flag, unit start and payload.
    fn are_scrambled(packets: &[(bool, bool, &[u8])]) -> Vec<bool> {
        let mut scrambling = Scrambling::default();
        let mut parser = PacketParser::default();
        packets
            .iter()
            .map(|(flag, unit_start, payload)| {
                let mut bytes = [0xff; TS_PACKET_BYTES];
                let [flag, unit_start] = [flag, unit_start].map(|bit| u8::from(*bit));
                bytes[..4].copy_from_slice(&[0x47, 1 | unit_start << 6, 0, 0x10 | flag << 7]);
                bytes[4..4 + payload.len()].copy_from_slice(payload);
                parser.parse(&bytes).is_none_or(|packet| scrambling.is_scrambled(&packet))
            })
            .collect()
    }

    #[test]
    fn the_flag_counts_where_no_start_code_stands() {
        let (clear, scrambled) = (&[0, 0, 1, 0xe0][..], &[0x5a, 0x5a, 0x5b, 0xba][..]);
        let found = are_scrambled(&[
            (true, false, scrambled),
            (true, true, clear),
            (true, false, scrambled),
            (true, true, scrambled),
            (true, false, clear),
            (false, false, clear),
            (false, true, clear),
            (true, false, clear),
        ]);
        assert_eq!(found, [true, false, false, true, true, false, false, false]);
    }
}
