//! A sender that pauses while its stream is watched.

use std::io::Write;
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::common::viewer::Viewer;
use crate::common::{Recorder, fixture, has};

/// A stream of 28 s with a key frame every 2 s, sent part by part.
struct Broadcast {
    clip: Vec<u8>,
    sent: usize,
    sender: TcpStream,
    recorder: Recorder,
    viewer: Viewer,
}

const PARTS: usize = 8;

impl Broadcast {
    fn begin() -> Self {
        let viewer = Viewer::new();
        let clip = std::fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
        let recorder = Recorder::start(&viewer.folder.path().join("sessions"), "s", &[]);
        let sender = TcpStream::connect(&recorder.address).unwrap();
        let mut broadcast = Broadcast { clip, sent: 0, sender, recorder, viewer };
        broadcast.send_part();
        broadcast.send_part();
        broadcast
    }

    /// Sends the next part. Returns the time of the last picture before it.
    fn send_part(&mut self) -> f64 {
        let session = self.recorder.session.clone();
        let before = if self.sent == 0 { 0.0 } else { self.viewer.newest(&session) };
        let end = (self.sent + self.clip.len() / PARTS).min(self.clip.len());
        self.sender.write_all(&self.clip[self.sent..end]).unwrap();
        self.sent = end;
        self.recorder.wait_for_bytes(end / 188 * 188);
        before
    }

    /// Opens a player at the live edge.
    fn watch(&self) -> std::process::Child {
        let mut play = self.viewer.scenetap();
        let player = play.args(["-v", "play"]).arg(&self.recorder.session).spawn().unwrap();
        self.viewer.wait_until_begun();
        self.viewer.wait_for_time_after(self.viewer.newest(&self.recorder.session) - 1.2);
        player
    }

    /// Waits until mpv has reached the end of the file, which takes it 2 s if it has seen the file
    /// grow.
    fn wait_for_end(&self) {
        // It may have reached the previous end only.
        let newest = self.viewer.newest(&self.recorder.session);
        self.viewer.wait_for_time_after(newest - 0.3);
        self.viewer.wait_for("eof-reached", |is_reached| *is_reached == json!(true));
    }

    fn end(self, mut player: std::process::Child) {
        self.viewer.quit();
        assert!(player.wait().unwrap().success());
        drop(self.sender);
        self.recorder.signal(Signal::TERM);
        let recording = self.recorder.recording();
        assert!(self.recorder.end().0.success());
        let recorded = std::fs::read(recording).unwrap();
        assert!(recorded == self.clip[..recorded.len()] && recorded.len() + 188 > self.sent);
    }
}

#[test]
fn at_the_edge_playing_goes_on_by_itself_where_it_was_at_any_speed() {
    if !has("mpv") {
        return;
    }
    let mut broadcast = Broadcast::begin();
    let player = broadcast.watch();
    for (speed, is_long) in [(1, true), (1, false), (2, true), (2, false)] {
        broadcast.viewer.set("speed", speed);
        let newest = broadcast.viewer.newest(&broadcast.recorder.session);
        if is_long {
            broadcast.wait_for_end();
        } else {
            broadcast.viewer.wait_for_time_after(newest - 0.7);
        }
        let before = broadcast.send_part();
        // The player shows a time at most half a second before the newest picture at that time;
        // detection may have found newer pictures since.
        broadcast.viewer.wait_for("time-pos", |time| {
            let time = time.as_f64().unwrap_or(newest);
            assert!(time > newest - 1.5, "it has gone back from {newest} to {time}");
            time > before + 0.2
        });
        assert_eq!(broadcast.viewer.get("pause"), false);
        assert_eq!(broadcast.viewer.get("speed"), json!(f64::from(speed)));
    }
    broadcast.end(player);
}

#[test]
fn a_pause_of_its_viewer_outlasts_one_of_the_sender() {
    if !has("mpv") {
        return;
    }
    let mut broadcast = Broadcast::begin();
    let player = broadcast.watch();
    // Before the end, and at it.
    for is_at_end in [false, true] {
        if is_at_end {
            broadcast.wait_for_end();
        }
        broadcast.viewer.set("pause", true);
        let stood = broadcast.viewer.wait_for("time-pos", Value::is_number).as_f64().unwrap();
        broadcast.send_part();
        let before = broadcast.send_part();
        assert_eq!(broadcast.viewer.get("pause"), true);
        assert_eq!(broadcast.viewer.get("time-pos").as_f64(), Some(stood));
        broadcast.viewer.set("pause", false);
        broadcast.viewer.wait_for("time-pos", |time| {
            let time = time.as_f64().unwrap_or(before);
            assert!(time > stood - 1.5, "it has gone back from {stood} to {time}");
            time > before + 0.2
        });
    }
    broadcast.end(player);
}

#[test]
fn a_seek_beyond_the_edge_ends_there_and_playing_goes_on_with_what_comes() {
    if !has("mpv") {
        return;
    }
    let mut broadcast = Broadcast::begin();
    let player = broadcast.watch();
    for (is_paused, flags) in
        [(false, "relative"), (false, "relative+exact"), (true, "relative+exact")]
    {
        let newest = broadcast.viewer.newest(&broadcast.recorder.session);
        broadcast.viewer.wait_for_time_after(newest - 1.5);
        broadcast.viewer.set("pause", is_paused);
        broadcast.viewer.ask(&json!(["seek", 3600, flags]));
        // Otherwise, it would wait for an hour.
        broadcast.viewer.wait_for("seeking", |is_seeking| *is_seeking == json!(false));
        let near = newest - 2.0..newest + 0.1;
        broadcast
            .viewer
            .wait_for("time-pos", |time| time.as_f64().is_some_and(|time| near.contains(&time)));
        assert_eq!(broadcast.viewer.get("pause"), is_paused);
        broadcast.viewer.set("pause", false);
        let before = broadcast.send_part();
        broadcast.viewer.wait_for_time_after(before + 0.2);
    }
    broadcast.end(player);
}
