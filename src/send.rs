//! The sender side: plays a file into a recorder at its own pace.
//!
//! ```text
//! file ─▶ pieces ─▶ looper ─▶ tape ─run─▶ pacer ─due─▶ play ─▶ link ─TCP─▶
//! ```
//!
//! Without a loop the receiver gets exactly the bytes of the file; with one, it
//! gets them once, and then again and again with clocks and counters that go on.

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
use survey::Clock;
use tape::Tape;

/// How fast a file is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times as fast as its own clock; finite and above 0.
    Factor(f64),
    /// As fast as the receiver takes it.
    Max,
}

/// What to send, where to, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct SendOptions {
    /// The MPEG-TS file.
    pub file: PathBuf,
    /// `HOST:PORT` of the receiver.
    pub to: String,
    /// The pace.
    pub speed: Speed,
    /// Begin again at the end of the file, without end.
    pub looped: bool,
}

/// How far it has come. Told about five times a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SendProgress {
    /// Bytes sent, over all passes.
    pub sent_bytes: u64,
    /// Bytes to send; none where that is not known or without end.
    pub total_bytes: Option<u64>,
    /// Media time sent, by the stream's own clock.
    pub media: Duration,
    /// Passes ended.
    pub passes: u64,
}

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SendSummary {
    /// Bytes sent, over all passes.
    pub sent_bytes: u64,
    /// Media time sent, by the stream's own clock.
    pub media: Duration,
    /// How long it took.
    pub elapsed: Duration,
    /// Passes ended.
    pub passes: u64,
    /// The stop flag ended it, not the end of the file.
    pub was_stopped: bool,
}

/// Sends a file until it is over, or until `stop` is raised, which is seen within
/// about 0.1 s.
///
/// # Errors
///
/// If the file is no MPEG-TS of 188-byte packets or cannot be read, or the receiver
/// cannot be reached or closes before it has everything.
pub fn send(
    options: &SendOptions,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(SendProgress),
) -> Result<SendSummary> {
    if let Speed::Factor(factor) = options.speed
        && !is_playable(factor)
    {
        return Err(Error::new(Stage::Send, "a speed is a number above 0, or max"));
    }
    let mut tape = Tape::open(&options.file, options.looped)?;
    if options.speed != Speed::Max {
        warn_of_missing_clock(tape.clock(), &options.file);
    }
    let mut link = Link::connect(&options.to)?;
    let time = play::SystemTime::start();
    let mut summary = play::play(&mut tape, options.speed, &mut link, &time, stop, progress)?;
    summary.sent_bytes = link.sent_bytes();
    link.farewell(stop)?;
    Ok(summary)
}

fn is_playable(factor: f64) -> bool {
    factor.is_finite() && factor > 0.0
}

fn warn_of_missing_clock(clock: Clock, file: &std::path::Path) {
    let file = file.display();
    match clock {
        Clock::Pcr(_) => {}
        Clock::Dts(pid) => tracing::warn!(
            "{file}: no PCR in the first 4 MiB: paced by the decoding times of PID {pid:#x}"
        ),
        Clock::None => tracing::warn!(
            "{file}: neither PCR nor timestamps in the first 4 MiB: sent at full speed"
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
mod tests;
