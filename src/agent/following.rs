//! One followed session, and the frames that were already handed out.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::follow_options::{FollowOptions, LeaseOptions};
use super::outlet::{Halt, Sink};
use crate::catalog::{CatalogStamp, ListedFrame, Selection, SharedCatalog};
use crate::error::{Error, Kind, Result, Stage};
use crate::session::Session;
use crate::status::KeptFrameLine;

/// Maximum time to wait for the lock on the index before other work continues.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// Time within which a recorder that resumes a session reports that it has not ended.
const TAKE_UP: Duration = Duration::from_millis(300);

/// A followed session.
pub(super) struct Following<'a> {
    session: Session,
    selection: Selection,
    options: &'a FollowOptions,
    /// Canonical path of the folder, for comparison with the feeds of recorders.
    real_folder: Option<PathBuf>,
    catalog: SharedCatalog,
    /// Numbers of the frames that were passed on, each with the end of its lease.
    passed: HashMap<u64, Option<String>>,
    /// Frames reported by recorders that the index may not list yet.
    reported: Vec<ListedFrame>,
    /// Whether frames before these may be missing.
    has_gap: bool,
    listed: Option<CatalogStamp>,
    found: ListedHandouts,
    has_ended: bool,
    /// Time since which the state has been `ended` while a recorder holds the session.
    ended_since: Option<Instant>,
    dead_since: Option<Instant>,
    is_lock_busy: bool,
    /// Whether the next session is followed.
    is_succeeded: bool,
}

/// State of the frames when the index was last read.
#[derive(Default)]
struct ListedHandouts {
    /// Whether every frame was handed out.
    is_handed_out: bool,
    /// Whether no frame will have to be handed out again.
    is_acknowledged: bool,
    /// End of the earliest lease.
    until: Option<Timestamp>,
}

impl<'a> Following<'a> {
    pub(super) fn new(
        session: Session,
        selection: Selection,
        options: &'a FollowOptions,
    ) -> Result<Self> {
        let lock_timeout = options.lock_timeout.min(LOCK_TIMEOUT);
        let catalog =
            SharedCatalog::open(&session.frames_dir(), &session.index_copy(), lock_timeout)?;
        Ok(Following {
            real_folder: fs::canonicalize(session.folder()).ok(),
            session,
            selection,
            options,
            catalog,
            passed: HashMap::new(),
            reported: Vec::new(),
            has_gap: false,
            listed: None,
            found: ListedHandouts::default(),
            has_ended: false,
            ended_since: None,
            dead_since: None,
            is_lock_busy: false,
            is_succeeded: false,
        })
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Returns whether no more frames will follow.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns whether every frame was handed out. Frames leased by this process may not be acknowledged
    /// yet.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended && self.found.is_handed_out
    }

    /// Returns whether no frame will have to be handed out again, and the next session is followed.
    pub(super) fn is_done(&self) -> bool {
        self.is_succeeded && self.is_over() && self.found.is_acknowledged
    }

    /// Returns the end of the earliest lease.
    pub(super) fn lease_ends(&self) -> Option<Timestamp> {
        self.found.until
    }

    /// Records that the next session is followed.
    pub(super) fn set_succeeded(&mut self) {
        self.is_succeeded = true;
    }

    /// Records that recorders may not have reported all frames.
    pub(super) fn may_have_missed(&mut self) {
        self.has_gap = true;
    }

    /// Checks whether the session has ended. If `is_due` or something has changed, reads the index and
    /// hands out new frames.
    pub(super) fn look(&mut self, is_due: bool, sink: &mut Sink<'_>) -> Result<(), Halt> {
        // Check before reading the index: once the session has ended, the index lists every frame.
        let has_ended = self.ends()?;
        let stamp = self.catalog.stamp();
        let lease_has_ended = self.found.until.is_some_and(|until| until <= Timestamp::now());
        let is_last = has_ended && !self.has_ended;
        if is_due || is_last || lease_has_ended || self.is_lock_busy || self.listed != Some(stamp) {
            self.listed = Some(stamp);
            self.hand_out(sink)?;
        }
        self.has_ended = has_ended;
        Ok(())
    }

    /// Returns whether no more frames will follow.
    fn ends(&mut self) -> Result<bool> {
        let (state, is_recorded) = (self.session.state(), self.session.is_recorded());
        if state.as_ref().is_some_and(|state| state.ended) {
            // Written by the recorder that holds the session, or by an earlier one.
            let since = *self.ended_since.get_or_insert_with(Instant::now);
            return Ok(!is_recorded || since.elapsed() >= TAKE_UP);
        }
        self.ended_since = None;
        if is_recorded {
            self.dead_since = None;
            return Ok(false);
        }
        // Recorded by a version that writes no state.
        if state.is_none() {
            return Ok(true);
        }
        let since = *self.dead_since.get_or_insert_with(|| {
            let id = self.session.id();
            tracing::info!("session {id}: the recorder died; waiting for another");
            Instant::now()
        });
        match self.options.timeout {
            Some(timeout) if since.elapsed() >= timeout => {
                let what = format!("the recorder died, and no other started within {timeout:?}");
                let error = Error::new(Stage::Session, what).of_kind(Kind::Gone);
                Err(error.path(self.session.folder()))
            }
            _ => Ok(false),
        }
    }

    /// Takes a frame reported by a recorder, if it belongs to this session. Returns whether the session
    /// should be checked now.
    pub(super) fn take_reported(
        &mut self,
        line: &KeptFrameLine,
        sink: &mut Sink<'_>,
    ) -> Result<bool, Halt> {
        if self.real_folder != fs::canonicalize(&line.folder).ok() {
            return Ok(false);
        }
        let Some(frame) = ListedFrame::parse(line.frame.clone()) else { return Ok(false) };
        if self.passed.contains_key(&frame.number) || !self.selection.contains(&frame) {
            return Ok(false);
        }
        if !self.has_gap && self.options.lease.is_none() {
            self.pass(&frame, sink)?;
            return Ok(false);
        }
        self.reported.push(frame);
        Ok(!self.has_gap)
    }

    /// Passes on, or leases, all frames in the index or reported by recorders that were not passed on
    /// yet.
    fn hand_out(&mut self, sink: &mut Sink<'_>) -> Result<(), Halt> {
        let selection = Selection { limit: None, ..self.selection };
        let is_recorded = self.session.is_recorded();
        let mut frames = self.catalog.list(&selection, &self.reported, is_recorded)?;
        let reported: HashSet<u64> = self.reported.iter().map(|frame| frame.number).collect();
        let listed = frames.iter().rfind(|frame| !reported.contains(&frame.number));
        let listed_through = listed.map_or(0, |last| last.number);
        // The gap is closed once the index lists all frames before the first one reported by a recorder.
        self.has_gap &=
            self.reported.first().is_some_and(|reported| reported.number > listed_through + 1);
        if self.has_gap {
            frames.retain(|frame| !reported.contains(&frame.number));
        }
        match &self.options.lease {
            Some(lease) => self.hand_out_leased(frames, lease, sink)?,
            None => {
                for frame in &frames {
                    if !self.passed.contains_key(&frame.number) {
                        self.pass(frame, sink)?;
                    }
                }
                let is_handed_out = !self.has_gap;
                self.found = ListedHandouts { is_handed_out, is_acknowledged: true, until: None };
            }
        }
        // By now, these are passed on, unless they wait for the gap to close or for a lease.
        let is_wanted = self.has_gap || self.options.lease.is_some();
        self.reported.retain(|frame| is_wanted && frame.number > listed_through);
        Ok(())
    }

    fn hand_out_leased(
        &mut self,
        mut frames: Vec<ListedFrame>,
        lease: &LeaseOptions,
        sink: &mut Sink<'_>,
    ) -> Result<(), Halt> {
        frames.retain(|frame| {
            !frame.entry.sent_to_agent && self.catalog.has_picture(&frame.entry.id)
        });
        let now = Timestamp::now();
        let ends = |frame: &ListedFrame| {
            let until: Option<Timestamp> = frame.entry.leased_until.as_ref()?.parse().ok();
            until.filter(|until| *until > now)
        };
        if frames.iter().any(|frame| ends(frame).is_none()) {
            for frame in self.lease(lease, sink.remaining())? {
                self.pass(&frame, sink)?;
                if let Some(known) = frames.iter_mut().find(|known| known.number == frame.number) {
                    *known = frame;
                }
            }
        }
        // A frame leased by another client is handed out again if it is not acknowledged.
        let is_ours = |frame: &ListedFrame| {
            self.passed.get(&frame.number).is_some_and(|until| *until == frame.entry.leased_until)
        };
        let is_leased_by_us = |frame| ends(frame).is_some() && is_ours(frame);
        self.found = ListedHandouts {
            is_handed_out: !self.has_gap && frames.iter().all(is_leased_by_us),
            is_acknowledged: frames.is_empty(),
            until: frames.iter().filter_map(ends).min(),
        };
        Ok(())
    }

    /// Leases free frames. Returns none while another program holds the lock on the index.
    fn lease(&mut self, lease: &LeaseOptions, limit: Option<usize>) -> Result<Vec<ListedFrame>> {
        let selection = Selection { limit, ..self.selection };
        let reported: &[ListedFrame] = if self.has_gap { &[] } else { &self.reported };
        let (length, holder) = (lease.length, lease.holder.as_deref());
        let is_recorded = self.session.is_recorded();
        match self.catalog.lease(&selection, reported, length, holder, is_recorded) {
            Err(error) if error.kind() == Kind::Busy => {
                if !std::mem::replace(&mut self.is_lock_busy, true) {
                    tracing::warn!("{error}; retrying");
                }
                Ok(Vec::new())
            }
            leased => {
                self.is_lock_busy = false;
                leased
            }
        }
    }

    fn pass(&mut self, frame: &ListedFrame, sink: &mut Sink<'_>) -> Result<(), Halt> {
        self.passed.insert(frame.number, frame.entry.leased_until.clone());
        sink.take(&self.session, &frame.entry)
    }
}
