//! When a recording has become long enough, and where the next one begins.

use std::time::{Duration, Instant};

use super::cut::{CutFinder, Patience, Pushed};
use crate::demux::ProgramChoice;
use crate::error::{Error, Result};
use crate::media::ByteOffset;
use crate::recording::Recording;

/// So long a picture is waited for behind which nothing refers to anything before it …
const CLOSED_PATIENCE: Duration = Duration::from_secs(10);

/// … and so long for any at which decoding can start.
const OPEN_PATIENCE: Duration = Duration::from_secs(60);

/// When the next recording could not be opened it is tried again after so long.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// How long a recording may become. Without either there is no end to it, as long as
/// nobody removes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Time from when it was opened.
    pub every: Option<Duration>,
    /// Its length.
    pub bytes: Option<u64>,
}

/// Opens the recording that follows.
pub type OpenNext<'a> = Box<dyn FnMut() -> Result<Recording> + Send + 'a>;

/// Decides when one recording ends and the next begins.
pub struct Rotation<'a> {
    limits: Limits,
    choice: ProgramChoice,
    open_next: OpenNext<'a>,
    began: Instant,
    not_before: Option<Instant>,
    /// Since when a place to cut is looked for.
    due: Option<Instant>,
    finder: Option<CutFinder>,
}

impl<'a> Rotation<'a> {
    /// For a recording that begins now. `choice` is the program whose pictures count.
    pub fn new(limits: Limits, choice: ProgramChoice, open_next: OpenNext<'a>) -> Self {
        Rotation {
            limits,
            choice,
            open_next,
            began: Instant::now(),
            not_before: None,
            due: None,
            finder: None,
        }
    }

    /// Takes what was received behind the `length` bytes of the recording. `None`: all of
    /// it belongs to that.
    pub fn push(&mut self, length: u64, bytes: &[u8]) -> Option<Pushed> {
        if self.due.is_none() && self.is_due(length) {
            self.due = Some(Instant::now());
        }
        let patience = match self.due?.elapsed() {
            waited if waited < CLOSED_PATIENCE => Patience::Closed,
            waited if waited < OPEN_PATIENCE => Patience::Open,
            _ => Patience::Any,
        };
        let choice = self.choice;
        let finder = self.finder.get_or_insert_with(|| CutFinder::new(ByteOffset(length), choice));
        let pushed = finder.push(bytes, patience);
        if pushed.behind.is_some() && patience == Patience::Any {
            tracing::warn!(
                "no key frame came for {OPEN_PATIENCE:?}: the recording is cut anywhere"
            );
        }
        Some(pushed)
    }

    /// The connection is over: what was held back belongs to this recording.
    pub fn end_connection(&mut self) -> Vec<u8> {
        self.finder.take().map(CutFinder::finish).unwrap_or_default()
    }

    /// Opens the next recording, now that the place is found.
    ///
    /// # Errors
    ///
    /// If it cannot be opened. It is tried again later.
    pub fn open_next(&mut self) -> Result<Recording> {
        (self.finder, self.due) = (None, None);
        let opened = (self.open_next)();
        match opened {
            Ok(_) => (self.began, self.not_before) = (Instant::now(), None),
            Err(_) => self.not_before = Some(Instant::now() + TRY_AGAIN),
        }
        opened
    }

    fn is_due(&self, length: u64) -> bool {
        let is_long = self.limits.bytes.is_some_and(|limit| length >= limit);
        let is_old = self.limits.every.is_some_and(|limit| self.began.elapsed() >= limit);
        (is_long || is_old) && self.not_before.is_none_or(|time| time <= Instant::now())
    }
}

/// Tells that the recording goes on as it is.
pub fn tell_failure(error: &Error) {
    tracing::error!("{error}; this session goes on, and a new one is tried in {TRY_AGAIN:?}");
}
