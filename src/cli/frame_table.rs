//! A kept frame as a row of a table.

use crate::catalog::Entry;

/// The names of the columns.
pub(super) const HEAD: &str = "        time     score  reason         offset";

/// Returns a kept frame as a row: time from the start, score, reason, byte offset.
pub(super) fn row(entry: &Entry) -> String {
    let millis = (entry.timestamp.max(0.0) * 1e3).round() as u64;
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let score = entry.score.unwrap_or_default();
    let (reason, offset) = (entry.reason.as_deref().unwrap_or_default(), entry.offset.unwrap_or(0));
    format!(
        "{hours:02}:{minutes:02}:{seconds:02}.{millis:03}  {score:.6}  {reason:<8}  {offset:>11}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_row_under_its_head() {
        let entry = Entry {
            id: "F0002".into(),
            timestamp: 3723.9796,
            path: None,
            sent_to_agent: false,
            score: Some(0.684637),
            reason: Some("scene".into()),
            offset: Some(37036),
            keyframe_offset: Some(564),
            captured_at: None,
            damaged: false,
            leased_until: None,
            lease_holder: None,
            other: serde_json::Map::new(),
        };
        let line = row(&entry);
        assert_eq!(line, "01:02:03.980  0.684637  scene           37036");
        assert_eq!(line.len(), HEAD.len());
    }
}
