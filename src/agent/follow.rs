//! Follows the frames of a session, and of its successors in the series.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::follow_options::FollowOptions;
use super::following::Following;
use super::outlet::{FrameOutlet, Halt, Sink};
use super::wake::Wake;
use crate::catalog::INDEX_NAME;
use crate::catalog::Selection;
use crate::catalog::handouts::JOURNAL_NAME;
use crate::error::Result;
use crate::session::{STATE_NAME, SeriesName, Session, successor};
use crate::status::FeedReader;

/// Files whose changes may bring new frames, in addition to the feeds of recorders.
const WATCHED: [&str; 3] = [INDEX_NAME, JOURNAL_NAME, STATE_NAME];

/// While a recorder reports each frame in its feed, the minimum interval between two reads of the
/// index.
const LIST_INTERVAL: Duration = Duration::from_millis(250);

/// Interval at which started and dead recorders are detected; also changes, where files cannot be
/// watched.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum delay until a request to stop is noticed.
const STOP_INTERVAL: Duration = Duration::from_millis(250);

/// Passes the frames of `session` and its successors to `outlet` as they arrive, until the last
/// session has ended and all frames are handed out.
///
/// # Errors
///
/// Returns an error if an index cannot be read, or if a recorder has died and no other has started
/// within the timeout.
pub fn follow<'a>(
    session: Session,
    options: &'a FollowOptions,
    outlet: FrameOutlet<'a>,
) -> Result<()> {
    let sink = Sink::new(outlet, options.selection.limit);
    let (series, _) = SeriesName::of_session(&session.id());
    let (feeds, wake) = (FeedReader::default(), Wake::watch(&WATCHED));
    let mut follower = SeriesFollower { options, series, feeds, wake, sessions: Vec::new(), sink };
    match follower.run(session) {
        Ok(()) | Err(Halt::Stopped) => Ok(()),
        Err(Halt::Failed(error)) => Err(error),
    }
}

/// Follows the sessions of a series.
struct SeriesFollower<'a> {
    options: &'a FollowOptions,
    series: SeriesName,
    feeds: FeedReader,
    wake: Wake<'a>,
    /// The newest session, and earlier ones with frames that may have to be handed out again.
    sessions: Vec<Following<'a>>,
    sink: Sink<'a>,
}

impl SeriesFollower<'_> {
    fn run(&mut self, first: Session) -> Result<(), Halt> {
        // Connect before the index is read, so that no frame is missed.
        self.feeds.connect();
        self.add(first, self.options.selection)?;
        let mut is_due = true;
        loop {
            for session in &mut self.sessions {
                session.look(is_due, &mut self.sink)?;
            }
            is_due = true;
            if self.advance()? {
                continue;
            }
            if self.sessions.iter().all(Following::is_over) {
                return Ok(());
            }
            is_due = self.wait()?;
            self.feeds.connect();
        }
    }

    fn add(&mut self, session: Session, selection: Selection) -> Result<(), Halt> {
        self.wake.add(&session.frames_dir());
        self.sessions.push(Following::new(session, selection, self.options)?);
        Ok(())
    }

    /// Continues with the next session once the newest has ended. Returns whether there is one.
    fn advance(&mut self) -> Result<bool, Halt> {
        self.sessions.retain(|session| !session.is_done());
        let Some(newest) = self.sessions.last_mut().filter(|newest| newest.has_ended()) else {
            return Ok(false);
        };
        let Some(session) = successor(newest.session())? else { return Ok(false) };
        tracing::info!("session {} has ended; {} follows", newest.session().id(), session.id());
        newest.set_succeeded();
        self.add(session, Selection { since: None, ..self.options.selection })?;
        Ok(true)
    }

    /// Waits until the sessions should be checked. Returns whether something has changed.
    fn wait(&mut self) -> Result<bool, Halt> {
        let started = Instant::now();
        let until = self.sessions.iter().filter_map(Following::lease_ends).min();
        let mut has_changed = false;
        loop {
            let left = until.map_or(STOP_INTERVAL, |until| {
                Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default()
            });
            let timeout = left.min(STOP_INTERVAL);
            let woken = self.wake.wait(self.feeds.descriptors(), self.sink.outlet.output, timeout);
            if woken.reader_left || (self.sink.outlet.stop)() {
                return Err(Halt::Stopped);
            }
            has_changed |= woken.changed;
            if self.read_feeds()? {
                return Ok(true);
            }
            let calm = if self.has_feed() { LIST_INTERVAL } else { Duration::ZERO };
            let elapsed = started.elapsed();
            let is_due = has_changed && elapsed >= calm;
            if is_due || left.is_zero() || elapsed >= LOOK_INTERVAL {
                return Ok(is_due);
            }
        }
    }

    /// Reads the feeds of recorders. Returns whether the sessions should be checked now.
    fn read_feeds(&mut self) -> Result<bool, Halt> {
        let mut has_missed = false;
        let reported = self.feeds.read(&mut || has_missed = true);
        if has_missed {
            self.sessions.iter_mut().for_each(Following::may_have_missed);
        }
        let mut is_due = has_missed;
        for line in reported {
            for session in &mut self.sessions {
                is_due |= session.take_reported(&line, &mut self.sink)?;
            }
        }
        Ok(is_due)
    }

    /// Returns whether a recorder of this series reports each frame in its feed.
    fn has_feed(&self) -> bool {
        let folder = self.sessions.last().and_then(|newest| newest.session().folder().parent());
        let sessions_dir = folder.and_then(|folder| folder.canonicalize().ok());
        self.feeds.covers(&|recorded: &Path| {
            let name = recorded.file_name().unwrap_or_default().to_string_lossy();
            let parent = recorded.parent().and_then(|parent| parent.canonicalize().ok());
            parent == sessions_dir && SeriesName::of_session(&name).0 == self.series
        })
    }
}
