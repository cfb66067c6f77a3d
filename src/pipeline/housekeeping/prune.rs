//! Deletion by a user: `scenetap sessions prune`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::deletion::{Allowed, Known, delete_recording, delete_session, described, protection};
use crate::error::Result;
use crate::session::{Protection, StoredSession, stored_sessions};

/// Selection of sessions to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneOptions {
    /// The folder that contains the session folders.
    pub sessions_dir: PathBuf,
    /// Delete only sessions last recorded longer ago than this.
    pub older_than: Option<Duration>,
    /// Keep this many of the newest sessions of each series.
    pub keep: Option<usize>,
    /// Delete only recordings: index and frames stay.
    pub recordings_only: bool,
    /// Delete nothing; report what would be deleted.
    pub dry_run: bool,
}

/// Result for one selected session.
#[derive(Debug)]
pub enum Pruned {
    /// Deleted, or would be. The text is its name and size.
    Deleted(String),
    /// Deleted except for files of other programs.
    DeletedExceptOthers(String),
    /// Not deleted, for this reason.
    Stays(String, Protection),
}

/// Deletes the sessions that `options` select, the oldest of each series first. Passes the result
/// for each to `report`.
///
/// # Errors
///
/// Returns an error if the folder cannot be read. An error in one session is passed to `report`, and
/// the next session is processed.
pub fn prune(options: &PruneOptions, report: &mut dyn FnMut(Result<Pruned>)) -> Result<()> {
    for stored in selected(options)? {
        report(prune_one(&stored, options));
    }
    Ok(())
}

fn selected(options: &PruneOptions) -> Result<Vec<StoredSession>> {
    let stored = stored_sessions(&options.sessions_dir)?;
    let mut newer: BTreeMap<_, usize> = BTreeMap::new();
    let now = SystemTime::now();
    let mut selected = Vec::new();
    for stored in stored.into_iter().rev() {
        if options.recordings_only && stored.recording.is_none() {
            continue;
        }
        let newer = newer.entry(stored.series.clone()).or_default();
        let is_surplus = options.keep.is_none_or(|keep| *newer >= keep);
        *newer += 1;
        let age = stored.modified().and_then(|time| now.duration_since(time).ok());
        let is_old = options.older_than.is_none_or(|limit| age.is_some_and(|age| age > limit));
        if is_surplus && is_old {
            selected.push(stored);
        }
    }
    selected.reverse();
    Ok(selected)
}

fn prune_one(stored: &StoredSession, options: &PruneOptions) -> Result<Pruned> {
    let bytes = stored.recording.map_or(0, |recording| recording.bytes);
    let name = described(&stored.session, bytes);
    if options.dry_run {
        return Ok(match protection(stored)? {
            Some(protection) => Pruned::Stays(name, protection),
            None => Pruned::Deleted(name),
        });
    }
    if options.recordings_only {
        let allowed = Allowed { unfinished: false, hard_linked: true };
        return Ok(match delete_recording(stored, Known::default(), allowed)? {
            Ok(_) => Pruned::Deleted(name),
            Err(protection) => Pruned::Stays(name, protection),
        });
    }
    Ok(match delete_session(stored)? {
        Ok((_, true)) => Pruned::Deleted(name),
        Ok((_, false)) => Pruned::DeletedExceptOthers(name),
        Err(protection) => Pruned::Stays(name, protection),
    })
}
