//! Deletion by a recorder: the oldest recordings of its series, and the frames of old sessions.
//!
//! One thread checks the limits periodically. When the disk is full, the writer requests space
//! itself, because it cannot continue without.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::deletion::{
    Allowed, DeletedRecording, Known, delete_recording, delete_session, described,
};
use super::own_sessions::{OpenedState, OwnSessions};
use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::media::Written;
use crate::pause;
use crate::pipeline::{RecordOptions, RetentionLimits};
use crate::session::{OwnedSession, SeriesName, StoredSession, stored_sessions};
use crate::telemetry::Counters;

/// Time between two checks of the stored sessions.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Some file systems free the space of a deleted file later. Wait at most this long for it before
/// deleting another recording.
const RELIEF_TIME: Duration = Duration::from_secs(5);

/// A system clock before 2020-01-01 was never set: the age of a file from that time is unknown.
const CLOCK_WAS_SET: Duration = Duration::from_secs(1_577_836_800);

/// Maximum number of remembered failures. Each is logged once.
const MAX_FAILURES: usize = 64;

/// Deletes what a recorder need not keep.
pub struct Retention<'a> {
    sessions_dir: PathBuf,
    series: SeriesName,
    limits: RetentionLimits,
    /// Minimum number of free bytes.
    min_free: u64,
    counters: &'a Counters,
    opened: OwnSessions,
    /// Locked while files are deleted.
    pass: Mutex<PassState>,
}

/// State kept from one pass to the next.
#[derive(Default)]
struct PassState {
    /// The last deletion, if its space was not free immediately.
    relief: Option<Relief>,
    /// Failures that were already logged.
    failures: BTreeSet<String>,
}

/// Space of a deleted recording that is not free yet.
struct Relief {
    at: Instant,
    /// Number of free bytes at which the space counts as freed.
    expected_free: u64,
}

/// Result of a request for space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// A recording was deleted: try again.
    Made,
    /// Space will be free soon: try again after a pause.
    Coming,
    /// No recording may be deleted.
    None,
}

/// The option that caused a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeletionRule {
    KeepFor,
    KeepBytes,
    Recycle,
}

impl DeletionRule {
    fn option(self) -> &'static str {
        match self {
            DeletionRule::KeepFor => "--keep-for",
            DeletionRule::KeepBytes => "--keep-bytes",
            DeletionRule::Recycle => "--recycle",
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
            min_free: options.min_free_bytes,
            counters,
            opened: OwnSessions::default(),
            pass: Mutex::default(),
        }
    }

    /// Returns the minimum number of bytes that must stay free on the disk.
    pub fn min_free(&self) -> u64 {
        self.min_free
    }

    /// Registers a session that this process has opened. Its recording is not deleted before
    /// detection has finished, unless the disk would otherwise be full; and never while `written`
    /// is not finished.
    pub fn opened(&self, session: &Arc<OwnedSession>, written: &Written) {
        let has_limits = self.limits != RetentionLimits::default();
        self.opened.add(session, written, has_limits);
    }

    /// Deletes what the limits allow, now, periodically, and at each message of `nudges`, until the
    /// channel is closed.
    pub fn run(&self, nudges: &Receiver<()>) {
        loop {
            self.tidy();
            self.keep_free();
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
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        match self.series() {
            Ok(sessions) => {
                self.opened.forget_deleted(&sessions);
                let allowed = Allowed { unfinished: false, hard_linked: true };
                self.delete_recordings(&mut pass, &sessions, allowed, DeletionCause::BeyondLimits);
                self.delete_old_frames(&mut pass, &sessions);
            }
            Err(error) => pass.log_failure(&error),
        }
    }

    /// Frees space for frames as well: the writer requests space only when bytes arrive.
    fn keep_free(&self) {
        let is_short =
            || disk::free_bytes(&self.sessions_dir).is_ok_and(|(free, _)| free < self.min_free);
        if self.limits.recycles && is_short() {
            self.make_room();
        }
    }

    /// Repeats `attempt` once if the disk was full and space could be freed.
    ///
    /// # Errors
    ///
    /// Returns the error of the last attempt.
    pub fn with_room<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        match attempt() {
            Err(error) if error.kind() == Kind::NoSpace => match self.make_room() {
                Room::Made => attempt(),
                _ => Err(error),
            },
            done => done,
        }
    }

    /// Deletes the oldest recordings because the disk is full. Recordings whose detection has
    /// finished are deleted first.
    pub fn make_room(&self) -> Room {
        let limits = self.limits;
        if !limits.recycles && limits.age.is_none() && limits.bytes.is_none() {
            return Room::None;
        }
        let Ok((free, size)) = disk::free_bytes(&self.sessions_dir) else { return Room::None };
        if self.min_free > size {
            // No deletion can free that much.
            return Room::None;
        }
        let mut pass = match self.pass.try_lock() {
            Ok(pass) => pass,
            Err(TryLockError::Poisoned(pass)) => pass.into_inner(),
            // Files are being deleted already.
            Err(TryLockError::WouldBlock) => return Room::Coming,
        };
        if let Some(relief) = &pass.relief
            && relief.at.elapsed() < pause::of(RELIEF_TIME)
            && free < relief.expected_free
        {
            return Room::Coming;
        }
        let shortage = self.min_free.saturating_sub(free).max(1);
        let mut deleted = 0;
        for unfinished in [false, true] {
            match self.series() {
                Ok(sessions) if deleted < shortage => {
                    let allowed = Allowed { unfinished, hard_linked: false };
                    let cause = DeletionCause::ShortOf(shortage - deleted);
                    deleted += self.delete_recordings(&mut pass, &sessions, allowed, cause);
                }
                Ok(_) => {}
                Err(error) => pass.log_failure(&error),
            }
        }
        if deleted == 0 {
            return Room::None;
        }
        let expected_free = free + deleted / 2;
        let is_free =
            disk::free_bytes(&self.sessions_dir).is_ok_and(|(free, _)| free >= expected_free);
        pass.relief = (!is_free).then(|| Relief { at: Instant::now(), expected_free });
        Room::Made
    }

    /// Returns the sessions of the series, oldest first. Sessions behind a symbolic link are
    /// skipped: they are not ours to delete, and take no space here.
    fn series(&self) -> Result<Vec<StoredSession>> {
        let stored = stored_sessions(&self.sessions_dir)?;
        let own = stored.into_iter().filter(|stored| !stored.is_linked);
        let mut sessions: Vec<_> = own.filter_map(|one| one.in_series(&self.series)).collect();
        sessions.sort_by(|a, b| a.place().cmp(b.place()));
        Ok(sessions)
    }

    /// Deletes the oldest recordings beyond the limits. If bytes are missing, deletes the oldest that
    /// may be deleted, until enough are freed. Returns the number of bytes deleted.
    fn delete_recordings(
        &self,
        pass: &mut PassState,
        sessions: &[StoredSession],
        allowed: Allowed,
        cause: DeletionCause,
    ) -> u64 {
        let length =
            |stored: &StoredSession| stored.recording.map_or(0, |recording| recording.bytes);
        let mut total: u64 = sessions.iter().map(length).sum();
        let now = SystemTime::now();
        let mut deleted = 0;
        for stored in sessions {
            if matches!(cause, DeletionCause::ShortOf(needed) if deleted >= needed) {
                break;
            }
            let Some(recording) = stored.recording else { continue };
            let RetentionLimits { age, bytes, recycles, .. } = self.limits;
            let rule = if age.is_some_and(|limit| is_older(recording.modified, limit, now)) {
                DeletionRule::KeepFor
            } else if bytes.is_some_and(|limit| total > limit) {
                DeletionRule::KeepBytes
            } else if recycles && cause != DeletionCause::BeyondLimits {
                DeletionRule::Recycle
            } else {
                continue;
            };
            // Protected recordings count toward the total: the next one is deleted instead.
            let freed = self.delete(pass, stored, rule, allowed);
            total -= freed;
            deleted += freed;
        }
        deleted
    }

    /// Deletes the recording of a session unless something protects it. Returns the number of bytes
    /// deleted.
    fn delete(
        &self,
        pass: &mut PassState,
        stored: &StoredSession,
        rule: DeletionRule,
        allowed: Allowed,
    ) -> u64 {
        if self.opened.is_current(stored) {
            return 0;
        }
        let opened = self.opened.find(stored);
        let bytes = stored.recording.map_or(0, |recording| recording.bytes);
        let (session, length) = match opened.as_ref().map(|opened| &opened.state) {
            // The session before the current one; the writer still appends to its recording.
            Some(OpenedState::InUse(_, written)) if !written.is_finished() => return 0,
            Some(OpenedState::InUse(session, written)) => {
                (session.upgrade(), Some(written.length()))
            }
            Some(OpenedState::Left(length)) => (None, Some(*length)),
            None => (None, None),
        };
        let is_detected = opened.as_ref().is_some_and(|opened| opened.marks.is_detected());
        let known = Known {
            owned: session.as_deref(),
            is_open_here: opened.is_some(),
            // Another process may have resumed the session.
            is_detected: is_detected && length == Some(bytes),
        };
        match delete_recording(stored, known, allowed) {
            Ok(Ok(deleted)) => {
                self.log_deleted(stored, &deleted, rule);
                deleted.bytes
            }
            Ok(Err(protection)) => {
                tracing::trace!("the recording of {} stays: {protection}", stored.session.id());
                0
            }
            Err(error) => {
                pass.log_failure(&error);
                0
            }
        }
    }

    fn log_deleted(&self, stored: &StoredSession, deleted: &DeletedRecording, rule: DeletionRule) {
        self.counters.deleted_recordings.fetch_add(1, Relaxed);
        self.counters.deleted_bytes.fetch_add(deleted.bytes, Relaxed);
        let (session, option) = (described(&stored.session, deleted.bytes), rule.option());
        if deleted.unseen.is_empty() {
            tracing::info!("deleted the recording of session {session} by {option}");
        } else {
            let unseen = &deleted.unseen;
            tracing::warn!(
                "deleted the recording of session {session} by {option}, because the disk is \
                 full; never analyzed: {unseen}"
            );
        }
    }

    fn delete_old_frames(&self, pass: &mut PassState, sessions: &[StoredSession]) {
        let Some(limit) = self.limits.frames_age else { return };
        let now = SystemTime::now();
        for stored in sessions.iter().filter(|stored| stored.recording.is_none()) {
            let is_old = stored.modified().is_some_and(|time| is_older(time, limit, now));
            if !is_old || self.opened.is_current(stored) {
                continue;
            }
            match delete_session(stored) {
                Ok(Ok(_)) => {
                    self.counters.deleted_sessions.fetch_add(1, Relaxed);
                    let id = stored.session.id();
                    tracing::info!("deleted the frames of session {id} by --keep-frames-for");
                }
                Ok(Err(protection)) => {
                    tracing::trace!("the frames of {} stay: {protection}", stored.session.id());
                }
                Err(error) => pass.log_failure(&error),
            }
        }
    }
}

/// Reason for deleting recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeletionCause {
    /// Recordings are beyond the limits.
    BeyondLimits,
    /// Number of bytes that are missing.
    ShortOf(u64),
}

impl PassState {
    /// Logs a failure the first time.
    fn log_failure(&mut self, failure: &Error) {
        if self.failures.len() == MAX_FAILURES {
            self.failures.clear();
        }
        let text = failure.to_string();
        if !self.failures.contains(&text) {
            tracing::warn!("{text}; not deleted");
            self.failures.insert(text);
        }
    }
}

/// Returns whether a time is longer ago than `limit`.
fn is_older(time: SystemTime, limit: Duration, now: SystemTime) -> bool {
    let was_set = time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|age| age >= CLOCK_WAS_SET);
    was_set && now.duration_since(time).is_ok_and(|age| age > limit)
}
