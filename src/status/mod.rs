//! The status of a running recorder, for clients on the same machine.
//!
//! A recorder has one Unix socket, in its user's [folder for sockets](crate::host::runtime_folder).
//! It writes one line of JSON, a [`Status`], to each connection and closes it. The runtime that
//! receives the stream also answers here: if no answer comes, the recorder hangs.
//!
//! On a second socket, a [`FrameFeed`], it writes a line for each kept frame.
//!
//! ```text
//! server  writes one line to each client
//! feed    one line for each kept frame
//! client  queries recorders
//! socket  names of the sockets, and who listens
//! ```

mod client;
mod feed;
mod server;
mod socket;

pub use client::{Answer, all_sockets, ask, sockets_of};
pub use feed::{FeedReader, FrameFeed, KeptFrameLine};
pub use server::Listener;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::media::Damage;

/// The status of one recorder. Keys are added, never changed; a key that another version does not
/// send has its default value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Id of the session.
    pub session: String,
    /// Folder of the session, absolute.
    pub folder: String,
    /// Address on which the recorder listens.
    pub listening: String,
    /// Time at which the recorder started to listen, RFC 3339.
    pub since: String,
    /// The connected sender, if there is one.
    pub sender: Option<Sender>,
    /// Whether the stream can be written; false while the recorder waits for space.
    pub recording: bool,
    /// Seconds since the current write began; 0 if no write is in progress. A large value means that
    /// the disk hangs.
    pub write_seconds: f64,
    /// Whether the recorder is shutting down, and only processes data that it has already received.
    pub ending: bool,
    /// Bytes received from the network since startup.
    pub bytes_received: u64,
    /// Length of the recording, in bytes.
    pub recorded_bytes: u64,
    /// Length of the recording, in seconds; estimated, because the last bytes are not
    /// analyzed yet.
    pub recorded_seconds: f64,
    /// `running`, `waiting` (failed, will be retried) or `failed`.
    pub detection: String,
    /// Time of the last scored picture, in seconds from the start.
    pub detected_seconds: f64,
    /// Backlog: bytes recorded but not analyzed yet.
    pub lag_bytes: u64,
    /// Lag: seconds recorded but not analyzed yet; estimated.
    pub lag_seconds: f64,
    /// Seconds from the first to the last byte received since the last scored picture: a large value
    /// means that no picture can be decoded, or that detection hangs.
    pub undecided_seconds: f64,
    /// Pictures scored since startup.
    pub pictures: u64,
    /// Frames kept since startup.
    pub frames_kept: u64,
    /// Damage detected since startup.
    pub damage: Damage,
    /// Connections refused since startup.
    pub refused: u64,
    /// Recordings that the recorder has deleted since startup (`--keep-for`, `--keep-bytes`,
    /// `--recycle`).
    pub deleted_recordings: u64,
    /// Bytes in these recordings.
    pub deleted_bytes: u64,
    /// Sessions whose frames the recorder has deleted since startup (`--keep-frames-for`).
    pub deleted_sessions: u64,
    /// Sessions of this recorder whose recording could not be synced, each with the byte offset from
    /// which on it may not be on disk.
    pub sync_failures: BTreeMap<String, u64>,
    /// The last error that was logged, if any.
    pub last_error: Option<LoggedLine>,
    /// The last warning that was logged, if any.
    pub last_warning: Option<LoggedLine>,
    /// Free bytes on the session's file system; null if it does not report them.
    pub free_bytes: Option<u64>,
}

/// The connected sender.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sender {
    /// Address and port.
    pub address: String,
    /// Time at which the sender connected, RFC 3339.
    pub since: String,
}

/// A line of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoggedLine {
    /// The message, with its fields.
    pub message: String,
    /// Time at which the line was logged, RFC 3339.
    pub at: String,
}
