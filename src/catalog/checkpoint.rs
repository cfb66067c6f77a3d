//! `checkpoint.json`: how far detection has come, in bytes.
//!
//! These structs define the file format. They are separate from the working types, so
//! that those can change while a file of another version is still recognized. A
//! checkpoint is only written after everything that it covers.
//!
//! A checkpoint is trusted only if every byte is as written: the file is parsed,
//! serialized again in memory, and must be identical. It also contains a checksum, so
//! that a changed number is detected.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result, Stage};

/// Version of the format that is written, and the only one that is read.
pub const VERSION: u32 = 5;

/// The whole file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<T> {
    /// [`VERSION`].
    version: u32,
    /// CRC-32 of `state` as JSON without whitespace.
    crc32: u32,
    state: T,
}

/// The part that every version of the file has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Content of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The recording that the checkpoint belongs to.
    pub recording: Recording,
    /// Number of frames kept so far.
    pub frames_kept: u64,
    /// Where reading resumes.
    pub read_from: ReadFrom,
    /// The analyzed program.
    pub program: Program,
    /// The stream's clock.
    pub clock: Clock,
    /// The decoder's state.
    pub decoder: Decoder,
    /// The last picture with a verdict, and the state of the rule.
    pub decided: Decided,
}

/// Identifies the recording: see [`crate::recording::Fingerprint`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// Length in bytes that was durable. The recording never becomes shorter.
    pub bytes: u64,
    /// CRC-32 of the first bytes.
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
    /// Offset from which audio is read again, in bytes.
    pub audio_offset: u64,
    /// Offset in bytes at which decoding has to start to show the picture.
    pub keyframe_offset: u64,
    /// There is no key frame: the first pictures are damaged.
    pub damaged: bool,
    /// Bytes of elementary stream in that packet that belong to the previous picture.
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

/// See [`crate::timeline::Clock`]. 90 kHz ticks, unwrapped, unless stated otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Time that becomes 0.
    pub start: i64,
    /// Time of the previous picture.
    pub last: Option<i64>,
    /// Whether a picture has been seen.
    pub seen: bool,
    /// Last difference between two decoding times.
    pub step: i64,
    /// State for times that are not given.
    pub interpolation: Interpolation,
    /// Offset added to every time, in microseconds.
    pub offset_us: i64,
    /// Decoding time of the previous packet of any stream, in microseconds from the
    /// start.
    pub last_us: i64,
    /// Clock of the video stream.
    pub video: StreamClock,
    /// Clocks of the audio streams.
    pub audio: Vec<AudioClock>,
}

/// See [`crate::timeline::Interpolation`]. Times are in ticks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interpolation {
    /// The look-ahead found no time, and none is guessed.
    pub blank: bool,
    /// Expected decoding time of the next picture.
    pub next: Option<i64>,
    /// Ticks taken by pictures without times.
    pub guessed: i64,
    /// Presentation time of the previous reference picture.
    pub reference_pts: Option<i64>,
    /// How long that picture is shown.
    pub reference_duration: i64,
    /// The last time whose order was checked.
    pub checked: Option<i64>,
    /// Number of pictures with PTS equal to DTS whose time did not go back.
    pub ordered: u32,
    /// Number of such pictures whose time went back.
    pub misordered: u32,
    /// The last presentation times, sorted.
    pub window: Vec<Option<i64>>,
    /// For each position of the window, how far it was from the decoding time: sum and
    /// count.
    pub errors: Vec<(u64, u8)>,
}

/// See [`crate::timeline::StreamClock`]. Microseconds from the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamClock {
    /// Whether a packet has been seen.
    pub started: bool,
    /// Decoding time of the previous packet.
    pub dts_us: i64,
    /// Time that the stream has reached.
    pub reached_us: i64,
    /// Expected decoding time of the next packet.
    pub next_us: Option<i64>,
}

/// See [`crate::timeline::AudioClock`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioClock {
    /// PID of the stream.
    pub pid: u16,
    /// Offset of the last PES packet that has passed.
    pub through: u64,
    /// PTS of the next frame in ticks.
    pub next_pts: Option<i64>,
    /// Its expected time.
    pub clock: StreamClock,
}

/// See [`crate::decode::Decoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decoder {
    /// Output delay in pictures.
    pub reorder: u32,
    /// Output delay at the beginning of the stream, in pictures.
    pub delay: u32,
    /// Parameter sets that the decoder was opened with, in hexadecimal.
    pub parameter_sets: String,
    /// Width and height that the decoder was opened with, if they still apply.
    pub size: Option<(u32, u32)>,
    /// Number of PTS that did not increase.
    pub faulty_pts: u64,
    /// Number of DTS that did not increase.
    pub faulty_dts: u64,
    /// PTS of the previous picture, from the start.
    pub last_pts: Option<i64>,
    /// DTS of the previous picture, from the start.
    pub last_dts: Option<i64>,
}

/// See [`crate::detect::DetectorState`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// Offset of the last picture with a verdict, in presentation order.
    pub offset: u64,
    /// Its time from the start, in ticks.
    pub pts: i64,
    /// Its mean absolute frame difference.
    pub mafd: f64,
    /// Time of the last kept frame, in ticks.
    pub previous_kept: Option<i64>,
    /// Whether any frame has been kept.
    pub any_kept: bool,
    /// Offset up to which every picture had a verdict when a recorder ended.
    pub final_through: Option<u64>,
}

impl Checkpoint {
    /// Parses a checkpoint; `path` only appears in messages.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are not a checkpoint, are of another version, or
    /// differ from what was written.
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
            let what = "checksum mismatch: the file was changed or is corrupt";
            return Err(Error::new(Stage::Catalog, what).path(path));
        }
        Ok(state)
    }

    /// Parses the content of the file without its checksum, for `fuzz/`.
    #[cfg(fuzzing)]
    pub fn parse_unsealed(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Whether a recorder ended, and detection completed, when the recording had `length`
    /// bytes.
    pub fn is_final(&self, length: u64) -> bool {
        self.decided.final_through.is_some() && self.recording.bytes == length
    }

    /// Returns the bytes of the file.
    ///
    /// # Errors
    ///
    /// Does not occur in practice: every value can be serialized as JSON.
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
