//! `frames/state.json`: states whether a session will get more frames.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Session;

/// Name of the file in the frames folder.
pub const STATE_NAME: &str = "state.json";

/// State that a recorder writes for each session. Keys are added, never changed; a key that another
/// version does not write has its default value. Times of day are RFC 3339, in UTC.
///
/// A killed recorder no longer updates it. In that case, no process holds the session's lock.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionState {
    /// Id of the session.
    pub session: String,
    /// Whether every picture of the recording has a verdict, and no more will follow.
    pub ended: bool,
    /// Time at which this state was written.
    pub written_at: Option<String>,
    /// Process id of the recorder.
    pub pid: u32,
    /// Boot id of the machine: after a reboot, `pid` may be another process.
    pub boot_id: String,
    /// Whether a sender is connected.
    pub sender: SenderState,
    /// Time at which the last byte arrived.
    pub last_byte_at: Option<String>,
    /// Length of the recording in bytes.
    pub recorded_bytes: u64,
    /// The last picture that has a verdict.
    pub last_picture: Option<LastPicture>,
    /// Number of recorded bytes that are not analyzed yet.
    pub lag_bytes: u64,
    /// Estimated duration of these bytes in seconds.
    pub lag_seconds: f64,
}

/// State of the connection to the sender.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SenderState {
    /// Whether a sender is connected.
    pub connected: bool,
    /// Time at which it connected or, if not connected, at which the last sender disconnected.
    pub since: Option<String>,
    /// Address and port of the connected sender.
    pub address: Option<String>,
}

/// The last picture that has a verdict.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastPicture {
    /// Seconds from the start of the recording.
    pub timestamp: f64,
    /// Time at which the picture's first byte arrived, if the process that received it still runs.
    pub captured_at: Option<String>,
}

impl Session {
    /// Returns the path of the state.
    pub fn state_json(&self) -> PathBuf {
        self.frames_dir().join(STATE_NAME)
    }

    /// Returns the last written state; `None` if the file is missing or cannot be read.
    pub fn state(&self) -> Option<SessionState> {
        serde_json::from_slice(&fs::read(self.state_json()).ok()?).ok()
    }
}
