//! Lists programs, streams, codecs and PIDs of a stream.

use super::packet::PacketParser;
use super::program::{self, Program, ProgramChoice};
use super::psi::Content;
use super::tables::TableReader;
use crate::ts::{TS_PACKET_BYTES, TsPacket};

/// A program in the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedProgram {
    /// Program number; 0 if it was guessed.
    pub number: u16,
    /// PID of its PMT; 0 if it was guessed.
    pub pmt_pid: u16,
    /// Elementary streams, in the order of the table.
    pub streams: Vec<ListedStream>,
}

/// One stream of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedStream {
    /// PID of the stream.
    pub pid: u16,
    /// Stream type (ISO/IEC 13818-1, table 2-34); `None` if it was guessed.
    pub stream_type: Option<u8>,
    /// Kind and codec of the stream.
    pub content: Content,
    /// ISO 639 code, if the table contains one.
    pub language: Option<String>,
    /// Whether detection analyzes this stream.
    pub followed: bool,
}

/// Reads packets until all programs are known.
#[derive(Debug, Default)]
pub struct Listing {
    choice: ProgramChoice,
    parser: PacketParser,
    reader: TableReader,
    /// The packets so far: used for guessing if the stream has no tables.
    head: Vec<[u8; TS_PACKET_BYTES]>,
}

impl Listing {
    /// Returns a listing that marks the stream selected by `choice`.
    pub fn new(choice: ProgramChoice) -> Self {
        Listing { choice, ..Listing::default() }
    }

    /// Pushes the next packet. Returns true once the PMT of every program has arrived, or the limit
    /// for waiting is reached.
    pub fn push(&mut self, packet: TsPacket<'_>) -> bool {
        self.head.push(*packet.bytes);
        if let Some(parsed) = self.parser.parse(packet.bytes) {
            self.reader.push(&parsed);
        }
        self.reader.tables().is_complete()
            || self.head.len() * TS_PACKET_BYTES >= super::MAX_HELD_BYTES
    }

    /// Returns the programs found.
    pub fn programs(&self) -> Vec<ListedProgram> {
        let tables = self.reader.tables();
        let guessed = if tables.is_empty() { program::guess(self.head.iter()) } else { None };
        if let Some(program) = guessed {
            return vec![ListedProgram::guessed(&program)];
        }
        let followed = tables.video(self.choice, None);
        let is_followed = |number: u16, pid: u16| {
            followed.is_some_and(|found| (found.program, found.pid) == (number, pid))
        };
        tables
            .programs()
            .map(|(pmt_pid, pmt)| ListedProgram {
                number: pmt.program,
                pmt_pid,
                streams: pmt
                    .streams
                    .iter()
                    .map(|stream| ListedStream {
                        pid: stream.pid,
                        stream_type: Some(stream.stream_type),
                        content: pmt.content(stream),
                        language: stream.language(),
                        followed: is_followed(pmt.program, stream.pid),
                    })
                    .collect(),
            })
            .collect()
    }
}

impl ListedProgram {
    fn guessed(program: &Program) -> Self {
        let stream = |pid, content, followed| ListedStream {
            pid,
            stream_type: None,
            content,
            language: None,
            followed,
        };
        let mut streams = vec![stream(program.video_pid, Content::Video(program.codec), true)];
        streams.extend(
            program.audio.iter().map(|audio| stream(audio.pid, Content::Audio(audio.codec), false)),
        );
        ListedProgram { number: program.number, pmt_pid: 0, streams }
    }
}
