//! What a running recorder tells of itself, to whoever asks on this machine.
//!
//! A recorder has one Unix socket, in its user's [folder for
//! sockets](crate::runtime_folder). Each connection gets one line of JSON, a
//! [`Status`], and is closed. The recorder answers from the runtime that also serves
//! its sender: who gets no answer has found one that hangs.

mod client;
mod server;
mod socket;

pub use client::{Answer, all_sockets, ask, sockets_of};
pub use server::Listener;

use serde::{Deserialize, Serialize};

use crate::media::Damage;

/// What one recorder tells. Keys are added, never changed; one that another version
/// does not tell reads as nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The session's id.
    pub session: String,
    /// The session's folder, absolute.
    pub folder: String,
    /// The address on which it listens.
    pub listening: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Who sends, if somebody does.
    pub sender: Option<Sender>,
    /// Whether what is sent can be written; false while it waits for space.
    pub recording: bool,
    /// How long the write that is under way has taken, in seconds; 0 if none is. Many
    /// are a disk that hangs.
    pub write_seconds: f64,
    /// Whether it was told to end, and only finishes what it has.
    pub ending: bool,
    /// Bytes that came from the network since it was started.
    pub bytes_received: u64,
    /// Length of the recording, in bytes.
    pub recorded_bytes: u64,
    /// The same as time; an estimate, since nobody has looked into the last bytes.
    pub recorded_seconds: f64,
    /// `running`, `waiting` (it failed and is tried again) or `failed`.
    pub detection: String,
    /// Time of the picture last judged, in seconds from the start.
    pub detected_seconds: f64,
    /// Bytes recorded and not judged yet.
    pub lag_bytes: u64,
    /// The same as time; an estimate.
    pub lag_seconds: f64,
    /// Pictures judged since it was started.
    pub pictures: u64,
    /// Frames kept since it was started.
    pub frames_kept: u64,
    /// Damage to the stream since the recorder was started.
    pub damage: Damage,
    /// Connections turned away since it was started.
    pub refused: u64,
    /// The last error that was logged, if any.
    pub last_error: Option<Trouble>,
    /// The last warning that was logged, if any.
    pub last_warning: Option<Trouble>,
    /// Bytes free where the session lies; null if the file system does not say.
    pub free_bytes: Option<u64>,
}

/// Who sends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sender {
    /// Its address and port.
    pub address: String,
    /// When it connected, RFC 3339.
    pub since: String,
}

/// A line of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trouble {
    /// What it says.
    pub message: String,
    /// When, RFC 3339.
    pub at: String,
}
