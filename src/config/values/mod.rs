//! One parser per kind of value, for flags, variables and the file.
//!
//! An error describes the valid values. It completes a sentence that begins with the option's name:
//! "must be …".

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use tracing_subscriber::EnvFilter;

use crate::catalog::Since;
use crate::catalog::frames::frame_number;
use crate::pipeline::evidence::Moment;
use crate::send::Speed;
use crate::telemetry::LogFormat;

mod network;

pub use network::HostPort;
pub(super) use network::{destination, host, listen, networks, port};

/// Result of a parser: the value, or a description of valid values.
pub(super) type Parsed<T> = Result<T, String>;

/// Maximum length of a session name in bytes: NAME_MAX of Linux (255), less room for suffixes such
/// as `_2`.
const SESSION_NAME_MAX_BYTES: usize = 200;
/// Minimum width of a JPEG in pixels: narrower pictures are useless.
const FRAME_WIDTH_MIN_PX: u32 = 16;
/// Maximum width of a JPEG in pixels (ITU-T T.81, B.2.2).
const FRAME_WIDTH_MAX_PX: u32 = 65_535;
/// Maximum sync interval, one hour. A larger value is a mistake; the limit also prevents overflow
/// in computations with times.
const SYNC_INTERVAL_MAX_S: f64 = 3_600.0;
/// Maximum idle timeout, one year: for a longer timeout, use 0 (none).
const IDLE_TIMEOUT_MAX_S: f64 = 31_536_000.0;

/// Maximum time span: ten years, in practice never.
const TIME_SPAN_MAX_S: u64 = 315_360_000;
/// Minimum speed: at a lower one, a single packet would take minutes.
const SPEED_MIN: f64 = 0.001;
/// Maximum speed as a factor: for a higher speed, use `max`.
const SPEED_MAX: f64 = 1_000.0;
/// Maximum number of threads: more than the cores of any host.
const JOBS_MAX: usize = 1_024;

fn utf8(value: &OsStr) -> Parsed<&str> {
    value.to_str().ok_or_else(|| "must be UTF-8".to_owned())
}

fn finite(value: &OsStr, expected: &str) -> Parsed<f64> {
    let number = utf8(value)?.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| expected.to_owned())
}

fn within(value: &OsStr, range: std::ops::RangeInclusive<f64>, expected: &str) -> Parsed<f64> {
    let number = finite(value, expected)?;
    if range.contains(&number) { Ok(number) } else { Err(expected.to_owned()) }
}

fn whole<T>(value: &OsStr, range: std::ops::RangeInclusive<T>, expected: &str) -> Parsed<T>
where
    T: std::str::FromStr + PartialOrd,
{
    let number = utf8(value)?.parse::<T>().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| expected.to_owned())
}

pub(super) fn switch(value: &OsStr) -> Parsed<bool> {
    match utf8(value)?.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err("must be yes or no (or true or false, or 1 or 0)".to_owned()),
    }
}

pub(super) fn path(value: &OsStr) -> Parsed<PathBuf> {
    if value.is_empty() { Err("must be a path".to_owned()) } else { Ok(PathBuf::from(value)) }
}

pub(super) fn scene_threshold(value: &OsStr) -> Parsed<f64> {
    within(value, 0.0..=1.0, "must be a number from 0 to 1")
}

pub(super) fn max_frame_interval_s(value: &OsStr) -> Parsed<f64> {
    within(value, 0.0..=f64::MAX, "must be a number of seconds, 0 or more")
}

pub(super) fn moment(value: &OsStr) -> Parsed<Moment> {
    utf8(value)?.parse()
}

pub(super) fn sync_interval(value: &OsStr) -> Parsed<Duration> {
    let expected = "must be a number of seconds, more than 0 and at most 3600";
    let seconds = within(value, 0.0..=SYNC_INTERVAL_MAX_S, expected)?;
    let interval = Duration::try_from_secs_f64(seconds).map_err(|_| expected.to_owned())?;
    // A value below one nanosecond rounds to zero.
    if interval.is_zero() { Err(expected.to_owned()) } else { Ok(interval) }
}

pub(super) fn shutdown_timeout(value: &OsStr) -> Parsed<Duration> {
    let wanted = "must be a number of seconds from 0 to 3600";
    let seconds = within(value, 0.0..=SYNC_INTERVAL_MAX_S, wanted)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wanted.to_owned())
}

pub(super) fn idle_timeout(value: &OsStr) -> Parsed<Option<Duration>> {
    let expected = "must be a number of seconds, 0 (no timeout) to 31536000";
    let seconds = within(value, 0.0..=IDLE_TIMEOUT_MAX_S, expected)?;
    let timeout = Duration::try_from_secs_f64(seconds).map_err(|_| expected.to_owned())?;
    Ok(Some(timeout).filter(|timeout| !timeout.is_zero()))
}

/// Parses a number of bytes with the suffixes of coreutils, for which `K` is 1024 bytes and `KB`
/// 1000.
pub(super) fn byte_count(value: &OsStr) -> Parsed<u64> {
    let text = utf8(value)?;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => "B".to_owned(),
        // bytesize interprets a single letter as a power of 1000.
        letter if letter.len() == 1 && letter != "B" => format!("{letter}iB"),
        unit => unit.to_owned(),
    };
    let count = digits.trim_end().parse::<u64>().ok().zip(unit.parse::<bytesize::Unit>().ok());
    count.and_then(|(count, unit)| count.checked_mul(unit * 1_u64)).ok_or_else(|| {
        "must be a number of bytes: a whole number, optionally with the suffix K, M, G or T for \
         KiB, MiB, GiB or TiB, or KB, MB, GB or TB for powers of 1000"
            .to_owned()
    })
}

/// Parses a time like `sleep` of coreutils: 90, 90s, 15m, 6h or 1d, or several units, as in
/// 1d 12h. 0 means never.
pub(super) fn time_span(value: &OsStr) -> Parsed<Duration> {
    let expected =
        "must be a whole number of seconds, or a time such as 90s, 15m, 6h or 1d; 0 means never";
    let text = utf8(value)?;
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => Some(seconds),
        Err(_) => text
            .parse::<Span>()
            .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
            .ok()
            .filter(|duration| duration.subsec_nanos() == 0)
            .and_then(|duration| u64::try_from(duration.as_secs()).ok()),
    };
    let seconds = seconds.filter(|seconds| *seconds <= TIME_SPAN_MAX_S).ok_or(expected)?;
    Ok(Duration::from_secs(seconds))
}

pub(super) fn session_count(value: &OsStr) -> Parsed<usize> {
    whole(value, 0..=usize::MAX, "must be a number of sessions, 0 or more")
}

/// Parses the length of a lease.
pub(super) fn lease(value: &OsStr) -> Parsed<Duration> {
    let expected = "must be a number of seconds, more than 0 and at most 31536000";
    let seconds = within(value, 0.0..=IDLE_TIMEOUT_MAX_S, expected)?;
    let length = Duration::try_from_secs_f64(seconds).map_err(|_| expected.to_owned())?;
    if length.is_zero() { Err(expected.to_owned()) } else { Ok(length) }
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandWords(pub Vec<String>);

/// Splits a command as a shell does, without expansions.
pub(super) fn command(value: &OsStr) -> Parsed<CommandWords> {
    let expected = "must be a command, with quotes and backslashes as in a shell";
    let words = shlex::split(utf8(value)?).ok_or_else(|| expected.to_owned())?;
    let is_command = words.first().is_some_and(|program| !program.is_empty());
    let is_clean = words.iter().all(|word| !word.contains('\0'));
    if is_command && is_clean { Ok(CommandWords(words)) } else { Err(expected.to_owned()) }
}

pub(super) fn on_frame_timeout(value: &OsStr) -> Parsed<Duration> {
    let expected = "must be a number of seconds, more than 0 and at most 86400";
    let seconds = within(value, 0.0..=86_400.0, expected)?;
    let timeout = Duration::try_from_secs_f64(seconds).map_err(|_| expected.to_owned())?;
    if timeout.is_zero() { Err(expected.to_owned()) } else { Ok(timeout) }
}

pub(super) fn on_frame_jobs(value: &OsStr) -> Parsed<NonZeroUsize> {
    let expected = "must be a number of commands from 1 to 64";
    let jobs = whole(value, 1..=64, expected)?;
    NonZeroUsize::new(jobs).ok_or_else(|| expected.to_owned())
}

pub(super) fn on_frame_retry(value: &OsStr) -> Parsed<u32> {
    whole(value, 0..=100, "must be a number of times from 0 to 100")
}

pub(super) fn holder(value: &OsStr) -> Parsed<String> {
    let name = utf8(value)?;
    let is_name = !name.is_empty() && name.len() <= 255 && !name.contains(char::is_control);
    if is_name { Ok(name.to_owned()) } else { Err("must be a name of 1 to 255 bytes".to_owned()) }
}

pub(super) fn frame_count(value: &OsStr) -> Parsed<usize> {
    whole(value, 1..=usize::MAX, "must be a number of frames, 1 or more")
}

pub(super) fn since(value: &OsStr) -> Parsed<Since> {
    let expected = "must be the id of a frame, such as F0042, or a number of seconds";
    let text = utf8(value)?;
    match frame_number(text) {
        Some(number) => Ok(Since::Frame(number)),
        None => finite(value, expected).map(Since::Seconds),
    }
}

pub(super) fn jpeg_quality(value: &OsStr) -> Parsed<u8> {
    whole(value, 1..=100, "must be a whole number from 1 to 100")
}

pub(super) fn frame_width_px(value: &OsStr) -> Parsed<u32> {
    let expected = "must be a whole number of pixels from 16 to 65535";
    whole(value, FRAME_WIDTH_MIN_PX..=FRAME_WIDTH_MAX_PX, expected)
}

pub(super) fn program(value: &OsStr) -> Parsed<u16> {
    whole(value, 1..=u16::MAX, "must be an MPEG-TS program number from 1 to 65535")
}

pub(super) fn jobs(value: &OsStr) -> Parsed<NonZeroUsize> {
    let expected = "must be a number of threads from 1 to 1024";
    NonZeroUsize::new(whole(value, 1..=JOBS_MAX, expected)?).ok_or_else(|| expected.to_owned())
}

pub(super) fn verbosity(value: &OsStr) -> Parsed<u8> {
    whole(value, 0..=u8::MAX, "must be 0 (information), 1 (debug) or 2 (trace)")
}

pub(super) fn log_format(value: &OsStr) -> Parsed<LogFormat> {
    match utf8(value)? {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".to_owned()),
    }
}

pub(super) fn log_filter(value: &OsStr) -> Parsed<String> {
    let text = utf8(value)?;
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("must be a filter such as info,scenetap=debug ({error})")),
    }
}

pub(super) fn speed(value: &OsStr) -> Parsed<Speed> {
    let expected = "must be max or a number from 0.001 to 1000";
    if value == "max" {
        return Ok(Speed::Max);
    }
    within(value, SPEED_MIN..=SPEED_MAX, expected).map(Speed::Factor)
}

pub(super) fn session(value: &OsStr) -> Parsed<String> {
    let name = utf8(value)?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > SESSION_NAME_MAX_BYTES || name.starts_with('.') {
        return Err("must be a name of 1 to 200 characters that does not begin with a dot".into());
    }
    if !name.bytes().all(is_allowed) {
        return Err("must be a name of letters, digits, dots, underscores and dashes only; \
                    use --sessions-dir for its folder"
            .to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    pub(super) fn assert_refused<T: std::fmt::Debug>(
        parse: fn(&OsStr) -> Parsed<T>,
        values: &[&str],
    ) {
        for value in values {
            let error = parse(OsStr::new(value)).unwrap_err();
            assert!(error.starts_with("must "), "{value}: {error}");
        }
    }

    #[test]
    fn a_threshold_lies_between_0_and_1() {
        assert_eq!(scene_threshold(OsStr::new("0")).unwrap(), 0.0);
        assert_eq!(scene_threshold(OsStr::new("1")).unwrap(), 1.0);
        assert_refused(scene_threshold, &["-0.1", "1.0001", "NaN", "inf", "", "0,3", "a third"]);
    }

    #[test]
    fn an_interval_is_finite_and_may_be_0() {
        assert_eq!(max_frame_interval_s(OsStr::new("0")).unwrap(), 0.0);
        assert_eq!(max_frame_interval_s(OsStr::new("1e3")).unwrap(), 1000.0);
        assert_refused(max_frame_interval_s, &["-1", "inf", "nan", "30s"]);
    }

    #[test]
    fn a_sync_interval_that_rounds_to_nothing_is_refused() {
        assert_eq!(sync_interval(OsStr::new("0.25")).unwrap(), Duration::from_millis(250));
        assert_refused(sync_interval, &["0", "-0", "1e-12", "3601", "1e300", "NaN"]);
    }

    #[test]
    fn an_idle_timeout_of_0_is_none() {
        assert_eq!(idle_timeout(OsStr::new("0")).unwrap(), None);
        assert_eq!(idle_timeout(OsStr::new("1.5")).unwrap(), Some(Duration::from_millis(1500)));
        assert_refused(idle_timeout, &["-1", "NaN", "inf", "1e9", "5s"]);
    }

    #[test]
    fn bytes_have_the_suffixes_of_coreutils() {
        for (text, bytes) in [
            ("0", 0),
            ("1500", 1500),
            ("64K", 65_536),
            ("2GiB", 2 << 30),
            ("2g", 2 << 30),
            ("5 MB", 5_000_000),
            ("1T", 1 << 40),
        ] {
            assert_eq!(byte_count(OsStr::new(text)).unwrap(), bytes, "{text}");
        }
        assert_refused(byte_count, &["", "G", "-1", "1.5G", "1X", "1BG", "NaN", "20000000T"]);
    }

    #[test]
    fn a_time_span_has_the_units_of_sleep() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("15m", 900), ("7d", 604_800), ("0", 0)] {
            assert_eq!(time_span(OsStr::new(text)).unwrap().as_secs(), seconds, "{text}");
        }
        assert_refused(time_span, &["", "7 dogs", "-1d", "1.5", "0.5s", "11y", "NaN"]);
    }

    #[test]
    fn whole_numbers_stay_within_their_limits() {
        assert_refused(jpeg_quality, &["0", "101", "93.5", "-1", "256"]);
        assert_refused(frame_width_px, &["15", "65536", "640px"]);
        assert_refused(program, &["0", "65536", "0x10"]);
        assert_refused(jobs, &["0", "1025", "all"]);
    }

    #[test]
    fn a_session_is_one_component_of_a_path() {
        assert_eq!(session(OsStr::new("2024-06-01_a.b")).unwrap(), "2024-06-01_a.b");
        assert_refused(session, &["", ".", "..", ".hidden", "a/b", "/a", "a b", "naïve", "a\nb"]);
        assert_refused(session, &[&"x".repeat(201)]);
    }

    #[test]
    fn speeds_are_a_factor_or_max() {
        assert_eq!(speed(OsStr::new("max")).unwrap(), Speed::Max);
        assert_eq!(speed(OsStr::new("2.5")).unwrap(), Speed::Factor(2.5));
        assert_refused(speed, &["0", "-1", "inf", "MAX", "1e9", "2x"]);
    }

    #[test]
    fn switches_are_yes_or_no() {
        for (text, on) in [
            ("1", true),
            ("TRUE", true),
            ("yes", true),
            ("0", false),
            ("no", false),
            ("False", false),
        ] {
            assert_eq!(switch(OsStr::new(text)).unwrap(), on);
        }
        assert_refused(switch, &["", "on", "2", "y"]);
    }

    #[test]
    fn what_is_not_utf8_is_refused_where_text_is_meant() {
        use std::os::unix::ffi::OsStrExt;
        let raw = OsStr::from_bytes(b"a\xff");
        assert!(session(raw).is_err());
        assert_eq!(path(raw).unwrap(), PathBuf::from(raw));
    }
}
