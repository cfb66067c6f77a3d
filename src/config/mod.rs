//! What was typed, set or written becomes one validated value per option.
//!
//! An option is a [`Key`]: one name for the flag, the variable and the line in
//! the file, one parser for all three. [`Layers`] picks the uppermost place in
//! which it was given: flag, then `SCENETAP_…`, then the old system's variable,
//! then `--config FILE.toml`, then the default. What comes out are the plain
//! structs below; whoever holds one need not check anything again.

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

/// Which pictures are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameRule {
    /// A picture is kept when its score is greater. 0 to 1, finite.
    pub scene_threshold: f64,
    /// A picture is kept when the last kept one is at least so many seconds old.
    /// Finite, not negative; 0 turns it off.
    pub max_frame_interval_s: f64,
}

/// How kept pictures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JpegConfig {
    /// 1 to 100.
    pub quality: u8,
    /// Wider pictures are scaled down to so many pixels, 16 to 65,535. `None`
    /// leaves every picture as it is.
    pub max_width_px: Option<u32>,
}

/// What `scenetap record` is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordConfig {
    /// Where senders connect. Port 0 lets the system choose.
    pub listen: HostPort,
    /// The folder that holds the session folders.
    pub sessions_dir: PathBuf,
    /// The session asked for by name: it is gone on with if it exists. `None`
    /// makes a new one, named for the local time.
    pub session: Option<String>,
    /// Which pictures are kept.
    pub rule: FrameRule,
    /// How they are written.
    pub jpeg: JpegConfig,
    /// The MPEG-TS program number to look at. `None` takes the first with video.
    pub program: Option<u16>,
    /// The longest time for which what was received may not be on disk yet.
    pub sync_interval: Duration,
    /// Who sends nothing for longer is turned away. `None`: nobody is.
    pub idle_timeout: Option<Duration>,
    /// A new sender takes the place of the one that is connected.
    pub takeover: bool,
    /// The networks from which senders may connect; none: from everywhere.
    pub allow: Vec<IpNet>,
    /// Senders have to speak TLS. `None`: they send as it is.
    pub tls: Option<TlsConfig>,
    /// Recording pauses while the file system has fewer bytes left.
    pub min_free_bytes: u64,
    /// A recording that is older goes on in a new session.
    pub rotate_every: Option<Duration>,
    /// A recording that is longer, in bytes, goes on in a new session.
    pub rotate_bytes: Option<u64>,
    /// Open mpv on the recording.
    pub play: bool,
    /// End when the sender leaves.
    pub once: bool,
    /// Write one line of JSON to stdout for each kept frame.
    pub json: bool,
}

/// How frames are found in a session's recording and written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectConfig {
    /// Which pictures are kept.
    pub rule: FrameRule,
    /// How they are written.
    pub jpeg: JpegConfig,
    /// The MPEG-TS program number to look at. `None` takes the first with video.
    pub program: Option<u16>,
    /// No more time than this is lost with the power.
    pub sync_interval: Duration,
}

impl RecordConfig {
    /// The part of it that detection needs.
    pub fn detection(&self) -> DetectConfig {
        let RecordConfig { rule, jpeg, program, sync_interval, .. } = *self;
        DetectConfig { rule, jpeg, program, sync_interval }
    }
}

/// What `scenetap check` is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckConfig {
    /// A session's name or folder, as it was typed.
    pub session: PathBuf,
    /// The folder in which a session's name is looked up.
    pub sessions_dir: PathBuf,
    /// Mend what can be mended.
    pub repair: bool,
    /// How frames are found again.
    pub detection: DetectConfig,
}

/// Where the certificates are, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Ours, and those between it and the one that senders know.
    pub cert: PathBuf,
    /// Its private key. May be the same file.
    pub key: PathBuf,
    /// Whose certificates senders have to have. `None`: they need none.
    pub client_ca: Option<PathBuf>,
}

/// What `scenetap scan` is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanConfig {
    /// The recording to look at.
    pub file: PathBuf,
    /// Only say what the file contains.
    pub list: bool,
    /// Where JPEGs and `index.json` go. `None` writes neither.
    pub frames_dir: Option<PathBuf>,
    /// Write one line of JSON to stdout for each kept frame.
    pub json: bool,
    /// The CSV file that gets every picture's time and score.
    pub scores: Option<PathBuf>,
    /// Which pictures are kept.
    pub rule: FrameRule,
    /// How they are written.
    pub jpeg: JpegConfig,
    /// The MPEG-TS program number to look at. `None` takes the first with video.
    pub program: Option<u16>,
    /// Threads that work at the same time.
    pub jobs: NonZeroUsize,
}

/// What `scenetap send` is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct SendConfig {
    /// The file to play.
    pub file: PathBuf,
    /// The recorder. Its port is not 0.
    pub to: HostPort,
    /// How fast.
    pub speed: Speed,
    /// Begin again at the end, with time going on.
    pub repeat: bool,
}

/// Where a player begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PlayFrom {
    /// At the newest picture, following what arrives.
    Live,
    /// So many seconds from the recording's start. Finite, not negative.
    Seconds(f64),
}

/// What `scenetap play` is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayConfig {
    /// A session's name or folder, or a recording, as it was typed.
    pub target: PathBuf,
    /// The folder in which a session's name is looked up.
    pub sessions_dir: PathBuf,
    /// Where to begin.
    pub from: PlayFrom,
}

/// What `scenetap status` is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusConfig {
    /// A session's name or folder, as it was typed. `None`: every recorder's.
    pub session: Option<PathBuf>,
    /// The folder in which a session's name is looked up.
    pub sessions_dir: PathBuf,
    /// Write one line of JSON for each recorder instead of text.
    pub json: bool,
}

/// What is told on stderr, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Directives as `tracing_subscriber::EnvFilter` reads them, already tried.
    pub filter: String,
    /// Lines for people or for programs.
    pub format: LogFormat,
    /// Whether live lines and progress bars are wanted where stderr is a terminal.
    pub progress: bool,
}
