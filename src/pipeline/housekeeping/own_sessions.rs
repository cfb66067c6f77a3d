//! The sessions that this process has opened, and whether detection still uses them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::media::Written;
use crate::session::{Marks, OwnedSession, StoredSession};

/// The sessions that this process has opened. Its lock is never held while a file is deleted: the
/// writer takes it at each rotation.
#[derive(Default)]
pub struct OwnSessions(Mutex<OwnSessionList>);

#[derive(Default)]
struct OwnSessionList {
    /// The session opened last, which is being recorded. The reference keeps it locked.
    current: Option<Arc<OwnedSession>>,
    all: Vec<Opened>,
}

/// A session that this process has opened, as long as it has a recording.
#[derive(Clone)]
pub struct Opened {
    folder: PathBuf,
    /// Progress of its detection.
    pub marks: Arc<Marks>,
    /// Whether this process still uses it.
    pub state: OpenedState,
}

/// Use of a session by this process.
#[derive(Clone)]
pub enum OpenedState {
    /// Detection may be using the session.
    InUse(Weak<OwnedSession>, Written),
    /// Unused in this process. The recording had this many bytes.
    Left(u64),
}

impl OwnSessions {
    /// Adds a session. Unless `written` is finished, it becomes the current one. Without
    /// retention limits, only the current session is stored.
    pub fn add(&self, session: &Arc<OwnedSession>, written: &Written, has_limits: bool) {
        let mut list = self.lock();
        if !written.is_finished() {
            list.current = Some(Arc::clone(session));
        }
        if !has_limits {
            return;
        }
        let folder = session.folder().to_owned();
        list.all.retain(|one| one.folder != folder);
        let state = OpenedState::InUse(Arc::downgrade(session), written.clone());
        list.all.push(Opened { folder, marks: Arc::clone(session.marks()), state });
    }

    /// Returns whether a session is the one being recorded, or the last one recorded.
    pub fn is_current(&self, stored: &StoredSession) -> bool {
        let list = self.lock();
        let current = list.current.as_ref();
        current.is_some_and(|current| current.folder() == stored.session.folder())
    }

    /// Returns the state of a session that this process has opened.
    pub fn find(&self, stored: &StoredSession) -> Option<Opened> {
        self.lock().all.iter().find(|one| one.folder == stored.session.folder()).cloned()
    }

    /// Drops the state of sessions whose recording was deleted, and releases sessions that this
    /// process no longer uses.
    pub fn forget_deleted(&self, sessions: &[StoredSession]) {
        let mut list = self.lock();
        list.all.retain(|one| {
            let stored = sessions.iter().find(|stored| stored.session.folder() == one.folder);
            // Keep a session that was opened after the sessions were listed.
            stored.map_or_else(|| one.is_in_use(), |stored| stored.recording.is_some())
        });
        for one in list.all.iter_mut().filter(|one| !one.is_in_use()) {
            if let OpenedState::InUse(_, written) = &one.state {
                one.state = OpenedState::Left(written.length());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, OwnSessionList> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    fn is_in_use(&self) -> bool {
        matches!(&self.state, OpenedState::InUse(session, _) if session.strong_count() > 0)
    }
}
