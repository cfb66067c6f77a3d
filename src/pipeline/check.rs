//! `check`: compares a session's recording, frames, index and checkpoint with each other.

use std::sync::Arc;

use super::DetectOptions;
use super::keyframes;
use super::list::has_video;
use super::live::checkpoint::Checkpoint;
use super::live::trust::{self, StoredCheckpoint};
use super::live::{Detected, Live};
use super::record::finished_job;
use crate::catalog::examine::{self, Examined};
use crate::catalog::publish::left_overs;
use crate::error::{Context, Error, Result, Stage};
use crate::host::shutdown::Shutdown;
use crate::media::ByteOffset;
use crate::recording;
use crate::session::Session;
use crate::telemetry::Counters;

/// Returns the problems of a session, and changes nothing. While the session is being recorded,
/// temporary files are not problems.
///
/// # Errors
///
/// Returns an error if a file cannot be read.
pub fn check(session: &Session) -> Result<Examined> {
    let is_recorded = session.is_recorded();
    let path = session.recording_ts();
    let recording::Reopened { length, discarded_bytes, packet_size } = recording::examine(&path)?;
    let mut found = examine::examine(&session.frames_dir(), &path, length, is_recorded)?;
    found.packets = length / packet_size.bytes() as u64;
    let failed_sync = recording::failed_sync(&path);
    if let Some(from) = failed_sync {
        let what = "a sync to disk has failed: bytes from here on may be lost at a power failure";
        found.problems.push(Error::new(Stage::Recording, what).path(&path).at(ByteOffset(from)));
    }
    if is_recorded {
        return Ok(found);
    }
    let mut problem = |error: Error| found.problems.push(error);
    if discarded_bytes > 0 {
        let what = format!("{discarded_bytes} bytes of a torn packet at byte {length}");
        problem(Error::new(Stage::Recording, what).path(&path));
    }
    if length > 0 && has_video(&session.recording_ts()) {
        keyframes::examine(session, length)?.into_iter().for_each(&mut problem);
    }
    let path = session.checkpoint_json();
    let contradiction = match trust::examine(&path, &session.recording_ts(), length)? {
        StoredCheckpoint::Missing if failed_sync.is_some() => None,
        StoredCheckpoint::Missing if length > 0 && has_video(&session.recording_ts()) => {
            Some("it is missing: detection would start over".into())
        }
        StoredCheckpoint::Missing => None,
        StoredCheckpoint::Untrusted(error) => {
            problem(error);
            None
        }
        // Such a checkpoint covers only what is certainly on disk.
        StoredCheckpoint::Trusted(_) if failed_sync.is_some() => None,
        StoredCheckpoint::Trusted(checkpoint) => {
            find_contradiction(&checkpoint, length, found.entries)
        }
    };
    if let Some(what) = contradiction {
        problem(trust::untrusted(&path, what));
    }
    let folder = path.parent().unwrap_or(&path);
    for path in left_overs(folder, |_| true).context(Stage::Catalog, folder, "cannot read")? {
        problem(Error::new(Stage::Catalog, "temporary file of an interrupted run").path(path));
    }
    Ok(found)
}

/// Returns the reason why a checkpoint of this recording is incomplete or wrong, if there is one.
fn find_contradiction(checkpoint: &Checkpoint, length: u64, entries: u64) -> Option<String> {
    if checkpoint.frames_kept > entries {
        Some(format!("it covers {} frames; the index has fewer", checkpoint.frames_kept))
    } else if !checkpoint.is_final(length) {
        Some(format!("detection has not reached the end of the recording, byte {length}"))
    } else {
        None
    }
}

/// Repairs the problems that [`check`] has found: discards a torn packet, and restores missing
/// frames by detection. Quarantines untrusted files instead of deleting them.
///
/// # Errors
///
/// Returns an error if the session is being recorded, or a file cannot be read or
/// written.
pub fn repair(
    session: &Session,
    found: &Examined,
    options: &DetectOptions,
    counters: &Arc<Counters>,
    shutdown: &Shutdown,
) -> Result<()> {
    let owned = session.clone().into_owned()?;
    let checkpoint = session.checkpoint_json();
    if found.lacks_frames && checkpoint.exists() {
        trust::quarantine(&checkpoint, &trust::untrusted(&checkpoint, "frames are missing"))?;
    }
    if recording::failed_sync(&session.recording_ts()).is_some() {
        recording::forget_failed_sync(&session.recording_ts())?;
    }
    let job = finished_job(owned)?;
    counters.recorded_bytes.store(job.opened_bytes, std::sync::atomic::Ordering::Relaxed);
    let _owned = Arc::clone(&job.session);
    let live = Live::new(job, Detected::default(), options, counters);
    live.until(shutdown).run(&mut |_, _| ())?;
    let length = recording::examine(&session.recording_ts())?.length;
    if keyframes::examine(session, length)?.is_some() {
        keyframes::rebuild(session, options.program, &|| shutdown.is_requested())?;
    }
    if !shutdown.is_requested() {
        let strays = examine::quarantine_strays(&session.frames_dir())?;
        if strays > 0 {
            tracing::warn!("quarantined {strays} JPEGs that are not in the index");
        }
    }
    Ok(())
}
