//! The latest packets of a stream's program tables. They are prepended to a part of the
//! stream that begins in the middle.

use std::collections::BTreeMap;

use super::packet::{Packet, PacketParser};
use super::tables::TableReader;
use crate::ts::TsPacket;

/// Maximum number of packets per table: more than the largest section needs (4,096 bytes, 183 in
/// the first packet).
const MAX_PACKETS: usize = 32;

/// Keeps the latest packets of the PAT and of the PMTs.
#[derive(Debug, Default)]
pub struct TablePackets {
    parser: PacketParser,
    reader: TableReader,
    pids: BTreeMap<u16, Packets>,
}

/// Packets of one PID.
#[derive(Debug, Default)]
struct Packets {
    /// Packets since the beginning of the last section, with their additional bytes.
    open: Vec<Vec<u8>>,
    /// Number of bytes missing in this section.
    missing: usize,
    /// Packets of the last complete section.
    whole: Vec<u8>,
}

impl TablePackets {
    /// Pushes the next packet.
    pub fn push(&mut self, packet: TsPacket<'_>) {
        let Some(parsed) = self.parser.parse(packet.bytes) else { return };
        if !self.reader.reads(parsed.pid) || !parsed.has_payload {
            return;
        }
        self.reader.push(&parsed);
        self.pids.entry(parsed.pid).or_default().push(&parsed, packet.raw);
    }

    /// Returns the packets of the last complete tables, in the packet format of the sender: the
    /// PAT, then the PMTs. `None` until both have arrived.
    pub fn packets(&self) -> Option<Vec<u8>> {
        // The PAT has PID 0, so it comes first.
        let is_read = |(pid, packets): &(&u16, &Packets)| {
            self.reader.reads(**pid) && !packets.whole.is_empty()
        };
        let read = self.pids.iter().filter(is_read);
        let tables: Vec<_> = read.map(|(_, packets)| &packets.whole[..]).collect();
        let has_pat = self.pids.get(&0).is_some_and(|packets| !packets.whole.is_empty());
        (has_pat && tables.len() > 1).then(|| tables.concat())
    }
}

impl Packets {
    fn push(&mut self, packet: &Packet<'_>, raw: &[u8]) {
        let payload_bytes = if packet.unit_start {
            self.open.clear();
            // A pointer, then table id and length (ISO/IEC 13818-1, 2.4.4).
            let pointer = packet.payload.first().copied().map_or(0, usize::from);
            let section = packet.payload.get(1 + pointer..).unwrap_or(&[]);
            let Some([_, high, low]) = section.first_chunk() else { return };
            self.missing = 3 + (usize::from(high & 0x0f) << 8 | usize::from(*low));
            section.len()
        } else if self.open.is_empty() {
            return;
        } else {
            packet.payload.len()
        };
        if self.open.len() == MAX_PACKETS {
            self.open.clear();
            return;
        }
        self.open.push(raw.to_vec());
        self.missing = self.missing.saturating_sub(payload_bytes);
        if self.missing == 0 {
            self.whole = std::mem::take(&mut self.open).concat();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::ByteOffset;
    use crate::ts::TS_PACKET_BYTES;

    #[test]
    fn the_tables_of_a_real_stream_are_its_first_pat_and_pmt() {
        let stream = include_bytes!("../../fixtures/bbb_hevc_360p24_gop2s.ts");
        let mut tables = TablePackets::default();
        for (n, bytes) in stream.as_chunks::<TS_PACKET_BYTES>().0.iter().take(3).enumerate() {
            assert_eq!(tables.packets(), None, "before packet {n}");
            tables.push(TsPacket::new(ByteOffset(0), bytes));
        }
        // The first packet is the SDT.
        assert_eq!(tables.packets().as_deref(), stream.get(188..3 * 188));
    }
}
