//! The sessions of a recorder that precede or continue another one.

use std::time::Duration;

use crate::error::Result;
use crate::session::{SeriesName, Session, StoredSession, series_of};

/// Maximum time between two sessions of a recorder that rotates. Sessions that are farther apart and
/// named for their start times are unrelated.
const ROTATION_TIME: Duration = Duration::from_secs(10);

/// Returns the session that continues `session`, if it exists and its recording was not deleted.
///
/// # Errors
///
/// Returns an error if the folder of the sessions cannot be read.
pub fn following(session: &Session) -> Result<Option<Session>> {
    Ok(continuations(session, false)?.into_iter().next())
}

/// Returns the sessions that continue `session`, in order. If `was_recorded` (the session was being
/// recorded while it was played), the next session counts as its continuation after any time.
///
/// # Errors
///
/// As [`following`].
pub fn continuations(session: &Session, was_recorded: bool) -> Result<Vec<Session>> {
    let series = series_of(session)?;
    let Some(at) = position(&series, session) else { return Ok(Vec::new()) };
    let pairs = series[at..].iter().zip(&series[at + 1..]).enumerate();
    let continued = pairs
        .take_while(|(number, (a, b))| (*number == 0 && was_recorded) || continues(a, b))
        .map(|(_, (_, later))| later);
    Ok(continued
        .filter(|later| later.recording.is_some())
        .map(|later| later.session.clone())
        .collect())
}

/// Returns the session that `session` continues.
///
/// # Errors
///
/// As [`following`].
pub fn preceding(session: &Session) -> Result<Option<Session>> {
    let series = series_of(session)?;
    let Some(at) = position(&series, session) else { return Ok(None) };
    let pairs = series[..at].iter().zip(&series[1..=at]).rev();
    let mut continued = pairs.take_while(|(a, b)| continues(a, b)).map(|(earlier, _)| earlier);
    let found = continued.find(|earlier| earlier.recording.is_some());
    Ok(found.map(|earlier| earlier.session.clone()))
}

fn position(series: &[StoredSession], session: &Session) -> Option<usize> {
    series.iter().position(|stored| stored.session.folder() == session.folder())
}

/// Returns whether `later`, the next session of the series, continues `earlier`.
fn continues(earlier: &StoredSession, later: &StoredSession) -> bool {
    if earlier.series != SeriesName::Timed {
        return true;
    }
    let (Some(ended), Some(started)) = (earlier.modified(), later.session.started()) else {
        return false;
    };
    // Bytes held for the cut are written after the next session has begun.
    started.duration_since(ended).unwrap_or_default() <= ROTATION_TIME
}
