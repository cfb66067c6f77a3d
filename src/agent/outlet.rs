//! Where followed frames go, and how many more are wanted.

use std::os::fd::BorrowedFd;

use crate::catalog::Entry;
use crate::error::{Error, Result};
use crate::session::Session;

/// Where frames go, and when that ends.
pub struct FrameOutlet<'a> {
    /// Takes a frame. Returns false if no more are wanted.
    pub take: &'a mut dyn FnMut(&Session, &Entry) -> bool,
    /// The descriptor to which frames are written: following ends when its reader leaves.
    pub output: Option<BorrowedFd<'a>>,
    /// Returns whether to stop.
    pub stop: &'a dyn Fn() -> bool,
}

/// Why following ends before the last session has.
#[derive(Debug)]
pub(super) enum Halt {
    /// No more frames are wanted.
    Stopped,
    /// It cannot go on.
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

/// The outlet, and how many more frames it takes.
pub(super) struct Sink<'a> {
    pub(super) outlet: FrameOutlet<'a>,
    remaining: Option<usize>,
}

impl<'a> Sink<'a> {
    /// Returns a sink that passes at most `limit` frames to `outlet`.
    pub(super) fn new(outlet: FrameOutlet<'a>, limit: Option<usize>) -> Self {
        Sink { outlet, remaining: limit }
    }

    /// Returns how many more frames are wanted.
    pub(super) fn remaining(&self) -> Option<usize> {
        self.remaining
    }

    /// Passes a frame on.
    pub(super) fn take(&mut self, session: &Session, entry: &Entry) -> Result<(), Halt> {
        if self.remaining == Some(0) || !(self.outlet.take)(session, entry) {
            return Err(Halt::Stopped);
        }
        self.remaining = self.remaining.map(|remaining| remaining - 1);
        if self.remaining == Some(0) { Err(Halt::Stopped) } else { Ok(()) }
    }
}
