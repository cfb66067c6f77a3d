//! Combines flags, environment variables and the configuration file into validated
//! structs.
//!
//! An option is a [`Key`]: one name for the flag, the variable and the key of the file,
//! and one parser for all three. [`Layers`] picks the value of the highest layer that
//! gives the option: flag, then `SCENETAP_…`, then the older system's variable, then
//! the [configuration file](config_path), then the default. The values of the structs below are validated;
//! their users check nothing again.

mod file;
mod keys;
mod layers;
mod places;
mod values;

use std::path::PathBuf;
use std::time::Duration;

pub use file::File;
pub use keys::{ALL, AnyKey, CONFIG_VARIABLE, Key, ValueKind, key};
pub use layers::{Environment, Layer, Layers, Ranked};
pub use places::{SYSTEM_CONFIG, config_path};
pub use values::{CommandWords, HostPort};

use crate::agent::FrameCommand;
use crate::catalog::JpegOptions;
use crate::catalog::Selection;
use crate::pipeline::evidence::{ClipRange, Moment, StillFormat};
use crate::pipeline::{DetectOptions, RecordOptions, ScanOptions};

/// Configuration of `scenetap record`.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordConfig {
    /// Options of the recording pipeline.
    pub record: RecordOptions,
    /// Open mpv on the recording.
    pub play: bool,
    /// Write each kept frame to stdout as a line of JSON.
    pub json: bool,
    /// The command that is run for each kept frame.
    pub on_frame: Option<FrameCommand>,
    /// Time to wait at the end for what others hold.
    pub shutdown_timeout: Duration,
}

/// Configuration of `scenetap scan`.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanConfig {
    /// Options of the scan.
    pub scan: ScanOptions,
    /// Only list what the file contains.
    pub list: bool,
    /// Write each kept frame to stdout as a line of JSON.
    pub json: bool,
}

/// Configuration of `scenetap check`.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckConfig {
    /// Session name or folder, as given on the command line.
    pub session: PathBuf,
    /// The folder in which session names are looked up.
    pub sessions_dir: PathBuf,
    /// Repair what can be repaired.
    pub repair: bool,
    /// How missing frames are found again.
    pub detect: DetectOptions,
}

/// Configuration of `scenetap frames`.
#[derive(Debug, Clone, PartialEq)]
pub struct FramesConfig {
    /// Session name or folder, as given on the command line.
    pub session: PathBuf,
    /// The folder in which session names are looked up.
    pub sessions_dir: PathBuf,
    /// Which frames.
    pub selection: Selection,
    /// For how long frames are leased.
    pub lease: Option<Duration>,
    /// Whether to wait for more frames.
    pub follow: bool,
    /// Maximum time to wait without a recorder.
    pub timeout: Option<Duration>,
    /// Who acts.
    pub holder: Option<String>,
    /// Whether to print one line of JSON per frame instead of a table.
    pub json: bool,
    /// Time to wait for the lock on the index.
    pub lock_timeout: Duration,
}

/// Configuration of `scenetap play`.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayConfig {
    /// Session name or folder, or recording, as given on the command line.
    pub target: PathBuf,
    /// The folder in which session names are looked up.
    pub sessions_dir: PathBuf,
    /// Where playback starts; `None` for the live edge.
    pub from: Option<Moment>,
    /// The id of a frame, at which it starts instead.
    pub frame: Option<String>,
    /// The scene to which it goes instead.
    pub step: Option<SceneStep>,
    /// Time to wait for the lock on the index.
    pub lock_timeout: Duration,
}

/// A scene, as seen from the picture that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SceneStep {
    /// The next one.
    Next,
    /// The one before.
    Previous,
}

/// Configuration of `scenetap still`.
#[derive(Debug, Clone, PartialEq)]
pub struct StillConfig {
    /// Session name or folder, or recording, as given on the command line.
    pub target: PathBuf,
    /// The folder in which session names are looked up.
    pub sessions_dir: PathBuf,
    /// The moment, unless a frame is given.
    pub at: Option<Moment>,
    /// The id of a frame.
    pub frame: Option<String>,
    /// The program to look at.
    pub program: Option<u16>,
    /// The file to write; `-` is stdout.
    pub output: PathBuf,
    /// Format of that file.
    pub format: StillFormat,
    /// Quality and width.
    pub jpeg: JpegOptions,
    /// Whether to print a line of JSON.
    pub json: bool,
    /// Time to wait for the lock on the index.
    pub lock_timeout: Duration,
}

/// Configuration of `scenetap clip`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipConfig {
    /// Session name or folder, or recording, as given on the command line.
    pub target: PathBuf,
    /// The folder in which session names are looked up.
    pub sessions_dir: PathBuf,
    /// Which part.
    pub range: ClipRange,
    /// The program at whose key frames the part begins and ends.
    pub program: Option<u16>,
    /// The file to write; `-` is stdout.
    pub output: PathBuf,
    /// Whether packets of 192 and 204 bytes stay so.
    pub as_is: bool,
    /// Whether to print a line of JSON.
    pub json: bool,
}

/// Configuration of `scenetap sessions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionsConfig {
    /// Folder that contains the session folders.
    pub sessions_dir: PathBuf,
    /// Whether to print one line of JSON per session instead of a table.
    pub json: bool,
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
