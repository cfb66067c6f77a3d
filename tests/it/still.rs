//! `still`: the picture of any moment is the one that ffmpeg shows then.

use std::path::Path;

use scenetap::pipeline::evidence::{self, Moment, OpenRecording, Target};
use scenetap::session::Session;

use crate::common::pictures::{Shown, by_ffmpeg, places, record, recordings};
use crate::common::random::{Random, seed};
use crate::common::studio::Studio;

fn still(target: &Target, at: f64) -> Shown {
    let source = OpenRecording::open(target, None).unwrap();
    let still = evidence::still(&source, Moment::FromStart(at), &|| false).unwrap();
    (still.pts.0, still.picture.checksum())
}

/// Asserts that the picture at `count` random moments, at each end and between two pictures is
/// ffmpeg's.
fn assert_stills(name: &str, file: &Path, count: u64, random: &mut Random) {
    let pictures = by_ffmpeg(file);
    let folder = tempfile::tempdir().unwrap();
    let session = Session::at(&record(folder.path(), file)).unwrap();
    let targets = [Target::Session(session), Target::File(file.to_owned())];
    let (first, last) = (pictures[0].0, pictures[pictures.len() - 1].0);
    let mut moments: Vec<i64> =
        (0..count).map(|_| first + random.below((last - first + 1) as u64) as i64).collect();
    moments.extend([first - 9_000, first, last]);
    for ticks in moments {
        let expected = pictures.iter().rev().find(|(time, _)| *time <= ticks);
        let expected = *expected.unwrap_or(&pictures[0]);
        // A file without an index is read to its end first, so fewer of these are tried.
        let tried = if random.below(8) == 0 { &targets[..] } else { &targets[..1] };
        for target in tried {
            let found = still(target, ticks as f64 / 90_000.0);
            assert_eq!(found, expected, "{name} at {ticks} ticks of {target:?}");
        }
    }
}

#[test]
fn the_picture_at_any_moment_is_the_one_that_ffmpeg_shows() {
    let Some(studio) = Studio::open() else { return };
    let mut random = Random::new(seed());
    for (name, file) in recordings(&studio) {
        assert_stills(name, &file, places(30), &mut random);
    }
}
