//! Packets → access units: the demuxer, and the framer of the selected video stream.

use std::collections::VecDeque;

use crate::demux::{AudioPes, DemuxEvent, Demuxer, NoVideo, Program, ProgramChoice, StreamFault};
use crate::framing::{Framer, FramerStart};
use crate::media::{AccessUnit, ByteOffset, RandomAccess};
use crate::ts::TsPacket;

/// Output of a [`UnitReader`], in stream order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitEvent {
    /// The selected program has become known, or has changed.
    Program(Program),
    /// A coded picture.
    AccessUnit(AccessUnit),
    /// A PES packet of an audio stream is complete.
    Audio(AudioPes),
    /// The PES packet of the video stream in which the previous access units ended is complete.
    PesComplete,
    /// No video stream has been found so far.
    NoVideo(NoVideo),
    /// The video stream is damaged. The damage is counted, and reading continues.
    Fault(StreamFault),
}

/// Maximum number of remembered program changes.
const MAX_PROGRAMS: usize = 64;

/// A stream that replaces another begins at its first random access point, or after this many bytes
/// without one.
const MAX_BYTES_WITHOUT_RANDOM_ACCESS: usize = 16 << 20;

/// Extracts one video stream from the packets and splits it into access units.
#[derive(Debug)]
pub struct UnitReader {
    demuxer: Demuxer,
    framing: Framing,
}

impl UnitReader {
    /// Returns a reader at the beginning of a recording.
    pub fn new(choice: ProgramChoice) -> Self {
        UnitReader { demuxer: Demuxer::new(choice), framing: Framing::default() }
    }

    /// Returns a reader that resumes at the access unit in the packet at `at`; `framer` describes
    /// its position there. Earlier packets may be pushed for their audio.
    pub fn resume(
        choice: ProgramChoice,
        program: Program,
        at: ByteOffset,
        framer: FramerStart,
    ) -> Self {
        let framing = Framing {
            framer: Some(Framer::resume(program.codec, framer)),
            programs: VecDeque::from([(at, program.clone())]),
            ..Framing::default()
        };
        UnitReader { demuxer: Demuxer::resume(choice, program, at), framing }
    }

    /// Pushes the next packet.
    pub fn push(&mut self, packet: TsPacket<'_>) {
        let framing = &mut self.framing;
        self.demuxer.push(packet, &mut |event| framing.take(event));
    }

    /// Returns the next event, if there is one.
    pub fn pull(&mut self) -> Option<UnitEvent> {
        self.framing.events.pop_front()
    }

    /// Ends the stream: open PES packets and the open access unit are complete.
    pub fn finish(&mut self) {
        let framing = &mut self.framing;
        self.demuxer.finish(&mut |event| framing.take(event));
        framing.finish_stream();
    }

    /// Returns the selected program, once it is known.
    pub fn program(&self) -> Option<&Program> {
        self.demuxer.program()
    }

    /// Returns the program that was selected at the packet of the video stream at `at`.
    pub fn program_at(&self, at: ByteOffset) -> Option<&Program> {
        let programs = &self.framing.programs;
        let reached = programs.iter().rev().find(|(from, _)| *from <= at);
        reached.or(programs.front()).map(|(_, program)| program)
    }
}

/// The framer, and the events that are ready.
#[derive(Debug, Default)]
struct Framing {
    framer: Option<Framer>,
    units: Vec<AccessUnit>,
    events: VecDeque<UnitEvent>,
    /// Programs, each with the offset of the first packet of the video stream to which it applies.
    /// Oldest first.
    programs: VecDeque<(ByteOffset, Program)>,
    /// The program that applies from the next packet of the video stream on.
    next_program: Option<Program>,
    /// Number of bytes of access units skipped before the first random access point of a stream
    /// that has replaced another.
    left_out_bytes: Option<usize>,
}

impl Framing {
    fn take(&mut self, event: DemuxEvent<'_>) {
        match event {
            DemuxEvent::Program(program) => {
                self.next_program = Some(program.clone());
                self.events.push_back(UnitEvent::Program(program));
            }
            DemuxEvent::VideoStream(codec) => {
                let takes_over = self.framer.is_some();
                self.finish_stream();
                self.left_out_bytes = takes_over.then_some(0);
                self.framer = Some(Framer::new(codec));
            }
            DemuxEvent::PesStart { pts, dts } => {
                self.events.push_back(UnitEvent::PesComplete);
                if let Some(framer) = &mut self.framer {
                    framer.begin_pes(pts, dts);
                }
            }
            DemuxEvent::Payload { at, data } => {
                if let Some(program) = self.next_program.take() {
                    if self.programs.len() == MAX_PROGRAMS {
                        self.programs.pop_front();
                    }
                    self.programs.push_back((at, program));
                }
                if let Some(framer) = &mut self.framer {
                    framer.push(at, data, &mut self.units);
                }
                self.emit_units();
            }
            DemuxEvent::PesEnd => self.events.push_back(UnitEvent::PesComplete),
            DemuxEvent::Audio(pes) => self.events.push_back(UnitEvent::Audio(pes)),
            DemuxEvent::NoVideo(why) => self.events.push_back(UnitEvent::NoVideo(why)),
            DemuxEvent::Fault(fault) => {
                if let Some(framer) = &mut self.framer {
                    framer.damage();
                }
                self.events.push_back(UnitEvent::Fault(fault));
            }
        }
    }

    /// Finishes the open access unit, because its stream has ended.
    fn finish_stream(&mut self) {
        if let Some(mut framer) = self.framer.take() {
            framer.finish(&mut self.units);
            self.emit_units();
        }
    }

    fn emit_units(&mut self) {
        for unit in self.units.drain(..) {
            if let Some(bytes) = &mut self.left_out_bytes {
                let is_late = *bytes >= MAX_BYTES_WITHOUT_RANDOM_ACCESS;
                if unit.random_access == RandomAccess::None && !is_late {
                    *bytes += unit.data.len();
                    continue;
                }
                self.left_out_bytes = None;
            }
            self.events.push_back(UnitEvent::AccessUnit(unit));
        }
    }
}

#[cfg(test)]
mod tests;
