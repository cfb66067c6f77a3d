//! The names of sessions, and the series that they belong to.
//!
//! A series is `NAME`, `NAME_2`, `NAME_3` …; all sessions named for their start times are one
//! series.

use jiff::Zoned;
use jiff::civil::DateTime;

/// Format of a session named for the local time at which it starts.
const TIME_FORMAT: &str = "%Y%m%d_%H%M%S";

/// Length of such a name.
const TIME_LENGTH: usize = "20261123_041500".len();

/// The name of a series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SeriesName {
    /// Sessions named for their start times.
    Timed,
    /// `NAME`, `NAME_2`, `NAME_3` and so on.
    Named(String),
}

/// The place of a session in its series: earlier sessions compare as less.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The time in the name; empty in a named series.
    time: String,
    /// The number after the name or time; 1 if it has none.
    number: u32,
}

impl SeriesName {
    /// Returns the series of a recorder. `name` is the session name passed to it.
    pub fn of_recorder(name: Option<&str>) -> Self {
        match name {
            Some(name) if Self::Timed.place(name).is_none() => Self::Named(name.to_owned()),
            _ => Self::Timed,
        }
    }

    /// Returns the series of a session that is called `name`, and its place in it.
    pub fn of_session(name: &str) -> (Self, Place) {
        if let Some(place) = Self::Timed.place(name) {
            return (Self::Timed, place);
        }
        let base = name.rsplit_once('_').map_or(name, |(base, _)| base);
        // `a_02` is a separate name.
        let number = number_of(name, base);
        let (base, number) = number.map_or((name, 1), |number| (base, number));
        (Self::Named(base.to_owned()), Place { time: String::new(), number })
    }

    /// Returns the place of the session `name` in this series; `None` if it belongs to another
    /// series.
    pub fn place(&self, name: &str) -> Option<Place> {
        let time = match self {
            Self::Named(base) => {
                return Some(Place { time: String::new(), number: number_of(name, base)? });
            }
            Self::Timed => name.get(..TIME_LENGTH)?,
        };
        let number = number_of(name, time)?;
        DateTime::strptime(TIME_FORMAT, time).ok()?;
        Some(Place { time: time.to_owned(), number })
    }
}

/// Returns the session name for a time, such as `20261123_041500`.
pub(super) fn time_id(now: &Zoned) -> String {
    now.strftime(TIME_FORMAT).to_string()
}

/// Returns `name` itself for 1, and with `_2`, `_3` … appended otherwise.
pub(super) fn numbered(name: &str, number: u32) -> String {
    if number == 1 { name.to_owned() } else { format!("{name}_{number}") }
}

/// Returns the number of the session `folder` in the series of `name`: 1 for the name itself.
pub(super) fn number_of(folder: &str, name: &str) -> Option<u32> {
    if folder == name {
        return Some(1);
    }
    let digits = folder.strip_prefix(name)?.strip_prefix('_')?;
    let number = digits.parse().ok().filter(|number| *number >= 2)?;
    // `a_02` and `a_+2` are separate names.
    (numbered(name, number) == folder).then_some(number)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_the_sessions_of_its_name_in_the_order_of_their_numbers() {
        let series = SeriesName::of_recorder(Some("cam"));
        assert_eq!(series, SeriesName::Named("cam".into()));
        let mut names = ["cam_10", "cam", "cam_2"];
        names.sort_by_key(|name| series.place(name).unwrap());
        assert_eq!(names, ["cam", "cam_2", "cam_10"]);
        for other in ["cam_02", "cam_1", "cam_x", "camera", "cam_2_3", "20261123_041500"] {
            assert_eq!(series.place(other), None, "{other}");
        }
    }

    #[test]
    fn sessions_named_for_their_start_are_one_series_whether_the_name_was_given_or_not() {
        for given in [None, Some("20261123_041500"), Some("20261123_041500_7")] {
            assert_eq!(SeriesName::of_recorder(given), SeriesName::Timed);
        }
        let mut names = ["20261123_041500_10", "20261124_000000", "20261123_041500_2"];
        names.sort_by_key(|name| SeriesName::Timed.place(name).unwrap());
        assert_eq!(names, ["20261123_041500_2", "20261123_041500_10", "20261124_000000"]);
        for other in ["20261323_041500", "20261123_041500x", "20261123-041500", "2026", "é"] {
            assert_eq!(SeriesName::Timed.place(other), None, "{other}");
        }
    }

    #[test]
    fn the_series_of_a_session_is_that_of_its_name_without_its_number() {
        let series = |name| SeriesName::of_session(name).0;
        for name in ["cam", "cam_2"] {
            assert_eq!(series(name), SeriesName::Named("cam".into()));
        }
        assert_eq!(series("cam_02"), SeriesName::Named("cam_02".into()));
        assert_eq!(series("cam_a"), SeriesName::Named("cam_a".into()));
        assert_eq!(series("20261123_041500_2"), SeriesName::Timed);
        let names = ["cam", "cam_2"].map(|name| SeriesName::of_session(name).1);
        assert!(names[0] < names[1]);
    }
}
