//! What ffmpeg's own command line says of a file, to compare with.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::scenetap;

/// What `scenetap` keeps without options.
const KEPT: &str = "isnan(prev_selected_t)+gt(scene\\,0.3)+gte(t-prev_selected_t\\,30)";

/// What is judged of a file, as `time,score` with six decimals each.
#[derive(Debug, PartialEq)]
pub struct Verdicts {
    /// Of every picture.
    pub pictures: Vec<String>,
    /// Of those that are kept.
    pub frames: Vec<String>,
}

/// Of the first video stream, as ffmpeg says.
pub fn ffmpeg(file: &Path) -> Verdicts {
    ffmpeg_of(file, "0:v:0")
}

/// Of the stream that `map` names.
pub fn ffmpeg_of(file: &Path, map: &str) -> Verdicts {
    let selected = |select: &str| {
        let with_audio = log_of(file, map, select, &["-map", "0:a?", "-c:a", "copy"]);
        // Audio that the tables name and the stream lacks ends ffmpeg's run.
        if with_audio.contains("Could not write header") {
            parse(&log_of(file, map, select, &[]))
        } else {
            parse(&with_audio)
        }
    };
    Verdicts { pictures: selected("gte(scene\\,0)"), frames: selected(KEPT) }
}

fn parse(log: &str) -> Vec<String> {
    let mut verdicts = Vec::new();
    let mut pts = 0.0;
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once(" pts:") {
            pts =
                rest.split_whitespace().next().and_then(|pts| pts.parse().ok()).unwrap_or(f64::NAN);
        } else if let Some((_, score)) = line.split_once("lavfi.scene_score=") {
            verdicts.push(format!("{:.6},{score}", pts / 90_000.0));
        }
    }
    verdicts
}

fn log_of(file: &Path, map: &str, select: &str, audio: &[&str]) -> String {
    // One thread: others conceal damage differently from run to run.
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-nostats", "-threads", "1", "-i"])
        .arg(file)
        .args(["-map", map])
        .args(audio)
        .args(["-vf", &format!("select={select},metadata=print"), "-f", "null", "-"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The same, as we say.
pub fn ours(file: &Path) -> Verdicts {
    ours_with(file, &[])
}

/// With more options.
pub fn ours_with(file: &Path, options: &[&str]) -> Verdicts {
    let folder = tempfile::tempdir().unwrap();
    let scores = folder.path().join("scores.csv");
    let scan = scenetap()
        .args(["-q", "scan", "--json"])
        .args(options)
        .arg(file)
        .arg("--scores")
        .arg(&scores)
        .output()
        .unwrap();
    assert!(scan.status.success(), "{}", String::from_utf8_lossy(&scan.stderr));
    let frame = |line: &str| {
        let entry: Value = serde_json::from_str(line).unwrap();
        let number = |key: &str| entry[key].as_f64().unwrap();
        format!("{:.6},{:.6}", number("timestamp"), number("score"))
    };
    Verdicts {
        pictures: std::fs::read_to_string(scores)
            .unwrap()
            .lines()
            .skip(1)
            .map(str::to_owned)
            .collect(),
        frames: String::from_utf8(scan.stdout).unwrap().lines().map(frame).collect(),
    }
}

/// Every picture in its order, its time and its score; and the frames that are kept.
pub fn assert_parity(what: &str, file: &Path) {
    assert_same(what, &ffmpeg(file), &ours(file));
}

/// The first that is not the same is told. A stream without a picture tells nothing.
pub fn assert_same(what: &str, theirs: &Verdicts, ours: &Verdicts) {
    assert!(!theirs.pictures.is_empty(), "{what}: ffmpeg finds no picture");
    assert_alike(what, theirs, ours);
}

/// As [`assert_same`], where there may be none: of audio alone, or undecodable.
pub fn assert_alike(what: &str, theirs: &Verdicts, ours: &Verdicts) {
    for (kind, theirs, ours) in
        [("picture", &theirs.pictures, &ours.pictures), ("frame", &theirs.frames, &ours.frames)]
    {
        let first = theirs.iter().zip(ours).position(|(theirs, ours)| theirs != ours);
        if let Some(at) = first {
            panic!("{what}: {kind} {at}: ffmpeg {}, scenetap {}", theirs[at], ours[at]);
        }
        assert_eq!(ours.len(), theirs.len(), "{what}: {kind}s");
    }
}
