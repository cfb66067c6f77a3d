//! Destination of followed frames, and the number still wanted.

use std::os::fd::BorrowedFd;

use crate::catalog::Entry;
use crate::error::{Error, Result};
use crate::session::Session;

/// Destination of the frames, and conditions that end following.
pub struct FrameOutlet<'a> {
    /// Takes a frame. Returns false to end following.
    pub take: &'a mut dyn FnMut(&Session, &Entry) -> bool,
    /// Descriptor to which frames are written: following ends when its reader closes it.
    pub output: Option<BorrowedFd<'a>>,
    /// Returns whether to stop.
    pub stop: &'a dyn Fn() -> bool,
}

/// Reason why following ends before the last session.
#[derive(Debug)]
pub(super) enum Halt {
    /// No more frames are wanted.
    Stopped,
    /// Following cannot continue.
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

/// The outlet, and the number of frames that it still takes.
pub(super) struct Sink<'a> {
    pub(super) outlet: FrameOutlet<'a>,
    remaining: Option<usize>,
}

impl<'a> Sink<'a> {
    /// Returns a sink that passes at most `limit` frames to `outlet`.
    pub(super) fn new(outlet: FrameOutlet<'a>, limit: Option<usize>) -> Self {
        Sink { outlet, remaining: limit }
    }

    /// Returns the number of frames still wanted; `None` without a limit.
    pub(super) fn remaining(&self) -> Option<usize> {
        self.remaining
    }

    /// Passes a frame to the outlet.
    pub(super) fn take(&mut self, session: &Session, entry: &Entry) -> Result<(), Halt> {
        if self.remaining == Some(0) || !(self.outlet.take)(session, entry) {
            return Err(Halt::Stopped);
        }
        self.remaining = self.remaining.map(|remaining| remaining - 1);
        if self.remaining == Some(0) { Err(Halt::Stopped) } else { Ok(()) }
    }
}
