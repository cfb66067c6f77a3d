//! Packets → access units.
//!
//! [`Demuxer`] is pure: packets in, events out, no clock and no file. The same
//! packets give the same events, however they arrive.
//!
//! ```text
//! packet   header, adaptation field, PES header   (mpeg2ts, and what it rejects)
//! psi      PAT and PMT: which PIDs carry what
//! pes      PES packets of one PID
//! boundary where a picture ends, codec by codec
//! framer   elementary stream → access units with times and places
//! ```

mod boundary;
mod framer;
mod packet;
mod pes;
mod program;
mod psi;
mod random_access;

use std::collections::{HashMap, VecDeque};

pub use framer::FramerStart;
pub use program::{Program, ProgramChoice};

use crate::media::{AccessUnit, ByteOffset, TS_PACKET_BYTES, Ticks, TsPacket};
use framer::Framer;
use packet::{NULL_PID, Packet, PacketParser, PesHeader, Understood};
use pes::{PesParser, PesPart};
use program::Tables;
use psi::{SectionAssembler, Table};

/// How much is held back while no table says what the PIDs carry: FFmpeg's
/// default `probesize`, which it reads twice for the same reason.
const MAX_HELD_BYTES: usize = 5_000_000;

/// What comes out of the demuxer, in stream order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The program that is followed is known, or has changed.
    Program(Program),
    /// A coded picture.
    AccessUnit(AccessUnit),
    /// A PES packet of an audio stream begins.
    Audio {
        /// Which one.
        pid: u16,
        /// Presentation time, 33 bits.
        pts: Option<Ticks>,
    },
    /// Something is wrong with the stream. It is passed over.
    Damage(Damage),
}

/// What was found to be wrong, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The continuity counter of the video stream skipped: packets are missing.
    Discontinuity(ByteOffset),
    /// A packet of the video stream is scrambled.
    Scrambled(ByteOffset),
}

/// Where a demuxer can start again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemuxStart {
    /// The packet in which the first access unit starts.
    pub at: ByteOffset,
    /// The program that is followed.
    pub program: Program,
    /// How that access unit lies in its packet.
    pub framer: FramerStart,
}

/// Finds one video stream in the packets and cuts it into access units.
#[derive(Debug)]
pub struct Demuxer {
    parser: PacketParser,
    choice: ProgramChoice,
    tables: Tables,
    sections: HashMap<u16, SectionAssembler>,
    /// Last continuity counter of each PID with tables or video, and the payload it came with.
    counters: HashMap<u16, Counter>,
    program: Option<Program>,
    held: Option<Held>,
    video: Option<(PesParser, Framer)>,
    audio: HashMap<u16, PesParser>,
    events: VecDeque<Event>,
    units: Vec<AccessUnit>,
}

#[derive(Debug, Default)]
struct Held {
    packets: VecDeque<(ByteOffset, [u8; TS_PACKET_BYTES])>,
}

#[derive(Debug)]
struct Counter {
    value: u8,
    payload: [u8; TS_PACKET_BYTES],
    payload_bytes: usize,
}

impl Demuxer {
    /// A demuxer at the beginning of a recording.
    pub fn new(choice: ProgramChoice) -> Self {
        Demuxer {
            parser: PacketParser::default(),
            choice,
            tables: Tables::default(),
            sections: HashMap::from([(0, SectionAssembler::default())]),
            counters: HashMap::new(),
            program: None,
            held: Some(Held::default()),
            video: None,
            audio: HashMap::new(),
            events: VecDeque::new(),
            units: Vec::new(),
        }
    }

    /// A demuxer that goes on where another has been. Its first packet must be
    /// the one at `start.at`.
    pub fn resume(choice: ProgramChoice, start: &DemuxStart) -> Self {
        let mut demuxer = Demuxer::new(choice);
        demuxer.held = None;
        demuxer.follow(start.program.clone());
        demuxer.events.clear();
        // In the middle of a PES packet, whose header is not read again.
        if let Some((pes, framer)) = &mut demuxer.video {
            *framer = Framer::resume(framer.codec(), start.framer);
            *pes = PesParser::in_payload();
        }
        demuxer
    }

    /// Takes the next packet.
    pub fn push(&mut self, packet: TsPacket<'_>) {
        let Some(parsed) = self.parser.parse(packet.bytes) else { return };
        if parsed.pid == NULL_PID {
            return;
        }
        self.read_tables(&parsed);
        match &mut self.held {
            None => self.demux(packet.at, &parsed),
            Some(held) => {
                held.packets.push_back((packet.at, *packet.bytes));
                let full = held.packets.len() * TS_PACKET_BYTES >= MAX_HELD_BYTES;
                if self.program.is_some() || full {
                    self.release();
                }
            }
        }
    }

    /// The next event, if there is one.
    pub fn pull(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The stream is over: what is open comes out.
    pub fn finish(&mut self) {
        self.release();
        if let Some((_, framer)) = &mut self.video {
            framer.finish(&mut self.units);
        }
        self.emit_units();
    }

    /// The program that is followed, once it is known.
    pub fn program(&self) -> Option<&Program> {
        self.program.as_ref()
    }

    fn read_tables(&mut self, packet: &Packet<'_>) {
        let Some(assembler) = self.sections.get_mut(&packet.pid) else { return };
        if packet.scrambled || !packet.has_payload {
            return;
        }
        let in_step = match self.counters.get(&packet.pid) {
            Some(last) => packet.discontinuity || follows(last.value, packet),
            None => true,
        };
        self.counters.insert(packet.pid, Counter::of(packet));
        let tables = match &packet.understood {
            Some(Understood::Table(table)) => {
                assembler.reset();
                vec![table.clone()]
            }
            _ => assembler.push(packet.payload, packet.unit_start, in_step),
        };
        for table in tables {
            match table {
                Table::Pat(entries) => {
                    for entry in entries.iter().filter(|entry| entry.program != 0) {
                        self.sections.entry(entry.pmt_pid).or_default();
                    }
                    self.tables.pat(&entries);
                }
                Table::Pmt(pmt) => {
                    self.tables.pmt(packet.pid, pmt);
                    if let Some(program) = self.tables.choose(self.choice, self.program.as_ref()) {
                        self.follow(program);
                    }
                }
            }
        }
    }

    /// Follows `program` from here on; what was open of another is finished.
    fn follow(&mut self, program: Program) {
        let moved = self
            .program
            .as_ref()
            .is_none_or(|old| (old.video_pid, old.codec) != (program.video_pid, program.codec));
        if moved {
            if let Some((_, mut framer)) = self.video.take() {
                framer.finish(&mut self.units);
                self.emit_units();
            }
            self.video = Some((PesParser::default(), Framer::new(program.codec)));
            self.counters.remove(&program.video_pid);
        }
        self.audio.retain(|pid, _| program.audio_pids.contains(pid));
        for &pid in &program.audio_pids {
            self.audio.entry(pid).or_default();
        }
        self.events.push_back(Event::Program(program.clone()));
        self.program = Some(program);
    }

    /// Demuxes what was held back, now that the PIDs are known.
    fn release(&mut self) {
        let Some(held) = self.held.take() else { return };
        if self.program.is_none()
            && let Some(program) = program::guess(held.packets.iter().map(|(_, bytes)| bytes))
        {
            self.follow(program);
        }
        for (at, bytes) in &held.packets {
            if let Some(parsed) = self.parser.parse(bytes) {
                self.demux(*at, &parsed);
            }
        }
    }

    fn demux(&mut self, at: ByteOffset, packet: &Packet<'_>) {
        let Some(program) = &self.program else { return };
        if packet.pid == program.video_pid {
            self.demux_video(at, packet);
        } else if let Some(parser) = self.audio.get_mut(&packet.pid)
            && !packet.scrambled
        {
            let events = &mut self.events;
            parser.push(packet, |part| {
                if let PesPart::Start(PesHeader { pts: pts @ Some(_), .. }) = part {
                    events.push_back(Event::Audio { pid: packet.pid, pts });
                }
            });
        }
    }

    fn demux_video(&mut self, at: ByteOffset, packet: &Packet<'_>) {
        if packet.scrambled {
            self.events.push_back(Event::Damage(Damage::Scrambled(at)));
            return;
        }
        if let Some(last) = self.counters.get(&packet.pid)
            && !packet.discontinuity
        {
            // A packet may be sent twice (ISO/IEC 13818-1, 2.4.3.3).
            if last.is_repeated_by(packet) {
                return;
            }
            if !follows(last.value, packet) {
                self.events.push_back(Event::Damage(Damage::Discontinuity(at)));
            }
        }
        if !packet.has_payload {
            return;
        }
        self.counters.insert(packet.pid, Counter::of(packet));
        if let Some((pes, framer)) = &mut self.video {
            let units = &mut self.units;
            pes.push(packet, |part| match part {
                PesPart::Start(header) => framer.begin_pes(header.pts, header.dts),
                PesPart::Data(data) => framer.push(at, data, units),
            });
        }
        self.emit_units();
    }

    fn emit_units(&mut self) {
        self.events.extend(self.units.drain(..).map(Event::AccessUnit));
    }
}

/// Whether the packet's continuity counter is the one expected behind `last`.
fn follows(last: u8, packet: &Packet<'_>) -> bool {
    let expected = if packet.has_payload { (last + 1) & 0x0f } else { last };
    packet.continuity_counter == expected
}

impl Counter {
    fn of(packet: &Packet<'_>) -> Self {
        let mut payload = [0; TS_PACKET_BYTES];
        payload[..packet.payload.len()].copy_from_slice(packet.payload);
        Counter { value: packet.continuity_counter, payload, payload_bytes: packet.payload.len() }
    }

    fn is_repeated_by(&self, packet: &Packet<'_>) -> bool {
        packet.has_payload
            && self.value == packet.continuity_counter
            && self.payload[..self.payload_bytes] == *packet.payload
    }
}

/// The parsers inside, open to `fuzz/`: no other build has this.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use super::packet::{Packet, PacketParser, PesHeader, Understood};
    pub use super::pes::{PesParser, PesPart};
    pub use super::psi::{SectionAssembler, Table};
}

#[cfg(test)]
mod tests;
