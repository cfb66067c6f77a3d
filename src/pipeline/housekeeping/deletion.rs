//! Deletes a recording or a session that nobody uses, and says what was deleted.

use bytesize::ByteSize;

use super::Coverage;
use crate::error::Result;
use crate::host::open_files;
use crate::session::{Deletable, OwnedSession, Protection, Session, StoredSession};

/// Whether a recording is deleted whose detection has not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// It stays.
    Keep,
    /// It is deleted, because the disk would otherwise be full.
    Delete,
}

/// How this process relates to a session.
#[derive(Debug, Clone, Copy)]
pub enum Owner<'a> {
    /// It is not one of its sessions.
    Nobody,
    /// It is locked by this process, which detects it or is about to.
    Us(&'a OwnedSession),
}

/// A deleted recording.
#[derive(Debug, Clone, PartialEq)]
pub struct DeletedRecording {
    /// Length of the recording in bytes.
    pub bytes: u64,
    /// What was never looked at, for people; empty if detection had finished.
    pub unseen: String,
}

/// Deletes the recording of a session. Its index and frames stay. `is_detected` tells that detection
/// has reached the end of the recording, if that is known without its checkpoint.
///
/// # Errors
///
/// Returns an error if the file cannot be removed. A session that is protected is none: then the
/// result is the reason.
pub fn delete_recording(
    stored: &StoredSession,
    owner: Owner<'_>,
    is_detected: bool,
    unfinished: Unfinished,
) -> Result<Result<DeletedRecording, Protection>> {
    let locked = match owner {
        Owner::Nobody => Deletable::lock(&stored.session, &open_files::opened_by)?,
        Owner::Us(session) => Deletable::owned(session, &open_files::opened_by)?,
    };
    let mut deletable = match locked {
        Ok(deletable) => deletable,
        Err(protection) => return Ok(Err(protection)),
    };
    if deletable.recording() != stored.recording {
        return Ok(Err(Protection::Changed));
    }
    let coverage = Coverage::of(&stored.session, stored.recording);
    let is_finished = is_detected || coverage.is_finished;
    if !is_finished && unfinished == Unfinished::Keep {
        return Ok(Err(Protection::Unfinished));
    }
    let unseen = if is_finished { String::new() } else { unseen(stored, &coverage) };
    if let Owner::Us(session) = owner {
        // First: detection ends, instead of failing when the file is gone.
        session.marks().set_deleted();
    }
    Ok(Ok(DeletedRecording { bytes: deletable.delete_recording()?, unseen }))
}

/// Deletes all of a session that scenetap has written. Returns the number of bytes of its
/// recording, and whether the folder is gone.
///
/// # Errors
///
/// As [`delete_recording`].
pub fn delete_session(stored: &StoredSession) -> Result<Result<(u64, bool), Protection>> {
    match Deletable::lock(&stored.session, &open_files::opened_by)? {
        Err(protection) => Ok(Err(protection)),
        Ok(deletable) if deletable.recording() != stored.recording => Ok(Err(Protection::Changed)),
        Ok(_) if is_unfinished(stored) => Ok(Err(Protection::Unfinished)),
        Ok(deletable) => deletable.delete_all().map(Ok),
    }
}

/// Returns why the session may not be deleted, if so, and changes nothing.
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

/// Describes the part of a recording that detection has not looked at.
fn unseen(stored: &StoredSession, coverage: &Coverage) -> String {
    let bytes = stored.recording.map_or(0, |recording| recording.bytes);
    let from = coverage.detected_s.unwrap_or(0.0);
    let seconds = match coverage.seconds(&stored.session.recording_ts(), stored.recording) {
        Some(to) => format!("seconds {from:.1} to {to:.1}"),
        None => format!("everything from second {from:.1} on"),
    };
    format!("{seconds} (bytes {} to {bytes})", coverage.detected_bytes)
}
