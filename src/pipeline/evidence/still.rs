//! The picture that is shown at a time.

use std::sync::Arc;

use super::access_points::{AccessPoints, NO_PICTURE};
use super::{Moment, OpenRecording, interrupted};
use crate::error::{Error, Result, Stage};
use crate::keyframes::Keyframe;
use crate::media::{Frame, RandomAccess, TICKS_PER_SECOND, Ticks};
use crate::pipeline::analyzer::PictureReader;

/// Maximum number of restarts from an earlier point because pictures are damaged, or missing at the end.
const MAX_RETRIES: u32 = 2;

/// Number of packets between two checks of `stop`.
const PACKETS_PER_LOOK: u32 = 256;

/// Returns the picture that is shown at `moment`: the last one whose PTS is not later, or the first picture
/// of the recording. Its time and position are as in the index. `stop` cancels the search.
///
/// Decoding starts at the random access point before it, so the cost does not depend on the length of
/// the recording.
///
/// # Errors
///
/// Returns an error if `moment` is after the newest picture, or the recording cannot be read or
/// decoded, or the search was stopped.
pub fn still(recording: &OpenRecording, moment: Moment, stop: &dyn Fn() -> bool) -> Result<Frame> {
    AccessPoints::search(recording, stop, |points| find(recording, points, moment, stop))
}

fn find(
    recording: &OpenRecording,
    points: &mut AccessPoints<'_>,
    moment: Moment,
    stop: &dyn Fn() -> bool,
) -> Result<Frame> {
    let time = points.time_of(moment)?;
    let is_open = matches!(moment, Moment::BeforeNewest(_));
    let mut search = Search { recording, stop, time, is_open, retries: MAX_RETRIES };
    let mut number = points.until(time)?;
    let mut step = 1;
    loop {
        let start = points.last_below(number)?;
        let keyframe = start.map(|(_, keyframe)| keyframe);
        if let Some(picture) = search.from(keyframe)? {
            return Ok(picture);
        }
        if keyframe.is_none() {
            return Err(points.lacks(NO_PICTURE)?);
        }
        // The index is wrong there, or the picture is damaged or not complete yet.
        number = start.map_or(0, |(start, _)| (start + 1).saturating_sub(step));
        step *= 2;
    }
}

struct Search<'a> {
    recording: &'a OpenRecording,
    stop: &'a dyn Fn() -> bool,
    time: Ticks,
    /// Whether a time after the newest picture selects the newest picture.
    is_open: bool,
    retries: u32,
}

/// The pictures up to the requested time.
#[derive(Default)]
struct NearestPictures {
    /// Number of pictures so far, from that of the random access point on; below, of access units.
    count: u64,
    units: u64,
    newest: Option<Ticks>,
    /// The last complete picture that is not later than the requested time, or the first one of the
    /// recording.
    last: Option<Frame>,
    /// Whether a picture later than the requested time was decoded.
    is_passed: bool,
    /// Whether pictures are copied out of the decoder's buffers, as ffmpeg does (see
    /// [`crate::media::Picture::copied`]). This only matters after damage; in that case, decoding is repeated
    /// from an earlier point.
    copies: bool,
}

impl Search<'_> {
    /// Decodes from a random access point on. Returns `None` if the picture cannot be shown from there.
    fn from(&mut self, keyframe: Option<Keyframe>) -> Result<Option<Frame>> {
        let mut tail = self.recording.read_from(keyframe.as_ref())?;
        let mut reader = PictureReader::new(self.recording.program(), keyframe);
        let copies = keyframe.is_none() || self.retries < MAX_RETRIES;
        let mut found = NearestPictures { copies, ..NearestPictures::default() };
        let mut packets = 0;
        loop {
            let is_end = reader.read(&mut tail, self.recording.is_growing())?;
            if reader.has_missed_start() {
                return Ok(None);
            }
            while let Some(picture) = reader.pull().filter(|_| !found.is_passed) {
                found.take(picture, keyframe.as_ref(), self.time)?;
            }
            let first = keyframe.map(|keyframe| keyframe.time);
            while let Some(unit) = reader.pull_unit() {
                found.units += u64::from(unit.time >= first);
            }
            if found.is_passed || is_end {
                break;
            }
            packets += 1;
            if packets % PACKETS_PER_LOOK == 0 && (self.stop)() {
                return Err(interrupted());
            }
        }
        // H.264 decoders omit pictures if the first one is only output by the flush at the end
        // (`send_next_delayed_frame` in libavcodec/h264dec.c, FFmpeg 5.1).
        let is_short =
            !found.is_passed && !self.recording.is_growing() && found.count < found.units;
        if (is_short || reader.is_damaged()) && keyframe.is_some() && self.retries > 0 {
            self.retries -= 1;
            return Ok(None);
        }
        if !found.is_passed
            && !self.is_open
            && found.newest.is_some_and(|newest| self.time > newest)
        {
            return Err(self.is_after(found.newest));
        }
        let unusable =
            reader.take_unusable().filter(|_| found.newest.is_none() && keyframe.is_none());
        if let Some(error) = unusable {
            return Err(error.path(self.recording.path()));
        }
        Ok(found.last)
    }

    fn is_after(&self, newest: Option<Ticks>) -> Error {
        let seconds = |time: Ticks| time.0 as f64 / TICKS_PER_SECOND as f64;
        let newest = newest.map_or(f64::NAN, seconds);
        let what = format!(
            "no picture at {:.6} s{}: the newest is at {newest:.6} s",
            seconds(self.time),
            if self.recording.is_growing() { " yet" } else { "" }
        );
        Error::new(Stage::Evidence, what).path(self.recording.path())
    }
}

impl NearestPictures {
    fn take(&mut self, frame: Frame, keyframe: Option<&Keyframe>, time: Ticks) -> Result<()> {
        // Leading pictures of an open GOP refer to pictures in front of it.
        if keyframe.is_some_and(|keyframe| frame.pts < keyframe.time) {
            return Ok(());
        }
        let missing = match keyframe.map(|keyframe| keyframe.random_access) {
            Some(RandomAccess::Gradual(pictures)) => u64::from(pictures),
            _ => 0,
        };
        let is_complete = self.count >= missing;
        self.count += 1;
        self.newest = self.newest.max(Some(frame.pts));
        self.is_passed = frame.pts > time;
        let is_first = keyframe.is_none() && self.last.is_none();
        if is_complete && (!self.is_passed || is_first) {
            let picture =
                if self.copies { frame.picture.copied()? } else { Arc::clone(&frame.picture) };
            self.last = Some(Frame { picture, ..frame });
        }
        Ok(())
    }
}
