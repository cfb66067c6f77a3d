//! `frames/state.json`: whether anything more is to come in a session, for those who wait for it.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Session;

/// Name of the file in the frames folder.
pub const STATE_NAME: &str = "state.json";

/// What a session's recorder tells of it. Keys are added, never changed; a key that another version
/// does not write reads as its default. Times of day are RFC 3339, in UTC.
///
/// A recorder that was killed tells nothing any more: then no process holds the session's lock.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionState {
    /// Id of the session.
    pub session: String,
    /// Whether every picture of the recording has a verdict, and none is to come.
    pub ended: bool,
    /// When this was written.
    pub written_at: Option<String>,
    /// Process id of the recorder.
    pub pid: u32,
    /// Boot of the machine in which it runs: after another one, `pid` is another process.
    pub boot_id: String,
    /// Whether a sender is connected.
    pub sender: SenderState,
    /// When the last byte arrived.
    pub last_byte_at: Option<String>,
    /// Length of the recording in bytes.
    pub recorded_bytes: u64,
    /// The last picture that has a verdict.
    pub last_picture: Option<LastPicture>,
    /// Bytes that are recorded and not analyzed yet.
    pub lag_bytes: u64,
    /// The same in seconds; estimated.
    pub lag_seconds: f64,
}

/// Whether a sender is connected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SenderState {
    /// Whether one is.
    pub connected: bool,
    /// Since when that has been so.
    pub since: Option<String>,
    /// Address and port of the one that is connected.
    pub address: Option<String>,
}

/// The last picture that has a verdict.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastPicture {
    /// Seconds from the start of the recording.
    pub timestamp: f64,
    /// When its first byte arrived, if a process that still runs has received it.
    pub captured_at: Option<String>,
}

impl Session {
    /// Returns the path of the state.
    pub fn state_json(&self) -> PathBuf {
        self.frames_dir().join(STATE_NAME)
    }

    /// Returns what the last recorder of the session has told; `None` if it told nothing, or nothing
    /// that can be read.
    pub fn state(&self) -> Option<SessionState> {
        serde_json::from_slice(&fs::read(self.state_json()).ok()?).ok()
    }
}
