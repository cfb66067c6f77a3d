//! PES packets of one PID: beginning, times and data.
//!
//! The state machine follows FFmpeg's `mpegts_push_data`: a header may span several
//! transport packets, a length is trusted until the data contradicts it, and bytes after
//! a complete packet are skipped.

use super::packet::{Packet, PesHeader, Understood};
use crate::media::Ticks;

/// Bytes of a PES packet up to and including `PES_header_data_length`.
const FIXED_HEADER_BYTES: usize = 9;

/// A PES packet without a length is passed on in pieces of this size (FFmpeg's
/// `MAX_PACKET_READAHEAD`, `max_packet_size`).
const MAX_PES_BYTES: usize = 204_800;

/// A part of a PES packet, from one transport packet.
#[derive(Debug, PartialEq, Eq)]
pub enum PesPart<'a> {
    /// A PES packet begins.
    Start(PesHeader),
    /// The next bytes of the elementary stream.
    Data(&'a [u8]),
    /// The PES packet has reached its stated length, before the next one begins.
    End,
}

/// Parses the PES packets of one PID.
#[derive(Debug, Default)]
pub struct PesParser {
    state: ParserState,
}

#[derive(Debug, Default)]
enum ParserState {
    /// Skips everything until the next start.
    #[default]
    Skip,
    /// In a header that `mpeg2ts` rejected.
    Header(Vec<u8>),
    /// After the header: bytes received, and bytes stated by the packet.
    Payload { taken: usize, expected: Option<usize> },
}

impl PesParser {
    /// Returns a parser in the middle of a PES packet of unknown length.
    pub fn in_payload() -> Self {
        PesParser { state: ParserState::Payload { taken: 0, expected: None } }
    }

    /// Pushes one packet of the PID; passes its parts to `sink` in order.
    pub fn push<'a>(&mut self, packet: &Packet<'a>, mut sink: impl FnMut(PesPart<'a>)) {
        // FFmpeg returns at most one PES packet per transport packet: if this packet has ended an
        // open PES packet, the end of its own is not detected.
        let ends_another =
            packet.unit_start && matches!(self.state, ParserState::Payload { taken: 1.., .. });
        if let Some(Understood::PesStart(header, data)) = &packet.understood {
            self.start(*header, &mut sink);
            self.payload(data, ends_another, &mut sink);
            return;
        }
        if packet.unit_start {
            self.state = ParserState::Header(Vec::new());
        }
        match &mut self.state {
            ParserState::Skip => {}
            ParserState::Payload { .. } => self.payload(packet.payload, ends_another, &mut sink),
            ParserState::Header(bytes) => {
                let before = bytes.len();
                bytes.extend_from_slice(packet.payload);
                match parse_header(bytes) {
                    ParsedHeader::Incomplete => {}
                    ParsedHeader::None => self.state = ParserState::Skip,
                    ParsedHeader::Whole(header, header_bytes) => {
                        let data = packet.payload.get(header_bytes - before..).unwrap_or(&[]);
                        self.start(header, &mut sink);
                        self.payload(data, ends_another, &mut sink);
                    }
                }
            }
        }
    }

    fn start<'a>(&mut self, header: PesHeader, sink: &mut impl FnMut(PesPart<'a>)) {
        if header.stream_id == PADDING_STREAM {
            self.state = ParserState::Skip;
            return;
        }
        self.state = ParserState::Payload { taken: 0, expected: header.es_bytes };
        sink(PesPart::Start(header));
    }

    fn payload<'a>(
        &mut self,
        mut data: &'a [u8],
        ends_another: bool,
        sink: &mut impl FnMut(PesPart<'a>),
    ) {
        let ParserState::Payload { taken, expected } = &mut self.state else { return };
        if data.is_empty() {
            return;
        }
        let max_bytes = expected.unwrap_or(MAX_PES_BYTES);
        if *taken == 0 && expected.is_some() {
            data = &data[..data.len().min(max_bytes)];
        } else if *taken > 0 && *taken + data.len() > max_bytes {
            // The PES packet is longer than stated, or than the maximum: the rest is a PES packet
            // without times.
            (*taken, *expected) = (0, None);
            sink(PesPart::Start(PesHeader::default()));
        }
        *taken += data.len();
        let whole = Some(*taken) == *expected && !ends_another;
        sink(PesPart::Data(data));
        if whole {
            self.state = ParserState::Skip;
            sink(PesPart::End);
        }
    }
}

const PADDING_STREAM: u8 = 0xbe;

enum ParsedHeader {
    /// More bytes are needed.
    Incomplete,
    /// Not a PES packet.
    None,
    /// The header and its size in bytes.
    Whole(PesHeader, usize),
}

fn parse_header(bytes: &[u8]) -> ParsedHeader {
    let Some(&[zero0, zero1, one, stream_id, length_high, length_low]) = bytes.first_chunk() else {
        return ParsedHeader::Incomplete;
    };
    if [zero0, zero1, one] != [0, 0, 1] {
        return ParsedHeader::None;
    }
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    // Streams without the optional header (table 2-21).
    if matches!(stream_id, 0xbc | 0xbf | 0xf0..=0xf2 | 0xf8 | 0xff) {
        let es_bytes = PesHeader::es_bytes(length, PesHeader::START_BYTES);
        let header = PesHeader { stream_id, es_bytes, ..PesHeader::default() };
        return ParsedHeader::Whole(header, PesHeader::START_BYTES);
    }
    let Some(&fixed) = bytes.first_chunk::<FIXED_HEADER_BYTES>() else {
        return ParsedHeader::Incomplete;
    };
    let header_bytes = FIXED_HEADER_BYTES + usize::from(fixed[8]);
    let Some(fields) = bytes.get(FIXED_HEADER_BYTES..header_bytes) else {
        return ParsedHeader::Incomplete;
    };
    let pts = if fixed[7] & 0x80 != 0 { timestamp(fields) } else { None };
    let dts = match fixed[7] & 0xc0 {
        0xc0 => fields.get(5..).and_then(timestamp),
        _ => pts,
    };
    let es_bytes = PesHeader::es_bytes(length, header_bytes);
    ParsedHeader::Whole(PesHeader { stream_id, pts, dts, es_bytes }, header_bytes)
}

/// Returns the decoding time of the PES packet that begins in a payload. Returns `None` if its
/// header has none, or continues after this payload.
pub fn decoding_time(payload: &[u8]) -> Option<Ticks> {
    match parse_header(payload) {
        ParsedHeader::Whole(header, _) => header.dts,
        ParsedHeader::Incomplete | ParsedHeader::None => None,
    }
}

/// Parses 33 bits in five bytes, without checking the marker bits (FFmpeg's
/// `ff_parse_pes_pts`).
fn timestamp(bytes: &[u8]) -> Option<Ticks> {
    let &[a, b, c, d, e] = bytes.first_chunk()?;
    let high = i64::from(a & 0x0e) << 29;
    let middle = i64::from(u16::from_be_bytes([b, c]) >> 1) << 15;
    let low = i64::from(u16::from_be_bytes([d, e]) >> 1);
    Some(Ticks(high | middle | low))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn raw(payload: &[u8], unit_start: bool) -> Packet<'_> {
        Packet {
            pid: 256,
            unit_start,
            transport_error: false,
            scrambled: false,
            continuity_counter: 0,
            discontinuity: false,
            has_payload: true,
            payload,
            understood: None,
        }
    }

    /// Returns a PES packet with PTS 8,589,934,591 (all ones) and DTS 1, then an
    /// extension and stuffing.
    fn pes(length: u16) -> Vec<u8> {
        let mut bytes = vec![0, 0, 1, 0xe0];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0x80, 0xc1, 13]);
        bytes.extend([0x3f, 0xff, 0xff, 0xff, 0xff]);
        bytes.extend([0x11, 0, 1, 0, 3]);
        bytes.extend([0x0e, 0xff, 0xff]);
        bytes
    }

    fn parts(packets: &[(&[u8], bool)]) -> (Vec<PesHeader>, Vec<u8>) {
        let (mut headers, mut data) = (Vec::new(), Vec::new());
        let mut parser = PesParser::default();
        for (payload, start) in packets {
            parser.push(&raw(payload, *start), |part| match part {
                PesPart::Start(header) => headers.push(header),
                PesPart::Data(bytes) => data.extend_from_slice(bytes),
                PesPart::End => {}
            });
        }
        (headers, data)
    }

    #[test]
    fn a_header_with_optional_fields_torn_at_any_byte_reads_the_same() {
        let mut bytes = pes(0);
        bytes.extend([1, 2, 3, 4]);
        for split in 1..bytes.len() {
            let (headers, data) = parts(&[(&bytes[..split], true), (&bytes[split..], false)]);
            assert_eq!(headers.len(), 1, "split at {split}");
            assert_eq!(headers[0].pts, Some(Ticks((1 << 33) - 1)));
            assert_eq!(headers[0].dts, Some(Ticks(1)));
            assert_eq!(data, [1, 2, 3, 4], "split at {split}");
        }
    }

    #[test]
    fn bytes_behind_a_stated_length_are_passed_over() {
        let mut bytes = pes(16 + 4);
        bytes.extend([1, 2, 3, 4, 0xff, 0xff]);
        let (headers, data) = parts(&[(&bytes, true), (&[9, 9], false)]);
        assert_eq!((headers[0].es_bytes, data), (Some(4), vec![1, 2, 3, 4]));
    }

    #[test]
    fn a_packet_longer_than_it_says_loses_nothing() {
        let mut bytes = pes(16 + 4);
        bytes.extend([1, 2]);
        let (headers, data) = parts(&[(&bytes, true), (&[3, 4, 5], false), (&[6], false)]);
        assert_eq!(data, [1, 2, 3, 4, 5, 6]);
        assert_eq!(headers.len(), 2, "the rest is a packet without times");
    }

    #[test]
    fn what_begins_with_no_start_code_is_no_pes_packet() {
        let (headers, data) = parts(&[(&[0, 2, 0xb0, 9, 9, 9, 9], true), (&[1, 2], false)]);
        assert!(headers.is_empty() && data.is_empty());
    }

    /// Returns the indices of the packets with a header and of those with an end.
    fn starts_and_ends(packets: &[&[u8]]) -> (Vec<usize>, Vec<usize>) {
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        let mut parser = PesParser::default();
        for (index, payload) in packets.iter().enumerate() {
            parser.push(&raw(payload, true), |part| match part {
                PesPart::Start(_) => starts.push(index),
                PesPart::Data(_) => {}
                PesPart::End => ends.push(index),
            });
        }
        (starts, ends)
    }

    #[test]
    fn a_packet_that_ends_another_does_not_end_its_own() {
        let (empty, mut open, mut whole) = (pes(0), pes(0), pes(16 + 4));
        open.extend([1, 2, 3, 4]);
        whole.extend([5, 6, 7, 8]);
        assert_eq!(starts_and_ends(&[&whole, &whole]), (vec![0, 1], vec![0, 1]));
        assert_eq!(starts_and_ends(&[&open, &whole, &whole]), (vec![0, 1, 2], vec![]));
        assert_eq!(starts_and_ends(&[&open, &empty, &whole]), (vec![0, 1, 2], vec![2]));
    }
}
