//! Time → random access point.
//!
//! The index of key frames is searched. The recording itself is read where the index does not reach:
//! behind its last record, as far as detection lags, or all of it if it has no index.

use super::moment::ticks;
use super::{Moment, OpenRecording, interrupted};
use crate::error::{Error, Kind, Result, Stage};
use crate::keyframes::Keyframe;
use crate::media::{ByteOffset, Ticks};
use crate::pipeline::keyframes::{FoundKeyframes, KeyframeSearch, publish_found};

/// Error text for a recording without a picture that can be decoded.
pub const NO_PICTURE: &str = "no picture can be decoded";

/// Maximum number of damaged random access points to skip in search of an undamaged one. In some
/// streams, all count as damaged because their continuity counters never advance.
const MAX_PASSED_OVER: usize = 16;

/// The random access points of a recording, in its order.
pub struct AccessPoints<'a> {
    recording: &'a OpenRecording,
    stop: &'a dyn Fn() -> bool,
    /// Number of index records that lie within the opened length.
    indexed: u64,
    /// Random access points behind the index, once that part of the recording was read.
    behind: Option<FoundKeyframes>,
}

impl<'a> AccessPoints<'a> {
    /// Returns the random access points of `recording`. `stop` ends a long search.
    ///
    /// # Errors
    ///
    /// Returns an error if the index cannot be read.
    fn new(recording: &'a OpenRecording, stop: &'a dyn Fn() -> bool) -> Result<Self> {
        let counted = recording.index().map(|index| index.count_below(recording.length()));
        let indexed = counted.transpose()?.unwrap_or(0);
        Ok(AccessPoints { recording, stop, indexed, behind: None })
    }

    /// Calls `search` with the random access points of `recording`; if the index does not fit the
    /// recording, calls it again without the index.
    ///
    /// # Errors
    ///
    /// Returns the error of `search`, or an error if the index cannot be read.
    pub fn search<T>(
        recording: &'a OpenRecording,
        stop: &'a dyn Fn() -> bool,
        mut search: impl FnMut(&mut AccessPoints<'a>) -> Result<T>,
    ) -> Result<T> {
        match search(&mut AccessPoints::new(recording, stop)?) {
            Err(error) if error.kind() == Kind::Corrupt => {
                tracing::warn!(
                    "{error}; reading the recording instead; repair it with: scenetap check --repair SESSION"
                );
                search(&mut AccessPoints { recording, stop, indexed: 0, behind: None })
            }
            found => found,
        }
    }

    /// Returns the error for an index record at whose offset no random access point is found.
    pub fn misplaced(&self, keyframe: &Keyframe) -> Error {
        let what = "keyframes.idx lists a key frame here, but the recording has none";
        let error = Error::new(Stage::Evidence, what).of_kind(Kind::Corrupt);
        error.path(self.recording.path()).at(keyframe.at)
    }

    /// Returns the number of random access points, from the first on, with a time of at most `time`.
    ///
    /// # Errors
    ///
    /// Returns an error if the recording or its index cannot be read, or the search was stopped.
    pub fn until(&mut self, time: Ticks) -> Result<u64> {
        self.count_while(|keyframe| keyframe.time <= time)
    }

    /// Returns the number of random access points that begin before `end`.
    ///
    /// # Errors
    ///
    /// As [`AccessPoints::until`].
    pub fn before(&mut self, end: ByteOffset) -> Result<u64> {
        self.count_while(|keyframe| keyframe.at < end)
    }

    /// Returns the number of random access points, from the first on, that are `wanted`. No wanted one
    /// may follow an unwanted one.
    fn count_while(&mut self, wanted: impl Fn(&Keyframe) -> bool) -> Result<u64> {
        if let Some(index) = self.recording.index().filter(|_| self.indexed > 0) {
            let found = index.partition_point(self.indexed, &wanted)?;
            if found > 0 && found < self.indexed {
                return Ok(found);
            }
            if found == 0 && index.complete_from() > ByteOffset(0) {
                // The part behind the index begins earlier: its records are invalid.
                self.indexed = 0;
                self.behind = None;
            } else if found == 0 {
                return Ok(0);
            }
        }
        let behind = self.behind()?.keyframes.partition_point(wanted) as u64;
        Ok(self.indexed + behind)
    }

    /// Returns a random access point by its number.
    ///
    /// # Errors
    ///
    /// As [`AccessPoints::until`].
    pub fn get(&mut self, number: u64) -> Result<Option<Keyframe>> {
        match (self.recording.index(), number.checked_sub(self.indexed)) {
            (Some(index), None) => index.record(number).map(Some),
            (_, Some(behind)) => {
                let found = usize::try_from(behind).unwrap_or(usize::MAX);
                Ok(self.behind()?.keyframes.get(found).copied())
            }
            (None, None) => Ok(None),
        }
    }

    /// Returns the last random access point.
    ///
    /// # Errors
    ///
    /// As [`AccessPoints::until`].
    pub fn last(&mut self) -> Result<Option<Keyframe>> {
        let behind = self.behind()?.keyframes.last().copied();
        match (behind, self.recording.index(), self.indexed.checked_sub(1)) {
            (None, Some(index), Some(newest)) => index.record(newest).map(Some),
            _ => Ok(behind),
        }
    }

    /// Returns the last random access point with a number below `number`, and its number. Its access
    /// unit must contain the parameter sets; an undamaged one is preferred. Returns `None` if no such
    /// point exists.
    ///
    /// # Errors
    ///
    /// As [`AccessPoints::until`].
    pub fn last_below(&mut self, number: u64) -> Result<Option<(u64, Keyframe)>> {
        let mut damaged = None;
        for (passed, number) in (0..number).rev().enumerate() {
            let Some(keyframe) = self.get(number)?.filter(|found| found.has_parameter_sets) else {
                continue;
            };
            if !keyframe.damaged {
                return Ok(Some((number, keyframe)));
            }
            damaged = damaged.or(Some((number, keyframe)));
            if passed >= MAX_PASSED_OVER {
                break;
            }
        }
        Ok(damaged)
    }

    /// Returns the time of the newest picture; `None` if the recording shows no picture.
    ///
    /// # Errors
    ///
    /// As [`AccessPoints::until`].
    pub fn newest(&mut self) -> Result<Option<Ticks>> {
        Ok(self.behind()?.newest)
    }

    /// Returns the time of a moment.
    ///
    /// # Errors
    ///
    /// As [`AccessPoints::until`]; also an error if `moment` counts from the newest picture, and no
    /// picture exists.
    pub fn time_of(&mut self, moment: Moment) -> Result<Ticks> {
        match moment {
            Moment::FromStart(seconds) => Ok(ticks(seconds)),
            Moment::BeforeNewest(seconds) => {
                let Some(newest) = self.newest()? else {
                    return Err(self.lacks(NO_PICTURE)?);
                };
                Ok(Ticks(newest.0.saturating_sub(ticks(seconds).0)))
            }
        }
    }

    /// Returns the error for a recording that lacks `what`.
    ///
    /// # Errors
    ///
    /// As [`AccessPoints::until`].
    pub fn lacks(&mut self, what: &str) -> Result<Error> {
        let why = self.behind()?.no_video.as_ref().map(ToString::to_string);
        let what = why.unwrap_or_else(|| what.to_owned());
        Ok(Error::new(Stage::Evidence, what).path(self.recording.path()))
    }

    /// Reads the part behind the index.
    fn behind(&mut self) -> Result<&FoundKeyframes> {
        let behind = match self.behind.take() {
            Some(behind) => behind,
            None => self.read_behind()?,
        };
        Ok(self.behind.insert(behind))
    }

    fn read_behind(&mut self) -> Result<FoundKeyframes> {
        let recording = self.recording;
        let record = |number: u64| recording.index().map(|index| index.record(number)).transpose();
        let (mut number, mut step) = (self.indexed, 1);
        while number > 0 {
            number = number.saturating_sub(step);
            step *= 2;
            let Some(keyframe) = record(number)? else { continue };
            if let Some(mut behind) = self.read_from(Some(keyframe))? {
                // Records between the starting point and the end of the index were found again.
                let end = record(self.indexed - 1)?.unwrap_or(keyframe).at;
                behind.keyframes.retain(|found| found.at > end);
                return Ok(behind);
            }
        }
        // No index record matches the recording.
        self.indexed = 0;
        let behind = self.read_from(None)?.unwrap_or_default();
        self.keep(&behind.keyframes);
        Ok(behind)
    }

    /// Reads from a random access point to the end. Returns `None` if the random access point is not
    /// there.
    fn read_from(&self, keyframe: Option<Keyframe>) -> Result<Option<FoundKeyframes>> {
        let recording = self.recording;
        let search = KeyframeSearch {
            open: &|from| recording.read_from(from),
            program: recording.program(),
            is_growing: recording.is_growing(),
            stop: self.stop,
        };
        let found = search.run(keyframe)?;
        if (self.stop)() { Err(interrupted()) } else { Ok(found) }
    }

    /// Writes the index of a finished session without one, for later searches.
    fn keep(&self, keyframes: &[Keyframe]) {
        let Some(session) = self.recording.session().filter(|_| !self.recording.is_growing())
        else {
            return;
        };
        if !self.recording.is_of_its_program() || self.recording.index().is_some() {
            return;
        }
        match publish_found(session, keyframes, self.recording.length()) {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::Busy => {}
            Err(error) => tracing::debug!(stage = %Stage::Evidence, "{error}"),
        }
    }
}
