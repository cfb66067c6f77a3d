//! Selects the program and its video stream.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::packet::{Packet, PacketParser};
use super::psi::{Content, PatEntry, Pmt, PmtStream};
use super::scrambling::Scrambling;
use crate::media::{AudioCodec, AudioStream, VideoCodec};
use crate::ts::{NULL_PID, TS_PACKET_BYTES};

/// Selects one of several programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProgramChoice {
    /// The first program with video, like ffmpeg's `0:v:0`.
    #[default]
    FirstWithVideo,
    /// The program with this number.
    Number(u16),
}

/// A video stream of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoStream {
    /// Number of its program.
    pub program: u16,
    /// PID of the PMT that lists it; 0 if it was guessed.
    #[serde(default)]
    pub map_pid: u16,
    /// PID of the stream.
    pub pid: u16,
    /// Codec of the stream.
    pub codec: VideoCodec,
}

/// The selected streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Program number; 0 if no table names one.
    pub number: u16,
    /// PID of the PMT; 0 if it is not known.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub map_pid: u16,
    /// PID of the video stream.
    pub video_pid: u16,
    /// Codec of the video stream.
    pub codec: VideoCodec,
    /// The audio streams of all programs seen so far: libavformat uses their first times to
    /// determine the start of the recording.
    pub audio: Vec<AudioStream>,
    /// The video stream that the current tables list instead of this one. It is selected once this
    /// one has stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<VideoStream>,
}

/// Maximum number of audio streams that are remembered.
const MAX_AUDIO_STREAMS: usize = 256;

impl VideoStream {
    /// Returns whether this stream begins in a packet of a PID that previously carried another
    /// codec: the payload contains parameter sets of its codec where a PES packet begins.
    pub fn begins_in(self, packet: &Packet<'_>) -> bool {
        self.pid == packet.pid
            && packet.unit_start
            && guess_codec(packet.payload) == Some(self.codec)
    }
}

impl Program {
    /// Returns a program with this video stream.
    pub fn new(video: VideoStream, audio: Vec<AudioStream>) -> Self {
        let VideoStream { program, map_pid, pid, codec } = video;
        Program { number: program, map_pid, video_pid: pid, codec, audio, successor: None }
    }

    /// Returns the program after an update of the tables, which list the video stream `named`, and
    /// `audio`. As in ffmpeg, the video stream stays selected, and audio streams stay even if no
    /// longer listed.
    pub fn updated(&self, named: VideoStream, audio: Vec<AudioStream>) -> Self {
        let is_same = (named.pid, named.codec) == (self.video_pid, self.codec);
        let mut updated = self.clone();
        updated.successor = if is_same { None } else { Some(named) };
        if is_same {
            (updated.number, updated.map_pid) = (named.program, named.map_pid);
        }
        for stream in audio {
            if let Some(known) = updated.audio.iter_mut().find(|known| known.pid == stream.pid) {
                *known = stream;
            } else if updated.audio.len() < MAX_AUDIO_STREAMS {
                updated.audio.push(stream);
            }
        }
        updated
    }
}

fn is_unknown(pid: &u16) -> bool {
    *pid == 0
}

/// Reason why no video can be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoVideo {
    /// The stream has no tables, and no video was found without them.
    NoTables,
    /// The requested program does not exist.
    NoSuchProgram {
        /// The requested number.
        wanted: u16,
        /// The program numbers in the tables.
        numbers: Vec<u16>,
    },
    /// The program has video, but its codec is not supported.
    NotDecoded {
        /// PID of the video stream.
        pid: u16,
        /// FFmpeg's name of the codec.
        codec: &'static str,
    },
    /// The program has streams, but no video.
    NoneAmong {
        /// Number of audio streams.
        audio: usize,
        /// Number of other streams.
        other: usize,
    },
}

impl fmt::Display for NoVideo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoVideo::NoTables => f.write_str("no program tables, and no video found without them"),
            NoVideo::NoSuchProgram { wanted, numbers } => {
                let numbers: Vec<_> = numbers.iter().map(u16::to_string).collect();
                write!(f, "no program {wanted}; programs: {}", numbers.join(", "))
            }
            NoVideo::NotDecoded { pid, codec } => {
                write!(f, "the video on PID {pid:#x} is {codec}, which scenetap does not decode")
            }
            NoVideo::NoneAmong { audio, other } => {
                write!(f, "no video: {audio} audio and {other} other streams")
            }
        }
    }
}

/// Returns a table that lists one video stream.
fn pmt_of_video(video: VideoStream) -> Pmt {
    let stream_type = match video.codec {
        VideoCodec::Mpeg2 => 0x02,
        VideoCodec::Mpeg4 => 0x10,
        VideoCodec::H264 => 0x1b,
        VideoCodec::Hevc => 0x24,
    };
    let stream = PmtStream { stream_type, pid: video.pid, descriptors: Vec::new() };
    Pmt { program: video.program, program_descriptors: Vec::new(), streams: vec![stream] }
}

/// The current tables.
#[derive(Debug, Default)]
pub struct Tables {
    pat: Vec<PatEntry>,
    /// PMTs in the order in which they first arrived.
    pmts: Vec<(u16, Pmt)>,
}

impl Tables {
    /// Returns tables as known after a restart: with the PMT that lists the program's video stream.
    /// The PMT may not be sent again.
    pub fn of(program: &Program) -> Self {
        let listed = program.successor.unwrap_or(VideoStream {
            program: program.number,
            map_pid: program.map_pid,
            pid: program.video_pid,
            codec: program.codec,
        });
        let mut tables = Tables::default();
        if listed.map_pid != 0 {
            tables.pmts.push((listed.map_pid, pmt_of_video(listed)));
        }
        tables
    }

    /// Updates the PAT, and removes the PMTs of programs that it no longer lists.
    pub fn pat(&mut self, entries: &[PatEntry]) {
        if self.pat != entries {
            self.pat = entries.to_vec();
            self.pmts.retain(|(pid, pmt)| {
                entries.iter().any(|entry| (entry.pmt_pid, entry.program) == (*pid, pmt.program))
            });
        }
    }

    /// Updates a PMT that has arrived on `pid`. Ignores it if the PAT maps its program to another
    /// PID.
    pub fn pmt(&mut self, pid: u16, mut pmt: Pmt) {
        let mut mapped = self.pat.iter().filter(|entry| entry.program == pmt.program).peekable();
        if mapped.peek().is_some() && mapped.all(|entry| entry.pmt_pid != pid) {
            return;
        }
        // If the PMT lists a PID twice, use the first entry.
        let mut seen = HashSet::new();
        pmt.streams.retain(|stream| seen.insert(stream.pid));
        let known = self.pmts.iter_mut().find(|(_, old)| old.program == pmt.program);
        match known {
            Some(old) => *old = (pid, pmt),
            None => self.pmts.push((pid, pmt)),
        }
    }

    /// Returns the video stream that the tables list, if any. The stream of `current` stays selected
    /// as long as an eligible table lists it.
    pub fn video(&self, choice: ProgramChoice, current: Option<&Program>) -> Option<VideoStream> {
        let is_eligible = |pmt: &&Pmt| match choice {
            ProgramChoice::Number(number) => pmt.program == number,
            ProgramChoice::FirstWithVideo => true,
        };
        let eligible = self.pmts.iter().filter(|(_, pmt)| is_eligible(&pmt));
        let videos = eligible.flat_map(|(map_pid, pmt)| {
            pmt.streams.iter().filter_map(|stream| match pmt.content(stream) {
                Content::Video(codec) => Some(VideoStream {
                    program: pmt.program,
                    map_pid: *map_pid,
                    pid: stream.pid,
                    codec,
                }),
                _ => None,
            })
        });
        let Some(current) = current else { return videos.into_iter().next() };
        let mut videos: Vec<_> = videos.collect();
        // Prefer the same stream, then one of the same program.
        videos.sort_by_key(|video| {
            let is_same = (video.pid, video.codec) == (current.video_pid, current.codec);
            (!is_same, video.program != current.number)
        });
        // While the program has a table, another program is eligible only if it lists the same
        // stream.
        let has_table = self.pmts.iter().any(|(_, pmt)| pmt.program == current.number);
        videos.into_iter().next().filter(|video| {
            let is_same = (video.pid, video.codec) == (current.video_pid, current.codec);
            is_same || !has_table || video.program == current.number
        })
    }

    /// Returns whether the PMT of every program in the PAT has arrived.
    pub fn is_complete(&self) -> bool {
        let has_map = |entry: &PatEntry| {
            entry.program == 0 || self.pmts.iter().any(|(_, pmt)| pmt.program == entry.program)
        };
        !self.pmts.is_empty() && self.pat.iter().all(has_map)
    }

    /// Returns whether no PMT has arrived.
    pub fn is_empty(&self) -> bool {
        self.pmts.is_empty()
    }

    /// Returns the PMTs and their PIDs, in the order in which they arrived.
    pub fn programs(&self) -> impl Iterator<Item = (u16, &Pmt)> {
        self.pmts.iter().map(|(pid, pmt)| (*pid, pmt))
    }

    /// Returns the reason why [`Tables::video`] returns `None`.
    pub fn no_video(&self, choice: ProgramChoice) -> NoVideo {
        let (mut audio, mut other) = (0, 0);
        let mut numbers = Vec::new();
        for (_, pmt) in &self.pmts {
            numbers.push(pmt.program);
            if matches!(choice, ProgramChoice::Number(number) if number != pmt.program) {
                continue;
            }
            for stream in &pmt.streams {
                match pmt.content(stream) {
                    Content::OtherVideo(codec) => {
                        return NoVideo::NotDecoded { pid: stream.pid, codec };
                    }
                    Content::Audio(_) => audio += 1,
                    Content::Video(_) | Content::Private | Content::Other => other += 1,
                }
            }
        }
        match choice {
            _ if numbers.is_empty() => NoVideo::NoTables,
            ProgramChoice::Number(wanted) if !numbers.contains(&wanted) => {
                NoVideo::NoSuchProgram { wanted, numbers }
            }
            _ => NoVideo::NoneAmong { audio, other },
        }
    }

    /// Returns the audio streams of all programs.
    pub fn audio(&self) -> Vec<AudioStream> {
        let mut audio: Vec<AudioStream> = Vec::new();
        for (_, pmt) in &self.pmts {
            for stream in &pmt.streams {
                let codec = match pmt.content(stream) {
                    Content::Audio(codec) => codec,
                    Content::Private => AudioCodec::Private,
                    _ => continue,
                };
                if !audio.iter().any(|known| known.pid == stream.pid) {
                    audio.push(AudioStream { pid: stream.pid, codec });
                }
            }
        }
        audio
    }
}

/// Guesses a program from packets without tables: the first PID with video PES packets
/// whose codec can be identified, as FFmpeg's `auto_guess` does.
pub fn guess<'a>(packets: impl Iterator<Item = &'a [u8; TS_PACKET_BYTES]>) -> Option<Program> {
    /// Enough to contain a parameter set or sequence header, which are sent every few seconds.
    const MAX_PROBED_BYTES: usize = 1 << 20;
    let mut parser = PacketParser::default();
    let mut streams: HashMap<u16, Vec<u8>> = HashMap::new();
    let mut scrambling: HashMap<u16, Scrambling> = HashMap::new();
    let mut audio: Vec<AudioStream> = Vec::new();
    let mut order = Vec::new();
    for bytes in packets {
        let Some(packet) = parser.parse(bytes) else { continue };
        if packet.pid == NULL_PID || scrambling.entry(packet.pid).or_default().is_scrambled(&packet)
        {
            continue;
        }
        if packet.unit_start
            && let [0, 0, 1, stream_id, ..] = *packet.payload
            && !streams.contains_key(&packet.pid)
        {
            match stream_id {
                0xe0..=0xef => {
                    order.push(packet.pid);
                    streams.insert(packet.pid, Vec::new());
                }
                0xc0..=0xdf if !audio.iter().any(|known| known.pid == packet.pid) => {
                    let codec = guess_audio(packet.payload);
                    audio.push(AudioStream { pid: packet.pid, codec });
                }
                _ => {}
            }
        }
        if let Some(stream) = streams.get_mut(&packet.pid)
            && stream.len() < MAX_PROBED_BYTES
        {
            stream.extend_from_slice(packet.payload);
        }
    }
    order.into_iter().find_map(|pid| {
        let codec = guess_codec(streams.get(&pid)?)?;
        let guessed = VideoStream { program: 0, map_pid: 0, pid, codec };
        Some(Program::new(guessed, audio.clone()))
    })
}

/// Guesses the codec of an audio PES packet.
fn guess_audio(pes: &[u8]) -> AudioCodec {
    let frame = pes.get(8).and_then(|&header_bytes| pes.get(9 + usize::from(header_bytes)..));
    frame.and_then(audio_codec).unwrap_or(AudioCodec::Other)
}

/// Returns the codec of an audio frame: ADTS and MPEG audio differ in their layer bits.
pub fn audio_codec(frame: &[u8]) -> Option<AudioCodec> {
    match *frame {
        [0xff, second, ..] if second & 0xf6 == 0xf0 => Some(AudioCodec::Aac),
        [0xff, second, ..] if second & 0xe0 == 0xe0 => Some(AudioCodec::Mpeg),
        _ => None,
    }
}

/// Returns the codec whose parameter sets occur in an elementary stream.
pub fn guess_codec(stream: &[u8]) -> Option<VideoCodec> {
    let (mut h264, mut hevc, mut mpeg2, mut mpeg4) = (0, 0, 0, 0);
    for at in memchr::memmem::find_iter(stream, &[0, 0, 1]) {
        match stream.get(at + 3..at + 5) {
            Some(&[0xb3 | 0xb8, _]) => mpeg2 += 1,
            Some(&[0xb6, _]) => mpeg4 += 1,
            Some(&[0x40 | 0x42 | 0x44, 1]) => hevc += 1,
            Some(&[0x67 | 0x27 | 0x68 | 0x28, _]) => h264 += 1,
            _ => {}
        }
    }
    [
        (hevc, VideoCodec::Hevc),
        (h264, VideoCodec::H264),
        (mpeg2, VideoCodec::Mpeg2),
        (mpeg4, VideoCodec::Mpeg4),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .max_by_key(|(count, _)| *count)
    .map(|(_, codec)| codec)
}
