//! Packets → access units: the demuxer, and the framer of the video stream that it follows.

use std::collections::VecDeque;

use crate::demux::{AudioPes, DemuxEvent, Demuxer, NoVideo, Program, ProgramChoice, StreamFault};
use crate::framing::{Framer, FramerStart};
use crate::media::{AccessUnit, ByteOffset};
use crate::ts::TsPacket;

/// What comes out of a [`UnitReader`], in stream order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitEvent {
    /// The program that is followed is known, or has changed.
    Program(Program),
    /// A coded picture.
    AccessUnit(AccessUnit),
    /// A PES packet of an audio stream is complete.
    Audio(AudioPes),
    /// The PES packet of the video stream is complete that brought the end of the access units
    /// before.
    PesComplete,
    /// There is nothing to follow so far.
    NoVideo(NoVideo),
    /// Something is wrong with the video stream. It is counted and passed over.
    Fault(StreamFault),
}

/// Finds one video stream in the packets and cuts it into access units.
#[derive(Debug)]
pub struct UnitReader {
    demuxer: Demuxer,
    framing: Framing,
}

impl UnitReader {
    /// A reader at the beginning of a recording.
    pub fn new(choice: ProgramChoice) -> Self {
        UnitReader { demuxer: Demuxer::new(choice), framing: Framing::default() }
    }

    /// A reader that resumes at the access unit in the packet at `at`, which lies there as
    /// `framer` says. Packets may begin before that, for their audio.
    pub fn resume(
        choice: ProgramChoice,
        program: Program,
        at: ByteOffset,
        framer: FramerStart,
    ) -> Self {
        let framer = Framer::resume(program.codec, framer);
        let framing = Framing { framer: Some(framer), ..Framing::default() };
        UnitReader { demuxer: Demuxer::resume(choice, program, at), framing }
    }

    /// Takes the next packet.
    pub fn push(&mut self, packet: TsPacket<'_>) {
        let framing = &mut self.framing;
        self.demuxer.push(packet, &mut |event| framing.take(event));
    }

    /// Returns the next event, if there is one.
    pub fn pull(&mut self) -> Option<UnitEvent> {
        self.framing.events.pop_front()
    }

    /// The stream is over: what is open comes out.
    pub fn finish(&mut self) {
        let framing = &mut self.framing;
        self.demuxer.finish(&mut |event| framing.take(event));
        framing.finish_stream();
    }

    /// The program that is followed, once it is known.
    pub fn program(&self) -> Option<&Program> {
        self.demuxer.program()
    }
}

/// The framer, and the events that are ready.
#[derive(Debug, Default)]
struct Framing {
    framer: Option<Framer>,
    units: Vec<AccessUnit>,
    events: VecDeque<UnitEvent>,
}

impl Framing {
    fn take(&mut self, event: DemuxEvent<'_>) {
        match event {
            DemuxEvent::Program(program) => self.events.push_back(UnitEvent::Program(program)),
            DemuxEvent::VideoStream(codec) => {
                self.finish_stream();
                self.framer = Some(Framer::new(codec));
            }
            DemuxEvent::PesStart { pts, dts } => {
                self.events.push_back(UnitEvent::PesComplete);
                if let Some(framer) = &mut self.framer {
                    framer.begin_pes(pts, dts);
                }
            }
            DemuxEvent::Payload { at, data } => {
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

    /// What is open is an access unit: nothing follows it.
    fn finish_stream(&mut self) {
        if let Some(mut framer) = self.framer.take() {
            framer.finish(&mut self.units);
            self.emit_units();
        }
    }

    fn emit_units(&mut self) {
        self.events.extend(self.units.drain(..).map(UnitEvent::AccessUnit));
    }
}

#[cfg(test)]
mod tests;
