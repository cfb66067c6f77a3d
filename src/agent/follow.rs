//! Follows the frames of a session, and of those that come after it in its series.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::wake::Wake;
use crate::catalog::handouts::{CatalogStamp, JOURNAL_NAME, ListedFrame, Selection, SharedCatalog};
use crate::catalog::{Entry, INDEX_NAME};
use crate::error::{Error, Kind, Result, Stage};
use crate::session::{STATE_NAME, Session, successor};
use crate::status::{FeedReader, KeptFrameLine};

/// What may bring news, besides what recorders tell.
const WATCHED: [&str; 3] = [INDEX_NAME, JOURNAL_NAME, STATE_NAME];

/// While recorders tell of each frame, the index is read no more often than this.
const LIST_INTERVAL: Duration = Duration::from_millis(250);

/// How often it is looked for a recorder that has begun or died; and for changes where files cannot be
/// watched.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How soon a request to stop is seen.
const STOP_INTERVAL: Duration = Duration::from_millis(250);

/// How to follow.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowOptions {
    /// Which frames. The limit is for all sessions together; of the later sessions, all frames are
    /// after [`Selection::since`].
    pub selection: Selection,
    /// Lease the frames, instead of listing them.
    pub lease: Option<LeaseOptions>,
    /// Maximum time without a recorder, once one has died.
    pub timeout: Option<Duration>,
    /// Time to wait for the lock on the index.
    pub lock_timeout: Duration,
}

/// How frames are leased.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseOptions {
    /// For how long.
    pub length: Duration,
    /// To whom.
    pub holder: Option<String>,
}

/// Where frames go, and when that ends.
pub struct FrameOutlet<'a> {
    /// Takes a frame. Returns false if no more are wanted.
    pub take: &'a mut dyn FnMut(&Session, &Entry) -> bool,
    /// Whose reader may leave.
    pub output: Option<BorrowedFd<'a>>,
    /// Returns whether to stop.
    pub stop: &'a dyn Fn() -> bool,
}

/// Passes the frames of `session` and its successors to `outlet`, as they come, until the last session
/// has ended and all frames are handed out.
///
/// # Errors
///
/// Returns an error if an index cannot be read, or no recorder has come within the timeout after one
/// has died.
pub fn follow(session: Session, options: &FollowOptions, outlet: FrameOutlet<'_>) -> Result<()> {
    let mut feeds = FeedReader::default();
    let mut options = options.clone();
    let mut current = Some(session);
    let FrameOutlet { take, output, stop } = outlet;
    while let Some(session) = current {
        // Whatever another recorder tells meanwhile, nothing of this session is missed.
        feeds.connect();
        let mut following = Following::new(&session, &options)?;
        let mut outlet = FrameOutlet { take: &mut *take, output, stop };
        if following.run(&mut feeds, &mut outlet)?.is_err() {
            return Ok(());
        }
        options.selection =
            Selection { since: None, limit: following.remaining, ..options.selection };
        current = successor(&session)?;
        if let Some(next) = &current {
            tracing::info!("session {} has ended; {} follows", session.id(), next.id());
        }
    }
    Ok(())
}

/// Follows one session.
struct Following<'a> {
    session: &'a Session,
    /// The folder, as recorders name it.
    real_folder: Option<PathBuf>,
    options: &'a FollowOptions,
    catalog: SharedCatalog,
    /// Numbers of the frames that were passed on, and until when they were leased.
    passed: HashMap<u64, Option<String>>,
    /// Frames that recorders have told of, and that the index may not name yet.
    told: Vec<ListedFrame>,
    /// How many more frames are wanted.
    remaining: Option<usize>,
    listed: Option<CatalogStamp>,
    dead_since: Option<Instant>,
}

/// What is known after a look at the session.
struct Look {
    /// No frame is left that was not handed out.
    is_handed_out: bool,
    /// When the next lease ends.
    until: Option<Timestamp>,
}

/// No more frames are wanted.
struct Stopped;

impl<'a> Following<'a> {
    fn new(session: &'a Session, options: &'a FollowOptions) -> Result<Self> {
        Ok(Following {
            session,
            real_folder: fs::canonicalize(session.folder()).ok(),
            options,
            catalog: SharedCatalog::open(
                &session.frames_dir(),
                &session.index_copy(),
                options.lock_timeout,
            )?,
            passed: HashMap::new(),
            told: Vec::new(),
            remaining: options.selection.limit,
            listed: None,
            dead_since: None,
        })
    }

    /// Runs until the session has ended.
    fn run(
        &mut self,
        feeds: &mut FeedReader,
        outlet: &mut FrameOutlet<'_>,
    ) -> Result<Result<(), Stopped>> {
        let wake = Wake::watch(&self.session.frames_dir(), &WATCHED);
        let mut look = Look { is_handed_out: false, until: None };
        let mut is_due = true;
        loop {
            // Before the index: when the session has ended, the index names every frame.
            let has_ended = self.has_ended()?;
            let stamp = self.catalog.stamp();
            let lease_has_ended = look.until.is_some_and(|until| until <= Timestamp::now());
            if is_due || lease_has_ended || self.listed != Some(stamp) {
                self.listed = Some(stamp);
                match self.hand_out(outlet)? {
                    Ok(found) => look = found,
                    Err(stopped) => return Ok(Err(stopped)),
                }
            }
            if has_ended && look.is_handed_out {
                return Ok(Ok(()));
            }
            match self.wait(&wake, feeds, outlet, look.until)? {
                Ok(due) => is_due = due,
                Err(stopped) => return Ok(Err(stopped)),
            }
            feeds.connect();
        }
    }

    /// Returns whether no more frames come.
    fn has_ended(&mut self) -> Result<bool> {
        let state = self.session.state();
        if state.as_ref().is_some_and(|state| state.ended) {
            return Ok(true);
        }
        if self.session.is_recorded() {
            self.dead_since = None;
            return Ok(false);
        }
        // Recorded by a version that tells nothing.
        if state.is_none() {
            return Ok(true);
        }
        let since = *self.dead_since.get_or_insert_with(|| {
            tracing::info!(
                "session {}: its recorder has died; waiting for another",
                self.session.id()
            );
            Instant::now()
        });
        match self.options.timeout {
            Some(timeout) if since.elapsed() >= timeout => {
                let what = format!("its recorder has died, and none has come within {timeout:?}");
                let error = Error::new(Stage::Session, what).of_kind(Kind::Gone);
                Err(error.path(self.session.folder()))
            }
            _ => Ok(false),
        }
    }

    /// Waits until the session should be looked at. Returns whether something has changed.
    fn wait(
        &mut self,
        wake: &Wake<'_>,
        feeds: &mut FeedReader,
        outlet: &mut FrameOutlet<'_>,
        until: Option<Timestamp>,
    ) -> Result<Result<bool, Stopped>> {
        let started = Instant::now();
        let (mut has_changed, mut has_missed) = (false, false);
        loop {
            let left = until.map_or(STOP_INTERVAL, |until| {
                Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default()
            });
            let woken = wake.wait(feeds.descriptors(), outlet.output, left.min(STOP_INTERVAL));
            if woken.reader_left || (outlet.stop)() {
                return Ok(Err(Stopped));
            }
            has_changed |= woken.changed;
            let told = feeds.read(&mut || has_missed = true);
            has_changed |= has_missed;
            match self.take_told(told, has_missed, outlet) {
                Ok(is_due) if is_due || has_missed => return Ok(Ok(true)),
                Ok(_) => {}
                Err(stopped) => return Ok(Err(stopped)),
            }
            let is_told = feeds.descriptors().next().is_some();
            let calm = if is_told { LIST_INTERVAL } else { Duration::ZERO };
            let elapsed = started.elapsed();
            let is_due = has_changed && elapsed >= calm;
            if is_due || left.is_zero() || elapsed >= LOOK_INTERVAL {
                return Ok(Ok(is_due));
            }
        }
    }

    /// Takes frames that recorders have told of. Earlier ones may be missing (`has_missed`). Returns
    /// whether the session should be looked at now.
    fn take_told(
        &mut self,
        told: Vec<KeptFrameLine>,
        has_missed: bool,
        outlet: &mut FrameOutlet<'_>,
    ) -> Result<bool, Stopped> {
        for KeptFrameLine { folder, frame } in told {
            if self.real_folder != fs::canonicalize(folder).ok() {
                continue;
            }
            let Some(frame) = ListedFrame::parse(frame) else { continue };
            if self.passed.contains_key(&frame.number) || !self.options.selection.contains(&frame) {
                continue;
            }
            if has_missed || self.options.lease.is_some() {
                self.told.push(frame);
            } else {
                self.pass(&frame, outlet)?;
            }
        }
        Ok(!self.told.is_empty())
    }

    /// Passes on, or leases, what the index names, or recorders have told of, and was not passed on yet.
    fn hand_out(&mut self, outlet: &mut FrameOutlet<'_>) -> Result<Result<Look, Stopped>> {
        let selection = Selection { limit: None, ..self.options.selection };
        let mut frames = self.catalog.list(&selection, self.session.is_recorded())?;
        let listed: HashSet<u64> = frames.iter().map(|frame| frame.number).collect();
        let mut told = std::mem::take(&mut self.told);
        told.retain(|frame| !listed.contains(&frame.number));
        frames.extend(told.iter().cloned());
        let passed = match &self.options.lease {
            Some(lease) => return self.hand_out_leased(frames, &told, lease, outlet),
            None => frames.iter().try_for_each(|frame| {
                if self.passed.contains_key(&frame.number) {
                    Ok(())
                } else {
                    self.pass(frame, outlet)
                }
            }),
        };
        Ok(passed.map(|()| Look { is_handed_out: true, until: None }))
    }

    fn hand_out_leased(
        &mut self,
        mut frames: Vec<ListedFrame>,
        told: &[ListedFrame],
        lease: &LeaseOptions,
        outlet: &mut FrameOutlet<'_>,
    ) -> Result<Result<Look, Stopped>> {
        frames.retain(|frame| {
            !frame.entry.sent_to_agent && self.catalog.has_picture(&frame.entry.id)
        });
        let now = Timestamp::now();
        let ends = |frame: &ListedFrame| {
            let until: Option<Timestamp> = frame.entry.leased_until.as_ref()?.parse().ok();
            until.filter(|until| *until > now)
        };
        if frames.iter().any(|frame| ends(frame).is_none()) {
            let selection = Selection { limit: self.remaining, ..self.options.selection };
            let (length, holder) = (lease.length, lease.holder.as_deref());
            let is_recorded = self.session.is_recorded();
            let leased = self.catalog.lease(&selection, told, length, holder, is_recorded)?;
            for frame in leased {
                if let Err(stopped) = self.pass(&frame, outlet) {
                    return Ok(Err(stopped));
                }
                if let Some(known) = frames.iter_mut().find(|known| known.number == frame.number) {
                    *known = frame;
                }
            }
        }
        // What another has leased comes again if it is not acknowledged.
        let is_ours = |frame: &ListedFrame| {
            self.passed.get(&frame.number).is_some_and(|until| *until == frame.entry.leased_until)
        };
        Ok(Ok(Look {
            is_handed_out: frames.iter().all(|frame| ends(frame).is_some() && is_ours(frame)),
            until: frames.iter().filter_map(ends).min(),
        }))
    }

    fn pass(&mut self, frame: &ListedFrame, outlet: &mut FrameOutlet<'_>) -> Result<(), Stopped> {
        if self.remaining == Some(0) || !(outlet.take)(self.session, &frame.entry) {
            return Err(Stopped);
        }
        self.passed.insert(frame.number, frame.entry.leased_until.clone());
        self.remaining = self.remaining.map(|remaining| remaining - 1);
        if self.remaining == Some(0) { Err(Stopped) } else { Ok(()) }
    }
}
