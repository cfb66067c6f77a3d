//! What a stream contains, for people: programs, streams, codecs, PIDs.

use super::packet::PacketParser;
use super::program::{self, Program, ProgramChoice};
use super::psi::Content;
use super::tables::TableReader;
use crate::ts::{TS_PACKET_BYTES, TsPacket};

/// A program of the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedProgram {
    /// Program number; 0 where no table names one and it was guessed.
    pub number: u16,
    /// PID of its map; 0 if it was guessed.
    pub pmt_pid: u16,
    /// Its streams, in the table's order.
    pub streams: Vec<ListedStream>,
}

/// One stream of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedStream {
    /// Its PID.
    pub pid: u16,
    /// ISO/IEC 13818-1, table 2-34; `None` if it was guessed.
    pub stream_type: Option<u8>,
    /// What it carries.
    pub content: Content,
    /// ISO 639 code, where the table has one.
    pub language: Option<String>,
    /// It is the one that detection looks at.
    pub followed: bool,
}

/// Reads packets until it is known what a stream contains.
#[derive(Debug, Default)]
pub struct Listing {
    choice: ProgramChoice,
    parser: PacketParser,
    reader: TableReader,
    /// For a guess, where no table comes.
    head: Vec<[u8; TS_PACKET_BYTES]>,
}

impl Listing {
    /// A listing that marks the stream which `choice` follows.
    pub fn new(choice: ProgramChoice) -> Self {
        Listing { choice, ..Listing::default() }
    }

    /// Takes the next packet; true once every program's map is there, or nobody
    /// would wait for one any longer.
    pub fn push(&mut self, packet: TsPacket<'_>) -> bool {
        self.head.push(*packet.bytes);
        if let Some(parsed) = self.parser.parse(packet.bytes) {
            self.reader.push(&parsed);
        }
        self.reader.tables().is_complete()
            || self.head.len() * TS_PACKET_BYTES >= super::MAX_HELD_BYTES
    }

    /// What was found.
    pub fn programs(&self) -> Vec<ListedProgram> {
        let tables = self.reader.tables();
        let guessed = if tables.is_empty() { program::guess(self.head.iter()) } else { None };
        if let Some(program) = guessed {
            return vec![ListedProgram::guessed(&program)];
        }
        let followed = tables.choose(self.choice, None);
        let is_followed = |number: u16, pid: u16| {
            followed.as_ref().is_some_and(|found| (found.number, found.video_pid) == (number, pid))
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
