//! Program tables: the programs and their streams.
//!
//! Sections are assembled from the payloads of a PID as in FFmpeg's `write_section_data`:
//! after a pointer field, over several packets, or several in one packet. ISO/IEC
//! 13818-1, 2.4.4.

use crate::media::{AudioCodec, VideoCodec};
use crate::ts::{crc32_mpeg2, pid};

/// Maximum size of a section in bytes (2.4.4.11: private sections; FFmpeg's
/// `MAX_SECTION_SIZE`).
const MAX_SECTION_BYTES: usize = 4096;

/// A program association table or a program map table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// The programs and the PIDs of their maps (2.4.4.3).
    Pat(Vec<PatEntry>),
    /// One program's streams (2.4.4.8).
    Pmt(Pmt),
}

/// One entry of a PAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatEntry {
    /// Program number; 0 is the network information, which is not a program.
    pub program: u16,
    /// PID of its PMT.
    pub pmt_pid: u16,
}

/// A program map table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pmt {
    /// Program number.
    pub program: u16,
    /// The program's descriptors, unparsed.
    pub program_descriptors: Vec<u8>,
    /// Elementary streams, in the order of the table.
    pub streams: Vec<PmtStream>,
}

/// One stream of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PmtStream {
    /// Stream type (table 2-34).
    pub stream_type: u8,
    /// PID of the stream.
    pub pid: u16,
    /// Descriptors, unparsed.
    pub descriptors: Vec<u8>,
}

/// Kind and codec of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Video that is decoded.
    Video(VideoCodec),
    /// Video that is not decoded, with FFmpeg's name of its codec.
    OtherVideo(&'static str),
    /// Audio: affects the start of the recording, and its clock affects the clock of video.
    Audio(AudioCodec),
    /// Private data of a kind that the table does not state: it may be audio.
    Private,
    /// Subtitles, tables, data.
    Other,
}

impl Pmt {
    /// Returns the content of `stream`, from its type and, if that is private, its
    /// descriptors. The tables are those of FFmpeg's `mpegts.c` (`ISO_types`,
    /// `HDMV_types`, `MISC_types`, `REGD_types`, `DESC_types`).
    pub fn content(&self, stream: &PmtStream) -> Content {
        let program_tag = registration(&self.program_descriptors);
        match stream.stream_type {
            0x01 | 0x02 => Content::Video(VideoCodec::Mpeg2),
            0x10 => Content::Video(VideoCodec::Mpeg4),
            0x1b | 0x20 => Content::Video(VideoCodec::H264),
            0x24 => Content::Video(VideoCodec::Hevc),
            0x21 => Content::OtherVideo("jpeg2000"),
            0x33 => Content::OtherVideo("vvc"),
            0x42 => Content::OtherVideo("cavs"),
            0xd1 => Content::OtherVideo("dirac"),
            0xd2 => Content::OtherVideo("avs2"),
            0xd4 => Content::OtherVideo("avs3"),
            0xea => Content::OtherVideo("vc1"),
            0x03 | 0x04 => Content::Audio(AudioCodec::Mpeg),
            0x0f => Content::Audio(AudioCodec::Aac),
            0x11 => Content::Audio(AudioCodec::AacLatm),
            0x1c => Content::Audio(AudioCodec::Other),
            0x81 => Content::Audio(AudioCodec::Ac3),
            0x8a => Content::Audio(AudioCodec::Dts),
            0x84 | 0xa1 if program_tag == Some(*b"HDMV") => Content::Audio(AudioCodec::Eac3),
            0x82 | 0x85 | 0x86 | 0xa2 if program_tag == Some(*b"HDMV") => {
                Content::Audio(AudioCodec::Dts)
            }
            0x80 | 0x83 if program_tag == Some(*b"HDMV") => Content::Audio(AudioCodec::Other),
            0x06 => match by_descriptors(&stream.descriptors) {
                Content::Other if !describe_data(&stream.descriptors) => Content::Private,
                content => content,
            },
            _ => by_descriptors(&stream.descriptors),
        }
    }
}

impl PmtStream {
    /// Returns the ISO 639 language code (2.6.18): three letters.
    pub fn language(&self) -> Option<String> {
        let (_, body) = each_descriptor(&self.descriptors).find(|(tag, _)| *tag == 0x0a)?;
        let letters = body.get(..3)?;
        let are_letters = letters.iter().all(u8::is_ascii_alphabetic);
        are_letters.then(|| letters.iter().copied().map(char::from).collect())
    }
}

fn by_descriptors(descriptors: &[u8]) -> Content {
    match registration(descriptors).as_ref() {
        Some(b"HEVC") => return Content::Video(VideoCodec::Hevc),
        Some(b"H264" | b"AVC1") => return Content::Video(VideoCodec::H264),
        Some(b"VC-1") => return Content::OtherVideo("vc1"),
        Some(b"drac") => return Content::OtherVideo("dirac"),
        Some(b"AV01") => return Content::OtherVideo("av1"),
        Some(b"AC-3") => return Content::Audio(AudioCodec::Ac3),
        Some(b"EAC3") => return Content::Audio(AudioCodec::Eac3),
        Some(b"DTS1" | b"DTS2" | b"DTS3") => return Content::Audio(AudioCodec::Dts),
        Some(b"Opus") => return Content::Audio(AudioCodec::Opus),
        Some(b"BSSD" | b"AC-4") => return Content::Audio(AudioCodec::Other),
        _ => {}
    }
    // DVB (EN 300 468, table 12).
    let audio = each_descriptor(descriptors).find_map(|(tag, _)| match tag {
        0x6a => Some(AudioCodec::Ac3),
        0x7a => Some(AudioCodec::Eac3),
        0x7b => Some(AudioCodec::Dts),
        0x7c => Some(AudioCodec::AacLatm),
        _ => None,
    });
    audio.map_or(Content::Other, Content::Audio)
}

/// Returns whether descriptors state that private data is not audio: teletext, subtitles, metadata
/// (EN 300 468, table 12; ISO/IEC 13818-1, 2.6.58). FFmpeg probes the bytes of all other private
/// data.
fn describe_data(descriptors: &[u8]) -> bool {
    const IS_DATA: [u8; 5] = [0x26, 0x45, 0x46, 0x56, 0x59];
    matches!(registration(descriptors).as_ref(), Some(b"KLVA" | b"ID3 " | b"CUEI"))
        || each_descriptor(descriptors).any(|(tag, _)| IS_DATA.contains(&tag))
}

/// Returns the format identifier of the registration descriptor (2.6.8).
fn registration(descriptors: &[u8]) -> Option<[u8; 4]> {
    each_descriptor(descriptors)
        .find(|&(tag, _)| tag == 0x05)
        .and_then(|(_, body)| body.get(..4))
        .and_then(|tag| tag.try_into().ok())
}

fn each_descriptor(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[tag, length], rest) = bytes.split_first_chunk()?;
        let body = rest.get(..usize::from(length))?;
        bytes = &rest[body.len()..];
        Some((tag, body))
    })
}

/// Assembles the sections of one PID.
#[derive(Debug, Default)]
pub struct SectionAssembler {
    buffer: Vec<u8>,
    /// Whether a section has begun, or may begin with the next byte.
    open: bool,
}

impl SectionAssembler {
    /// Discards an incomplete section.
    pub fn reset(&mut self) {
        self.buffer.clear();
        self.open = false;
    }

    /// Pushes a packet's payload and returns the tables that it completes.
    ///
    /// `is_continuous` is false after a gap in the continuity counter: bytes that continue an
    /// earlier section are then dropped.
    pub fn push(&mut self, payload: &[u8], unit_start: bool, is_continuous: bool) -> Vec<Table> {
        let mut tables = Vec::new();
        if !unit_start {
            if is_continuous {
                self.append(payload, &mut tables);
            } else {
                self.reset();
            }
            return tables;
        }
        let Some((&pointer, rest)) = payload.split_first() else { return tables };
        let Some((end, start)) = rest.split_at_checked(usize::from(pointer)) else {
            return tables;
        };
        if !end.is_empty() && is_continuous {
            self.append(end, &mut tables);
        }
        self.buffer.clear();
        self.open = true;
        self.append(start, &mut tables);
        tables
    }

    fn append(&mut self, bytes: &[u8], tables: &mut Vec<Table>) {
        if !self.open {
            return;
        }
        let room = MAX_SECTION_BYTES.saturating_sub(self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let mut from = 0;
        loop {
            let rest = &self.buffer[from..];
            match rest {
                [] => {}
                [0xff, ..] => self.open = false,
                [_, high, low, ..] => {
                    let length = 3 + usize::from(u16::from_be_bytes([*high, *low]) & 0x0fff);
                    if length > MAX_SECTION_BYTES {
                        self.open = false;
                    } else if let Some(section) = rest.get(..length) {
                        tables.extend(parse_section(section));
                        from += length;
                        continue;
                    }
                }
                _ => {}
            }
            break;
        }
        self.buffer.drain(..from);
        if !self.open {
            self.buffer.clear();
        }
    }
}

/// Parses a whole section. Returns `None` if it is not a current PAT or PMT, or is
/// damaged.
fn parse_section(section: &[u8]) -> Option<Table> {
    const SYNTAX_BYTES: usize = 8;
    const CRC_BYTES: usize = 4;
    let &[table_id, _, _, id_high, id_low, version, _, _] = section.first_chunk()?;
    let body = section.get(SYNTAX_BYTES..section.len().checked_sub(CRC_BYTES)?)?;
    let in_force = version & 1 != 0;
    if !in_force || crc32_mpeg2(section) != 0 {
        return None;
    }
    match table_id {
        0 => Some(Table::Pat(
            body.chunks_exact(4)
                .map(|entry| PatEntry {
                    program: u16::from_be_bytes([entry[0], entry[1]]),
                    pmt_pid: pid(entry[2], entry[3]),
                })
                .collect(),
        )),
        2 => parse_pmt(u16::from_be_bytes([id_high, id_low]), body).map(Table::Pmt),
        _ => None,
    }
}

fn parse_pmt(program: u16, body: &[u8]) -> Option<Pmt> {
    let (&[_, _, high, low], rest) = body.split_first_chunk()?;
    let (program_descriptors, mut rest) = split_by_length(rest, high, low)?;
    let mut streams = Vec::new();
    // A truncated stream entry ends the list; the streams before it are used.
    while let Some((&[stream_type, pid_high, pid_low, high, low], tail)) = rest.split_first_chunk()
    {
        let Some((descriptors, next)) = split_by_length(tail, high, low) else { break };
        streams.push(PmtStream {
            stream_type,
            pid: pid(pid_high, pid_low),
            descriptors: descriptors.to_vec(),
        });
        rest = next;
    }
    Some(Pmt { program, program_descriptors: program_descriptors.to_vec(), streams })
}

fn split_by_length(bytes: &[u8], high: u8, low: u8) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(usize::from(u16::from_be_bytes([high, low]) & 0x0fff))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use scenetap_testkit::section;

    use super::*;

    fn pmt_body(streams: usize) -> Vec<u8> {
        let mut body = vec![0xe1, 0, 0xf0, 0];
        for n in 0..streams {
            let [high, low] = (0x0100 + u16::try_from(n).unwrap()).to_be_bytes();
            // HEVC, by a registration descriptor.
            body.extend([0x06, 0xe0 | high, low, 0xf0, 6, 5, 4, b'H', b'E', b'V', b'C']);
        }
        body
    }

    #[test]
    fn a_pat_names_its_programs() {
        let bytes = section(0, 1, 0, &[0, 0, 0xe0, 0x10, 0, 1, 0xe1, 0]);
        let mut payload = vec![0];
        payload.extend(bytes);
        let tables = SectionAssembler::default().push(&payload, true, true);
        assert_eq!(
            tables,
            [Table::Pat(vec![
                PatEntry { program: 0, pmt_pid: 0x10 },
                PatEntry { program: 1, pmt_pid: 0x100 }
            ])]
        );
    }

    #[test]
    fn a_pmt_over_several_packets_behind_the_end_of_another_section_is_found() {
        let mut payloads = vec![3, 1, 2, 3];
        payloads.extend(section(2, 7, 3, &pmt_body(60)));
        let mut assembler = SectionAssembler::default();
        let tables: Vec<_> = payloads
            .chunks(184)
            .enumerate()
            .flat_map(|(n, chunk)| assembler.push(chunk, n == 0, true))
            .collect();
        let [Table::Pmt(pmt)] = &tables[..] else { panic!("one PMT: {tables:?}") };
        assert_eq!((pmt.program, pmt.streams.len()), (7, 60));
        assert_eq!(pmt.content(&pmt.streams[59]), Content::Video(VideoCodec::Hevc));
    }

    #[test]
    fn several_tables_in_a_packet_are_all_found() {
        let mut payload = vec![0];
        payload.extend(section(0, 1, 0, &[0, 1, 0xe1, 0]));
        payload.extend(section(2, 1, 0, &pmt_body(1)));
        payload.resize(184, 0xff);
        assert_eq!(SectionAssembler::default().push(&payload, true, true).len(), 2);
    }

    #[test]
    fn a_table_that_stands_where_none_was_begun_is_not_read() {
        let pat = section(0, 1, 0, &[0, 1, 0xe1, 0]);
        assert!(SectionAssembler::default().push(&pat, false, true).is_empty());
        let pointer = u8::try_from(pat.len()).unwrap();
        let payload = [&[pointer], &pat[..], &pat].concat();
        assert_eq!(SectionAssembler::default().push(&payload, true, true).len(), 1);
    }

    #[test]
    fn a_table_that_fails_its_crc_is_not_believed() {
        let mut payload = vec![0];
        payload.extend(section(0, 1, 0, &[0, 1, 0xe1, 0]));
        payload[10] ^= 1;
        assert!(SectionAssembler::default().push(&payload, true, true).is_empty());
    }

    #[test]
    fn a_lost_packet_in_the_middle_of_a_table_drops_that_table_only() {
        let mut payloads = vec![0];
        payloads.extend(section(2, 7, 3, &pmt_body(60)));
        let mut assembler = SectionAssembler::default();
        assert!(assembler.push(&payloads[..184], true, true).is_empty());
        assert!(assembler.push(&payloads[368..552], false, false).is_empty());
        let whole: Vec<_> = payloads
            .chunks(184)
            .enumerate()
            .flat_map(|(n, chunk)| assembler.push(chunk, n == 0, true))
            .collect();
        assert_eq!(whole.len(), 1);
    }
}
