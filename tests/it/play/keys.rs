//! Information and keys in a player.

use std::io::Write;
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::Value;

use crate::common::viewer::{Viewer, difference, pixels, scenes};
use crate::common::{Recorder, fixture, has, index};

/// Returns the key to which an action is bound.
fn key_of(viewer: &Viewer, action: &str) -> String {
    let command = format!("script-message scenetap {action}");
    let of = |bindings: &Value| {
        let found =
            bindings.as_array()?.iter().find(|binding| binding["cmd"] == command.as_str())?;
        found["key"].as_str().map(str::to_owned)
    };
    of(&viewer.wait_for("input-bindings", |bindings| of(bindings).is_some())).unwrap()
}

#[test]
fn kept_frames_are_chapters_as_they_come_and_free_keys_go_to_them() {
    if !has("mpv") {
        return;
    }
    // Two keys are bound by the user.
    let viewer = Viewer::with_keys("n show-text mine\nCtrl+s script-message scenetap still\n");
    let clip = std::fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap();
    let sessions = viewer.folder.path().join("sessions");
    let recorder = Recorder::start(&sessions, "s", &[]);
    let session = recorder.session.clone();
    let mut sender = TcpStream::connect(&recorder.address).unwrap();
    let half = clip.len() / 2;
    sender.write_all(&clip[..half]).unwrap();
    let mut player = viewer.scenetap().arg("play").arg(&session).spawn().unwrap();
    let keys =
        ["next-scene", "prev-scene", "live", "still", "help"].map(|action| key_of(&viewer, action));
    let [next, previous, live, still, help] = keys.each_ref().map(String::as_str);
    let bindings = viewer.get("input-bindings");
    let own: Vec<&Value> =
        bindings.as_array().unwrap().iter().filter(|binding| binding["key"] == "n").collect();
    assert!(own.len() == 1 && own[0]["cmd"] == "show-text mine", "{own:?}");
    assert_eq!(still, "Ctrl+s");
    viewer.wait_until_begun();
    viewer.log_screen();

    let chapters = |viewer: &Viewer| {
        let is_all = |list: &Value| list.as_array().map(Vec::len) == Some(index(&session).len());
        viewer.wait_for("chapter-list", is_all).as_array().unwrap().clone()
    };
    let shown = chapters(&viewer);
    let entries = index(&session);
    for (chapter, entry) in shown.iter().zip(&entries) {
        assert_eq!(chapter["time"], entry["timestamp"]);
        let title = chapter["title"].as_str().unwrap();
        let [id, reason] = ["id", "reason"].map(|key| entry[key].as_str().unwrap());
        assert!(title.starts_with(id) && title.ends_with(reason), "{title}");
    }

    viewer.set("pause", true);
    let scenes = scenes(&session);
    viewer.play(&session, &["--frame", &scenes[2].0]);
    viewer.wait_for_picture(&session, scenes[2].1);
    viewer.press(next);
    viewer.wait_for_picture(&session, scenes[3].1);
    viewer.wait_for_log(&format!("{}  0:", scenes[3].0));
    viewer.press(previous);
    viewer.wait_for_picture(&session, scenes[2].1);
    viewer.wait_for_log("s behind live");

    viewer.press(still);
    let (seconds, picture) = viewer.still(&session, scenes[2].1).unwrap();
    // To the millisecond.
    let file = sessions.join(format!("s-00.00.{:06.3}.jpg", (seconds * 1000.0).floor() / 1000.0));
    viewer.wait_for_log(&format!("written: {}", file.display()));
    assert!(difference(&pixels(&file).unwrap(), &picture) < 3.0);

    viewer.press(help);
    viewer.wait_for_log(&format!("{next}  next scene"));

    sender.write_all(&clip[half..]).unwrap();
    let before = shown.len();
    viewer.wait_for("chapter-list", |list| list.as_array().unwrap().len() > before);
    viewer.press(live);
    viewer.wait_for("pause", |is_paused| *is_paused == false);
    viewer.wait_for_time_after(viewer.newest(&session) - 1.5);
    viewer.quit();
    assert!(player.wait().unwrap().success());
    drop(sender);
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
}

#[test]
fn a_scene_that_is_not_there_is_said_on_the_screen() {
    if !has("mpv") {
        return;
    }
    let viewer = Viewer::new();
    let sessions = viewer.folder.path().join("sessions");
    let session =
        crate::common::pictures::record(&sessions, &fixture("bbb_h264_bframes_scenecut_360p24"));
    let (id, last) = scenes(&session).pop().unwrap();
    let mut player =
        viewer.scenetap().arg("play").arg(&session).args(["--frame", &id]).spawn().unwrap();
    let next = key_of(&viewer, "next-scene");
    viewer.log_screen();
    viewer.wait_for_time_after(last - 0.001);
    viewer.press(&next);
    viewer.wait_for_log("no later scene yet");
    viewer.quit();
    assert!(player.wait().unwrap().success());
}
