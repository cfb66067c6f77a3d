//! A user of the real mpv, without window and sound.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{DEADLINE, index, scenetap};

/// A folder with the sockets, the configuration and the log of a player.
pub struct Viewer {
    pub folder: TempDir,
}

impl Viewer {
    pub fn new() -> Self {
        Viewer::with_keys("")
    }

    /// Returns a viewer with these key bindings.
    pub fn with_keys(bindings: &str) -> Self {
        let viewer = Viewer { folder: tempfile::tempdir().unwrap() };
        let home = viewer.folder.path().join("mpv");
        std::fs::create_dir_all(&home).unwrap();
        let log = viewer.log_file();
        let conf = format!("vo=null\nao=null\nlog-file={}\n", log.display());
        std::fs::write(home.join("mpv.conf"), conf).unwrap();
        std::fs::write(home.join("input.conf"), bindings).unwrap();
        viewer
    }

    /// Returns scenetap with this viewer's folder.
    pub fn scenetap(&self) -> Command {
        let mut command = scenetap();
        command.env("XDG_RUNTIME_DIR", self.folder.path());
        command.env("MPV_HOME", self.folder.path().join("mpv"));
        command
    }

    /// Returns the folder of the sockets.
    pub fn sockets(&self) -> PathBuf {
        self.folder.path().join("scenetap")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("mpv.log")
    }

    /// Runs `play`, which moves the open player.
    pub fn play(&self, target: &Path, arguments: &[&str]) {
        let played = self.scenetap().arg("play").arg(target).args(arguments).output().unwrap();
        let log = String::from_utf8(played.stderr).unwrap();
        assert!(played.status.success() && log.contains("moved the open player"), "{log}");
    }

    /// Sends a command to the only player. Returns its answer; null if it does not answer.
    pub fn ask(&self, command: &Value) -> Value {
        let sockets = std::fs::read_dir(self.sockets()).into_iter().flatten().flatten();
        let is_player = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("mpv-") && name.ends_with(".sock") && !path.is_symlink()
        };
        let Some(socket) = sockets.map(|entry| entry.path()).find(is_player) else {
            return Value::Null;
        };
        let Ok(mut stream) = UnixStream::connect(socket) else { return Value::Null };
        // A stopped player: the test that waits for it has failed.
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = json!({ "command": command, "request_id": 7 });
        if stream.write_all(format!("{request}\n").as_bytes()).is_err() {
            return Value::Null;
        }
        let answers = BufReader::new(stream).lines().map_while(Result::ok);
        let mut parsed = answers.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        parsed
            .find(|answer| answer["request_id"] == 7)
            .map_or(Value::Null, |answer| answer["data"].clone())
    }

    pub fn get(&self, property: &str) -> Value {
        self.ask(&json!(["get_property", property]))
    }

    pub fn set(&self, property: &str, value: impl Into<Value>) {
        self.ask(&json!(["set_property", property, value.into()]));
    }

    pub fn press(&self, key: &str) {
        self.ask(&json!(["keypress", key]));
    }

    pub fn quit(&self) {
        self.ask(&json!(["quit"]));
    }

    /// Waits until a property has the expected value.
    pub fn wait_for(&self, property: &str, is_expected: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let value = self.get(property);
            if is_expected(&value) {
                return value;
            }
            let state =
                || ["time-pos", "eof-reached", "pause", "seeking"].map(|name| self.get(name));
            assert!(start.elapsed() < DEADLINE, "{property} is still {value}: {:?}", state());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Waits until the player has reached its start position.
    pub fn wait_until_begun(&self) {
        self.wait_for("script-opts", |options| options["scenetap-begun"] == "yes");
    }

    /// Waits until the player is at `seconds`, or at most `tolerance` after it.
    pub fn wait_for_time(&self, seconds: f64, tolerance: f64) {
        let range = seconds - 0.001..seconds + tolerance;
        self.wait_for("time-pos", |time| time.as_f64().is_some_and(|time| range.contains(&time)));
    }

    /// Waits until the player plays on beyond `seconds`.
    pub fn wait_for_time_after(&self, seconds: f64) {
        self.wait_for("time-pos", |time| time.as_f64().is_some_and(|time| time > seconds));
    }

    /// Makes the player log the messages for its screen.
    pub fn log_screen(&self) {
        self.set("msg-level", "all=error,cplayer=trace");
    }

    /// Waits until the player's log contains `text`.
    pub fn wait_for_log(&self, text: &str) {
        let start = Instant::now();
        loop {
            let log = std::fs::read(self.log_file()).unwrap_or_default();
            let log = String::from_utf8_lossy(&log).into_owned();
            if log.contains(text) {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{text:?} is not in\n{log}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Waits until the player shows the session's picture at `at` rather than an adjacent one. mpv
    /// converts colors differently, so the pictures are only similar.
    pub fn wait_for_picture(&self, session: &Path, at: f64) {
        let near: Vec<(f64, Vec<u8>)> = (-5..=5)
            .filter_map(|pictures| self.still(session, at + 0.04 * f64::from(pictures) + 0.001))
            .collect();
        let shot = self.folder.path().join("shot.png");
        let start = Instant::now();
        loop {
            let _ = std::fs::remove_file(&shot);
            self.ask(&json!(["screenshot-to-file", shot.to_str().unwrap(), "video"]));
            let mut nearest = (f64::NAN, f64::INFINITY);
            if let Some(shown) = pixels(&shot) {
                let differences =
                    near.iter().map(|(time, still)| (*time, difference(still, &shown)));
                nearest = differences.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
                if (nearest.0 - at).abs() < 1e-6 && nearest.1 < 8.0 {
                    return;
                }
            }
            let position = self.get("time-pos");
            assert!(start.elapsed() < DEADLINE, "{nearest:?} instead of {at}, at {position}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Returns the picture of a session at a time, and its own time. `None` if there is none.
    pub fn still(&self, session: &Path, at: f64) -> Option<(f64, Vec<u8>)> {
        let picture = self.folder.path().join("still.png");
        let mut command = scenetap();
        command.arg("still").arg(session).args(["--at", &at.to_string(), "--json", "-o"]);
        let made = command.arg(&picture).output().unwrap();
        let line: Value = serde_json::from_slice(&made.stdout).ok()?;
        Some((line["timestamp"].as_f64()?, pixels(&picture)?))
    }

    /// Returns the time of the newest picture that is complete.
    pub fn newest(&self, session: &Path) -> f64 {
        self.still(session, -0.0).unwrap().0
    }

    /// Returns the time of the key frame before a moment.
    pub fn key_frame(&self, session: &Path, at: f64) -> f64 {
        let mut command = scenetap();
        command.arg("clip").arg(session).args(["--from", &at.to_string(), "--json", "-o"]);
        let made = command.arg(self.folder.path().join("clip.ts")).output().unwrap();
        let line: Value = serde_json::from_slice(&made.stdout).unwrap();
        line["from"].as_f64().unwrap()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        // After a failed test.
        self.quit();
    }
}

/// Returns ids and times of the scenes in the index.
pub fn scenes(session: &Path) -> Vec<(String, f64)> {
    let entries = index(session);
    let scenes = entries.iter().filter(|entry| entry["reason"] != "interval");
    let of = |entry: &Value| {
        (entry["id"].as_str().unwrap().to_owned(), entry["timestamp"].as_f64().unwrap())
    };
    scenes.map(of).collect()
}

/// Returns the pixels of an image file; `None` if it is not complete.
pub fn pixels(file: &Path) -> Option<Vec<u8>> {
    Some(image::open(file).ok()?.into_rgb8().into_raw())
}

/// Returns the mean difference of the samples of two pictures.
pub fn difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len() as f64
}
