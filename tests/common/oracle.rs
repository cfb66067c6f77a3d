//! What ffmpeg's own command line says of a file, to compare with.

use std::path::Path;
use std::process::Command;

use super::scenetap;

/// Every picture's time and score, as ffmpeg says.
pub fn ffmpeg(file: &Path) -> Vec<String> {
    let with_audio = log_of(file, &["-map", "0:a?", "-c:a", "copy"]);
    // Audio that the tables name and the stream lacks ends ffmpeg's run.
    let log =
        if with_audio.contains("Could not write header") { log_of(file, &[]) } else { with_audio };
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

fn log_of(file: &Path, audio: &[&str]) -> String {
    // One thread: others conceal damage differently from run to run.
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-nostats", "-threads", "1", "-i"])
        .arg(file)
        .args(["-map", "0:v:0"])
        .args(audio)
        .args(["-vf", "select=gte(scene\\,0),metadata=print", "-f", "null", "-"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The same, as we say.
pub fn ours(file: &Path) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let scores = folder.path().join("scores.csv");
    let scan =
        scenetap().args(["-q", "scan"]).arg(file).arg("--scores").arg(&scores).output().unwrap();
    assert!(scan.status.success(), "{}", String::from_utf8_lossy(&scan.stderr));
    std::fs::read_to_string(scores).unwrap().lines().skip(1).map(str::to_owned).collect()
}

/// Every picture in its order, its time and its score.
pub fn assert_parity(what: &str, file: &Path) {
    let (theirs, ours) = (ffmpeg(file), ours(file));
    let first = theirs.iter().zip(&ours).position(|(theirs, ours)| theirs != ours);
    if let Some(picture) = first {
        panic!("{what}: picture {picture}: ffmpeg {}, scenetap {}", theirs[picture], ours[picture]);
    }
    assert_eq!(ours.len(), theirs.len(), "{what}: pictures");
}
