//! `record --play` and `play`, with the real mpv without outputs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::common::pictures::record;
use crate::common::studio::{AAC, Studio, X264};
use crate::common::{DEADLINE, Recorder, fixture, has, index, scenetap};

/// Returns scenetap with sockets in `folder`, whose mpv has neither picture nor sound.
fn silent(folder: &Path) -> Command {
    let home = folder.join("mpv");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("mpv.conf"), "vo=null\nao=null\n").unwrap();
    let mut command = scenetap();
    command.env("XDG_RUNTIME_DIR", folder).env("MPV_HOME", home);
    command
}

/// Asks the only player in `folder`; null if it does not answer.
fn ask(folder: &Path, command: &Value) -> Value {
    let sockets = std::fs::read_dir(folder.join("scenetap")).into_iter().flatten().flatten();
    let is_player = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("mpv-") && name.ends_with(".sock") && !path.is_symlink()
    };
    let Some(socket) = sockets.map(|entry| entry.path()).find(|path| is_player(path)) else {
        return Value::Null;
    };
    let Ok(mut stream) = UnixStream::connect(socket) else { return Value::Null };
    let request = json!({ "command": command, "request_id": 7 });
    if stream.write_all(format!("{request}\n").as_bytes()).is_err() {
        return Value::Null;
    }
    let answers = BufReader::new(stream).lines().map_while(Result::ok);
    let parsed = answers.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    parsed
        .into_iter()
        .find(|answer| answer["request_id"] == 7)
        .map_or(Value::Null, |answer| answer["data"].clone())
}

fn wait_for(folder: &Path, property: &str, is_expected: impl Fn(&Value) -> bool) {
    let start = Instant::now();
    loop {
        let value = ask(folder, &json!(["get_property", property]));
        if is_expected(&value) {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "{property} is still {value}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn record_play_goes_on_with_the_next_session_which_finds_the_player() {
    if !has("mpv") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sessions = folder.path().join("sessions");
    let arguments = ["--play", "--rotate-bytes", "900K", "--keep-bytes", "1"];
    let recorder = Recorder::start_as(silent(folder.path()), &sessions, "s", &arguments);
    let is_in = |session: &str| {
        let path = sessions.join(session).join("stream/recording.ts");
        move |value: &Value| value.as_str() == path.to_str()
    };
    let sender = std::thread::spawn({
        let mut send = scenetap();
        send.arg("send").arg(fixture("bbb_h264_zerolatency_360p30_gop2s"));
        send.args(["--to", &recorder.address, "--speed", "3"]);
        move || assert!(send.output().unwrap().status.success())
    });
    wait_for(folder.path(), "path", is_in("s"));
    recorder.wait_for("/s_2");
    // What is played is not deleted, although it is more than is kept.
    wait_for(folder.path(), "path", is_in("s_2"));
    recorder.wait_for("deleted the recording of session s (");
    sender.join().unwrap();
    let mut play = silent(folder.path());
    play.args(["play", "s_2", "--at", "1", "--sessions-dir"]).arg(&sessions);
    let played = play.output().unwrap();
    let log = String::from_utf8(played.stderr).unwrap();
    assert!(played.status.success() && log.contains("moved the open player"), "{log}");
    ask(folder.path(), &json!(["quit"]));
    recorder.wait_for("player closed; recording continues");
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
}

/// Returns the pixels of an image file; `None` if it is not complete.
fn pixels(file: &Path) -> Option<Vec<u8>> {
    Some(image::open(file).ok()?.into_rgb8().into_raw())
}

/// Returns the mean difference of the samples of two pictures.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len() as f64
}

/// Waits until the player in `folder` shows the picture of the recording at `at` rather than one near it:
/// mpv converts colors in another way.
fn wait_for_picture(folder: &Path, session: &Path, at: f64) {
    let near: Vec<(f64, Vec<u8>)> = (-5..=5)
        .filter_map(|pictures| still(folder, session, at + 0.04 * f64::from(pictures) + 0.001))
        .collect();
    let shot = folder.join("shot.png");
    let start = Instant::now();
    loop {
        let _ = std::fs::remove_file(&shot);
        ask(folder, &json!(["screenshot-to-file", shot.to_str().unwrap(), "video"]));
        if let Some(shown) = pixels(&shot) {
            let nearest = near
                .iter()
                .min_by(|a, b| difference(&a.1, &shown).total_cmp(&difference(&b.1, &shown)));
            let (time, nearest) = nearest.unwrap();
            if (time - at).abs() < 1e-6 && difference(nearest, &shown) < 8.0 {
                return;
            }
        }
        assert!(start.elapsed() < DEADLINE, "at {at}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Returns the picture of a recording, and its time. `None` if there is none.
fn still(folder: &Path, session: &Path, at: f64) -> Option<(f64, Vec<u8>)> {
    let picture = folder.join("still.png");
    let mut command = scenetap();
    command.arg("still").arg(session).args(["--at", &at.to_string(), "--json", "-o"]);
    let made = command.arg(&picture).output().unwrap();
    let line: Value = serde_json::from_slice(&made.stdout).ok()?;
    Some((line["timestamp"].as_f64()?, pixels(&picture)?))
}

#[test]
fn a_moment_and_a_frame_are_found_also_after_the_clock_has_started_again() {
    let Some(studio) = Studio::open().filter(|_| has("mpv")) else { return };
    let one = studio.encode("one", "25", "160x120", &format!("{X264} -bf 2 -g 20"), AAC);
    let other = studio.encode("other", "25", "160x120", &format!("{X264} -bf 2 -g 15"), AAC);
    let joined = studio.join("joined", &[&one, &other, &one]);
    let folder = tempfile::tempdir().unwrap();
    let session = record(&folder.path().join("sessions"), &joined);
    // Time of the key frame before it.
    let key_frame = |at: f64| {
        let mut command = scenetap();
        command.arg("clip").arg(&session).args(["--from", &at.to_string(), "--json", "-o"]);
        let made = command.arg(folder.path().join("clip.ts")).output().unwrap();
        let line: Value = serde_json::from_slice(&made.stdout).unwrap();
        line["from"].as_f64().unwrap()
    };
    let play = |arguments: &[&str]| {
        let mut command = silent(folder.path());
        command.arg("play").arg(&session).args(arguments);
        command
    };
    let mut player = play(&["--at", "1.5"]).spawn().unwrap();
    // Before the first restart, the picture itself is found.
    wait_for(folder.path(), "time-pos", Value::is_number);
    ask(folder.path(), &json!(["set_property", "pause", true]));
    for at in [1.5, 2.3] {
        // Between two pictures, mpv shows the later one.
        let at = still(folder.path(), &session, at).unwrap().0;
        let steered = play(&["--at", &at.to_string()]).output().unwrap();
        assert!(steered.status.success(), "{}", String::from_utf8_lossy(&steered.stderr));
        wait_for_picture(folder.path(), &session, at);
    }
    for at in [4.4, 7.9, 5.2, -1.0] {
        assert!(play(&["--at", &at.to_string()]).output().unwrap().status.success());
        wait_for_picture(folder.path(), &session, key_frame(at));
    }
    let entries = index(&session);
    let late = entries.iter().rfind(|entry| entry["reason"] == "scene").unwrap();
    let id = late["id"].as_str().unwrap();
    assert!(late["timestamp"].as_f64().unwrap() > 6.0, "{late}");
    assert!(play(&["--frame", id]).output().unwrap().status.success());
    wait_for_picture(folder.path(), &session, key_frame(late["timestamp"].as_f64().unwrap()));
    let unknown = play(&["--frame", "F9999"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("no frame F9999"));
    ask(folder.path(), &json!(["quit"]));
    assert!(player.wait().unwrap().success());
}
