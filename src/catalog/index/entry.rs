//! One entry of `index.json`, as on disk.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::catalog::frames::{frame_id, frame_number};
use crate::catalog::handouts::ShownHandout;
use crate::catalog::kept::EncodedFrame;
use crate::media::{Reason, TICKS_PER_SECOND, Ticks};

/// One kept frame in `index.json`.
///
/// Keys that an older program did not write (`score`, `reason`, the offsets) are not
/// added. Serialized, the keys have this order, followed by the keys of other programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Id such as `F0001`: never reused, never renumbered.
    pub id: String,
    /// Seconds from the start of the recording, to the microsecond.
    pub timestamp: f64,
    /// Absolute path of the JPEG; `None` if JPEGs are disabled, or the picture cannot be encoded.
    pub path: Option<String>,
    /// Whether another program has delivered the frame.
    pub sent_to_agent: bool,
    /// Scene score, 0 to 1, with six decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// `first`, `scene`, `interval` or `format`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Offset in bytes of the TS packet in which the picture starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Offset in bytes at which decoding has to start to show the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyframe_offset: Option<u64>,
    /// RFC 3339 UTC time at which the picture's first byte arrived; `None` for a scanned file.
    pub captured_at: Option<String>,
    /// Whether FFmpeg concealed an error in the picture. Written only if true.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
    /// RFC 3339 UTC time until which the frame is leased. Written only during a lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leased_until: Option<String>,
    /// Name of the client that leases the frame. Written only if given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_holder: Option<String>,
    /// Keys of other programs, in their order.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Keys defined by scenetap. A value of the wrong type in one of them is ignored.
const OUR_KEYS: [&str; 12] = [
    "id",
    "timestamp",
    "path",
    "sent_to_agent",
    "score",
    "reason",
    "offset",
    "keyframe_offset",
    "captured_at",
    "damaged",
    "leased_until",
    "lease_holder",
];

impl Entry {
    /// Returns the entry of a new frame with this number. `path` is the path of its JPEG, if any.
    pub fn new(number: u64, frame: &EncodedFrame, reason: Reason, path: Option<String>) -> Entry {
        Entry {
            id: frame_id(number),
            timestamp: seconds_of_micros(micros_of_ticks(frame.verdict.pts)),
            path,
            sent_to_agent: false,
            score: Some(round_score(frame.verdict.score)),
            reason: Some(reason.as_str().to_owned()),
            offset: Some(frame.verdict.at.0),
            keyframe_offset: Some(frame.keyframe_at.0),
            captured_at: frame.captured_at.and_then(rfc3339),
            damaged: frame.damaged,
            leased_until: None,
            lease_holder: None,
            other: Map::new(),
        }
    }

    /// Returns the entry as one line of JSON, without a line feed.
    pub fn to_json(&self) -> String {
        // The map and its numbers can always be serialized.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Parses an entry written by any version of this program, or by the older system.
    ///
    /// Keys that are missing or have the wrong type count as absent. Returns `None` without a frame
    /// id or a timestamp: the object is then not one of our entries.
    pub fn from_map(mut map: Map<String, Value>) -> Option<Entry> {
        let id = map.get("id")?.as_str().filter(|id| frame_number(id).is_some())?.to_owned();
        let timestamp = map.get("timestamp")?.as_f64()?;
        let text = |key| map.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key| map.get(key).and_then(Value::as_u64);
        let flag = |key| map.get(key).and_then(Value::as_bool).unwrap_or(false);
        let mut entry = Entry {
            id,
            timestamp,
            path: text("path"),
            sent_to_agent: flag("sent_to_agent"),
            score: map.get("score").and_then(Value::as_f64),
            reason: text("reason"),
            offset: number("offset"),
            keyframe_offset: number("keyframe_offset"),
            captured_at: text("captured_at"),
            damaged: flag("damaged"),
            leased_until: text("leased_until"),
            lease_holder: text("lease_holder"),
            other: Map::new(),
        };
        drop_our_keys(&mut map);
        entry.other = map;
        Some(entry)
    }

    /// Merges changes of other programs into this entry.
    ///
    /// Other programs' values win, except for those that identify the picture (`id`, `timestamp`,
    /// the offsets): a restart uses these to find the frame again. If a program omitted one of our
    /// keys or changed its type, our value is kept.
    ///
    /// `outdated` means that the other program's text was made from an older state of the index. In
    /// that case, missing keys and a `sent_to_agent` of false are ignored.
    pub fn adopt(&mut self, mut theirs: Map<String, Value>, outdated: bool) {
        if let Some(sent) = theirs.get("sent_to_agent").and_then(Value::as_bool) {
            self.sent_to_agent = sent || (outdated && self.sent_to_agent);
        }
        adopt_text(&mut self.path, theirs.get("path"));
        adopt_text(&mut self.reason, theirs.get("reason"));
        adopt_text(&mut self.captured_at, theirs.get("captured_at"));
        self.score = theirs.get("score").and_then(Value::as_f64).or(self.score);
        self.damaged = theirs.get("damaged").and_then(Value::as_bool).unwrap_or(self.damaged);
        drop_our_keys(&mut theirs);
        if outdated {
            self.other.extend(theirs);
        } else {
            self.other = theirs;
        }
    }

    /// Updates the entry from the journal of handouts.
    pub(in crate::catalog) fn show(&mut self, handout: &ShownHandout) {
        (self.leased_until, self.lease_holder) = match handout {
            ShownHandout::Leased(lease) => (Some(lease.0.clone()), lease.1.clone()),
            ShownHandout::Nothing | ShownHandout::Sent => (None, None),
        };
        self.sent_to_agent |= *handout == ShownHandout::Sent;
    }

    /// Returns the lease that the entry shows.
    pub(in crate::catalog) fn shown_lease(&self) -> ShownHandout {
        match (&self.leased_until, &self.lease_holder) {
            (None, None) => ShownHandout::Nothing,
            (until, holder) => {
                let until = until.clone().unwrap_or_default();
                ShownHandout::Leased(Box::new((until, holder.clone())))
            }
        }
    }

    /// Returns the text in `index.json`, indented by 2 inside the array.
    ///
    /// # Errors
    ///
    /// Does not occur in practice: every value of an entry can be serialized as JSON.
    pub(in crate::catalog) fn render(&self) -> serde_json::Result<Box<str>> {
        serde_json::to_string_pretty(self).map(|text| indent(&text))
    }
}

fn adopt_text(ours: &mut Option<String>, theirs: Option<&Value>) {
    match theirs {
        Some(Value::String(text)) => *ours = Some(text.clone()),
        Some(Value::Null) => *ours = None,
        _ => {}
    }
}

fn drop_our_keys(map: &mut Map<String, Value>) {
    map.retain(|key, _| !OUR_KEYS.contains(&key.as_str()));
}

/// Indents JSON text by one level. Line breaks inside strings are escaped, so each line
/// break is layout.
pub(in crate::catalog) fn indent(text: &str) -> Box<str> {
    format!("  {}", text.replace('\n', "\n  ")).into()
}

/// Converts a time to microseconds, rounded to nearest.
pub(in crate::catalog) fn micros_of_ticks(ticks: Ticks) -> i64 {
    let scaled = i128::from(ticks.0) * 1_000_000;
    let per_second = i128::from(TICKS_PER_SECOND);
    // There are no ties: a tick is 100/9 µs.
    let micros = (2 * scaled + per_second).div_euclid(2 * per_second);
    i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX })
}

/// Converts the `timestamp` of an entry to microseconds.
pub(in crate::catalog) fn micros_of_seconds(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

/// Converts microseconds to seconds. Written as the shortest decimal that parses as the
/// same number, the result has at most six decimals.
pub(in crate::catalog) fn seconds_of_micros(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// Rounds a score to six decimals, like printf's `%.6f`.
pub(in crate::catalog) fn round_score(score: f64) -> f64 {
    format!("{score:.6}").parse().unwrap_or(score)
}

/// Formats a time as RFC 3339 in UTC, with microseconds. `None` if it is out of range.
pub(in crate::catalog) fn rfc3339(time: SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(time).ok().map(|time| format!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn map(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn keys_stand_in_the_contracts_order_and_foreign_ones_after_them_in_theirs() {
        let entry = Entry::from_map(map(
            r#"{"zeta": [1, {"b": 2, "a": 1}], "captured_at": null, "keyframe_offset": 0, "offset": 376,
                "reason": "scene", "score": 0.5, "sent_to_agent": true, "path": "/f/F0001.jpg",
                "alpha": 0.1234567890123456789, "timestamp": 10.066667, "id": "F0001"}"#,
        ))
        .unwrap();
        let expected = r#"{"id":"F0001","timestamp":10.066667,"path":"/f/F0001.jpg","sent_to_agent":true,"score":0.5,"reason":"scene","offset":376,"keyframe_offset":0,"captured_at":null,"zeta":[1,{"b":2,"a":1}],"alpha":0.12345678901234568}"#;
        assert_eq!(serde_json::to_string(&entry).unwrap(), expected);
    }

    #[test]
    fn an_entry_of_the_old_system_is_read_and_stays_valid() {
        let old = r#"{"id":"F0001","timestamp":1.5,"path":"/f/F0001.jpg","sent_to_agent":true}"#;
        let entry = Entry::from_map(map(old)).unwrap();
        assert_eq!((entry.score, entry.offset, entry.sent_to_agent), (None, None, true));
        assert!(serde_json::to_string(&entry).unwrap().starts_with(old.trim_end_matches('}')));
    }

    #[test]
    fn our_key_with_a_foreign_type_counts_as_not_given_and_is_not_doubled() {
        let json =
            r#"{"id":"F0001","timestamp":1,"score":"high","offset":-1,"sent_to_agent":"yes"}"#;
        let entry = Entry::from_map(map(json)).unwrap();
        assert_eq!((entry.score, entry.offset, entry.sent_to_agent), (None, None, false));
        assert!(entry.other.is_empty());
        assert!(Entry::from_map(map(r#"{"id":"note","timestamp":1}"#)).is_none());
        assert!(Entry::from_map(map(r#"{"id":"F0001"}"#)).is_none());
    }

    #[test]
    fn theirs_wins_except_for_what_says_which_picture_it_is() {
        let ours = r#"{"id":"F0001","timestamp":1.5,"path":"/a","sent_to_agent":true,"score":0.5,"offset":376,"captured_at":null,"kept":1,"note":"a"}"#;
        let theirs = r#"{"id":"F0001","timestamp":9,"path":"/b","sent_to_agent":false,"score":"?","note":"b"}"#;
        let mut entry = Entry::from_map(map(ours)).unwrap();
        entry.adopt(map(theirs), false);
        assert_eq!((entry.timestamp, entry.offset, entry.score), (1.5, Some(376), Some(0.5)));
        assert_eq!((entry.path.as_deref(), entry.sent_to_agent), (Some("/b"), false));
        assert_eq!(Value::from(entry.other), serde_json::json!({"note": "b"}));

        let mut entry = Entry::from_map(map(ours)).unwrap();
        entry.adopt(map(theirs), true);
        assert!(entry.sent_to_agent, "an older state does not undo a delivery");
        assert_eq!(Value::from(entry.other), serde_json::json!({"kept": 1, "note": "b"}));
    }

    #[test]
    fn numbers_have_six_decimals_at_most() {
        let stamp = |ticks| seconds_of_micros(micros_of_ticks(Ticks(ticks))).to_string();
        assert_eq!(stamp(906_000), "10.066667");
        assert_eq!(stamp(-1), "-0.000011");
        assert_eq!(stamp(0), "0");
        assert_eq!(stamp(90_000 * 86_400 * 365 + 1), "31536000.000011");
        assert_eq!(micros_of_seconds(10.066667), 10_066_667);
        assert_eq!(round_score(0.300_000_011_920_929), 0.3);
        assert_eq!(round_score(1.0 / 3.0), 0.333333);
    }

    #[test]
    fn times_of_capture_are_utc_to_the_microsecond() {
        let time = UNIX_EPOCH + Duration::from_micros(1_767_225_599_000_120);
        assert_eq!(rfc3339(time).unwrap(), "2025-12-31T23:59:59.000120Z");
    }
}
