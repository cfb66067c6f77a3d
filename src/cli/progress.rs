//! Progress bars on stderr, shown only on a terminal.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};

use super::rate::CounterRate;
use super::terminal::Terminal;
use crate::host::shutdown::Shutdown;
use crate::telemetry::Counters;

/// Time between two updates of a live line.
const REFRESH: Duration = Duration::from_millis(250);

/// A thread that updates a live line. Dropping the refresher stops the thread and removes the line.
#[derive(Debug)]
pub(super) struct Refresher {
    line: ProgressBar,
    ended: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Refresher {
    /// Shows `line` and calls `refresh` on it every [`REFRESH`]. Does nothing if stderr is not a
    /// terminal.
    pub(super) fn start(
        terminal: &Terminal,
        line: ProgressBar,
        mut refresh: impl FnMut(&ProgressBar) + Send + 'static,
    ) -> Self {
        let line = terminal.add(line);
        let ended = Shutdown::new();
        let thread = terminal.is_live().then(|| {
            let (line, ended) = (line.clone(), ended.clone());
            let draw = move || {
                while !ended.wait_timeout(REFRESH) {
                    refresh(&line);
                }
            };
            // If the thread cannot be started, the command runs without a live line.
            thread::Builder::new().name("live line".into()).spawn(draw).ok()
        });
        Refresher { line, ended, thread: thread.flatten() }
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.ended.request();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.line.finish_and_clear();
    }
}

/// Returns the style of `template`, or a plain bar if it is invalid. A test covers every
/// template.
pub(super) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

const SCAN_TEMPLATE: &str =
    "{binary_bytes} of {binary_total_bytes} [{wide_bar}] {percent}%  {msg}  {eta} left";
const SEND_TEMPLATE: &str = "{binary_bytes} of {binary_total_bytes} [{wide_bar}] {percent}%  {msg}";
const ENDLESS_TEMPLATE: &str = "{binary_bytes}  {wide_msg}";

/// Progress bar of `scan`: bytes, frames, pictures per second, time left.
#[derive(Debug)]
pub struct ScanBar {
    _refresher: Refresher,
}

impl ScanBar {
    /// Shows the bar and updates it from `counters`: `detected_bytes` of
    /// `recorded_bytes`, `pictures` and `frames_kept`.
    pub fn start(terminal: &Terminal, counters: Arc<Counters>) -> Self {
        let bar = ProgressBar::no_length().with_style(style(SCAN_TEMPLATE));
        let mut rate = CounterRate::default();
        let refresher = Refresher::start(terminal, bar, move |bar| {
            let snapshot = counters.snapshot();
            let pictures_per_s = rate.sample(Instant::now(), snapshot.pictures);
            bar.set_length(snapshot.recorded_bytes.max(1));
            bar.set_position(snapshot.detected_bytes);
            bar.set_message(format!(
                "{} frames  {pictures_per_s:.0} pictures/s",
                snapshot.frames_kept
            ));
        });
        ScanBar { _refresher: refresher }
    }

    /// Removes the bar.
    pub fn end(self) {}
}

/// Progress bar of `send`: bytes, bytes per second, speed.
#[derive(Debug)]
pub struct SendBar {
    line: ProgressBar,
    started: Instant,
}

impl SendBar {
    /// Shows an empty bar.
    pub fn new(terminal: &Terminal) -> Self {
        let line = ProgressBar::no_length().with_style(style(ENDLESS_TEMPLATE));
        SendBar { line: terminal.add(line), started: Instant::now() }
    }

    /// Updates the bar. `total_bytes` is `None` while the file is looped, `media` is the
    /// stream time sent, `passes` the number of finished passes.
    pub fn show(&self, sent_bytes: u64, total_bytes: Option<u64>, media: Duration, passes: u64) {
        if let Some(total_bytes) = total_bytes
            && self.line.length() != Some(total_bytes)
        {
            self.line.set_style(style(SEND_TEMPLATE));
            self.line.set_length(total_bytes);
        }
        self.line.set_position(sent_bytes);
        self.line.set_message(pace(sent_bytes, media, passes, self.started.elapsed()));
    }

    /// Removes the bar.
    pub fn end(self) {
        self.line.finish_and_clear();
    }
}

/// Formats the speed: `1.20 MiB/s  2.0x`, and `pass 3` from the second pass on.
fn pace(sent_bytes: u64, media: Duration, passes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let bytes_per_s = ByteSize((sent_bytes as f64 / seconds) as u64);
    let times = media.as_secs_f64() / seconds;
    let pass = if passes > 0 { format!("  pass {}", passes + 1) } else { String::new() };
    format!("{bytes_per_s}/s  {times:.1}x{pass}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_right() {
        for template in [SCAN_TEMPLATE, SEND_TEMPLATE, ENDLESS_TEMPLATE] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn the_pace_is_bytes_a_second_and_times_its_own() {
        let text = pace(4 << 20, Duration::from_secs(8), 0, Duration::from_secs(4));
        assert_eq!(text, "1.0 MiB/s  2.0x");
        let text = pace(4 << 20, Duration::from_secs(8), 2, Duration::from_secs(4));
        assert_eq!(text, "1.0 MiB/s  2.0x  pass 3");
        pace(0, Duration::ZERO, 0, Duration::ZERO);
    }
}
