//! Writes the shown picture to a file beside the played recording.

use std::io::Write;
use std::path::PathBuf;

use crate::catalog::{DEFAULT_JPEG_QUALITY, JpegOptions};
use crate::disk::Replacement;
use crate::error::{Context, Result, Stage};
use crate::pipeline::evidence::{self, Moment, OpenRecording, StillFormat, Target};

/// Writes the picture at `time`, in seconds from the start of `target`. Returns the path of the file:
/// beside the folder of the session, where it is never deleted automatically, or beside the recording.
///
/// # Errors
///
/// Returns an error if no picture exists at that time, or the file cannot be written.
pub fn write_still(target: &Target, time: f64, stop: &dyn Fn() -> bool) -> Result<PathBuf> {
    let recording = OpenRecording::open(target, None)?;
    let still = evidence::still(&recording, Moment::FromStart(time), stop)?;
    let options = JpegOptions { quality: DEFAULT_JPEG_QUALITY, max_width_px: None };
    let bytes = evidence::encode(&*still.picture, StillFormat::Jpeg, options)?;
    let path = path(target, still.pts.seconds());
    let write = || -> std::io::Result<()> {
        let mut file = Replacement::begin(&path)?;
        file.write_all(&bytes)?;
        file.finish()
    };
    write().context(Stage::Playback, &path, "cannot write it")?;
    Ok(path)
}

/// Returns the path for the picture at a time, which is different for each picture.
fn path(target: &Target, seconds: f64) -> PathBuf {
    let beside = match target {
        Target::Session(session) => session.folder().to_owned(),
        Target::File(path) => path.with_extension(""),
    };
    // `as` saturates.
    let millis = (seconds.max(0.0) * 1000.0).floor() as u64;
    let (hours, minutes, rest) = (millis / 3_600_000, millis / 60_000 % 60, millis % 60_000);
    let mut name = beside.file_name().unwrap_or_default().to_owned();
    let (seconds, millis) = (rest / 1000, rest % 1000);
    name.push(format!("-{hours:02}.{minutes:02}.{seconds:02}.{millis:03}.jpg"));
    beside.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_still_is_named_for_its_recording_and_its_time() {
        let file = Target::File(PathBuf::from("/videos/show.1.ts"));
        let expected = PathBuf::from("/videos/show.1-01.02.03.456.jpg");
        assert_eq!(path(&file, 3723.4567), expected);
    }
}
