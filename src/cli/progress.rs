//! Progress bars on stderr, where it is a terminal.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};

use super::rate::Rate;
use crate::shutdown::Shutdown;
use crate::telemetry::{Counters, Terminal};

/// How often a live line is brought up to date.
const REFRESH: Duration = Duration::from_millis(250);

/// A thread that brings a live line up to date until it is told to end, and then
/// takes the line away.
#[derive(Debug)]
pub(super) struct Refresher {
    line: ProgressBar,
    ended: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Refresher {
    /// Shows `line` and calls `refresh` on it every quarter of a second. Where
    /// there is no terminal, does nothing.
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
            // Without the thread there is no live line, and everything else goes on.
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

/// A style, or the plainest one if the template is wrong; a test tries them all.
pub(super) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

const SCAN_TEMPLATE: &str =
    "{binary_bytes} of {binary_total_bytes} [{wide_bar}] {percent}%  {msg}  {eta} left";
const SEND_TEMPLATE: &str = "{binary_bytes} of {binary_total_bytes} [{wide_bar}] {percent}%  {msg}";
const ENDLESS_TEMPLATE: &str = "{binary_bytes}  {wide_msg}";

/// The bar of `scan`: bytes, pictures a second, time left.
#[derive(Debug)]
pub struct ScanBar {
    _refresher: Refresher,
}

impl ScanBar {
    /// Shows what `counters` say: `detected_bytes` of `recorded_bytes`, `pictures`
    /// and `frames_kept`.
    pub fn start(terminal: &Terminal, counters: Arc<Counters>) -> Self {
        let bar = ProgressBar::no_length().with_style(style(SCAN_TEMPLATE));
        let mut rate = Rate::default();
        let refresher = Refresher::start(terminal, bar, move |bar| {
            let seen = counters.snapshot();
            let pictures_per_s = rate.sample(Instant::now(), seen.pictures);
            bar.set_length(seen.recorded_bytes.max(1));
            bar.set_position(seen.detected_bytes);
            bar.set_message(format!("{} frames  {pictures_per_s:.0} pictures/s", seen.frames_kept));
        });
        ScanBar { _refresher: refresher }
    }

    /// Takes the bar away.
    pub fn end(self) {}
}

/// The bar of `send`: bytes and speed.
#[derive(Debug)]
pub struct SendBar {
    line: ProgressBar,
    started: Instant,
}

impl SendBar {
    /// An empty bar.
    pub fn new(terminal: &Terminal) -> Self {
        let line = ProgressBar::no_length().with_style(style(ENDLESS_TEMPLATE));
        SendBar { line: terminal.add(line), started: Instant::now() }
    }

    /// Shows how far it has come: bytes sent, bytes to send if that has an end, the
    /// stream's own time sent, passes ended.
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

    /// Takes the bar away.
    pub fn end(self) {
        self.line.finish_and_clear();
    }
}

/// `1.20 MiB/s  2.0x` and, once it has begun again, `pass 3`.
fn pace(sent_bytes: u64, media: Duration, passes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let bytes_per_s = BinaryBytes((sent_bytes as f64 / seconds) as u64);
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
        let told = pace(4 << 20, Duration::from_secs(8), 0, Duration::from_secs(4));
        assert_eq!(told, "1.00 MiB/s  2.0x");
        let told = pace(4 << 20, Duration::from_secs(8), 2, Duration::from_secs(4));
        assert_eq!(told, "1.00 MiB/s  2.0x  pass 3");
        pace(0, Duration::ZERO, 0, Duration::ZERO);
    }
}
