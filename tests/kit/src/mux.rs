//! Muxes packets and tables for streams that no real muxer writes (ISO/IEC 13818-1).

use std::collections::HashMap;

/// Bytes in a transport packet.
pub const PACKET_BYTES: usize = 188;

/// Number of payload bytes in a packet without an adaptation field.
const PAYLOAD_BYTES: usize = PACKET_BYTES - 4;

/// Returns the CRC-32/MPEG-2 (ISO/IEC 13818-1, annex A) of `bytes`. A test in `demux/psi.rs`
/// compares it with the published check value.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_MPEG_2).checksum(bytes)
}

/// Returns a whole section, from its table id to its CRC. `id` is the transport stream id in a
/// PAT and the program number in a PMT; `version` has 5 bits.
pub fn section(table_id: u8, id: u16, version: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 9).expect("a section has at most 4093 bytes") | 0xb000;
    let mut bytes = vec![table_id];
    bytes.extend(length.to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend([0xc1 | (version << 1), 0, 0]);
    bytes.extend(body);
    bytes.extend(crc32(&bytes).to_be_bytes());
    bytes
}

/// An elementary stream in a PMT.
#[derive(Debug, Clone, Copy)]
pub struct Stream<'a> {
    /// `stream_type` (table 2-34).
    pub kind: u8,
    /// PID of its packets.
    pub pid: u16,
    /// Descriptors, each with its tag and length.
    pub descriptors: &'a [u8],
}

impl Stream<'_> {
    /// Returns a stream without descriptors.
    pub fn plain(kind: u8, pid: u16) -> Self {
        Stream { kind, pid, descriptors: &[] }
    }
}

/// Writes packets and counts continuity for each PID.
#[derive(Debug, Default, Clone)]
pub struct Mux {
    /// The stream so far.
    pub bytes: Vec<u8>,
    counters: HashMap<u16, u8>,
}

impl Mux {
    /// Writes a PAT of these programs, each with the PID of its PMT.
    pub fn pat(&mut self, programs: &[(u16, u16)]) {
        let entry = |(program, pid): &(u16, u16)| [program.to_be_bytes(), reserved(*pid)].concat();
        let body: Vec<u8> = programs.iter().flat_map(entry).collect();
        self.section(0, &section(0, 1, 0, &body));
    }

    /// Writes a PMT on `pid`; the PCR PID is that of the first stream.
    pub fn pmt(&mut self, pid: u16, program: u16, version: u8, streams: &[Stream]) {
        let mut body = reserved(streams.first().map_or(0x1fff, |stream| stream.pid)).to_vec();
        body.extend([0xf0, 0]);
        for Stream { kind, pid, descriptors } in streams {
            body.push(*kind);
            body.extend(reserved(*pid));
            let length = u16::try_from(descriptors.len()).expect("few descriptors");
            body.extend((length | 0xf000).to_be_bytes());
            body.extend(*descriptors);
        }
        self.section(pid, &section(2, program, version, &body));
    }

    /// Writes a section, split into packets; the last one is padded with 0xff.
    pub fn section(&mut self, pid: u16, section: &[u8]) {
        let mut bytes = [&[0], section].concat();
        bytes.resize(bytes.len().next_multiple_of(PAYLOAD_BYTES), 0xff);
        self.payload(pid, &bytes);
    }

    /// Writes a PES packet of unbounded length, split into packets. `pts` is in 90 kHz ticks
    /// and has 33 bits.
    pub fn pes(&mut self, pid: u16, stream_id: u8, pts: u64, data: &[u8]) {
        let mut bytes = vec![0, 0, 1, stream_id, 0, 0, 0x80, 0x80, 5];
        bytes.extend(stamp(0x2, pts));
        bytes.extend(data);
        self.payload(pid, &bytes);
    }

    /// Writes a payload that starts in a new packet, split into packets.
    pub fn payload(&mut self, pid: u16, payload: &[u8]) {
        for (index, piece) in payload.chunks(PAYLOAD_BYTES).enumerate() {
            self.packet(pid, index == 0, piece);
        }
    }

    /// Writes one packet of at most 184 bytes of payload, padded by an adaptation field.
    /// `start` is `payload_unit_start_indicator`.
    pub fn packet(&mut self, pid: u16, start: bool, payload: &[u8]) {
        let counter = self.counters.entry(pid).or_default();
        let [high, low] = (pid | if start { 0x4000 } else { 0 }).to_be_bytes();
        let stuffing = PAYLOAD_BYTES - payload.len();
        let field = if stuffing > 0 { 0x30 } else { 0x10 };
        self.bytes.extend([0x47, high, low, *counter | field]);
        *counter = (*counter + 1) & 0x0f;
        if stuffing > 0 {
            self.bytes.push(u8::try_from(stuffing - 1).expect("below 184"));
            self.bytes.extend((1..stuffing).map(|n| if n == 1 { 0 } else { 0xff }));
        }
        self.bytes.extend(payload);
    }

    /// Advances the continuity counter of `pid` as if `count` packets had been lost.
    pub fn skip_packets(&mut self, pid: u16, count: u8) {
        let counter = self.counters.entry(pid).or_default();
        *counter = (*counter + count) & 0x0f;
    }
}

/// Returns a PID after three reserved bits, which are 1.
fn reserved(pid: u16) -> [u8; 2] {
    (pid | 0xe000).to_be_bytes()
}

/// Returns a 33-bit time in a PES header, after the four bits that distinguish PTS from DTS
/// (2.4.3.7).
pub(crate) fn stamp(kind: u8, ticks: u64) -> [u8; 5] {
    [
        kind << 4 | ((ticks >> 30) as u8 & 7) << 1 | 1,
        (ticks >> 22) as u8,
        ((ticks >> 15) as u8) << 1 | 1,
        (ticks >> 7) as u8,
        (ticks as u8) << 1 | 1,
    ]
}
