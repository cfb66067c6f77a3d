//! Deletes an unused recording or session, and describes what was deleted.

use bytesize::ByteSize;

use super::Coverage;
use crate::error::Result;
use crate::host::open_files;
use crate::session::{Deletable, OwnedSession, Protection, Session, StoredSession};

/// State of this process that decides about a deletion, besides the session's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The session, if this process has locked it.
    pub owned: Option<&'a OwnedSession>,
    /// Whether this process has opened the recording, and may still have it open.
    pub is_open_here: bool,
    /// Whether this process's detection has reached the current end of the recording.
    pub is_detected: bool,
}

/// Recordings that may be deleted in addition to finished ones with a single link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// Also recordings whose detection has not finished.
    pub unfinished: bool,
    /// Also recordings with another hard link, although deleting them frees no space.
    pub hard_linked: bool,
}

/// A deleted recording.
#[derive(Debug, Clone, PartialEq)]
pub struct DeletedRecording {
    /// Length of the recording in bytes.
    pub bytes: u64,
    /// Text that describes the part that was never analyzed; empty if detection had finished.
    pub unseen: String,
}

/// Deletes the recording of a session. Its index and frames stay.
///
/// # Errors
///
/// Returns an error if the file cannot be removed. A protected session is no error: the inner
/// result then holds the protection.
pub fn delete_recording(
    stored: &StoredSession,
    known: Known<'_>,
    allowed: Allowed,
) -> Result<Result<DeletedRecording, Protection>> {
    let locked = match known.owned {
        None => Deletable::lock(&stored.session, &open_files::opened_by)?,
        Some(session) => Deletable::owned(session, &open_files::opened_by)?,
    };
    let mut deletable = match locked {
        Ok(deletable) => deletable,
        Err(protection) => return Ok(Err(protection)),
    };
    if deletable.recording() != stored.recording {
        return Ok(Err(Protection::Changed));
    }
    if !allowed.hard_linked && !deletable.frees_space() {
        return Ok(Err(Protection::HardLinked));
    }
    let coverage = Coverage::of(&stored.session, stored.recording);
    let is_finished = known.is_detected || coverage.is_finished;
    if !is_finished && !allowed.unfinished {
        return Ok(Err(Protection::Unfinished));
    }
    let unseen = if is_finished { String::new() } else { unseen(stored, &coverage) };
    let bytes = deletable.delete_recording(known.is_open_here)?;
    Ok(Ok(DeletedRecording { bytes, unseen }))
}

/// Deletes every file of a session that scenetap has written. Returns the length of its recording
/// in bytes, and whether the folder was removed.
///
/// # Errors
///
/// As [`delete_recording`].
pub fn delete_session(stored: &StoredSession) -> Result<Result<(u64, bool), Protection>> {
    let deletable = match Deletable::lock(&stored.session, &open_files::opened_by)? {
        Ok(deletable) => deletable,
        Err(protection) => return Ok(Err(protection)),
    };
    if deletable.recording() != stored.recording {
        return Ok(Err(Protection::Changed));
    }
    if is_unfinished(stored) {
        return Ok(Err(Protection::Unfinished));
    }
    deletable.delete_all()
}

/// Returns what protects the session from deletion, if anything. Changes nothing.
///
/// # Errors
///
/// Returns an error if a file cannot be opened.
pub fn protection(stored: &StoredSession) -> Result<Option<Protection>> {
    Ok(match Deletable::lock(&stored.session, &open_files::opened_by)? {
        Err(protection) => Some(protection),
        Ok(_) if is_unfinished(stored) => Some(Protection::Unfinished),
        Ok(_) => None,
    })
}

/// Describes a session for the log, such as `cam_3 (1.2 GiB)`.
pub fn described(session: &Session, bytes: u64) -> String {
    format!("{} ({})", session.id(), ByteSize(bytes))
}

fn is_unfinished(stored: &StoredSession) -> bool {
    stored.recording.is_some() && !Coverage::of(&stored.session, stored.recording).is_finished
}

/// Describes the part of a recording that was not analyzed.
fn unseen(stored: &StoredSession, coverage: &Coverage) -> String {
    let bytes = stored.recording.map_or(0, |recording| recording.bytes);
    let from = coverage.detected_s.unwrap_or(0.0);
    let seconds = match coverage.seconds(&stored.session.recording_ts(), stored.recording) {
        Some(to) => format!("seconds {from:.1} to {to:.1}"),
        None => format!("everything from second {from:.1} on"),
    };
    format!("{seconds} (bytes {} to {bytes})", coverage.detected_bytes)
}
