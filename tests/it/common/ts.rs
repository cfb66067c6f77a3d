//! MPEG-TS packets written and changed by hand: what no muxer at hand makes.

use std::collections::HashMap;

/// Where [`Mux`] puts the video; so does ffmpeg's muxer.
pub const VIDEO_PID: u16 = 0x100;
const PMT_PID: u16 = 0x1000;

/// Writes packets with their continuity counters.
#[derive(Default)]
pub struct Mux {
    pub bytes: Vec<u8>,
    counters: HashMap<u16, u8>,
}

impl Mux {
    /// A program of one stream.
    pub fn tables(&mut self, stream_type: u8, descriptors: &[u8]) {
        let [pmt_high, pmt_low] = (PMT_PID | 0xe000).to_be_bytes();
        self.section(0, 0, &[0, 1, pmt_high, pmt_low]);
        let [high, low] = (VIDEO_PID | 0xe000).to_be_bytes();
        let length = u8::try_from(descriptors.len()).unwrap();
        let stream = [high, low, 0xf0, 0, stream_type, high, low, 0xf0, length];
        self.section(PMT_PID, 2, &[&stream[..], descriptors].concat());
    }

    /// A PES packet without a length, over as many packets as it takes.
    pub fn pes(&mut self, stream_id: u8, pts: u64, data: &[u8]) {
        let low = |shift: u32, mask: u64| u8::try_from((pts >> shift) & mask).unwrap();
        let mut bytes = vec![0, 0, 1, stream_id, 0, 0, 0x80, 0x80, 5];
        bytes.extend([low(29, 0x0e) | 0x21, low(22, 0xff), low(14, 0xfe) | 1]);
        bytes.extend([low(7, 0xff), (low(0, 0x7f) << 1) | 1]);
        bytes.extend(data);
        for (index, piece) in bytes.chunks(184).enumerate() {
            self.packet(VIDEO_PID, index == 0, piece);
        }
    }

    fn section(&mut self, pid: u16, table_id: u8, body: &[u8]) {
        let mut bytes = vec![0, table_id];
        bytes.extend((u16::try_from(body.len() + 9).unwrap() | 0xb000).to_be_bytes());
        bytes.extend([0, 1, 0xc1, 0, 0]);
        bytes.extend(body);
        bytes.extend(crc(&bytes[1..]).to_be_bytes());
        bytes.resize(184, 0xff);
        self.packet(pid, true, &bytes);
    }

    fn packet(&mut self, pid: u16, start: bool, payload: &[u8]) {
        let counter = self.counters.entry(pid).or_default();
        let [high, low] = (pid | if start { 0x4000 } else { 0 }).to_be_bytes();
        let stuffing = 184 - payload.len();
        let field = if stuffing > 0 { 0x30 } else { 0x10 };
        self.bytes.extend([0x47, high, low, *counter | field]);
        *counter = (*counter + 1) & 0x0f;
        if stuffing > 0 {
            self.bytes.push(u8::try_from(stuffing - 1).unwrap());
            self.bytes.extend((1..stuffing).map(|n| if n == 1 { 0 } else { 0xff }));
        }
        self.bytes.extend(payload);
    }
}

/// CRC-32/MPEG-2.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 24), |crc, _| {
            (crc << 1) ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

/// What becomes of a PES packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// As it is.
    Kept,
    /// It has neither PTS nor DTS.
    Timeless,
    /// It has a PTS and no DTS.
    PtsAlone,
    /// There is none: the data go on with the PES packet before.
    Gone,
}

/// The stream with other headers in front of its video PES packets, which are counted
/// from 0. No byte of the video moves.
pub fn with_headers(stream: &[u8], header: impl Fn(usize) -> Header) -> Vec<u8> {
    let mut count = 0;
    let mut stream = stream.to_vec();
    for packet in stream.chunks_exact_mut(188) {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        if pid != VIDEO_PID || packet[1] & 0x40 == 0 {
            continue;
        }
        let has_field = packet[3] & 0x20 != 0;
        let payload = if has_field { 5 + usize::from(packet[4]) } else { 4 };
        let header_bytes = 9 + usize::from(packet[payload + 8]);
        let pes = &mut packet[payload..payload + header_bytes];
        match header(count) {
            Header::Kept => {}
            Header::Timeless => {
                pes[7] &= 0x3f;
                pes[9..].fill(0xff);
            }
            Header::PtsAlone => {
                pes[7] &= 0xbf;
                pes[9] = 0x20 | (pes[9] & 0x0f);
                pes[14..].fill(0xff);
            }
            Header::Gone => {
                // What it took stuffs the adaptation field.
                pes.fill(0xff);
                packet[1] &= !0x40;
                packet[3] |= 0x20;
                packet[4] = u8::try_from(payload + header_bytes - 5).unwrap();
                if !has_field || payload == 5 {
                    packet[5] = 0;
                }
            }
        }
        count += 1;
    }
    stream
}
