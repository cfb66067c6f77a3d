//! Packets → the payload of the selected streams.
//!
//! [`Demuxer`] is pure: packets in, events out, no clock and no file. The same packets give
//! the same events, however they arrive.
//!
//! ```text
//! packet         header, adaptation field, PES header; handles what mpeg2ts rejects
//! psi            PAT and PMT: which PIDs carry what
//! tables         the current tables of a stream
//! table_packets  the packets of these tables
//! program        selection of the program and the video stream
//! pes            PES packets of one PID
//! scrambling     whether packets flagged as scrambled really are
//! succession     when another video stream replaces the selected one
//! audio          the PES packets of an audio stream
//! listing        programs, streams, codecs and PIDs for `scan --list`
//! ```

mod audio;
mod listing;
mod packet;
mod pes;
mod program;
mod psi;
mod scrambling;
mod succession;
mod table_packets;
mod tables;

use std::collections::VecDeque;

pub use listing::{ListedProgram, ListedStream, Listing};
pub use program::{NoVideo, Program, ProgramChoice, VideoStream};
pub use psi::Content;
pub use table_packets::TablePackets;

use crate::media::{AudioStream, ByteOffset, Ticks, VideoCodec};
use crate::ts::{NULL_PID, TS_PACKET_BYTES, TsPacket};
use audio::AudioReader;
use packet::{Packet, PacketParser, PesHeader};
use pes::{PesParser, PesPart};
use scrambling::Scrambling;
use succession::Succession;
use tables::TableReader;

/// Maximum number of bytes held while no table describes the PIDs: the default `probesize` of
/// FFmpeg, which reads these bytes twice for the same reason.
const MAX_HELD_BYTES: usize = 5_000_000;

/// Output of the demuxer, in stream order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DemuxEvent<'a> {
    /// The selected program has become known, or has changed.
    Program(Program),
    /// Another video stream is selected from here on: the open access unit of the previous one
    /// is complete.
    VideoStream(VideoCodec),
    /// A PES packet of the video stream begins.
    PesStart {
        /// Presentation time, 33 bits.
        pts: Option<Ticks>,
        /// Decoding time, 33 bits.
        dts: Option<Ticks>,
    },
    /// The next bytes of the video stream.
    Payload {
        /// Offset of the packet that contains them.
        at: ByteOffset,
        /// Bytes of the elementary stream.
        data: &'a [u8],
    },
    /// The PES packet of the video stream has reached the length in its header.
    PesEnd,
    /// A PES packet of an audio stream is complete.
    Audio(AudioPes),
    /// No video stream has been found so far.
    NoVideo(NoVideo),
    /// The video stream is damaged. The damage is counted, and demuxing continues.
    Fault(StreamFault),
}

/// A PES packet of an audio stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioPes {
    /// The stream to which the packet belongs.
    pub stream: AudioStream,
    /// Offset of the transport packet in which it begins.
    pub at: ByteOffset,
    /// Presentation time, 33 bits.
    pub pts: Option<Ticks>,
    /// Bytes of the elementary stream.
    pub data: Vec<u8>,
}

/// Kind and offset of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFault {
    /// The continuity counter skipped: packets are missing.
    Discontinuity(ByteOffset),
    /// A packet is scrambled.
    Scrambled(ByteOffset),
    /// A packet has `transport_error_indicator` set: it was received with errors. As in ffmpeg, it
    /// is decoded nevertheless.
    TransportError(ByteOffset),
}

impl StreamFault {
    /// Returns the offset of the packet.
    pub fn at(self) -> ByteOffset {
        match self {
            StreamFault::Discontinuity(at)
            | StreamFault::Scrambled(at)
            | StreamFault::TransportError(at) => at,
        }
    }
}

/// Extracts one video stream, and the audio streams, from the packets.
#[derive(Debug)]
pub struct Demuxer {
    parser: PacketParser,
    choice: ProgramChoice,
    tables: TableReader,
    program: Option<Program>,
    /// The last reported reason why the stream has no video.
    no_video: Option<NoVideo>,
    held: Option<Held>,
    video: PesParser,
    scrambling: Scrambling,
    succession: Succession,
    /// Last continuity counter of the video stream, with the payload of its packet.
    counter: Option<ContinuityCounter>,
    /// Offset before which video packets are skipped.
    video_from: ByteOffset,
    audio: Vec<AudioReader>,
}

#[derive(Debug, Default)]
struct Held {
    packets: VecDeque<(ByteOffset, [u8; TS_PACKET_BYTES])>,
}

#[derive(Debug)]
struct ContinuityCounter {
    value: u8,
    payload: [u8; TS_PACKET_BYTES],
    payload_bytes: usize,
}

impl Demuxer {
    /// Returns a demuxer at the beginning of a recording.
    pub fn new(choice: ProgramChoice) -> Self {
        Demuxer {
            parser: PacketParser::default(),
            choice,
            tables: TableReader::default(),
            program: None,
            no_video: None,
            held: Some(Held::default()),
            video: PesParser::default(),
            scrambling: Scrambling::default(),
            succession: Succession::default(),
            counter: None,
            video_from: ByteOffset(0),
            audio: Vec::new(),
        }
    }

    /// Returns a demuxer that resumes in the middle of a recording with `program`. Video packets
    /// before `video_from` are skipped; audio packets are not.
    pub fn resume(choice: ProgramChoice, program: Program, video_from: ByteOffset) -> Self {
        let mut demuxer = Demuxer::new(choice);
        demuxer.held = None;
        demuxer.tables = TableReader::resume(&program);
        demuxer.video_from = video_from;
        demuxer.follow(program, &mut |_| ());
        // The start is in the middle of a PES packet whose header is not read again.
        demuxer.video = PesParser::in_payload();
        demuxer.scrambling = Scrambling::in_clear_pes();
        demuxer
    }

    /// Pushes the next packet.
    pub fn push(&mut self, packet: TsPacket<'_>, sink: &mut impl FnMut(DemuxEvent<'_>)) {
        let Some(parsed) = self.parser.parse(packet.bytes) else { return };
        if parsed.pid == NULL_PID {
            return;
        }
        self.read_tables(&parsed, sink);
        match &mut self.held {
            None => self.demux(packet.at, &parsed, packet.bytes, sink),
            Some(held) => {
                held.packets.push_back((packet.at, *packet.bytes));
                let full = held.packets.len() * TS_PACKET_BYTES >= MAX_HELD_BYTES;
                if self.program.is_some() || full {
                    self.release(sink);
                }
            }
        }
    }

    /// Ends the stream. Passes held packets and open audio PES packets to `sink`.
    pub fn finish(&mut self, sink: &mut impl FnMut(DemuxEvent<'_>)) {
        self.release(sink);
        let successor = self.program.as_ref().and_then(|program| program.successor);
        if let Some(successor) = successor
            && self.succession.has_stopped_at_end(successor)
        {
            self.succeed(successor, sink);
        }
        self.audio
            .iter_mut()
            .filter_map(AudioReader::finish)
            .for_each(|pes| sink(DemuxEvent::Audio(pes)));
    }

    /// Returns the selected program, once it is known.
    pub fn program(&self) -> Option<&Program> {
        self.program.as_ref()
    }

    fn read_tables(&mut self, packet: &Packet<'_>, sink: &mut impl FnMut(DemuxEvent<'_>)) {
        if !self.tables.push(packet) {
            return;
        }
        let tables = self.tables.tables();
        match (&self.program, tables.video(self.choice, self.program.as_ref())) {
            (Some(current), Some(named)) => {
                let updated = current.updated(named, tables.audio());
                if *current != updated {
                    self.follow(updated, sink);
                }
            }
            (None, Some(named)) => self.follow(Program::new(named, tables.audio()), sink),
            (Some(_), None) => {}
            (None, None) => {
                if let Some(reason) = self.tables.no_video(self.choice) {
                    self.report_no_video(reason, sink);
                }
            }
        }
    }

    fn report_no_video(&mut self, reason: NoVideo, sink: &mut impl FnMut(DemuxEvent<'_>)) {
        if self.no_video.as_ref() != Some(&reason) {
            self.no_video = Some(reason.clone());
            sink(DemuxEvent::NoVideo(reason));
        }
    }

    /// Switches to `program`. Reports a new video stream if PID or codec differ.
    fn follow(&mut self, program: Program, sink: &mut impl FnMut(DemuxEvent<'_>)) {
        let moved = self
            .program
            .as_ref()
            .is_none_or(|old| (old.video_pid, old.codec) != (program.video_pid, program.codec));
        if moved {
            sink(DemuxEvent::VideoStream(program.codec));
            self.video = PesParser::default();
            self.scrambling = Scrambling::default();
            self.counter = None;
        }
        self.audio.retain(|reader| program.audio.contains(&reader.stream()));
        for &stream in &program.audio {
            if !self.audio.iter().any(|reader| reader.stream() == stream) {
                self.audio.push(AudioReader::new(stream));
            }
        }
        sink(DemuxEvent::Program(program.clone()));
        self.program = Some(program);
    }

    /// Demuxes the held packets, now that the PIDs are known.
    fn release(&mut self, sink: &mut impl FnMut(DemuxEvent<'_>)) {
        let Some(held) = self.held.take() else { return };
        // A guessed program has no number.
        if self.program.is_none()
            && self.choice == ProgramChoice::FirstWithVideo
            && let Some(program) = program::guess(held.packets.iter().map(|(_, bytes)| bytes))
        {
            self.follow(program, sink);
        }
        if self.program.is_none() && !held.packets.is_empty() {
            self.report_no_video(self.tables.tables().no_video(self.choice), sink);
        }
        for (at, bytes) in &held.packets {
            if let Some(parsed) = self.parser.parse(bytes) {
                self.demux(*at, &parsed, bytes, sink);
            }
        }
    }

    fn demux(
        &mut self,
        at: ByteOffset,
        packet: &Packet<'_>,
        bytes: &[u8; TS_PACKET_BYTES],
        sink: &mut impl FnMut(DemuxEvent<'_>),
    ) {
        let Some(program) = &self.program else { return };
        let (video_pid, successor) = (program.video_pid, program.successor);
        if packet.pid == video_pid {
            if at < self.video_from {
                return;
            }
            if let Some(successor) = successor.filter(|successor| successor.begins_in(packet)) {
                self.succeed(successor, sink);
            }
            self.demux_video(at, packet, sink);
            return;
        }
        self.succession.observe(packet);
        let has_stopped =
            at >= self.video_from && self.succession.push(at, packet, bytes, successor);
        // A PID that carried audio may carry video now.
        if !self.succession.is_video(packet.pid)
            && let Some(reader) =
                self.audio.iter_mut().find(|reader| reader.stream().pid == packet.pid)
        {
            reader.push(at, packet, sink);
        }
        if let Some(successor) = successor.filter(|_| has_stopped) {
            self.succeed(successor, sink);
        }
    }

    /// Selects the video stream that replaces the stopped one, and demuxes the packets held for it.
    fn succeed(&mut self, successor: VideoStream, sink: &mut impl FnMut(DemuxEvent<'_>)) {
        let held = self.succession.take(successor.pid);
        let audio = self.tables.tables().audio();
        // After a restart, the tables may not have been read again.
        let audio = match &self.program {
            Some(program) if audio.is_empty() => program.audio.clone(),
            _ => audio,
        };
        self.follow(Program::new(successor, audio), sink);
        for (at, bytes) in &held {
            if let Some(parsed) = self.parser.parse(bytes) {
                self.demux_video(*at, &parsed, sink);
            }
        }
    }

    fn demux_video(
        &mut self,
        at: ByteOffset,
        packet: &Packet<'_>,
        sink: &mut impl FnMut(DemuxEvent<'_>),
    ) {
        if self.scrambling.is_scrambled(packet) {
            sink(DemuxEvent::Fault(StreamFault::Scrambled(at)));
            return;
        }
        if let Some(last) = &self.counter
            && !packet.discontinuity
        {
            // A packet may be sent twice (ISO/IEC 13818-1, 2.4.3.3).
            if last.is_repeated_by(packet) {
                return;
            }
            if !follows(last.value, packet) {
                sink(DemuxEvent::Fault(StreamFault::Discontinuity(at)));
            }
        }
        if !packet.has_payload {
            return;
        }
        self.counter = Some(ContinuityCounter::of(packet));
        self.succession.continues(at, packet);
        self.video.push(packet, |part| {
            sink(match part {
                PesPart::Start(PesHeader { pts, dts, .. }) => DemuxEvent::PesStart { pts, dts },
                PesPart::Data(data) => DemuxEvent::Payload { at, data },
                PesPart::End => DemuxEvent::PesEnd,
            });
        });
        // A picture that begins in this packet is open by now.
        if packet.transport_error {
            sink(DemuxEvent::Fault(StreamFault::TransportError(at)));
        }
    }
}

/// Returns whether the packet's continuity counter is the one expected after `last`.
fn follows(last: u8, packet: &Packet<'_>) -> bool {
    let expected = if packet.has_payload { (last + 1) & 0x0f } else { last };
    packet.continuity_counter == expected
}

impl ContinuityCounter {
    fn of(packet: &Packet<'_>) -> Self {
        let mut payload = [0; TS_PACKET_BYTES];
        payload[..packet.payload.len()].copy_from_slice(packet.payload);
        ContinuityCounter {
            value: packet.continuity_counter,
            payload,
            payload_bytes: packet.payload.len(),
        }
    }

    fn is_repeated_by(&self, packet: &Packet<'_>) -> bool {
        packet.has_payload
            && self.value == packet.continuity_counter
            && self.payload[..self.payload_bytes] == *packet.payload
    }
}

/// Access to the internal parsers for `fuzz/`; only built for fuzzing.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use super::packet::{Packet, PacketParser, PesHeader, Understood};
    pub use super::pes::{PesParser, PesPart};
    pub use super::psi::{SectionAssembler, Table};
}
