//! Formats a recorder's status as text.

use bytesize::ByteSize;
use jiff::Timestamp;

use super::status_line::clock;
use crate::media::Ticks;
use crate::status::{LoggedLine, Status};

/// Seconds after which a write in progress is displayed as the state.
const LONG_WRITE_S: f64 = 3.0;

/// Seconds without a picture from which on they are displayed. Decoders delay pictures by less.
const LONG_UNDECIDED_S: f64 = 10.0;

/// Returns the lines to print; ages are relative to `now`.
pub fn to_text(status: &Status, now: Timestamp) -> Vec<String> {
    let time = clock(Ticks((status.recorded_seconds * 90_000.0) as i64));
    let sender = match &status.sender {
        Some(sender) => format!("{}, for {}", sender.address, age(&sender.since, now)),
        None => "none".to_owned(),
    };
    let damage =
        if status.damage.is_none() { "none".to_owned() } else { status.damage.to_string() };
    let free = status.free_bytes.map_or("not known".to_owned(), |free| ByteSize(free).to_string());
    let trouble = |trouble: &Option<LoggedLine>| match trouble {
        Some(trouble) => format!("{} ({} ago)", trouble.message, age(&trouble.at, now)),
        None => "none".to_owned(),
    };
    let mut rows = vec![
        ("state", state(status)),
        ("folder", status.folder.clone()),
        ("listening", format!("{}, for {}", status.listening, age(&status.since, now))),
        ("process", format!("{}, scenetap {}", status.pid, status.version)),
        ("sender", sender),
        ("recorded", format!("{}, {time}", ByteSize(status.recorded_bytes))),
        ("detection", detection(status)),
        ("frames", format!("{} kept of {} pictures", status.frames_kept, status.pictures)),
        ("damage", damage),
        ("refused", status.refused.to_string()),
        ("disk", format!("{free} free")),
        ("last error", trouble(&status.last_error)),
        ("last warning", trouble(&status.last_warning)),
    ];
    rows.extend(deleted(status).map(|deleted| ("deleted", deleted)));
    rows.extend(status.sync_failures.iter().map(|(session, from)| {
        (
            "not synced",
            format!("{session} from byte {from} on; scenetap check --repair reads it again"),
        )
    }));
    let rows = rows.iter().map(|(name, value)| format!("  {name:<12}  {value}"));
    let lines = std::iter::once(format!("session {}", status.session)).chain(rows);
    lines.map(|line| without_control_characters(&line)).collect()
}

/// Describes what the recorder has deleted, if anything.
fn deleted(status: &Status) -> Option<String> {
    let Status { deleted_recordings, deleted_bytes, deleted_sessions, .. } = status;
    let recordings = format!("{deleted_recordings} recordings, {}", ByteSize(*deleted_bytes));
    match (deleted_recordings, deleted_sessions) {
        (0, 0) => None,
        (_, 0) => Some(recordings),
        (_, sessions) => Some(format!("{recordings}; frames of {sessions} sessions")),
    }
}

fn state(status: &Status) -> String {
    match status {
        Status { write_seconds: LONG_WRITE_S.., .. } => {
            format!("stuck: a write to disk has been pending for {:.0} s", status.write_seconds)
        }
        Status { ending: true, .. } => "ending: finishing what was received".to_owned(),
        Status { recording: false, .. } => "waiting: cannot write, so receiving nothing".to_owned(),
        Status { sender: Some(_), .. } => "recording".to_owned(),
        _ => "waiting for a sender".to_owned(),
    }
}

fn detection(status: &Status) -> String {
    let lag = ByteSize(status.lag_bytes);
    let behind = format!("{}, {lag} ({:.1} s) behind", status.detection, status.lag_seconds);
    match status.undecided_seconds {
        LONG_UNDECIDED_S.. => {
            format!("{behind}, nothing decided for {:.0} s", status.undecided_seconds)
        }
        _ => behind,
    }
}

/// Formats the time since `since` in its two largest units, such as `3 h 12 min`.
fn age(since: &str, now: Timestamp) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return "an unknown time".to_owned() };
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Replaces control characters, which a terminal could execute: the text comes from an untrusted
/// source.
fn without_control_characters(line: &str) -> String {
    line.replace(char::is_control, "?")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::media::Damage;
    use crate::status::Sender;

    fn now() -> Timestamp {
        "2026-11-23T08:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_recorder_is_told_of_in_a_block_of_aligned_lines() {
        let status = Status {
            version: "0.1.0".into(),
            pid: 1234,
            session: "studio".into(),
            folder: "/srv/sessions/studio".into(),
            listening: "0.0.0.0:4444".into(),
            since: "2026-11-23T04:47:48.000Z".into(),
            sender: Some(Sender {
                address: "192.0.2.7:51234".into(),
                since: "2026-11-23T07:58:55.500Z".into(),
            }),
            recording: true,
            recorded_bytes: 13_000_000,
            recorded_seconds: 3723.0,
            detection: "running".into(),
            lag_bytes: 1_000_000,
            lag_seconds: 0.4,
            pictures: 100,
            frames_kept: 7,
            damage: Damage { continuity_gaps: 3, ..Damage::default() },
            refused: 2,
            free_bytes: Some(5 << 30),
            last_error: Some(LoggedLine {
                message: "disk full\u{1b}[2J".into(),
                at: "2026-11-21T05:00:00Z".into(),
            }),
            ..Status::default()
        };
        let expected = "\
session studio
  state         recording
  folder        /srv/sessions/studio
  listening     0.0.0.0:4444, for 3 h 12 min
  process       1234, scenetap 0.1.0
  sender        192.0.2.7:51234, for 1 min 4 s
  recorded      12.4 MiB, 01:02:03
  detection     running, 976.6 KiB (0.4 s) behind
  frames        7 kept of 100 pictures
  damage        3 gaps in the packets
  refused       2
  disk          5.0 GiB free
  last error    disk full?[2J (2 d 3 h ago)
  last warning  none";
        assert_eq!(to_text(&status, now()).join("\n"), expected);
    }

    #[test]
    fn what_a_recorder_waits_for_is_said() {
        let idle = Status { recording: true, ..Status::default() };
        assert_eq!(state(&idle), "waiting for a sender");
        assert!(state(&Status::default()).starts_with("waiting: cannot write"));
        assert!(state(&Status { ending: true, ..idle }).starts_with("ending"));
        let stuck = Status { write_seconds: 40.2, ..Status::default() };
        assert_eq!(state(&stuck), "stuck: a write to disk has been pending for 40 s");
        assert_eq!(age("yesterday", now()), "an unknown time");
    }

    #[test]
    fn bytes_without_pictures_are_said() {
        let status = |undecided_seconds| Status {
            detection: "running".into(),
            undecided_seconds,
            ..Status::default()
        };
        assert_eq!(detection(&status(9.9)), "running, 0 B (0.0 s) behind");
        let silent = "running, 0 B (0.0 s) behind, nothing decided for 72 s";
        assert_eq!(detection(&status(72.3)), silent);
    }
}
