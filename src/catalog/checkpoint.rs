//! `checkpoint.json`: how far detection has come, in bytes.
//!
//! These structs are what stands on disk, apart from the working types, so that
//! those may change and a file of another version still be told. A checkpoint is
//! written after everything that it counts as done, never before.
//!
//! It is believed to the byte or not at all: the file is read, written again in
//! memory, and has to be the same. A checksum stands in it, so that a changed
//! number does not pass either.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result, Stage};

/// The version written, and the only one read.
pub const VERSION: u32 = 5;

/// The whole file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<T> {
    /// [`VERSION`].
    version: u32,
    /// Of `state` as JSON without white space.
    crc32: u32,
    state: T,
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// What stands in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The recording that it is of.
    pub recording: Recording,
    /// Frames in the index so far.
    pub frames_kept: u64,
    /// Where reading goes on.
    pub read_from: ReadFrom,
    /// The stream that is followed.
    pub program: Program,
    /// The stream's clock.
    pub clock: Clock,
    /// The decoder.
    pub decoder: Decoder,
    /// The last picture decided, and what the rule remembers.
    pub decided: Decided,
}

/// By which one recording is told from another: see [`crate::recording::Fingerprint`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// Bytes of it that were safe on disk. It is never shorter.
    pub bytes: u64,
    /// CRC-32 of its first bytes.
    pub head_crc32: u32,
    /// CRC-32 of the last bytes before `bytes`.
    pub tail_crc32: u32,
}

/// A random access point. Times are 33-bit ticks of 90 kHz.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadFrom {
    /// Offset of its packet, in bytes.
    pub offset: u64,
    /// Offset from which the audio is read again, in bytes.
    pub audio_offset: u64,
    /// Offset from where that picture is decoded in one go, in bytes.
    pub keyframe_offset: u64,
    /// There is no key frame: what comes out first is damaged.
    pub damaged: bool,
    /// Elementary stream bytes in that packet that belong to the picture before.
    pub skip_bytes: usize,
    /// Presentation time.
    pub pts: Option<i64>,
    /// Decoding time.
    pub dts: Option<i64>,
}

/// See [`crate::demux::Program`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Program number.
    pub number: u16,
    /// PID of the video stream.
    pub video_pid: u16,
    /// `h264`, `hevc`, `mpeg2video` or `mpeg4`.
    pub codec: String,
    /// The audio streams: PID and codec.
    pub audio: Vec<(u16, String)>,
}

/// See [`crate::timeline::Clock`]. Ticks of 90 kHz, unwrapped, unless said otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Counts as 0.
    pub start: i64,
    /// Time of the picture before.
    pub last: Option<i64>,
    /// A picture has been seen.
    pub seen: bool,
    /// From one decoding time to the next.
    pub step: i64,
    /// Times that were not given.
    pub interpolation: Interpolation,
    /// Added to every time, in microseconds.
    pub offset_us: i64,
    /// Decoding time of the packet before, of any stream, in microseconds from the start.
    pub last_us: i64,
    /// The video stream.
    pub video: StreamClock,
    /// The audio streams.
    pub audio: Vec<AudioClock>,
}

/// See [`crate::timeline::Interpolation`]. Ticks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interpolation {
    /// No time was found ahead, and none is guessed.
    pub blank: bool,
    /// Where the next picture would be decoded.
    pub next: Option<i64>,
    /// What pictures without times have taken.
    pub guessed: i64,
    /// Presentation time of the reference picture before.
    pub reference_pts: Option<i64>,
    /// How long that is shown.
    pub reference_duration: i64,
    /// The last time that was looked at for its order.
    pub checked: Option<i64>,
    /// Times that stood alone and went on.
    pub ordered: u32,
    /// Such times that went back.
    pub misordered: u32,
    /// The last presentation times, in order.
    pub window: Vec<Option<i64>>,
    /// How well each place of the window has told the decoding time: sum and count.
    pub errors: Vec<(u64, u8)>,
}

/// See [`crate::timeline::StreamClock`]. Microseconds from the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamClock {
    /// A packet has been seen.
    pub started: bool,
    /// Decoding time of the packet before.
    pub dts_us: i64,
    /// What the stream has reached.
    pub reached_us: i64,
    /// Decoding time expected next.
    pub next_us: Option<i64>,
}

/// See [`crate::timeline::AudioClock`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioClock {
    /// Its PID.
    pub pid: u16,
    /// Offset of the PES packet that has passed last.
    pub through: u64,
    /// Time of its next frame, in ticks.
    pub next_pts: Option<i64>,
    /// Where it is expected.
    pub clock: StreamClock,
}

/// See [`crate::decode::Decoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decoder {
    /// Pictures by which the output is delayed.
    pub reorder: u32,
    /// Pictures by which it was delayed when the stream began.
    pub delay: u32,
    /// Parameter sets that it was opened with, in hexadecimal.
    pub parameter_sets: String,
    /// Width and height that it was opened with, if that still counts.
    pub size: Option<(u32, u32)>,
    /// PTS that did not grow.
    pub faulty_pts: u64,
    /// DTS that did not grow.
    pub faulty_dts: u64,
    /// The PTS before, from the start.
    pub last_pts: Option<i64>,
    /// The DTS before, from the start.
    pub last_dts: Option<i64>,
}

/// See [`crate::detect::DetectorState`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// Offset of the picture decided last, in presentation order.
    pub offset: u64,
    /// Its time from the start, in ticks.
    pub pts: i64,
    /// Its mean absolute frame difference.
    pub mafd: f64,
    /// Time of the frame kept last, in ticks.
    pub previous_kept: Option<i64>,
    /// Whether any frame was kept.
    pub any_kept: bool,
    /// Every picture that starts up to here was decided when a recorder ended.
    pub final_through: Option<u64>,
}

impl Checkpoint {
    /// Reads the bytes of a checkpoint; `path` is for messages.
    ///
    /// # Errors
    ///
    /// If they are no checkpoint, one of another version, or not to the byte what
    /// was written.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let is_none = "not a checkpoint";
        let Versioned { version } =
            serde_json::from_slice(bytes).context(Stage::Catalog, path, is_none)?;
        if version != VERSION {
            let what = format!("checkpoint of version {version}, not {VERSION}");
            return Err(Error::new(Stage::Catalog, what).path(path));
        }
        let Sealed::<Checkpoint> { state, .. } =
            serde_json::from_slice(bytes).context(Stage::Catalog, path, is_none)?;
        if state.to_json()? != bytes {
            let what = "its checksum does not fit: it was changed, or has suffered";
            return Err(Error::new(Stage::Catalog, what).path(path));
        }
        Ok(state)
    }

    /// What stands in the file, as JSON of its own: only `fuzz/` has use for it.
    #[cfg(fuzzing)]
    pub fn parse_unsealed(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Whether a recorder has ended, and detection with it, when the recording had
    /// `length` bytes.
    pub fn is_final(&self, length: u64) -> bool {
        self.decided.final_through.is_some() && self.recording.bytes == length
    }

    /// The bytes to be published.
    ///
    /// # Errors
    ///
    /// None that can be met: every value in it can be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let written = || -> serde_json::Result<Vec<u8>> {
            let crc32 = crc32fast::hash(&serde_json::to_vec(self)?);
            serde_json::to_vec_pretty(&Sealed { version: VERSION, crc32, state: self })
        };
        let mut bytes = written().map_err(|cause| {
            Error::new(Stage::Catalog, "cannot write a checkpoint").because(cause)
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
