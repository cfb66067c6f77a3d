//! Start positions of `play`, and destinations of an open player.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;

use rustix::process::Signal;

use crate::common::pictures::record;
use crate::common::studio::{AAC, Studio, X264};
use crate::common::viewer::{Viewer, scenes};
use crate::common::{Recorder, fixture, has};

/// Opens a player on a session, and pauses it once it has passed `begun`.
fn open(viewer: &Viewer, session: &Path, arguments: &[&str], begun: f64) -> Child {
    let player = viewer.scenetap().arg("play").arg(session).args(arguments).spawn().unwrap();
    viewer.wait_until_begun();
    viewer.wait_for_time_after(begun);
    viewer.set("pause", true);
    player
}

/// Moves the player to each kind of destination of `play`, and compares time and picture. `newest` is the
/// time of the last picture.
fn go_everywhere(viewer: &Viewer, session: &Path, newest: f64) {
    let scenes = scenes(session);
    let (id, middle) = &scenes[scenes.len() / 2];
    let (_, next) = &scenes[scenes.len() / 2 + 1];
    let (_, before) = &scenes[scenes.len() / 2 - 1];
    let (third, _) = viewer.still(session, newest / 3.0).unwrap();
    let (back, _) = viewer.still(session, -2.5).unwrap();
    let third_of = third.to_string();
    for (arguments, expected) in [
        (&["--at", &third_of][..], third),
        (&["--frame", id], *middle),
        (&["--next-scene"], *next),
        (&["--prev-scene"], *middle),
        (&["--prev-scene"], *before),
        (&["--at", "-2.5"], back),
    ] {
        viewer.play(session, arguments);
        // Between two pictures, mpv shows the later one.
        viewer.wait_for_time(expected, 0.05);
        let shown = viewer.get("time-pos").as_f64().unwrap();
        viewer.wait_for_picture(session, shown);
        assert_eq!(viewer.get("pause"), true, "{arguments:?}");
    }
}

#[test]
fn every_place_of_a_live_h264_stream_is_found_by_time_and_picture() {
    if !has("mpv") {
        return;
    }
    let viewer = Viewer::new();
    let clip = std::fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap();
    let recorder = Recorder::start(&viewer.folder.path().join("sessions"), "s", &[]);
    let mut sender = TcpStream::connect(&recorder.address).unwrap();
    let half = clip.len() / 188 / 2 * 188;
    sender.write_all(&clip[..half]).unwrap();
    recorder.wait_for_bytes(half);
    let session = recorder.session.clone();
    let newest = viewer.newest(&session);
    let mut player = open(&viewer, &session, &[], newest - 1.2);
    go_everywhere(&viewer, &session, newest);
    viewer.play(&session, &["--live"]);
    assert_eq!(viewer.get("pause"), false);
    viewer.wait_for_time_after(newest - 0.5);
    // The player continues with new pictures.
    sender.write_all(&clip[half..]).unwrap();
    viewer.wait_for_time_after(newest + 1.0);
    viewer.quit();
    assert!(player.wait().unwrap().success());
    drop(sender);
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
}

#[test]
fn every_place_of_a_finished_hevc_recording_is_found_by_time_and_picture() {
    if !has("mpv") {
        return;
    }
    let viewer = Viewer::new();
    let sessions = viewer.folder.path().join("sessions");
    let session = record(&sessions, &fixture("bbb_hevc_360p24_gop2s"));
    let mut player = open(&viewer, &session, &["--at", "1"], 0.99);
    let newest = viewer.newest(&session);
    go_everywhere(&viewer, &session, newest);
    viewer.play(&session, &["--live"]);
    viewer.wait_for_time_after(newest - 0.1);
    viewer.play(&session, &["--live=no"]);
    viewer.wait_for_time(scenes(&session)[0].1, 2.0);
    viewer.quit();
    assert!(player.wait().unwrap().success());
}

#[test]
fn a_player_that_is_not_open_begins_at_the_newest_scene_before_the_live_edge() {
    if !has("mpv") {
        return;
    }
    let viewer = Viewer::new();
    let sessions = viewer.folder.path().join("sessions");
    let session = record(&sessions, &fixture("bbb_h264_bframes_scenecut_360p24"));
    let none = viewer.scenetap().arg("play").arg(&session).arg("--next-scene").output().unwrap();
    let log = String::from_utf8(none.stderr).unwrap();
    assert_eq!(none.status.code(), Some(1));
    assert!(log.contains("no later scene yet"), "{log}");
    let last = scenes(&session).last().unwrap().1;
    let mut player =
        viewer.scenetap().arg("play").arg(&session).arg("--prev-scene").spawn().unwrap();
    viewer.wait_for_time_after(last - 0.001);
    viewer.quit();
    assert!(player.wait().unwrap().success());
}

#[test]
fn a_moment_and_a_frame_are_found_also_after_the_clock_has_started_again() {
    let Some(studio) = Studio::open().filter(|_| has("mpv")) else { return };
    let one = studio.encode("one", "25", "160x120", &format!("{X264} -bf 2 -g 20"), AAC);
    let other = studio.encode("other", "25", "160x120", &format!("{X264} -bf 2 -g 15"), AAC);
    let joined = studio.join("joined", &[&one, &other, &one]);
    let viewer = Viewer::new();
    let session = record(&viewer.folder.path().join("sessions"), &joined);
    let key_frame = |at: f64| viewer.key_frame(&session, at);
    let mut player = open(&viewer, &session, &["--at", "1.5"], 1.49);
    // Before the first restart, the exact picture is found.
    for at in [1.5, 2.3] {
        // Between two pictures, mpv shows the later one.
        let at = viewer.still(&session, at).unwrap().0;
        viewer.play(&session, &["--at", &at.to_string()]);
        viewer.wait_for_picture(&session, at);
    }
    // After the restart, the preceding key frame is found.
    for at in [4.4, 7.9, 5.2, -1.0] {
        viewer.play(&session, &["--at", &at.to_string()]);
        viewer.wait_for_picture(&session, key_frame(at));
    }
    // Return to the part in which the player's timeline is the recording's; a seek by time may end in the
    // third clip.
    let at = viewer.still(&session, 1.9).unwrap().0;
    viewer.play(&session, &["--at", &at.to_string()]);
    viewer.wait_for_picture(&session, at);
    let scenes = scenes(&session);
    let late: Vec<&(String, f64)> = scenes.iter().filter(|(_, at)| *at > 3.0).collect();
    let [(id, first), .., (_, second)] = &late[..] else { panic!("{scenes:?}") };
    viewer.play(&session, &["--frame", id]);
    viewer.wait_for_picture(&session, key_frame(*first));
    // From there on, navigate by the shown picture: the player's own timeline is meaningless.
    for _ in 1..late.len() {
        viewer.play(&session, &["--next-scene"]);
    }
    viewer.wait_for_picture(&session, key_frame(*second));
    viewer.play(&session, &["--prev-scene"]);
    viewer.wait_for_picture(&session, key_frame(late[late.len() - 2].1));
    let unknown = viewer.scenetap().arg("play").arg(&session).args(["--frame", "F9999"]).output();
    let unknown = unknown.unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("no frame F9999"));
    viewer.quit();
    assert!(player.wait().unwrap().success());
}

#[test]
fn a_file_has_moments_and_no_scenes() {
    if !has("mpv") {
        return;
    }
    let viewer = Viewer::new();
    let file = fixture("bbb_h264_bframes_scenecut_360p24");
    // Between its key frames are more than three seconds.
    let mut player = open(&viewer, &file, &["--at", "0.5"], 0.49);
    viewer.play(&file, &["--at", "3"]);
    viewer.wait_for_time(3.0, 0.05);
    let step = viewer.scenetap().arg("play").arg(&file).arg("--next-scene").output().unwrap();
    let log = String::from_utf8(step.stderr).unwrap();
    assert!(step.status.code() == Some(1) && log.contains("a file has no scenes"), "{log}");
    viewer.quit();
    assert!(player.wait().unwrap().success());
}
