//! `scenetap frames`: lists the frames of a session, and hands them out.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::common::{Recorder, fixture, index, scenetap, send_bytes};

/// Records a session of some frames, and ends the recorder.
pub fn recorded(sessions: &Path, session: &str) {
    let clip = std::fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap();
    let options = ["--once", "--max-frame-interval", "1"];
    let recorder = Recorder::start(sessions, session, &options);
    send_bytes(&recorder.address, &clip);
    assert!(recorder.end().0.success());
}

/// Runs `scenetap frames SESSION …`.
pub fn frames(sessions: &Path, arguments: &[&str]) -> Output {
    frames_with(sessions, arguments, None)
}

fn frames_with(sessions: &Path, arguments: &[&str], fault: Option<&str>) -> Output {
    let mut command = scenetap();
    command.args(["frames", "--sessions-dir"]).arg(sessions).args(arguments);
    if let Some(fault) = fault {
        command.env("SCENETAP_FAULT", fault);
    }
    command.output().unwrap()
}

/// Returns the frames printed by a command with `--json`.
pub fn printed(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = |line| {
        let mut frame: Value = serde_json::from_str(line).unwrap();
        assert_eq!(frame.as_object_mut().unwrap().shift_remove("session").unwrap(), "s");
        frame
    };
    text.lines().map(line).collect()
}

fn ids(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["id"].as_str().unwrap()).collect()
}

#[test]
fn frames_are_listed_leased_and_acknowledged() {
    let sessions = tempfile::tempdir().unwrap();
    let sessions = sessions.path();
    recorded(sessions, "s");
    let all = index(&sessions.join("s"));
    assert!(all.len() > 5);
    let listed = frames(sessions, &["s", "--json"]);
    assert!(listed.status.success());
    assert_eq!(printed(&listed), all, "as in index.json");

    let table = String::from_utf8(frames(sessions, &["s", "--limit", "2"]).stdout).unwrap();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("id ") && lines[0].ends_with(" state"), "{table}");
    assert!(lines[1].starts_with("F0001  00:00:00.021  "), "{table}");

    let leased = frames(sessions, &["s", "--lease", "600", "--limit=2", "--holder=a", "--json"]);
    assert_eq!(ids(&printed(&leased)), ["F0001", "F0002"]);
    assert_eq!(printed(&leased)[0]["lease_holder"], "a");
    assert_eq!(printed(&leased), index(&sessions.join("s"))[..2]);
    let table = String::from_utf8(frames(sessions, &["s"]).stdout).unwrap();
    assert!(table.lines().nth(1).unwrap().contains("leased to a until 20"), "{table}");

    let acknowledged = frames(sessions, &["s", "--holder=a", "--ack", "F0001", "F0002"]);
    assert!(acknowledged.status.success() && acknowledged.stdout.is_empty());
    let unsent = frames(sessions, &["s", "--unsent", "--json"]);
    assert_eq!(ids(&printed(&unsent))[0], "F0003");
    let since = frames(sessions, &["s", "--since", "F0003", "--limit=1", "--json"]);
    assert_eq!(ids(&printed(&since)), ["F0004"]);
    let table = String::from_utf8(frames(sessions, &["s"]).stdout).unwrap();
    assert!(table.lines().nth(2).unwrap().ends_with("  sent"), "{table}");
}

#[test]
fn what_cannot_be_handed_out_is_one_line_and_exit_status_1() {
    let sessions = tempfile::tempdir().unwrap();
    let sessions = sessions.path();
    recorded(sessions, "s");
    for (arguments, why) in [
        (&["s", "--ack", "F0001", "F9999"][..], "no frame F9999"),
        (&["s", "--ack", "first"], "\"first\" is not a frame id"),
        (&["s", "--holder=a", "--ack", "F0001"], "F0001 is not leased to a"),
        (&["s", "--renew", "F0001"], "F0001 is not leased"),
        (&["none"], "no session of that name"),
    ] {
        let output = frames(sessions, arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.lines().count() == 1 && error.contains(why), "{error}");
    }
    for arguments in [
        &["s", "--lease", "0"][..],
        &["s", "--since", "F12"],
        &["s", "--ack"],
        &["s", "--ack", "F0001", "--release", "F0001"],
        &["s", "--limit", "0"],
        &["s", "--holder", ""],
    ] {
        assert_eq!(frames(sessions, arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert!(
        printed(&frames(sessions, &["s", "--json"])).iter().all(|f| f["sent_to_agent"] == false)
    );
}

#[test]
fn the_frames_of_a_deleted_recording_are_handed_out() {
    let sessions = tempfile::tempdir().unwrap();
    recorded(sessions.path(), "s");
    std::fs::remove_file(sessions.path().join("s/stream/recording.ts")).unwrap();
    let leased = frames(sessions.path(), &["s", "--lease=9", "--limit=1", "--json"]);
    assert_eq!(ids(&printed(&leased)), ["F0001"]);
}

#[test]
fn what_an_entry_names_is_never_opened_nor_a_link_in_place_of_its_picture() {
    let sessions = tempfile::tempdir().unwrap();
    recorded(sessions.path(), "s");
    let session = sessions.path().join("s");
    let before = index(&session);
    // Opening it would block forever.
    let fifo = sessions.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let mut edited = before.clone();
    edited[0]["path"] = fifo.to_str().unwrap().into();
    edited[1]["path"] = fifo.to_str().unwrap().into();
    std::fs::write(session.join("frames/index.json"), serde_json::to_vec(&edited).unwrap())
        .unwrap();
    // A picture outside of the session, behind a link.
    let jpeg = session.join("frames/F0002.jpg");
    std::fs::rename(&jpeg, sessions.path().join("outside.jpg")).unwrap();
    std::os::unix::fs::symlink(sessions.path().join("outside.jpg"), &jpeg).unwrap();
    let leased = frames(sessions.path(), &["s", "--lease=9", "--limit=2", "--json"]);
    assert_eq!(ids(&printed(&leased)), ["F0001", "F0003"]);
    let check = |repair: &[&str]| {
        let mut command = scenetap();
        command.args(["check", "--sessions-dir"]).arg(sessions.path()).arg("s").args(repair);
        command.output().unwrap()
    };
    let found = check(&[]);
    let problems = String::from_utf8_lossy(&found.stdout);
    assert_eq!(found.status.code(), Some(1));
    assert!(problems.contains("F0002.jpg: a symbolic link, which is not followed"), "{problems}");
    assert!(!problems.contains("F0001"), "{problems}");
    // The picture is written again, in place of the link.
    assert!(check(&["--repair"]).status.success());
    assert!(!jpeg.is_symlink() && jpeg.is_file());
    assert!(check(&[]).status.success());
}

#[test]
fn a_folder_that_cannot_be_written_is_listed() {
    use std::os::unix::fs::PermissionsExt;
    let sessions = tempfile::tempdir().unwrap();
    recorded(sessions.path(), "s");
    let folder = sessions.path().join("s/frames");
    std::fs::remove_file(folder.join("index.lock")).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    let listed = frames(sessions.path(), &["s", "--json"]);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(listed.status.success() && !printed(&listed).is_empty());
    assert!(!folder.join("index.lock").exists(), "listing writes nothing");
}

#[test]
fn killed_at_any_change_to_the_disk_nothing_is_lost_or_handed_out_twice() {
    let sessions = tempfile::tempdir().unwrap();
    recorded(sessions.path(), "s");
    let session = sessions.path().join("s");
    // A key of another program, which must be kept.
    let mut noted = index(&session);
    noted[2]["note"] = "a dog".into();
    std::fs::write(session.join("frames/index.json"), serde_json::to_vec(&noted).unwrap()).unwrap();
    let count = noted.len();
    let mut kills = 0;
    for how in ["kill", "tear"] {
        for arguments in [
            &["s", "--lease=1000", "--limit=1", "--holder=a", "--json"][..],
            &["s", "--ack", "F0002", "F0003"],
            &["s", "--release", "F0001"],
        ] {
            for at in 1.. {
                let output = frames_with(sessions.path(), arguments, Some(&format!("{how}@{at}")));
                // Printed frames count as handed out, whatever happened later.
                let listed = frames(sessions.path(), &["s", "--json"]);
                assert!(listed.status.success(), "{how}@{at} {arguments:?}: {listed:?}");
                let listed = printed(&listed);
                assert_eq!(listed.len(), count);
                assert_eq!(listed[2]["note"], "a dog");
                for frame in printed(&output) {
                    let same = listed.iter().find(|other| other["id"] == frame["id"]).unwrap();
                    assert_eq!(same["leased_until"], frame["leased_until"]);
                }
                let sent = |n: usize| listed[n]["sent_to_agent"] == true;
                assert_eq!(sent(1), sent(2), "both or none");
                if output.status.success() {
                    break;
                }
                kills += 1;
            }
        }
        assert!(printed(&frames(sessions.path(), &["s", "--json"]))[1]["sent_to_agent"] == true);
        std::fs::remove_file(session.join("frames/handouts.jsonl")).unwrap();
    }
    assert!(kills > 30, "{kills}");
    // A recorder that resumes the session cleans up.
    let recorder = Recorder::start(sessions.path(), "s", &[]);
    recorder.end_by_signal();
    let names: Vec<_> = std::fs::read_dir(session.join("frames"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(names.is_empty(), "{names:?}");
    assert_eq!(index(&session)[2]["note"], "a dog");
}
