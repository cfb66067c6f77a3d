//! `record --play` and `play`, with the real mpv without outputs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::common::{DEADLINE, Recorder, fixture, has, scenetap};

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
