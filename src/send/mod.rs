//! The sender side: sends a file to a recorder in real time.
//!
//! ```text
//! file ─▶ pieces ─▶ looper ─▶ tape ─run─▶ pacer ─due─▶ play ─▶ link ─TCP─▶
//!
//! survey  examines the first bytes: packet size, and the clock for pacing
//! fields  changes counters and timestamps inside a packet
//! ```
//!
//! Without a loop, the receiver gets exactly the bytes of the file. With a loop, it gets them once,
//! and then repeatedly with continuous clocks and counters.

mod fields;
mod link;
mod looper;
mod pacer;
mod pieces;
mod play;
mod survey;
mod tape;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use looper::Looper;
pub use pacer::{Pacer, Reading, Schedule, Span};

use crate::error::{Error, Result, Stage};
use link::Link;
use survey::PacingClock;
use tape::Tape;

/// Speed at which a file is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// Factor of the file's own clock; finite and positive.
    Factor(f64),
    /// As fast as the receiver accepts data.
    Max,
}

/// Options of `send`.
#[derive(Debug, Clone, PartialEq)]
pub struct SendOptions {
    /// The MPEG-TS file.
    pub file: PathBuf,
    /// `HOST:PORT` of the receiver.
    pub to: String,
    /// The speed.
    pub speed: Speed,
    /// Whether to repeat the file forever.
    pub looped: bool,
}

/// Progress, reported about five times per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SendProgress {
    /// Bytes sent, over all passes.
    pub sent_bytes: u64,
    /// Bytes to send; `None` if unknown or unlimited.
    pub total_bytes: Option<u64>,
    /// Media time sent, by the stream's own clock.
    pub media: Duration,
    /// Number of finished passes.
    pub passes: u64,
}

/// Summary of what was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SendSummary {
    /// Bytes sent, over all passes.
    pub sent_bytes: u64,
    /// Media time sent, by the stream's own clock.
    pub media: Duration,
    /// Elapsed time.
    pub elapsed: Duration,
    /// Number of finished passes.
    pub passes: u64,
    /// Whether sending ended because of the stop flag, rather than at the end of the file.
    pub was_stopped: bool,
}

/// Sends a file to its end, or until `stop` is set, which is noticed within about 0.1 s.
///
/// # Errors
///
/// Returns an error if the file cannot be read or is not MPEG-TS, or if the receiver cannot be
/// reached or closes the connection before it has received everything.
pub fn send(
    options: &SendOptions,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(SendProgress),
) -> Result<SendSummary> {
    if let Speed::Factor(factor) = options.speed
        && !is_playable(factor)
    {
        return Err(Error::new(Stage::Send, "the speed must be a number above 0, or max"));
    }
    let mut tape = Tape::open(&options.file, options.looped)?;
    if options.speed != Speed::Max {
        warn_of_missing_clock(tape.clock(), &options.file);
    }
    let mut link = Link::connect(&options.to)?;
    let time = play::SystemTime::start();
    let mut summary = play::play(&mut tape, options.speed, &mut link, &time, stop, progress)?;
    summary.sent_bytes = link.sent_bytes();
    link.close(stop)?;
    Ok(summary)
}

fn is_playable(factor: f64) -> bool {
    factor.is_finite() && factor > 0.0
}

fn warn_of_missing_clock(clock: PacingClock, file: &std::path::Path) {
    let file = file.display();
    match clock {
        PacingClock::Pcr(_) => {}
        PacingClock::Dts(pid) => tracing::warn!(
            "{file}: no PCR in the first 4 MiB; using the decoding times of PID {pid:#x}"
        ),
        PacingClock::None => tracing::warn!(
            "{file}: neither PCR nor timestamps in the first 4 MiB; sending at full speed"
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
mod tests;
