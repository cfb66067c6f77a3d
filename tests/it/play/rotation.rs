//! A player continues with the next session of its recorder.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::common::series::series;
use crate::common::viewer::{Viewer, scenes};
use crate::common::{DEADLINE, Recorder, fixture, has, scenetap, send_bytes};

#[test]
fn record_play_goes_on_with_the_next_session_which_finds_the_player() {
    if !has("mpv") {
        return;
    }
    let viewer = Viewer::new();
    let sessions = viewer.folder.path().join("sessions");
    let arguments = ["--play", "--rotate-bytes", "900K", "--keep-bytes", "1"];
    let recorder = Recorder::start_as(viewer.scenetap(), &sessions, "s", &arguments);
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
    viewer.wait_for("path", is_in("s"));
    recorder.wait_for("/s_2");
    // A recording that is being played is not deleted, although it exceeds the limit.
    viewer.wait_for("path", is_in("s_2"));
    recorder.wait_for("deleted the recording of session s (");
    sender.join().unwrap();
    viewer.play(&sessions.join("s_2"), &["--at", "1"]);
    viewer.quit();
    recorder.wait_for("player closed; recording continues");
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
}

#[test]
fn scenes_and_the_live_edge_are_found_in_later_and_earlier_sessions_of_a_series() {
    if !has("mpv") {
        return;
    }
    let viewer = Viewer::new();
    let sessions = viewer.folder.path().join("sessions");
    let arguments = ["--rotate-bytes", "700K"];
    let recorder = Recorder::start(&sessions, "s", &arguments);
    let clip = std::fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap();
    send_bytes(&recorder.address, &clip);
    recorder.wait_for("has left");
    let (first, second) = (sessions.join("s"), sessions.join("s_2"));
    // The recorder still runs, so the newest is live; the first two are complete.
    for session in [&first, &second] {
        let state = session.join("frames/state.json");
        let start = Instant::now();
        loop {
            let state: Value = std::fs::read(&state)
                .ok()
                .and_then(|state| serde_json::from_slice(&state).ok())
                .unwrap_or_default();
            if state["ended"] == true {
                break;
            }
            assert!(start.elapsed() < DEADLINE, "{state}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let last = scenes(&first).pop().unwrap();
    let is_in = |session: &Path| {
        let path = session.join("stream/recording.ts");
        move |value: &Value| value.as_str() == path.to_str()
    };
    let mut player = viewer.scenetap().arg("play").arg(&first).args(["--at", "1"]).spawn().unwrap();
    viewer.wait_until_begun();
    viewer.wait_for_time_after(0.99);
    viewer.set("pause", true);
    viewer.play(&first, &["--frame", &last.0]);
    viewer.wait_for_time(last.1, 0.05);
    viewer.play(&first, &["--next-scene"]);
    viewer.wait_for("path", is_in(&second));
    viewer.wait_for_picture(&second, scenes(&second)[0].1);
    // The player is found by the name of either session; back in the first one, it is still paused.
    viewer.play(&second, &["--prev-scene"]);
    viewer.wait_for("path", is_in(&first));
    viewer.wait_for_picture(&first, last.1);
    assert_eq!(viewer.get("pause"), true);
    let newest = sessions.join(format!("s_{}", series(&sessions).len()));
    viewer.play(&first, &["--live"]);
    viewer.wait_for("path", is_in(&newest));
    assert_eq!(viewer.get("pause"), false);
    viewer.quit();
    assert!(player.wait().unwrap().success());
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
}
