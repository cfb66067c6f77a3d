//! The kept frames of a session as scenes: the next and the previous one, also of the sessions around it.

use std::time::Duration;

use super::neighbors::{following, preceding};
use crate::catalog::Entry;
use crate::catalog::{Selection, SharedCatalog};
use crate::error::Result;
use crate::media::Reason;
use crate::pipeline::evidence::{self, Moment, OpenRecording, Target};
use crate::session::Session;

/// A scene is the next one if it begins this many seconds later: a player that was sent to a scene stands
/// at its first picture, or shortly after it.
const LATER_SECONDS: f64 = 0.05;

/// A scene is the previous one of a player that plays on if it began this many seconds ago, so that the
/// player can still be sent back to the one before.
const AGO_SECONDS: f64 = 1.0;

/// A kept frame that begins something new.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The session of which it is.
    pub session: Session,
    /// The entry in the index.
    pub entry: Entry,
}

/// Returns the frames of a session that are kept so far, in presentation order.
///
/// # Errors
///
/// Returns an error if the index cannot be read.
pub fn frames(session: &Session) -> Result<Vec<Entry>> {
    let catalog = catalog(session)?;
    let listed = catalog.list(&Selection::default(), &[], session.is_recorded())?;
    Ok(listed.into_iter().map(|frame| frame.entry).collect())
}

/// Opens the frames folder of a session, to read it: no lock is waited for.
pub(super) fn catalog(session: &Session) -> Result<SharedCatalog> {
    SharedCatalog::open(&session.frames_dir(), &session.index_copy(), Duration::ZERO)
}

/// Returns the first scene of `session`, or of those that continue it, that begins after a player that
/// stands at `time`.
///
/// # Errors
///
/// Returns an error if an index or a recording cannot be read.
pub fn next_scene(session: &Session, time: f64, stop: &dyn Fn() -> bool) -> Result<Option<Scene>> {
    let (mut session, mut time) = (session.clone(), time);
    loop {
        let is_later = |seconds: f64| seconds > time + LATER_SECONDS;
        for entry in scenes(&session)?.into_iter().filter(|entry| is_later(entry.timestamp)) {
            // The player may stand at the key frame that it was sent to because of this scene.
            if is_later(reached_at(&session, &entry, stop)?) {
                return Ok(Some(Scene { session, entry }));
            }
        }
        let Some(following) = following(&session)? else { return Ok(None) };
        (session, time) = (following, f64::NEG_INFINITY);
    }
}

/// Returns the last scene of `session`, or of those that it continues, that began before a player that stands
/// at `time`, or plays on from there.
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

/// Returns the frames that were not only kept because nothing had changed for a while.
fn scenes(session: &Session) -> Result<Vec<Entry>> {
    let mut frames = frames(session)?;
    frames.retain(|entry| entry.reason.as_deref() != Some(Reason::Interval.as_str()));
    Ok(frames)
}

/// Returns the time at which a player stands that is sent to a frame.
fn reached_at(session: &Session, entry: &Entry, stop: &dyn Fn() -> bool) -> Result<f64> {
    let recording = OpenRecording::open(&Target::Session(session.clone()), None)?;
    let moment = Moment::FromStart(entry.timestamp);
    Ok(evidence::place(&recording, moment, stop)?.reached())
}
