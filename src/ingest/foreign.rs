//! Identifies data that is not MPEG-TS, and suggests a solution.

use std::fmt;

use crate::ts::{SYNC_BYTE, TS_PACKET_BYTES};

/// A kind of data that a sender may send by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    name: &'static str,
    remedy: &'static str,
    /// Certainty of the identification.
    pub certainty: Certainty,
}

/// Certainty that no packets will follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// A protocol whose client waits for an answer, or wraps its data.
    Protocol,
    /// A complete handshake, whose client waits for an answer.
    Handshake,
    /// A signature with which hardly any other data begins.
    Signature,
    /// Bytes that may also be the end of a packet, if a sender begins in the middle of one.
    Hint,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.certainty {
            // The missing option is known.
            Certainty::Handshake if *self == TLS => {
                write!(f, "it uses {}, and {}", self.name, self.remedy)
            }
            _ => write!(f, "it looks like {}; {}", self.name, self.remedy),
        }
    }
}

const REMUX: &str = "mux it: ffmpeg -i INPUT -c copy -f mpegts tcp://HOST:PORT";
const REMUX_RAW: &str = "mux it: ffmpeg -i INPUT -c copy -f mpegts tcp://HOST:PORT, or \
                         rpicam-vid --codec libav --libav-format mpegts";

const fn protocol(name: &'static str, remedy: &'static str) -> Foreign {
    Foreign { name, remedy, certainty: Certainty::Protocol }
}

const fn container(name: &'static str) -> Foreign {
    Foreign { name, remedy: REMUX, certainty: Certainty::Signature }
}

const fn hint(name: &'static str, remedy: &'static str) -> Foreign {
    Foreign { name, remedy, certainty: Certainty::Hint }
}

const TLS: Foreign =
    Foreign { name: "TLS", remedy: "--tls-cert is not set", certainty: Certainty::Handshake };
const HTTP: Foreign = protocol("HTTP", "send to tcp://HOST:PORT instead of http://");
const RTSP: Foreign =
    protocol("RTSP", "pull it with ffmpeg -i rtsp://… -c copy -f mpegts tcp://HOST:PORT");
const RTMP: Foreign = Foreign {
    name: "RTMP",
    remedy: "send MPEG-TS to tcp://HOST:PORT, as docs/SENDERS.md shows",
    certainty: Certainty::Handshake,
};
const SSH: Foreign = protocol("SSH", "this port takes MPEG-TS only");
/// RTP, alone or around packets.
pub const RTP: Foreign = hint("RTP", "send MPEG-TS without RTP: -f mpegts tcp://HOST:PORT");

/// Bytes of C0 and C1 in an RTMP handshake.
const RTMP_BYTES: usize = 1 + 1536;

/// Identifies data by the first bytes of a connection. `None` if it is unknown.
pub fn recognise(bytes: &[u8]) -> Option<Foreign> {
    if let Some(foreign) = request(bytes) {
        return Some(foreign);
    }
    Some(match bytes {
        // A complete record of any version with a ClientHello (RFC 8446 5.1, 4).
        [22, 3, 0..=4, high, low, 1, rest @ ..]
            if rest.len() + 1 >= usize::from(u16::from_be_bytes([*high, *low])) =>
        {
            TLS
        }
        [b'S', b'S', b'H', b'-', ..] => SSH,
        // C0 and C1, after which the client waits: version 3, a time, and the version of the client,
        // or zeros.
        [3, 0, 0, 0, 0, ..] | [3, _, _, _, _, 0, 0, 0, 0, ..] if bytes.len() >= RTMP_BYTES => RTMP,
        [b'F', b'L', b'V', 1, ..] => container("FLV"),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => container("Matroska"),
        [_, _, _, _, b'f' | b's', b't', b'y', b'p', ..]
        | [_, _, _, _, b'm', b'o', b'o', b'v' | b'f', ..]
        | [_, _, _, _, b'm', b'd', b'a', b't', ..]
        | [_, _, _, _, b's', b'i', b'd', b'x', ..] => container("MP4"),
        [b'O', b'g', b'g', b'S', ..] => container("Ogg"),
        [b'R', b'I', b'F', b'F', ..] => container("AVI or WAV"),
        [b'n', b'u', b't', b'/', ..] => container("NUT"),
        [0xff, 0xd8, 0xff, ..] => hint("JPEG", REMUX_RAW),
        [0, 0, 1, rest @ ..] | [0, 0, 0, 1, rest @ ..] => return start_code(rest),
        _ if is_rtp(bytes) => RTP,
        // Interleaved in an RTSP connection (RFC 2326, 10.12), or after a length (RFC 4571).
        [b'$', 0..=3, _, _, rtp @ ..] if is_rtp(rtp) => RTP,
        [_, _, rtp @ ..] if is_rtp(rtp) => RTP,
        _ => return None,
    })
}

/// Identifies data by its start code (ISO/IEC 13818-1, table 2-22; 13818-2, table 6-1; ITU-T H.264
/// and H.265, 7.3.1).
fn start_code(rest: &[u8]) -> Option<Foreign> {
    Some(match rest {
        [0xba, ..] => hint("MPEG-PS", REMUX),
        [0xbd | 0xc0..=0xef, ..] => hint("PES packets that are in no transport packets", REMUX),
        [0xb3, ..] => hint("raw MPEG-1 or MPEG-2 video", REMUX_RAW),
        [0xb0, ..] => hint("raw MPEG-4 video", REMUX_RAW),
        // Parameter sets, access unit delimiter, SEI, and random access pictures.
        [0x26 | 0x28 | 0x2a | 0x40 | 0x42 | 0x44 | 0x46 | 0x4e, 1, ..] => {
            hint("raw HEVC video", REMUX_RAW)
        }
        [header, ..] if header & 0x80 == 0 && matches!(header & 0x1f, 1 | 5..=9) => {
            hint("raw H.264 video", REMUX_RAW)
        }
        _ => return None,
    })
}

/// Returns HTTP or RTSP if the bytes begin with a request or a response.
fn request(bytes: &[u8]) -> Option<Foreign> {
    const LONGEST_METHOD: usize = 16;
    if bytes.starts_with(b"HTTP/1.") || bytes.starts_with(b"PRI * HTTP/2") {
        return Some(HTTP);
    }
    if bytes.starts_with(b"RTSP/1.") {
        return Some(RTSP);
    }
    let end = bytes.iter().take(LONGEST_METHOD).position(|byte| *byte == b' ')?;
    let (method, rest) = (&bytes[..end], &bytes[end + 1..]);
    if method.is_empty() || !method.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_') {
        return None;
    }
    let line = rest.split(|byte| *byte == b'\r').next()?;
    let is_in = |protocol: &[u8]| memchr::memmem::find(line, protocol).is_some();
    match (is_in(b" RTSP/"), is_in(b" HTTP/")) {
        (true, _) => Some(RTSP),
        (_, true) => Some(HTTP),
        _ => None,
    }
}

/// Returns whether the bytes begin with an RTP header: version 2 without contributing sources, and a
/// payload type of MPEG or a dynamic one (RFC 3550, 5.1; RFC 3551, 6).
fn is_rtp(bytes: &[u8]) -> bool {
    let [0x80 | 0x90, kind, _, _, _, _, _, _, _, _, _, _, ..] = bytes else { return false };
    matches!(kind & 0x7f, 14 | 26 | 32 | 33 | 96..=127)
}

/// Returns whether packets are wrapped in RTP (RFC 2250): some packets follow a header of 12 bytes,
/// and then comes the next header. Each header may be preceded by its length (RFC 4571), or by a
/// length and a channel (RFC 2326, 10.12). `None` if more bytes are needed.
pub fn wraps_packets_in_rtp(bytes: &[u8]) -> Option<bool> {
    const HEADER_BYTES: usize = 12;
    /// Number of packets that fit into a frame of 9,000 bytes.
    const MAX_PACKETS: usize = 47;
    let header_at = |bytes: &[u8], framing: usize| bytes.get(framing..).is_some_and(is_rtp);
    let Some(framing) = [0, 2, 4].into_iter().find(|framing| header_at(bytes, *framing)) else {
        return Some(false);
    };
    let wrapped = &bytes[framing + HEADER_BYTES..];
    let begins = |packet: &&[u8]| packet.first() == Some(&SYNC_BYTE);
    let packets = wrapped.chunks(TS_PACKET_BYTES).take_while(begins).count();
    match wrapped.get(packets * TS_PACKET_BYTES..) {
        _ if packets == 0 || packets > MAX_PACKETS => Some(false),
        Some(next) if next.len() >= framing + HEADER_BYTES => Some(header_at(next, framing)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> &'static str {
        recognise(bytes).map_or("", |foreign| foreign.name)
    }

    #[test]
    fn protocols_are_named_by_their_first_bytes() {
        assert_eq!(name(b"GET / HTTP/1.1\r\nHost: G\r\n"), "HTTP");
        assert_eq!(name(b"POST /live HTTP/1.1\r\n"), "HTTP");
        assert_eq!(name(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "HTTP");
        assert_eq!(name(b"OPTIONS rtsp://h:4444/x RTSP/1.0\r\nCSeq: 1\r\n"), "RTSP");
        assert_eq!(name(b"OPTIONS * RTSP/1.0\r\n"), "RTSP");
        assert_eq!(name(b"SSH-2.0-OpenSSH_9\r\n"), "SSH");
        for head in [&[3, 0, 1, 2, 3, 0, 0, 0, 0][..], &[3, 0, 0, 0, 0, 9, 0, 124, 2]] {
            let mut handshake = head.to_vec();
            assert_eq!(name(&handshake), "", "the client may go on");
            handshake.resize(RTMP_BYTES, 7);
            assert_eq!(name(&handshake), "RTMP");
        }
        assert_eq!(name(&[22, 3, 1, 0, 4, 1, 0, 1, 0xfc]), "TLS");
        assert_eq!(name(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc]), "", "the record is longer");
        let rtp = [0x80, 0xe0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 0x65];
        assert_eq!(name(&rtp), "RTP");
        assert_eq!(name(&[&[b'$', 0, 0, 13][..], &rtp].concat()), "RTP");
        assert_eq!(name(&[&[0, 13][..], &rtp].concat()), "RTP");
    }

    #[test]
    fn containers_and_raw_video_are_named_by_their_first_bytes() {
        assert_eq!(name(b"FLV\x01\x05\0\0\0\x09"), "FLV");
        assert_eq!(name(&[0x1a, 0x45, 0xdf, 0xa3, 1, 0, 0, 0]), "Matroska");
        for kind in [b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"sidx"] {
            assert_eq!(name(&[&[0, 0, 0, 24][..], kind, b"isom"].concat()), "MP4");
        }
        assert_eq!(name(b"OggS\0\x02"), "Ogg");
        assert_eq!(name(b"RIFF\0\0\0\0AVI LIST"), "AVI or WAV");
        assert_eq!(name(b"nut/multimedia container\0"), "NUT");
        assert_eq!(name(&[0, 0, 1, 0xba, 0x44]), "MPEG-PS");
        assert_eq!(name(&[0, 0, 1, 0xe0, 0, 0]), "PES packets that are in no transport packets");
        assert_eq!(name(&[0, 0, 1, 0xb3, 0x2d]), "raw MPEG-1 or MPEG-2 video");
        for header in [0x67, 0x27, 0x09, 0x06, 0x65, 0x41] {
            assert_eq!(name(&[0, 0, 0, 1, header, 0x64]), "raw H.264 video");
        }
        for header in [0x40, 0x42, 0x46, 0x4e, 0x26] {
            assert_eq!(name(&[0, 0, 0, 1, header, 1, 0x0c]), "raw HEVC video");
        }
        assert_eq!(name(b"GRAB it"), "");
        assert_eq!(name(&[SYNC_BYTE, 0x40, 0, 0x10]), "");
        assert_eq!(name(&[]), "");
    }

    #[test]
    fn packets_in_rtp_are_told_from_packets_behind_garbage() {
        let header = [0x80, 33, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4];
        let packet = [&[SYNC_BYTE][..], &[0; TS_PACKET_BYTES - 1]].concat();
        let wrapped = [&header[..], &packet.repeat(7)].concat();
        assert_eq!(wraps_packets_in_rtp(&wrapped), None);
        assert_eq!(wraps_packets_in_rtp(&wrapped.repeat(2)), Some(true));
        for framing in [&[5, 0x34][..], &[b'$', 0, 5, 0x34]] {
            let framed = [framing, &wrapped].concat();
            assert_eq!(wraps_packets_in_rtp(&framed.repeat(2)), Some(true));
        }
        assert_eq!(wraps_packets_in_rtp(&[&header[..], &packet.repeat(48)].concat()), Some(false));
        assert_eq!(wraps_packets_in_rtp(&packet.repeat(2)), Some(false));
        let other = [&wrapped[..], &[1; 20]].concat();
        assert_eq!(wraps_packets_in_rtp(&other), Some(false));
    }
}
