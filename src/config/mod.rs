//! Combines flags, environment variables and the configuration file into validated
//! structs.
//!
//! An option is a [`Key`]: one name for the flag, the variable and the key of the file, and one parser for
//! all three. [`Layers`] picks the value of the highest layer in which the option is given: flag, then
//! `SCENETAP_…`, then the older system's variable, then the [configuration file](config_path), then the
//! default. The values of the structs below are validated; their users need no further checks.
//!
//! ```text
//! keys    all options by name
//! values  one parser per kind of value
//! layers  flag, variable, file, default
//! places  where the file is searched
//! file    the file, in TOML
//! ```

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
    /// Time to wait at the end for readers, the terminal and locks.
    pub shutdown_timeout: Duration,
}

/// Configuration of `scenetap scan`.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanConfig {
    /// Options of the scan.
    pub scan: ScanOptions,
    /// List the content of the file instead of scanning it.
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
    /// Repair the problems found.
    pub repair: bool,
    /// Options for detecting missing frames again.
    pub detect: DetectOptions,
}

/// Configuration of `scenetap frames`.
#[derive(Debug, Clone, PartialEq)]
pub struct FramesConfig {
    /// Session name or folder, as given on the command line.
    pub session: PathBuf,
    /// The folder in which session names are looked up.
    pub sessions_dir: PathBuf,
    /// Selected frames.
    pub selection: Selection,
    /// Length of leases; `None` lists frames instead.
    pub lease: Option<Duration>,
    /// Whether to wait for more frames.
    pub follow: bool,
    /// Maximum time to wait for another recorder.
    pub timeout: Option<Duration>,
    /// Name of the client.
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
    /// Id of a frame at which playback starts instead.
    pub frame: Option<String>,
    /// Scene to which the player moves instead.
    pub step: Option<SceneStep>,
    /// Time to wait for the lock on the index.
    pub lock_timeout: Duration,
}

/// A scene, relative to the shown picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SceneStep {
    /// The next scene.
    Next,
    /// The previous scene.
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
    /// Number of the program.
    pub program: Option<u16>,
    /// The file to write; `-` is stdout.
    pub output: PathBuf,
    /// Format of the output file.
    pub format: StillFormat,
    /// JPEG quality and maximum width.
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
    /// The range of times.
    pub range: ClipRange,
    /// Number of the program at whose key frames the clip begins and ends.
    pub program: Option<u16>,
    /// The file to write; `-` is stdout.
    pub output: PathBuf,
    /// Whether packets of 192 and 204 bytes keep their size.
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
