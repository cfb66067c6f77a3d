//! `record --on-frame`: a command for each kept frame.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::common::{Recorder, fixture, index, scenetap, send_bytes, unused_address};

fn clip() -> Vec<u8> {
    fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap()
}

/// Quotes a script for `--on-frame`.
fn sh(script: &str) -> String {
    format!("sh -c '{script}'")
}

fn wait_until(what: &str, is: impl Fn() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn the_command_gets_each_frame_once_and_in_order_and_its_output_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display();
    let script = format!(
        "cat >>{out}/frames; env >{out}/env; echo $SCENETAP_FRAME_ID $SCENETAP_FRAME_TIME \
         $SCENETAP_FRAME_PATH $SCENETAP_FRAME_SESSION_DIR >>{out}/variables; \
         echo seen; echo and wondered at >&2"
    );
    let mut command = scenetap();
    command.env("WATCHDOG_USEC", "1000000000").env("LISTEN_FDS", "0").env("HOMEWARD", "kept");
    let sessions = folder.path().join("sessions");
    let options = ["--once", "--on-frame", &sh(&script)];
    let recorder = Recorder::start_as(command, &sessions, "s", &options);
    let session = recorder.session.clone();
    send_bytes(&recorder.address, &clip());
    let seen = [recorder.wait_for("on-frame F0001: "), recorder.wait_for("on-frame F0001: ")];
    assert!(seen[0].ends_with("seen") && seen[1].ends_with("and wondered at"), "{seen:?}");
    assert!(recorder.end().0.success());

    let entries = index(&session);
    let frames: Vec<Value> = lines(&folder.path().join("frames"))
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(frames, entries);
    let variables: Vec<_> = entries
        .iter()
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap();
            let time = entry["timestamp"].as_f64().unwrap();
            format!("{} {time} {} {}", text("id"), text("path"), session.display())
        })
        .collect();
    assert_eq!(lines(&folder.path().join("variables")), variables);
    let environment = lines(&folder.path().join("env"));
    let foreign = |line: &&String| {
        ["SCENETAP_", "WATCHDOG_", "LISTEN_", "NOTIFY_"].iter().any(|name| line.starts_with(name))
            && !line.starts_with("SCENETAP_FRAME_")
    };
    assert_eq!(environment.iter().find(foreign), None);
    assert!(environment.iter().any(|line| line == "HOMEWARD=kept"));

    // After a restart, the command does not run again for frames in the index.
    let recorder = Recorder::start(&sessions, "s", &["--on-frame", &sh(&script)]);
    recorder.end_by_signal();
    assert_eq!(lines(&folder.path().join("frames")).len(), entries.len());
}

#[test]
fn a_command_that_does_not_end_is_ended_with_all_that_it_has_started() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display();
    // Both the command and its child ignore SIGTERM.
    let script =
        format!("trap \"\" TERM; echo $$ >>{out}/ids; sleep 1000 & echo $! >>{out}/ids; wait");
    let options =
        ["--once", "--max-frame-interval=0", "--scene-threshold=0.85", "--on-frame-timeout=0.2"];
    let command = sh(&script);
    let options = [&options[..], &["--on-frame", &command]].concat();
    let recorder = Recorder::start(folder.path(), "s", &options);
    send_bytes(&recorder.address, &clip());
    let line = recorder.wait_for("on-frame F0001: ended after 200ms");
    assert!(line.contains("WARN"), "{line}");
    assert!(recorder.end().0.success());
    let ids = lines(&folder.path().join("ids"));
    assert!(ids.len() >= 2);
    for id in ids {
        wait_until("it was killed", || !is_running(&id));
    }
}

/// Returns whether a process exists. Ignores a zombie that its new parent has not waited for.
fn is_running(id: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn recording_does_not_wait_for_it_and_what_it_missed_is_one_line_and_exit_status_1() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        "--once",
        "--max-frame-interval=0.2",
        // Also the time within which stderr must accept the last line, on a busy machine too.
        "--shutdown-timeout=2",
        "--on-frame",
        "sleep 1000",
    ];
    let recorder = Recorder::start(folder.path(), "s", &options);
    let session = recorder.session.clone();
    send_bytes(&recorder.address, &clip());
    let dropped = recorder.wait_for("on-frame: 64 frames wait for the command");
    assert!(dropped.contains("dropped 1, the last is F0002"), "{dropped}");
    let error = recorder.wait_for("scenetap: pipeline: on-frame: the command has not ended within");
    assert!(error.contains("65 frames"), "{error}");
    assert_eq!(recorder.end().0.code(), Some(1));
    assert!(index(&session).len() > 100);
}

#[test]
fn a_command_that_fails_is_run_again_as_often_as_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display();
    let script = format!("echo $SCENETAP_FRAME_ID >>{out}/runs; exit 3");
    let options = ["--once", "--max-frame-interval=0", "--scene-threshold=1", "--on-frame-retry=2"];
    let command = sh(&script);
    let options = [&options[..], &["--on-frame", &command]].concat();
    let recorder = Recorder::start(folder.path(), "s", &options);
    send_bytes(&recorder.address, &clip());
    let first = recorder.wait_for("on-frame F0001: exit status: 3");
    assert!(first.ends_with("; it is run again"), "{first}");
    assert!(recorder.end().0.success());
    assert_eq!(lines(&folder.path().join("runs")), ["F0001"; 3]);
}

#[test]
fn a_program_that_does_not_exist_is_logged_and_recording_continues() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--once", "--on-frame", "/no/such/program --x"];
    let recorder = Recorder::start(folder.path(), "s", &options);
    send_bytes(&recorder.address, &clip());
    recorder.wait_for("on-frame F0001: cannot run /no/such/program: No such file or directory");
    let (status, frames) = recorder.end();
    assert!(status.success() && frames.len() > 10);
}

#[test]
fn it_inherits_no_descriptor_so_a_recorder_that_was_killed_starts_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display();
    let address = {
        // A port that is free now, to be listened on twice.
        let recorder = Recorder::start(folder.path(), "first", &[]);
        recorder.address.clone()
    };
    let script = format!("ls /proc/self/fd >{out}/fds; touch {out}/begun; exec sleep 4242");
    // The recorder itself is started with an additional open descriptor.
    let program = env!("CARGO_BIN_EXE_scenetap");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec 9>/dev/null; exec \"$@\"", "sh", program]);
    shell
        .args(["record", "--listen", &address, "--session", "s", "--sessions-dir"])
        .arg(folder.path());
    shell.args(["--on-frame", &sh(&script)]);
    let mut recorder = shell.stderr(Stdio::null()).spawn().unwrap();
    wait_until("it listens", || std::net::TcpStream::connect(&address).is_ok());
    wait_until("it takes the stream", || {
        let sent = std::net::TcpStream::connect(&address).map(|mut socket| {
            use std::io::Write;
            let _ = socket.write_all(&clip()[..800_000]);
        });
        let recording = fs::metadata(folder.path().join("s/stream/recording.ts"));
        sent.is_ok() && recording.is_ok_and(|recording| recording.len() > 0)
    });
    wait_until("the command runs", || folder.path().join("begun").exists());
    // `ls` has the folder open.
    assert_eq!(lines(&folder.path().join("fds")), ["0", "1", "2", "3"]);
    recorder.kill().unwrap();
    recorder.wait().unwrap();
    let again = Recorder::start_at(&address, folder.path(), "s", &["--on-frame", "true"]);
    again.signal(Signal::TERM);
    assert!(again.end().0.success());
    // The command outlives a recorder that was killed.
    let _ = std::process::Command::new("pkill").args(["-x", "-f", "sleep 4242"]).status();
}

#[test]
fn the_command_is_split_as_by_a_shell_or_is_an_array_and_nonsense_is_exit_status_2() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display();
    let file = folder.path().join("config.toml");
    let show = "for word; do echo \"[$word]\"; done";
    let array =
        format!("on-frame = ['sh', '-c', '({show}) >{out}/words', 'sh', 'two words', '$HOME', '']");
    fs::write(&file, array).unwrap();
    let options = ["--once", "--scene-threshold=1", "--max-frame-interval=0", "--config"];
    let options = [&options[..], &[file.to_str().unwrap()]].concat();
    let recorder = Recorder::start(folder.path(), "s", &options);
    send_bytes(&recorder.address, &clip());
    assert!(recorder.end().0.success());
    assert_eq!(lines(&folder.path().join("words")), ["[two words]", "[$HOME]", "[]"]);
    for wrong in ["'open", "", " ", "'' x"] {
        let mut command = scenetap();
        command.args(["record", "--listen", &unused_address(), "--on-frame", wrong]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("must be a command"), "{error}");
    }
    fs::write(&file, "on-frame = ['sh', 1]").unwrap();
    let output = scenetap().args(["record", "--config"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
