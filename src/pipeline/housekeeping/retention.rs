//! What a recorder deletes: the oldest recordings of its series, and the frames of old sessions.
//!
//! One thread looks now and then. The writer asks for room itself when the disk is full, because
//! it cannot go on without it.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::deletion::{
    DeletedRecording, Owner, Unfinished, delete_recording, delete_session, described,
};
use crate::error::Result;
use crate::media::Written;
use crate::pause;
use crate::pipeline::{RecordOptions, RetentionLimits};
use crate::session::{Marks, OwnedSession, SeriesName, StoredSession, stored_sessions};
use crate::telemetry::Counters;

/// Time between two looks at what is stored.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Some file systems free the space of a deleted file later. Until this time, that is waited for
/// before another recording is deleted.
const RELIEF_TIME: Duration = Duration::from_secs(5);

/// A clock that says less was never set: 2020-01-01. The age of a file from then is not known.
const CLOCK_WAS_SET: Duration = Duration::from_secs(1_577_836_800);

/// Deletes what a recorder need not keep.
pub struct Retention<'a> {
    sessions_dir: PathBuf,
    series: SeriesName,
    limits: RetentionLimits,
    counters: &'a Counters,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Sessions that this process has opened, as long as they have a recording.
    opened: Vec<Opened>,
    /// The session that was opened last, which is recorded. Held, so that it stays locked.
    current: Option<Arc<OwnedSession>>,
    /// The last time when room was made.
    relief: Option<Relief>,
    /// The last failure, which is logged once.
    failure: Option<String>,
}

/// A session that this process has opened.
struct Opened {
    folder: PathBuf,
    /// Held by detection until that ends.
    session: Weak<OwnedSession>,
    written: Written,
    marks: Arc<Marks>,
}

/// Space that deleted recordings leave.
struct Relief {
    at: Instant,
    /// Free bytes that are expected.
    expected: u64,
}

/// Whether there is room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Something was deleted: try again.
    Made,
    /// Something was deleted, and its space is not free yet: try again in a moment.
    Coming,
    /// Nothing may be deleted.
    None,
}

/// The option by which something is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    KeepFor,
    KeepBytes,
    Recycle,
}

impl Why {
    fn option(self) -> &'static str {
        match self {
            Why::KeepFor => "--keep-for",
            Why::KeepBytes => "--keep-bytes",
            Why::Recycle => "--recycle",
        }
    }
}

impl<'a> Retention<'a> {
    /// Returns the retention of a recorder's series.
    pub fn new(options: &RecordOptions, counters: &'a Counters) -> Self {
        Retention {
            sessions_dir: options.sessions_dir.clone(),
            series: SeriesName::of_recorder(options.session.as_deref()),
            limits: options.retention,
            counters,
            state: Mutex::default(),
        }
    }

    /// Tells that this process has opened a session. Its recording is not deleted before detection
    /// has finished, unless the disk would otherwise be full; and never while it is `written`.
    pub fn opened(&self, session: &Arc<OwnedSession>, written: &Written) {
        let mut state = self.state();
        if !written.is_finished() {
            state.current = Some(Arc::clone(session));
        }
        let folder = session.folder().to_owned();
        state.opened.retain(|one| one.folder != folder);
        state.opened.push(Opened {
            folder,
            session: Arc::downgrade(session),
            written: written.clone(),
            marks: Arc::clone(session.marks()),
        });
    }

    /// Deletes what the limits allow, now and whenever `nudges` brings something, until it is
    /// closed.
    pub fn run(&self, nudges: &Receiver<()>) {
        loop {
            self.tidy();
            match nudges.recv_timeout(pause::of(LOOK_INTERVAL)) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Deletes what the limits allow.
    pub fn tidy(&self) {
        if self.limits == RetentionLimits::default() {
            return;
        }
        let mut state = self.state();
        match self.series() {
            Ok(sessions) => {
                self.delete_recordings(&mut state, &sessions, Unfinished::Keep, u64::MAX);
                self.delete_old_frames(&mut state, &sessions);
            }
            Err(error) => state.log_failure(error.to_string()),
        }
    }

    /// Deletes recordings, the oldest first, because `shortage` bytes are missing on a file system
    /// with `free` bytes. Recordings that detection has finished go first.
    pub fn make_room(&self, free: u64, shortage: u64) -> Room {
        let limits = self.limits;
        if !limits.recycles && limits.age.is_none() && limits.bytes.is_none() {
            return Room::None;
        }
        let mut state = self.state();
        if let Some(relief) = &state.relief
            && relief.at.elapsed() < pause::of(RELIEF_TIME)
            && free < relief.expected
        {
            return Room::Coming;
        }
        let mut deleted = 0;
        for unfinished in [Unfinished::Keep, Unfinished::Delete] {
            match self.series() {
                Ok(sessions) if deleted < shortage => {
                    let missing = shortage - deleted;
                    deleted += self.delete_recordings(&mut state, &sessions, unfinished, missing);
                }
                Ok(_) => {}
                Err(error) => state.log_failure(error.to_string()),
            }
        }
        if deleted == 0 {
            return Room::None;
        }
        // The recording grows meanwhile: not all of the space will be seen.
        state.relief = Some(Relief { at: Instant::now(), expected: free + deleted / 2 });
        Room::Made
    }

    /// Returns the sessions of the series, oldest first.
    fn series(&self) -> Result<Vec<StoredSession>> {
        let stored = stored_sessions(&self.sessions_dir)?;
        let mut sessions: Vec<_> =
            stored.into_iter().filter_map(|stored| stored.in_series(&self.series)).collect();
        sessions.sort_by(|a, b| a.place().cmp(b.place()));
        Ok(sessions)
    }

    /// Deletes the recordings that are beyond the limits, the oldest first, until `wanted` bytes
    /// are free. Returns how many are. With [`Why::Recycle`], every recording is beyond them.
    fn delete_recordings(
        &self,
        state: &mut State,
        sessions: &[StoredSession],
        unfinished: Unfinished,
        wanted: u64,
    ) -> u64 {
        let recycles = self.limits.recycles && wanted < u64::MAX;
        let length =
            |stored: &StoredSession| stored.recording.map_or(0, |recording| recording.bytes);
        let mut total: u64 = sessions.iter().map(length).sum();
        let now = SystemTime::now();
        let mut deleted = 0;
        for stored in sessions {
            let Some(recording) = stored.recording.filter(|_| deleted < wanted) else { continue };
            let RetentionLimits { age, bytes, .. } = self.limits;
            let why = if age.is_some_and(|limit| is_older(recording.modified, limit, now)) {
                Why::KeepFor
            } else if bytes.is_some_and(|limit| total > limit) {
                Why::KeepBytes
            } else if recycles {
                Why::Recycle
            } else {
                continue;
            };
            // What is protected still counts: the next one is deleted in its place.
            let freed = self.delete(state, stored, why, unfinished);
            total -= freed;
            deleted += freed;
        }
        deleted
    }

    /// Deletes the recording of a session unless something protects it. Returns how many bytes are
    /// free now.
    fn delete(
        &self,
        state: &mut State,
        stored: &StoredSession,
        why: Why,
        unfinished: Unfinished,
    ) -> u64 {
        if stored.recording.is_none() || state.is_current(stored) {
            return 0;
        }
        let opened = state.opened(stored);
        let session = opened.and_then(|opened| opened.session.upgrade());
        let owner = match (&session, opened) {
            // The one before the current one, to which the writer still appends.
            (Some(_), Some(opened)) if !opened.written.is_finished() => return 0,
            (Some(session), _) => Owner::Us(session),
            (None, _) => Owner::Nobody,
        };
        // Without a single picture there is no checkpoint.
        let is_detected = opened.is_some_and(|opened| opened.marks.is_detected());
        match delete_recording(stored, owner, is_detected, unfinished) {
            Ok(Ok(deleted)) => {
                self.log_deleted(stored, &deleted, why);
                state.opened.retain(|one| one.folder != stored.session.folder());
                deleted.bytes
            }
            Ok(Err(protection)) => {
                tracing::debug!("the recording of {} stays: {protection}", stored.session.id());
                0
            }
            Err(error) => {
                state.log_failure(error.to_string());
                0
            }
        }
    }

    fn log_deleted(&self, stored: &StoredSession, deleted: &DeletedRecording, why: Why) {
        self.counters.deleted_recordings.fetch_add(1, Relaxed);
        self.counters.deleted_bytes.fetch_add(deleted.bytes, Relaxed);
        let (session, option) = (described(&stored.session, deleted.bytes), why.option());
        if deleted.unseen.is_empty() {
            tracing::info!("deleted the recording of session {session} by {option}");
        } else {
            let unseen = &deleted.unseen;
            tracing::warn!(
                "deleted the recording of session {session} by {option}, because the disk is \
                 full; never looked at: {unseen}"
            );
        }
    }

    fn delete_old_frames(&self, state: &mut State, sessions: &[StoredSession]) {
        let Some(limit) = self.limits.frames_age else { return };
        let now = SystemTime::now();
        for stored in sessions.iter().filter(|stored| stored.recording.is_none()) {
            let is_old = stored.modified().is_some_and(|time| is_older(time, limit, now));
            if !is_old || state.is_current(stored) {
                continue;
            }
            match delete_session(stored) {
                Ok(Ok(_)) => {
                    self.counters.deleted_sessions.fetch_add(1, Relaxed);
                    let id = stored.session.id();
                    tracing::info!("deleted the frames of session {id} by --keep-frames-for");
                }
                Ok(Err(protection)) => {
                    tracing::debug!("the frames of {} stay: {protection}", stored.session.id());
                }
                Err(error) => state.log_failure(error.to_string()),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns whether a session is the one that is recorded, or was recorded last.
    fn is_current(&self, stored: &StoredSession) -> bool {
        self.current.as_ref().is_some_and(|current| current.folder() == stored.session.folder())
    }

    /// Returns what is known of a session if this process has opened it.
    fn opened(&self, stored: &StoredSession) -> Option<&Opened> {
        self.opened.iter().find(|one| one.folder == stored.session.folder())
    }

    /// Logs a failure, unless it was the last one too.
    fn log_failure(&mut self, failure: String) {
        if self.failure.as_ref() != Some(&failure) {
            tracing::warn!("{failure}; nothing of it is deleted");
            self.failure = Some(failure);
        }
    }
}

/// Returns whether a time is longer ago than `limit`.
fn is_older(time: SystemTime, limit: Duration, now: SystemTime) -> bool {
    let was_set = time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|age| age >= CLOCK_WAS_SET);
    was_set && now.duration_since(time).is_ok_and(|age| age > limit)
}
