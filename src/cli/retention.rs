//! The options of `scenetap record` that delete old recordings.

use std::time::Duration;

use crate::config::{Layers, key};
use crate::error::{Error, Result, Stage};
use crate::pipeline::{RetentionLimits, RotationLimits};

/// What the recorder deletes.
#[derive(Debug, Default, clap::Args)]
pub struct RetentionArgs {
    /// Delete recordings of this series that ended longer ago than this, e.g. 7d; 0 disables it
    ///
    /// A series is NAME, NAME_2, NAME_3 and so on; all sessions named for their start are
    /// one series. Index and frames stay. Never deletes a recording that is being
    /// written, played or analyzed, whose session has a file called "keep", or anything
    /// behind a symbolic link.
    #[arg(long, help_heading = "Deleting old recordings", allow_negative_numbers = true)]
    #[arg(value_name = "TIME", value_parser = key::KEEP_FOR.parser())]
    keep_for: Option<Duration>,

    /// Delete the oldest recordings of this series while all together have more than this, e.g.
    /// 500G; 0 disables it
    ///
    /// All recordings of the series count, also those with a file called "keep" and the one that is
    /// being recorded; those behind a symbolic link do not.
    #[arg(long, help_heading = "Deleting old recordings", allow_negative_numbers = true)]
    #[arg(value_name = "BYTES", value_parser = key::KEEP_BYTES.parser())]
    keep_bytes: Option<u64>,

    /// Delete index and frames, too, once the session ended longer ago than this, e.g. 90d; 0
    /// disables it
    ///
    /// Only after the recording was deleted. Files of other programs stay.
    #[arg(long, help_heading = "Deleting old recordings", allow_negative_numbers = true)]
    #[arg(value_name = "TIME", value_parser = key::KEEP_FRAMES_FOR.parser())]
    keep_frames_for: Option<Duration>,

    /// With --min-free: delete the oldest recording instead of pausing
    ///
    /// Recordings not analyzed yet are deleted last, and the log lists the seconds that
    /// were never analyzed. Frames stay: let --min-free leave room for some gigabytes of
    /// them, or set --keep-frames-for.
    #[arg(long, help_heading = "Deleting old recordings", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no")]
    #[arg(value_parser = key::RECYCLE.parser())]
    recycle: Option<bool>,
}

impl RetentionArgs {
    /// Resolves each option from the command line, the environment and the file.
    ///
    /// # Errors
    ///
    /// Returns an error if a value in effect is invalid, or lacks an option that it requires.
    pub fn resolve(
        self,
        layers: &Layers<'_>,
        rotation: RotationLimits,
        min_free_bytes: u64,
    ) -> Result<RetentionLimits> {
        let age = layers.required(self.keep_for, &key::KEEP_FOR)?;
        let bytes = layers.required(self.keep_bytes, &key::KEEP_BYTES)?;
        let frames_age = layers.required(self.keep_frames_for, &key::KEEP_FRAMES_FOR)?;
        let limits = RetentionLimits {
            age: Some(age).filter(|age| !age.is_zero()),
            bytes: Some(bytes).filter(|bytes| *bytes > 0),
            frames_age: Some(frames_age).filter(|age| !age.is_zero()),
            recycles: layers.required(self.recycle, &key::RECYCLE)?,
        };
        let given = [
            (limits.age.is_some(), "keep-for"),
            (limits.bytes.is_some(), "keep-bytes"),
            (limits.frames_age.is_some(), "keep-frames-for"),
            (limits.recycles, "recycle"),
        ];
        if let Some((_, name)) = given.iter().find(|(given, _)| *given)
            && !rotation.is_some()
        {
            let what = format!(
                "--{name} requires --rotate-every or --rotate-bytes: what is being recorded is \
                 never deleted; add for example --rotate-every 1h"
            );
            return Err(Error::new(Stage::Config, what));
        }
        if limits.recycles && min_free_bytes == 0 {
            let what = "--recycle requires --min-free; add for example --min-free 5G";
            return Err(Error::new(Stage::Config, what));
        }
        Ok(limits)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::File;

    fn resolve(file: &str, rotates: bool, min_free_bytes: u64) -> Result<RetentionLimits> {
        let environment = |_: &str| None;
        let file = File::parse(Path::new("f"), file).unwrap();
        let layers = Layers::new(&environment, Some(file));
        let rotation = RotationLimits { every: None, bytes: rotates.then_some(1) };
        RetentionArgs::default().resolve(&layers, rotation, min_free_bytes)
    }

    #[test]
    fn what_deletes_requires_rotation_and_says_what_to_add() {
        for option in
            ["keep-for = '7d'", "keep-bytes = '5G'", "keep-frames-for = '9d'", "recycle = true"]
        {
            let error = resolve(option, false, 1).unwrap_err();
            assert_eq!(error.stage(), Stage::Config);
            assert!(error.to_string().contains("add for example --rotate-every 1h"), "{error}");
            assert!(resolve(option, true, 1).is_ok());
        }
        let error = resolve("recycle = true", true, 0).unwrap_err();
        assert!(error.to_string().contains("add for example --min-free 5G"), "{error}");
    }

    #[test]
    fn zero_disables_a_limit() {
        let limits = resolve("keep-for = 0\nkeep-bytes = 0\nkeep-frames-for = 0", false, 0);
        assert_eq!(limits.unwrap(), RetentionLimits::default());
        let limits = resolve("keep-for = '7d'\nkeep-bytes = '1K'", true, 0).unwrap();
        assert_eq!((limits.age, limits.bytes), (Some(Duration::from_secs(604_800)), Some(1024)));
    }
}
