//! Parses one transport packet: header, adaptation field, and the start of its payload.
//!
//! The `mpeg2ts` crate parses every packet in which a PES packet or a section begins. It rejects
//! much of what real streams contain (PIDs before their PMT, unknown stream types, optional PES
//! header fields, tables over several packets). Rejected packets are read by [`read_tolerantly`],
//! which checks only what FFmpeg's `libavformat/mpegts.c` (`handle_packet`) checks, and passes the
//! payload on unparsed.

use std::cell::Cell;
use std::io::{self, Read};

use mpeg2ts::ts::{ReadTsPacket, TransportScramblingControl, TsPacketReader, TsPayload};

use super::psi::{PatEntry, Pmt, PmtStream, Table};
use crate::media::Ticks;
use crate::ts::{self, Header, TS_PACKET_BYTES};

/// A parsed transport packet (ISO/IEC 13818-1, 2.4.3.2).
#[derive(Debug)]
pub struct Packet<'a> {
    /// Packet identifier, 13 bits.
    pub pid: u16,
    /// Whether a PES packet or a section begins in the payload.
    pub unit_start: bool,
    /// Whether the packet was received with uncorrectable errors.
    pub transport_error: bool,
    /// Whether the payload is scrambled.
    pub scrambled: bool,
    /// Counts the packets of a PID that carry payload, modulo 16.
    pub continuity_counter: u8,
    /// Whether the continuity counter may jump here.
    pub discontinuity: bool,
    /// Whether the packet has a payload, possibly an empty one.
    pub has_payload: bool,
    /// The bytes after header and adaptation field.
    pub payload: &'a [u8],
    /// The payload as parsed by `mpeg2ts`, if it accepted it.
    pub understood: Option<Understood<'a>>,
}

/// A payload parsed by `mpeg2ts`.
#[derive(Debug)]
pub enum Understood<'a> {
    /// One whole table, verified by its CRC.
    Table(Table),
    /// The beginning of a PES packet with its complete header.
    PesStart(PesHeader, &'a [u8]),
}

/// The relevant fields of a PES packet's header (ISO/IEC 13818-1, 2.4.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PesHeader {
    /// Stream id; 0xE0 to 0xEF are video.
    pub stream_id: u8,
    /// Presentation time, 33 bits.
    pub pts: Option<Ticks>,
    /// Decoding time, 33 bits. As in FFmpeg, equal to the PTS if only the PTS is present.
    pub dts: Option<Ticks>,
    /// Bytes of elementary stream in the PES packet; `None` if unbounded.
    pub es_bytes: Option<usize>,
}

/// Parses packets, one at a time.
///
/// After an error, `mpeg2ts` remains in the middle of a packet. So it reads from a [`PacketSlot`] that
/// holds one packet and is refilled for each: an error never affects a later packet.
pub struct PacketParser {
    reader: TsPacketReader<PacketSlot>,
}

impl std::fmt::Debug for PacketParser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketParser").finish_non_exhaustive()
    }
}

impl Default for PacketParser {
    fn default() -> Self {
        PacketParser { reader: TsPacketReader::new(PacketSlot::default()) }
    }
}

impl PacketParser {
    /// Parses a packet. Returns `None` for packets that FFmpeg also ignores: those with
    /// the reserved adaptation field control 0.
    pub fn parse<'a>(&mut self, bytes: &'a [u8; TS_PACKET_BYTES]) -> Option<Packet<'a>> {
        let mut packet = read_tolerantly(bytes)?;
        // If no unit begins in the packet, `mpeg2ts` would still parse a table on PIDs that carry
        // tables.
        if packet.scrambled || !packet.unit_start || would_panic(&packet) {
            return Some(packet);
        }
        self.reader.stream().refill(bytes);
        let Ok(Some(parsed)) = self.reader.read_ts_packet() else {
            return Some(packet);
        };
        packet.scrambled =
            parsed.header.transport_scrambling_control != TransportScramblingControl::NotScrambled;
        if let Some(field) = &parsed.adaptation_field {
            packet.discontinuity = field.discontinuity_indicator;
        }
        packet.understood = match parsed.payload {
            Some(TsPayload::Pat(pat)) => Some(Understood::Table(Table::Pat(
                pat.table
                    .iter()
                    .map(|entry| PatEntry {
                        program: entry.program_num,
                        pmt_pid: entry.program_map_pid.as_u16(),
                    })
                    .collect(),
            ))),
            Some(TsPayload::Pmt(pmt)) => Some(Understood::Table(Table::Pmt(pmt_of(&pmt)))),
            Some(TsPayload::PesStart(pes)) => pes_start(&packet, &pes),
            _ => None,
        };
        Some(packet)
    }
}

/// Parses header and adaptation field, and takes the rest as payload.
fn read_tolerantly(bytes: &[u8; TS_PACKET_BYTES]) -> Option<Packet<'_>> {
    let header = Header::of(bytes);
    if !header.has_payload() && !header.has_adaptation_field() {
        return None;
    }
    Some(Packet {
        pid: header.pid(),
        unit_start: header.unit_start(),
        transport_error: header.transport_error(),
        scrambled: header.is_scrambled(),
        continuity_counter: header.continuity_counter(),
        discontinuity: ts::discontinuity(bytes),
        has_payload: header.has_payload(),
        payload: ts::payload(bytes),
        understood: None,
    })
}

/// `mpeg2ts` 0.6.1 splits a PMT at its program_info_length without checking that this many bytes
/// are available.
fn would_panic(packet: &Packet<'_>) -> bool {
    const PMT_TABLE_ID: u8 = 2;
    let [0, section @ ..] = packet.payload else { return false };
    if section.first() != Some(&PMT_TABLE_ID) {
        return false;
    }
    let length_at = |at: usize| match section.get(at..at + 2) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low]) & 0x0fff),
        _ => 0,
    };
    // Bytes after section_length: 9 up to the descriptors, 4 for the CRC.
    length_at(10) + 9 + 4 > length_at(1)
}

fn pmt_of(pmt: &mpeg2ts::ts::payload::Pmt) -> Pmt {
    let registration = |descriptors: &[mpeg2ts::ts::Descriptor]| {
        let mut bytes = Vec::new();
        for descriptor in descriptors {
            bytes.push(descriptor.tag);
            bytes.push(u8::try_from(descriptor.data.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(&descriptor.data);
        }
        bytes
    };
    Pmt {
        program: pmt.program_num,
        program_descriptors: registration(&pmt.program_info),
        streams: pmt
            .es_info
            .iter()
            .map(|stream| PmtStream {
                stream_type: stream.stream_type as u8,
                pid: stream.elementary_pid.as_u16(),
                descriptors: registration(&stream.descriptors),
            })
            .collect(),
    }
}

fn pes_start<'a>(packet: &Packet<'a>, pes: &mpeg2ts::ts::payload::Pes) -> Option<Understood<'a>> {
    // `mpeg2ts` accepts a header that continues in the next packet if the rest is only stuffing.
    if pes.data.is_empty() {
        return None;
    }
    let header_bytes = packet.payload.len().checked_sub(pes.data.len())?;
    let data = packet.payload.get(header_bytes..)?;
    let ticks = |time: mpeg2ts::time::Timestamp| Ticks(i64::try_from(time.as_u64()).unwrap_or(0));
    let pts = pes.header.pts.map(ticks);
    Some(Understood::PesStart(
        PesHeader {
            stream_id: pes.header.stream_id.as_u8(),
            pts,
            dts: pes.header.dts.map(ticks).or(pts),
            es_bytes: PesHeader::es_bytes(usize::from(pes.pes_packet_len), header_bytes),
        },
        data,
    ))
}

impl PesHeader {
    /// Number of bytes that `PES_packet_length` does not count.
    pub const START_BYTES: usize = 6;

    /// Returns the bytes of elementary stream, from the packet's length field and the
    /// size of its whole header. `None` if the length is 0 or smaller than the header.
    pub fn es_bytes(packet_length: usize, header_bytes: usize) -> Option<usize> {
        (packet_length + Self::START_BYTES)
            .checked_sub(header_bytes)
            .filter(|&bytes| packet_length != 0 && bytes != 0)
    }
}

/// A source that holds one packet, which is read once.
#[derive(Default)]
struct PacketSlot {
    packet: Cell<Option<[u8; TS_PACKET_BYTES]>>,
    read: Cell<usize>,
}

impl PacketSlot {
    fn refill(&self, packet: &[u8; TS_PACKET_BYTES]) {
        self.packet.set(Some(*packet));
        self.read.set(0);
    }
}

impl Read for PacketSlot {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.read.get();
        let rest = match self.packet.get_mut() {
            Some(packet) => &packet[read..],
            None => &[],
        };
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        self.read.set(read + bytes);
        Ok(bytes)
    }
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
    fn a_pes_start_on_a_pid_before_its_pmt_comes_through_raw() {
        let bytes = packet(&[0x47, 0x41, 0x00, 0x10, 0, 0, 1, 0xe0]);
        let parsed = PacketParser::default().parse(&bytes).map(|p| (p.pid, p.payload.len()));
        assert_eq!(parsed, Some((0x100, 184)));
    }

    #[test]
    fn an_adaptation_field_longer_than_the_packet_leaves_no_payload() {
        let bytes = packet(&[0x47, 0x01, 0x00, 0x30, 200]);
        assert!(PacketParser::default().parse(&bytes).unwrap().payload.is_empty());
    }

    #[test]
    fn a_pmt_with_descriptors_longer_than_itself_does_not_panic() {
        let mut parser = PacketParser::default();
        // A PAT with its CRC, so that mpeg2ts treats PID 0x100 as a PMT.
        let pat = packet(&[
            0x47, 0x40, 0, 0x10, 0, 0, 0xb0, 0x0d, 0, 1, 0xc1, 0, 0, 0, 1, 0xe1, 0, 0xe8, 0xf9,
            0x5e, 0x7d,
        ]);
        assert!(matches!(
            parser.parse(&pat).unwrap().understood,
            Some(Understood::Table(Table::Pat(_)))
        ));
        let pmt = packet(&[
            0x47, 0x41, 0, 0x10, 0, 2, 0xb0, 0x0d, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf3, 0xff, 0, 0, 0,
            0,
        ]);
        assert!(parser.parse(&pmt).unwrap().understood.is_none());
    }

    #[test]
    fn every_byte_pattern_is_survived_and_the_next_packet_is_in_step() {
        let mut parser = PacketParser::default();
        let mut seed = 1_u32;
        for _ in 0..20_000 {
            let mut bytes = [0x47; TS_PACKET_BYTES];
            for byte in &mut bytes[1..] {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (seed >> 24) as u8;
            }
            let pid = u16::from_be_bytes([bytes[1], bytes[2]]) & 0x1fff;
            if let Some(parsed) = parser.parse(&bytes) {
                assert_eq!(parsed.pid, pid);
            }
        }
    }
}
