//! Decides when a recording ends, and where the next recording begins.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::cut::{CutFinder, Patience, Pushed};
use crate::demux::ProgramChoice;
use crate::error::{Error, Result};
use crate::pipeline::RotationLimits;
use crate::recording::Recording;
use crate::ts::Aligner;

/// Time to wait for a closed random access point …
const CLOSED_PATIENCE: Duration = Duration::from_secs(10);

/// … and for an open one. Both cut cleanly, but after an open one the first leading pictures may
/// not decode.
const OPEN_PATIENCE: Duration = Duration::from_secs(60);

/// Retry interval if the next recording cannot be opened.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Opens the next recording.
pub type OpenNext<'a> = Box<dyn FnMut() -> Result<Recording> + Send + 'a>;

/// Decides when one recording ends and the next one begins.
pub struct Rotation<'a> {
    limits: RotationLimits,
    choice: ProgramChoice,
    open_next: OpenNext<'a>,
    started: Instant,
    not_before: Option<Instant>,
    /// Time at which the search for the cut started.
    due: Option<Instant>,
    finder: Option<CutFinder>,
}

impl<'a> Rotation<'a> {
    /// Returns the rotation of a new recording. `choice` selects the program whose pictures are
    /// considered.
    pub fn new(limits: RotationLimits, choice: ProgramChoice, open_next: OpenNext<'a>) -> Self {
        Rotation {
            limits,
            choice,
            open_next,
            started: Instant::now(),
            not_before: None,
            due: None,
            finder: None,
        }
    }

    /// Takes received bytes that follow those of the recording. `packets` is the aligner of the
    /// recording. Returns `None` if all bytes belong to this recording.
    pub fn push(&mut self, packets: &Aligner, bytes: &[u8]) -> Option<Pushed> {
        if self.due.is_none() && self.is_due(packets.end()) {
            self.due = Some(Instant::now());
        }
        let patience = match self.due?.elapsed() {
            elapsed if elapsed < CLOSED_PATIENCE => Patience::Closed,
            elapsed if elapsed < OPEN_PATIENCE => Patience::Open,
            _ => Patience::Any,
        };
        let choice = self.choice;
        let finder = self.finder.get_or_insert_with(|| CutFinder::new(packets.clone(), choice));
        let pushed = catch_unwind(AssertUnwindSafe(|| finder.push(bytes, patience)));
        let Ok(pushed) = pushed else {
            // A panic of a parser must not end the recording. The finder still holds every byte.
            tracing::error!("bug: parsing for the cut panicked; cutting the recording here");
            return self.finder.take().map(CutFinder::cut_unparsed);
        };
        if pushed.after.is_some() && patience == Patience::Any {
            tracing::warn!(
                "no key frame for {OPEN_PATIENCE:?}: cutting the recording at any packet"
            );
        }
        Some(pushed)
    }

    /// Ends the search at the end of a connection. Returns the held bytes, which belong
    /// to this recording.
    pub fn end_connection(&mut self) -> Vec<u8> {
        self.finder.take().map(CutFinder::finish).unwrap_or_default()
    }

    /// Opens the next recording after the current one was removed. Returns it with the held bytes,
    /// which must be written to its beginning.
    ///
    /// # Errors
    ///
    /// Returns an error if the recording cannot be opened. The bytes stay held.
    pub fn replace_removed(&mut self) -> Result<(Recording, Vec<u8>)> {
        let next = (self.open_next)()?;
        (self.started, self.not_before, self.due) = (Instant::now(), None, None);
        Ok((next, self.end_connection()))
    }

    /// Opens the next recording, once the position of the cut is found.
    ///
    /// # Errors
    ///
    /// Returns an error if the recording cannot be opened. A later call of [`Rotation::push`]
    /// retries.
    pub fn open_next(&mut self) -> Result<Recording> {
        (self.finder, self.due) = (None, None);
        let opened = (self.open_next)();
        match opened {
            Ok(_) => (self.started, self.not_before) = (Instant::now(), None),
            Err(_) => self.not_before = Some(Instant::now() + RETRY_INTERVAL),
        }
        opened
    }

    fn is_due(&self, length: u64) -> bool {
        let is_long = self.limits.bytes.is_some_and(|limit| length >= limit);
        let is_old = self.limits.every.is_some_and(|limit| self.started.elapsed() >= limit);
        (is_long || is_old) && self.not_before.is_none_or(|time| time <= Instant::now())
    }
}

/// Logs a failed rotation: the recording continues in the same session.
pub fn log_failure(error: &Error) {
    tracing::error!("{error}; continuing in this session, retrying in {RETRY_INTERVAL:?}");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::cut::tests::{POISON, aligned, fixture};
    use super::*;
    use crate::ts::TS_PACKET_BYTES;

    #[test]
    fn where_a_parser_panics_the_cut_is_made_behind_the_last_whole_packet_and_no_byte_is_lost() {
        let stream = fixture("bbb_h264_zerolatency_360p30_gop2s");
        let from = 10 * TS_PACKET_BYTES;
        let limits = RotationLimits { every: None, bytes: Some(1) };
        let next = Box::new(|| unreachable!("only the position is looked for"));
        let mut rotation = Rotation::new(limits, ProgramChoice::FirstWithVideo, next);
        let mut before = Vec::new();
        let pieces =
            [&stream[from..from + 1000], &[&stream[from + 1000..from + 1400], POISON].concat()];
        for bytes in pieces {
            let pushed = rotation.push(&aligned(&stream, from), bytes).unwrap();
            before.extend(pushed.before);
            let Some(after) = pushed.after else { continue };
            assert!(before == stream[from..from + 7 * TS_PACKET_BYTES], "{} bytes", before.len());
            assert!(after.tables.is_empty());
            assert!([&before[..], &after.bytes].concat() == pieces.concat());
            return;
        }
        unreachable!("nothing was cut");
    }
}
