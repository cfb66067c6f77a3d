//! The results of ffmpeg's command line tool for a file, for comparison.

use std::path::Path;

use serde_json::Value;

use super::cache::{Ffmpeg, INPUT};
use super::scenetap;

/// The rule of `scenetap` without options.
pub const KEPT: &str = "isnan(prev_selected_t)+gt(scene\\,0.3)+gte(t-prev_selected_t\\,30)";

/// Results for a file: lists of `time,score`, with six decimals each.
#[derive(Debug, PartialEq)]
pub struct Verdicts {
    /// All pictures.
    pub pictures: Vec<String>,
    /// Kept pictures.
    pub frames: Vec<String>,
}

/// Returns ffmpeg's results for the first video stream.
pub fn ffmpeg(file: &Path) -> Verdicts {
    ffmpeg_of(file, "0:v:0")
}

/// Returns ffmpeg's results for the stream selected by `map`.
pub fn ffmpeg_of(file: &Path, map: &str) -> Verdicts {
    // One run yields both lists: the first `metadata` filter sees every picture, the second one
    // those that the rule keeps.
    let chain = format!("select=gte(scene\\,0),metadata=print,select={KEPT},metadata=print");
    parse(&log_with_audio(file, map, &chain))
}

fn log_with_audio(file: &Path, map: &str, chain: &str) -> String {
    let with_audio = ffmpeg_command(file, map, &["-map", "0:a?", "-c:a", "copy"], chain).log();
    // If the tables name audio that the stream lacks, ffmpeg fails.
    if with_audio.contains("Could not write header") {
        ffmpeg_command(file, map, &[], chain).log()
    } else {
        with_audio
    }
}

/// As [`log_with_audio`], bypassing the cache.
fn uncached_log(file: &Path, chain: &str) -> String {
    ffmpeg_command(file, "0:v:0", &["-map", "0:a?", "-c:a", "copy"], chain).log_uncached()
}

fn ffmpeg_command<'a>(file: &'a Path, map: &str, audio: &[&str], chain: &str) -> Ffmpeg<'a> {
    // One thread: with several, the concealment of damage varies from run to run.
    Ffmpeg::new()
        .args(["-threads", "1", "-i", INPUT, "-map", map])
        .args(audio)
        .args(["-vf", chain, "-f", "null", "-"])
        .input(file)
}

fn parse(log: &str) -> Verdicts {
    let mut verdicts = Verdicts { pictures: Vec::new(), frames: Vec::new() };
    let mut pts = f64::NAN;
    for line in log.lines() {
        // ffmpeg names filters by their position in the chain.
        let is_from = |position: u8| line.starts_with(&format!("[Parsed_metadata_{position} @"));
        let list = match (is_from(1), is_from(3)) {
            (true, _) => &mut verdicts.pictures,
            (_, true) => &mut verdicts.frames,
            _ => continue,
        };
        // Not `pts_time:`: it has six digits up to FFmpeg 8, six decimals in 9.
        if let Some((_, rest)) = line.split_once(" pts:") {
            let ticks = rest.split_whitespace().next().and_then(|pts| pts.parse().ok());
            pts = ticks.unwrap_or(f64::NAN);
        } else if let Some((_, score)) = line.split_once("lavfi.scene_score=") {
            list.push(format!("{:.6},{score}", pts / 90_000.0));
        }
    }
    verdicts
}

/// Returns the results of scenetap.
pub fn ours(file: &Path) -> Verdicts {
    ours_with(file, &[])
}

/// Returns the results of scenetap with these options.
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

/// Asserts that every picture's time and score, and the kept frames, equal ffmpeg's.
pub fn assert_parity(context: &str, file: &Path) {
    let ours = ours(file);
    assert_same(context, &ffmpeg_nearest(file, &ours, 0), &ours);
}

/// libavcodec's version in FFmpeg 6.1, the first whose tool decodes in a thread of its own.
const FFMPEG_6_1: u32 = (60 << 16) | (31 << 8);

/// Returns ffmpeg's results for the first video stream: both lists from one run, unless that run
/// differs from `ours`. The undecoded part of a damaged picture shows what its buffer held before,
/// which depends on what else the run does, so each list then comes from a run of its own.
///
/// An ffmpeg whose runs differ (see [`is_reference`]) is run up to `runs` times more. A picture
/// may have the score of any run, as long as no more than one picture in twenty needs that.
pub fn ffmpeg_nearest(file: &Path, ours: &Verdicts, runs: usize) -> Verdicts {
    let together = ffmpeg(file);
    if together == *ours {
        return together;
    }
    let separate_run = |select: &str, ours: &[String]| {
        let chain = format!("select={select},metadata=print");
        let mut list = parse(&log_with_audio(file, "0:v:0", &chain)).pictures;
        let differ = list.iter().zip(ours).filter(|(theirs, ours)| theirs != ours).count();
        let may_vary = list.len() == ours.len() && differ <= 1 + list.len() / 20;
        for _ in 0..if is_reference() || !may_vary { 0 } else { runs } {
            if list == ours {
                break;
            }
            let rerun = parse(&uncached_log(file, &chain)).pictures;
            if rerun.len() == list.len() {
                let triples = list.iter_mut().zip(rerun).zip(ours);
                triples
                    .filter(|((_, rerun), ours)| rerun == *ours)
                    .for_each(|((kept, score), _)| *kept = score);
            }
        }
        list
    };
    let pictures = separate_run("gte(scene\\,0)", &ours.pictures);
    Verdicts { pictures, frames: separate_run(KEPT, &ours.frames) }
}

/// Returns whether the installed ffmpeg behaves like 5.1.9, the reference.
///
/// From 6.1 on, the tool decodes in a thread of its own: the number of pictures in flight differs
/// from run to run, and with it what a damaged picture shows. A picture without a time gets the
/// time of the previous one plus its duration (`video_frame_process` in `fftools/ffmpeg_dec.c`).
pub fn is_reference() -> bool {
    ffmpeg_next::codec::version() < FFMPEG_6_1
}

/// Returns the major version of the linked FFmpeg, from libavcodec's (59 belongs to FFmpeg 5).
/// The installed ffmpeg has the same.
pub fn linked_ffmpeg() -> u32 {
    (ffmpeg_next::codec::version() >> 16) - 54
}

/// Asserts equal results and reports the first difference. There must be pictures.
pub fn assert_same(context: &str, theirs: &Verdicts, ours: &Verdicts) {
    assert!(!theirs.pictures.is_empty(), "{context}: ffmpeg finds no picture");
    assert_alike(context, theirs, ours);
}

/// As [`assert_same`], for files that may have no pictures: only audio, or undecodable.
pub fn assert_alike(context: &str, theirs: &Verdicts, ours: &Verdicts) {
    for (kind, theirs, ours) in
        [("picture", &theirs.pictures, &ours.pictures), ("frame", &theirs.frames, &ours.frames)]
    {
        let first = theirs.iter().zip(ours).position(|(theirs, ours)| theirs != ours);
        if let Some(at) = first {
            panic!("{context}: {kind} {at}: ffmpeg {}, scenetap {}", theirs[at], ours[at]);
        }
        assert_eq!(ours.len(), theirs.len(), "{context}: {kind}s");
    }
}
