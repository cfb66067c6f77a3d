//! Writes and changes MPEG-TS packets in ways that no available muxer does.

use scenetap::ts::{PacketSize, TS_PACKET_BYTES};
use scenetap_testkit::{Mux, Stream};

/// PID of the video in [`tables`]; the same as that of ffmpeg's muxer.
pub const VIDEO_PID: u16 = 0x100;
const PMT_PID: u16 = 0x1000;

/// Writes the tables of a program with one stream.
pub fn tables(mux: &mut Mux, stream_type: u8, descriptors: &[u8]) {
    mux.pat(&[(1, PMT_PID)]);
    let video = Stream { kind: stream_type, pid: VIDEO_PID, descriptors };
    mux.pmt(PMT_PID, 1, 0, &[video]);
}

/// Returns a stream in packets of `size`. Arrival timestamps increase, except for their last byte,
/// which is `added`, like every byte of the parity.
pub fn framed(stream: &[u8], size: PacketSize, added: u8) -> Vec<u8> {
    let mut framed = Vec::with_capacity(stream.len() * size.bytes() / TS_PACKET_BYTES);
    for (n, packet) in stream.chunks_exact(TS_PACKET_BYTES).enumerate() {
        let time = ((n as u32 * 0x1234) & 0x3fff_ff00 | u32::from(added)).to_be_bytes();
        framed.extend(&time[..size.leading_bytes()]);
        framed.extend(packet);
        framed.extend(std::iter::repeat_n(added, size.trailing_bytes()));
    }
    framed
}

/// Change of the header of a PES packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// Keep it.
    Kept,
    /// Remove PTS and DTS.
    Timeless,
    /// Remove the DTS.
    PtsAlone,
    /// Remove the header: the data continues the previous PES packet.
    Gone,
}

/// Changes the headers of the video PES packets, which are counted from 0. The video bytes stay in
/// place.
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
                // The removed bytes become stuffing of the adaptation field.
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
