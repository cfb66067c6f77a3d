//! The list of `scenetap sessions`.

use std::io::BufReader;
use std::path::Path;
use std::time::SystemTime;

use serde::de::IgnoredAny;

use super::Coverage;
use crate::catalog::INDEX_NAME;
use crate::error::Result;
use crate::session::{Session, StoredSession, stored_sessions};

/// One stored session.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// The session.
    pub session: Session,
    /// Time at which it was created.
    pub start: Option<SystemTime>,
    /// Length of the recording in seconds; estimated where detection has not come yet.
    pub seconds: Option<f64>,
    /// Length of the recording in bytes; `None` if it was deleted.
    pub bytes: Option<u64>,
    /// Number of entries in the index; `None` if the index is missing or not a JSON array.
    pub frames: Option<u64>,
    /// Whether a recorder is recording it.
    pub is_live: bool,
    /// Whether a file named `keep` protects it.
    pub is_kept: bool,
    /// Whether every picture of the recording has its verdict.
    pub is_detected: bool,
}

/// Returns the sessions in `sessions_dir`, grouped by series, each series oldest first.
///
/// # Errors
///
/// Returns an error if the folder cannot be read.
pub fn list_sessions(sessions_dir: &Path) -> Result<Vec<SessionInfo>> {
    Ok(stored_sessions(sessions_dir)?.into_iter().map(info).collect())
}

fn info(stored: StoredSession) -> SessionInfo {
    let StoredSession { session, recording, .. } = stored;
    let coverage = Coverage::of(&session, recording);
    SessionInfo {
        start: session.started(),
        seconds: coverage.seconds(&session.recording_ts(), recording),
        bytes: recording.map(|recording| recording.bytes),
        frames: count_entries(&session.frames_dir().join(INDEX_NAME)),
        is_live: session.is_recorded(),
        is_kept: session.is_marked_keep(),
        is_detected: coverage.is_finished,
        session,
    }
}

/// Counts the entries of an index without keeping them in memory.
fn count_entries(index: &Path) -> Option<u64> {
    let file = std::fs::File::open(index).ok()?;
    let entries: Vec<IgnoredAny> = serde_json::from_reader(BufReader::new(file)).ok()?;
    Some(entries.len() as u64)
}
