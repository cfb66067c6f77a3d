//! The live line of `record`: sender, bytes, bit rate, and lag.

use std::sync::Arc;
use std::time::Instant;

use bytesize::ByteSize;
use indicatif::ProgressBar;

use super::progress::{Refresher, style};
use super::rate::CounterRate;
use super::terminal::Terminal;
use crate::media::Ticks;
use crate::telemetry::{Counters, Snapshot};

/// The live line. Updated from the counters four times per second if stderr is a terminal.
#[derive(Debug)]
pub struct StatusLine {
    _refresher: Refresher,
}

impl StatusLine {
    /// Shows the line.
    pub fn start(terminal: &Terminal, counters: Arc<Counters>) -> Self {
        let line = ProgressBar::no_length().with_style(style("{wide_msg}"));
        let mut rate = CounterRate::default();
        let screen = terminal.clone();
        let refresher = Refresher::start(terminal, line, move |line| {
            let snapshot = counters.snapshot();
            let bytes_per_s = rate.sample(Instant::now(), snapshot.bytes_received);
            line.set_message(render(&snapshot, bytes_per_s, screen.width()));
        });
        StatusLine { _refresher: refresher }
    }

    /// Removes the line.
    pub fn end(self) {}
}

/// Returns the longest form of the line that is shorter than `width` columns. Shorter
/// forms drop the least important fields first.
fn render(snapshot: &Snapshot, bytes_per_s: f64, width: usize) -> String {
    let sender = snapshot.sender.as_deref().unwrap_or("no sender");
    let received = ByteSize(snapshot.recorded_bytes).to_string();
    let rate = bit_rate(bytes_per_s);
    let time = clock(snapshot.recorded);
    let behind_bytes = ByteSize(snapshot.lag.bytes);
    let behind = format!("{:.1} s", snapshot.lag.time.seconds());
    let frames = match snapshot.frames_kept {
        1 => "1 frame".to_owned(),
        count => format!("{count} frames"),
    };
    let forms = [
        format!(
            "{sender}  {received} at {rate}  {time}  detection {behind_bytes}, {behind} behind  {frames}"
        ),
        format!("{sender}  {received} {rate}  {time}  {behind_bytes}, {behind} behind  {frames}"),
        format!("{received} {rate}  {time}  {behind} behind  {frames}"),
        format!("{time}  {behind} behind  {frames}"),
    ];
    let fits = |form: &&String| form.chars().count() < width;
    forms.iter().find(fits).cloned().unwrap_or(frames)
}

/// Formats a bit rate in powers of 1000, as is usual for networks, such as `4.21 Mbit/s`.
fn bit_rate(bytes_per_s: f64) -> String {
    let bits_per_s = bytes_per_s * 8.0;
    if bits_per_s >= 1e6 {
        format!("{:.2} Mbit/s", bits_per_s / 1e6)
    } else {
        format!("{:.0} kbit/s", bits_per_s / 1e3)
    }
}

/// Formats a time as `HH:MM:SS`.
pub(super) fn clock(time: Ticks) -> String {
    let seconds = time.seconds().max(0.0) as u64;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Returns the final log line: the action `done`, the amount of data, the number of frames, and the
/// damage.
pub fn summary(done: &str, snapshot: &Snapshot) -> String {
    let (bytes, time) = (ByteSize(snapshot.recorded_bytes), clock(snapshot.recorded));
    let mut text = format!(
        "{done} {bytes}, {time}; {} pictures, {} frames kept",
        snapshot.pictures, snapshot.frames_kept
    );
    if snapshot.lag.bytes > 0 {
        let remaining = ByteSize(snapshot.lag.bytes);
        text.push_str(&format!("; {remaining} not analyzed yet"));
    }
    if !snapshot.damage.is_none() {
        text.push_str(&format!("; damage: {}", snapshot.damage));
    }
    match snapshot.refused {
        0 => {}
        1 => text.push_str("; 1 connection refused"),
        many => text.push_str(&format!("; {many} connections refused")),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Damage, Lag};

    fn snapshot() -> Snapshot {
        Snapshot {
            sender: Some("192.0.2.7:51234".into()),
            recorded_bytes: 13_000_000,
            recorded: Ticks(90_000 * 3723),
            lag: Lag { bytes: 1_000_000, time: Ticks(36_000) },
            pictures: 100,
            frames_kept: 7,
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_wide_terminal_shows_everything() {
        assert_eq!(
            render(&snapshot(), 526_250.0, 120),
            "192.0.2.7:51234  12.4 MiB at 4.21 Mbit/s  01:02:03  \
             detection 976.6 KiB, 0.4 s behind  7 frames"
        );
    }

    #[test]
    fn the_line_fits_whatever_the_width() {
        for width in 1..150 {
            let line = render(&snapshot(), 526_250.0, width);
            assert!(line.len() < width || line == "7 frames", "{width}: {line}");
            assert!(line.ends_with("7 frames"), "{width}: {line}");
        }
    }

    #[test]
    fn nobody_sending_is_said() {
        assert!(render(&Snapshot::default(), 0.0, 100).starts_with("no sender  0 B at 0 kbit/s"));
    }

    #[test]
    fn the_last_word_tells_damage_only_where_there_was_some() {
        let whole = Snapshot { lag: Lag::default(), ..snapshot() };
        assert_eq!(
            summary("recorded", &whole),
            "recorded 12.4 MiB, 01:02:03; 100 pictures, 7 frames kept"
        );
        let damaged =
            Snapshot { damage: Damage { lost_sync: 1, ..Damage::default() }, ..snapshot() };
        assert!(
            summary("recorded", &damaged).ends_with("not analyzed yet; damage: 1 loss of sync")
        );
    }

    #[test]
    fn the_last_word_tells_how_many_were_refused() {
        let text = |refused| summary("recorded", &Snapshot { refused, ..Snapshot::default() });
        assert!(text(0).ends_with("0 frames kept"));
        assert!(text(1).ends_with("; 1 connection refused"));
        assert!(text(7).ends_with("; 7 connections refused"));
    }
}
