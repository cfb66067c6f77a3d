//! Writes `frames/state.json` of the sessions that a recorder has open: at their beginning, at most
//! once a second while something changes, and at their end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use jiff::Timestamp;

use crate::catalog::publish::{self, Durable};
use crate::error::{Context, Result, Stage};
use crate::media::{ByteOffset, Lag, Ticks, Written};
use crate::pipeline::rfc3339;
use crate::session::{
    LastPicture, Marks, OwnedSession, STATE_NAME, SenderState, Session, SessionState,
};
use crate::telemetry::Counters;

/// Interval between two writes of one file.
const INTERVAL: Duration = Duration::from_secs(1);

/// Source of the data in a session's state.
#[derive(Debug)]
pub struct SessionStateFile {
    /// Not an owned session: its lock must be released once the recorder no longer uses it.
    session: Session,
    marks: Arc<Marks>,
    written: Written,
    last_written: Mutex<LastWritten>,
}

#[derive(Debug, Default)]
struct LastWritten {
    /// The state written last.
    state: SessionState,
    /// Whether the last write has failed.
    has_failed: bool,
}

impl SessionStateFile {
    /// Returns the source of a session's state. The last picture stored by an earlier recorder is kept
    /// until a later one is known.
    pub fn new(session: &OwnedSession, written: &Written) -> Arc<SessionStateFile> {
        let is_ours = |target: &str| target == STATE_NAME;
        if let Err(error) = publish::remove_left_overs(&session.frames_dir(), is_ours) {
            tracing::debug!("{error}");
        }
        let state = session.state().unwrap_or_default();
        let last_written = Mutex::new(LastWritten { state, has_failed: false });
        let (marks, session) = (Arc::clone(session.marks()), Session::clone(session));
        Arc::new(SessionStateFile { session, marks, written: written.clone(), last_written })
    }

    /// Writes the state if it has changed.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub fn write_changes(&self, counters: &Counters) -> Result<()> {
        // Locked while the file is written, so that states are written in order.
        let mut last_written = self.lock();
        let state = SessionState {
            written_at: last_written.state.written_at.clone(),
            ..self.state(counters, last_written.state.last_picture.clone())
        };
        if last_written.state != state {
            last_written.has_failed = true;
            let state = SessionState { written_at: time_of_day(SystemTime::now()), ..state };
            self.write(&state)?;
            *last_written = LastWritten { state, has_failed: false };
        }
        Ok(())
    }

    fn write(&self, state: &SessionState) -> Result<()> {
        let path = self.session.state_json();
        let text = serde_json::to_vec_pretty(state);
        let mut text = text.context(Stage::Session, &path, "cannot write it")?;
        text.push(b'\n');
        publish::publish(&path, &text, Durable::Later)
    }

    fn lock(&self) -> MutexGuard<'_, LastWritten> {
        self.last_written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self, counters: &Counters, earlier: Option<LastPicture>) -> SessionState {
        let marks = &self.marks;
        let recorded_bytes = self.written.length();
        let (read, last) = (marks.read_bytes(), marks.last_picture());
        let ended = marks.is_detected() || marks.is_deleted();
        let last_picture = last.map(|(at, ticks)| LastPicture {
            timestamp: to_micros(Ticks(ticks).seconds()),
            captured_at: self
                .written
                .arrival(ByteOffset(at))
                .and_then(|arrival| time_of_day(arrival.time)),
        });
        let analyzed = last.map_or(Ticks(0), |(_, ticks)| Ticks(ticks));
        let lag =
            if ended { Lag::default() } else { Lag::estimate(recorded_bytes, read, analyzed) };
        let snapshot = counters.snapshot();
        let is_current = counters.session().as_deref() == Some(self.session.folder());
        let address = snapshot.sender.filter(|_| is_current);
        SessionState {
            session: self.session.id(),
            ended,
            written_at: None,
            pid: std::process::id(),
            boot_id: boot_id(),
            sender: SenderState {
                connected: address.is_some(),
                since: snapshot.sender_since.filter(|_| is_current).map(rfc3339),
                address,
            },
            last_byte_at: self.last_byte_at(),
            recorded_bytes,
            last_picture: newest(last_picture, earlier),
            lag_bytes: lag.bytes,
            lag_seconds: (lag.time.seconds() * 1e3).round() / 1e3,
        }
    }

    fn last_byte_at(&self) -> Option<String> {
        let arrived = self.written.last_arrival().map(|arrival| arrival.time);
        let written = || std::fs::metadata(self.session.recording_ts()).ok()?.modified().ok();
        arrived.or_else(written).and_then(time_of_day)
    }
}

/// The states of the sessions that a recorder has open.
#[derive(Debug)]
pub struct StateWriter<'a> {
    counters: &'a Counters,
    open: Mutex<Vec<Arc<SessionStateFile>>>,
}

impl<'a> StateWriter<'a> {
    /// Returns a writer without sessions.
    pub fn new(counters: &'a Counters) -> Self {
        StateWriter { counters, open: Mutex::default() }
    }

    /// Writes the state of a session now, and from then on when it changes.
    pub fn open(&self, state: &Arc<SessionStateFile>) {
        write_changes(state, self.counters);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(state));
    }

    /// Writes the states until the sender of `stop` is dropped, and then once more.
    ///
    /// # Errors
    ///
    /// Returns an error if a final state cannot be written: clients would wait for further frames.
    pub fn run(&self, stop: &Receiver<()>) -> Result<()> {
        loop {
            let is_over = stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Disconnected);
            let open: Vec<_> = {
                let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                // Keep states that are used elsewhere, and those whose last write has failed.
                open.retain(|state| Arc::strong_count(state) > 1 || state.lock().has_failed);
                open.clone()
            };
            if is_over {
                return open.iter().try_for_each(|state| state.write_changes(self.counters));
            }
            open.iter().for_each(|state| write_changes(state, self.counters));
        }
    }
}

/// Writes a state. Only logs a failure: recording continues without it.
pub fn write_changes(state: &SessionStateFile, counters: &Counters) {
    if let Err(error) = state.write_changes(counters) {
        tracing::debug!("{error}");
    }
}

/// Returns the newer picture. Only the process that has received a picture knows its time of arrival.
fn newest(picture: Option<LastPicture>, earlier: Option<LastPicture>) -> Option<LastPicture> {
    match (picture, earlier) {
        (Some(picture), Some(earlier)) if picture.timestamp == earlier.timestamp => Some(earlier),
        (picture, earlier) => picture.or(earlier),
    }
}

fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim_end().to_owned()
}

/// Formats a system time; `None` if it is out of range.
fn time_of_day(time: SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(rfc3339)
}

fn to_micros(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}
