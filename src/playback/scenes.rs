//! The kept frames of a session as scenes; finds the next and the previous one, also in adjacent sessions.

use std::time::Duration;

use super::neighbors::{following, preceding};
use crate::catalog::Entry;
use crate::catalog::{Selection, SharedCatalog};
use crate::error::Result;
use crate::media::Reason;
use crate::pipeline::evidence::{self, Moment, OpenRecording, Target};
use crate::session::Session;

/// Minimum distance of the next scene, in seconds: a player that was moved to a scene shows its first
/// picture, or a slightly later one.
const LATER_SECONDS: f64 = 0.05;

/// Minimum distance of the previous scene while the player is playing, in seconds: a user can thus still go
/// back from a scene that has just begun.
const AGO_SECONDS: f64 = 1.0;

/// A kept frame that begins a new scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The session of the frame.
    pub session: Session,
    /// The entry in the index.
    pub entry: Entry,
}

/// Returns the frames that a session has so far, in presentation order.
///
/// # Errors
///
/// Returns an error if the index cannot be read.
pub fn frames(session: &Session) -> Result<Vec<Entry>> {
    let catalog = catalog(session)?;
    let listed = catalog.list(&Selection::default(), &[], session.is_recorded())?;
    Ok(listed.into_iter().map(|frame| frame.entry).collect())
}

/// Opens the frames folder of a session for reading, without waiting for a lock.
pub(super) fn catalog(session: &Session) -> Result<SharedCatalog> {
    SharedCatalog::open(&session.frames_dir(), &session.index_copy(), Duration::ZERO)
}

/// Returns the first scene after `time` in `session`, or in a session that continues it.
///
/// # Errors
///
/// Returns an error if an index or a recording cannot be read.
pub fn next_scene(session: &Session, time: f64, stop: &dyn Fn() -> bool) -> Result<Option<Scene>> {
    let (mut session, mut time) = (session.clone(), time);
    loop {
        let is_later = |seconds: f64| seconds > time + LATER_SECONDS;
        for entry in scenes(&session)?.into_iter().filter(|entry| is_later(entry.timestamp)) {
            // The player may be at the key frame to which it was moved for this scene.
            if is_later(reached_at(&session, &entry, stop)?) {
                return Ok(Some(Scene { session, entry }));
            }
        }
        let Some(following) = following(&session)? else { return Ok(None) };
        (session, time) = (following, f64::NEG_INFINITY);
    }
}

/// Returns the last scene before `time` in `session`, or in a session that precedes it. `is_playing` states
/// that the player is not paused.
///
/// # Errors
///
/// As [`next_scene`].
pub fn previous_scene(session: &Session, time: f64, is_playing: bool) -> Result<Option<Scene>> {
    let (mut session, mut time) = (session.clone(), time);
    let ago = if is_playing { AGO_SECONDS } else { LATER_SECONDS };
    loop {
        let is_earlier = |entry: &Entry| entry.timestamp < time - ago;
        if let Some(entry) = scenes(&session)?.into_iter().rfind(is_earlier) {
            return Ok(Some(Scene { session, entry }));
        }
        let Some(preceding) = preceding(&session)? else { return Ok(None) };
        (session, time) = (preceding, f64::INFINITY);
    }
}

/// Returns the frames except those kept only because the maximum interval had passed.
fn scenes(session: &Session) -> Result<Vec<Entry>> {
    let mut frames = frames(session)?;
    frames.retain(|entry| entry.reason.as_deref() != Some(Reason::Interval.as_str()));
    Ok(frames)
}

/// Returns the time that a player reaches when it is moved to a frame.
fn reached_at(session: &Session, entry: &Entry, stop: &dyn Fn() -> bool) -> Result<f64> {
    let recording = OpenRecording::open(&Target::Session(session.clone()), None)?;
    let moment = Moment::FromStart(entry.timestamp);
    Ok(evidence::place(&recording, moment, stop)?.reached())
}
