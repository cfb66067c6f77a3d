//! Combines flags, environment variables and the configuration file into validated
//! structs.
//!
//! An option is a [`Key`]: one name for the flag, the variable and the key of the file,
//! and one parser for all three. [`Layers`] picks the value of the highest layer that
//! gives the option: flag, then `SCENETAP_…`, then the older system's variable, then
//! `--config FILE.toml`, then the default. The values of the structs below are validated;
//! their users check nothing again.

mod file;
mod keys;
mod layers;
mod values;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub use file::File;
pub use keys::{ALL, AnyKey, CONFIG_VARIABLE, Key, Kind, key};
pub use layers::{Environment, Layer, Layers, Ranked};
pub use values::{HostPort, LogFormat, Speed};

/// Decides which pictures are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameRule {
    /// Keeps a picture whose score is greater. 0 to 1, finite.
    pub scene_threshold: f64,
    /// Keeps a picture if the last kept one is at least this many seconds old. Finite,
    /// not negative; 0 disables it.
    pub max_frame_interval_s: f64,
}

/// Decides how kept pictures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JpegConfig {
    /// JPEG quality, 1 to 100.
    pub quality: u8,
    /// Scales wider pictures down to this width in pixels, 16 to 65,535. `None` keeps the
    /// size.
    pub max_width_px: Option<u32>,
}

/// Configuration of `scenetap record`.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordConfig {
    /// Address to listen on. Port 0 lets the system choose.
    pub listen: HostPort,
    /// Folder that contains the session folders.
    pub sessions_dir: PathBuf,
    /// Name of the session, which is resumed if it exists. `None` creates a new one,
    /// named for the local time.
    pub session: Option<String>,
    /// Which pictures are kept.
    pub rule: FrameRule,
    /// How kept pictures are written.
    pub jpeg: JpegConfig,
    /// MPEG-TS program number to analyze. `None` selects the first program with video.
    pub program: Option<u16>,
    /// Longest time for which received bytes may not be synced to disk.
    pub sync_interval: Duration,
    /// Disconnects a sender that sends nothing for longer. `None` never does.
    pub idle_timeout: Option<Duration>,
    /// Whether a new sender replaces the connected one.
    pub takeover: bool,
    /// Networks from which senders may connect. Empty allows all.
    pub allow: Vec<IpNet>,
    /// Certificates for TLS, which senders then have to use. `None` is plain TCP.
    pub tls: Option<TlsConfig>,
    /// Recording pauses while the file system has fewer free bytes.
    pub min_free_bytes: u64,
    /// Age at which the recording continues in a new session.
    pub rotate_every: Option<Duration>,
    /// Length in bytes at which the recording continues in a new session.
    pub rotate_bytes: Option<u64>,
    /// Whether to open mpv on the recording.
    pub play: bool,
    /// Whether to exit when the sender disconnects.
    pub once: bool,
    /// Whether to print one line of JSON to stdout per kept frame.
    pub json: bool,
}

/// How frames are detected in a session's recording and written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectConfig {
    /// Which pictures are kept.
    pub rule: FrameRule,
    /// How kept pictures are written.
    pub jpeg: JpegConfig,
    /// MPEG-TS program number to analyze. `None` selects the first program with video.
    pub program: Option<u16>,
    /// Longest time for which written frames may not be synced to disk.
    pub sync_interval: Duration,
}

impl RecordConfig {
    /// Returns the part of the configuration that detection needs.
    pub fn detection(&self) -> DetectConfig {
        let RecordConfig { rule, jpeg, program, sync_interval, .. } = *self;
        DetectConfig { rule, jpeg, program, sync_interval }
    }
}

/// Configuration of `scenetap check`.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckConfig {
    /// Name or folder of the session, as typed.
    pub session: PathBuf,
    /// Folder in which the session's name is looked up.
    pub sessions_dir: PathBuf,
    /// Whether to repair what can be repaired.
    pub repair: bool,
    /// How missing frames are detected again.
    pub detection: DetectConfig,
}

/// Paths of the certificates, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The recorder's certificate, followed by intermediate certificates.
    pub cert: PathBuf,
    /// Private key of the certificate. May be the same file.
    pub key: PathBuf,
    /// Authorities that must have issued the senders' certificates. `None` requires none.
    pub client_ca: Option<PathBuf>,
}

/// Configuration of `scenetap scan`.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanConfig {
    /// The recording to scan.
    pub file: PathBuf,
    /// Whether to only list what the file contains.
    pub list: bool,
    /// Folder for JPEGs and `index.json`. `None` writes neither.
    pub frames_dir: Option<PathBuf>,
    /// Whether to print one line of JSON to stdout per kept frame.
    pub json: bool,
    /// CSV file for the time and score of every picture.
    pub scores: Option<PathBuf>,
    /// Which pictures are kept.
    pub rule: FrameRule,
    /// How kept pictures are written.
    pub jpeg: JpegConfig,
    /// MPEG-TS program number to analyze. `None` selects the first program with video.
    pub program: Option<u16>,
    /// Number of threads.
    pub jobs: NonZeroUsize,
}

/// Configuration of `scenetap send`.
#[derive(Debug, Clone, PartialEq)]
pub struct SendConfig {
    /// The file to send.
    pub file: PathBuf,
    /// Address of the recorder. The port is not 0.
    pub to: HostPort,
    /// Speed, relative to real time.
    pub speed: Speed,
    /// Whether to repeat the file forever with continuous timestamps.
    pub repeat: bool,
}

/// Position at which the player starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PlayFrom {
    /// At the live edge, which the player then follows.
    Live,
    /// This many seconds from the start of the recording. Finite, not negative.
    Seconds(f64),
}

/// Configuration of `scenetap play`.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayConfig {
    /// Name or folder of a session, or a recording, as typed.
    pub target: PathBuf,
    /// Folder in which the session's name is looked up.
    pub sessions_dir: PathBuf,
    /// Position at which the player starts.
    pub from: PlayFrom,
}

/// Configuration of `scenetap status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusConfig {
    /// Name or folder of a session, as typed. `None` asks every recorder.
    pub session: Option<PathBuf>,
    /// Folder in which the session's name is looked up.
    pub sessions_dir: PathBuf,
    /// Whether to print one line of JSON per recorder instead of text.
    pub json: bool,
}

/// Configuration of logging to stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Directives of `tracing_subscriber::EnvFilter`, already validated.
    pub filter: String,
    /// Text for people or JSON for programs.
    pub format: LogFormat,
    /// Whether to show live lines and progress bars if stderr is a terminal.
    pub progress: bool,
}
