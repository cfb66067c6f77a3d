//! Tests with a real mpv, without video and audio output. Skipped if mpv is missing.

use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use scenetap_testkit as testkit;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::pipeline::evidence::Moment;
use crate::session::Session;
use steer::IDLE_TIME;

const DEADLINE: Duration = Duration::from_secs(30);

/// A stream of 28 s at 30 pictures/s with a key frame every 2 s.
const STREAM: &str = "bbb_h264_zerolatency_360p30_gop2s";
const STREAM_SECONDS: f64 = 28.0;

/// Returns the stream; `None` if mpv is not installed.
fn material() -> Option<Vec<u8>> {
    testkit::has("mpv").then(|| fs::read(testkit::fixture(STREAM)).unwrap())
}

/// Closes the player if a test fails.
struct Closer(PathBuf);

impl Drop for Closer {
    fn drop(&mut self) {
        if let Ok(mut ipc) = Ipc::connect(&self.0) {
            let _ = ipc.command(json!(["quit"]));
        }
    }
}

/// A recording, and a `play` on it in its own thread.
struct TestPlayer {
    _closer: Closer,
    folder: TempDir,
    stop: Arc<AtomicBool>,
    playing: JoinHandle<Result<PlayOutcome>>,
}

fn options() -> PlayOptions {
    // These tests must not depend on the user's configuration.
    let extra = ["--no-config", "--vo=null", "--ao=null"];
    PlayOptions { extra_args: extra.map(String::from).to_vec(), ..PlayOptions::default() }
}

fn recording(folder: &TempDir) -> PathBuf {
    folder.path().join("recording.ts")
}

fn at(seconds: f64) -> Destination {
    Destination::Moment(Moment::FromStart(seconds))
}

fn connect_to_other(socket: &Path) -> Ipc {
    let start = Instant::now();
    loop {
        match Ipc::connect(socket) {
            Ok(ipc) => return ipc,
            Err(error) => assert!(start.elapsed() < DEADLINE, "{error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn player(bytes: &[u8], to: Destination) -> TestPlayer {
    let folder = tempfile::tempdir().unwrap();
    fs::write(recording(&folder), bytes).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let playing = open_again(&folder, to, &stop, options());
    let _closer = Closer(socket_path(&recording(&folder)).unwrap());
    TestPlayer { _closer, folder, stop, playing }
}

fn open_again(
    folder: &TempDir,
    to: Destination,
    stop: &Arc<AtomicBool>,
    options: PlayOptions,
) -> JoinHandle<Result<PlayOutcome>> {
    let (path, stop) = (recording(folder), stop.clone());
    thread::spawn(move || play(&Target::File(path), to, &options, &stop))
}

impl TestPlayer {
    /// Returns a second connection to the player, once it has loaded the recording.
    fn ipc(&self) -> Ipc {
        let socket = socket_path(&recording(&self.folder)).unwrap();
        let mut ipc = connect_to_other(&socket);
        wait_for(&mut ipc, "time-pos", |time| time.is_f64());
        ipc
    }

    /// Appends `bytes` at twice real time, like a sender that catches up.
    fn append(&self, bytes: Vec<u8>, total_bytes: usize) -> JoinHandle<()> {
        let path = recording(&self.folder);
        let chunk = total_bytes / (STREAM_SECONDS * 50.0 / 2.0) as usize;
        thread::spawn(move || {
            let mut file = OpenOptions::new().append(true).open(path).unwrap();
            for part in bytes.chunks(chunk) {
                file.write_all(part).unwrap();
                thread::sleep(Duration::from_millis(20));
            }
        })
    }

    fn quit(self, mut ipc: Ipc) {
        ipc.command(json!(["quit"])).unwrap();
        let outcome = self.playing.join().unwrap().unwrap();
        assert!(matches!(outcome, PlayOutcome::Ended(Some(status)) if status.success()));
        assert!(!ipc.socket().exists());
    }
}

/// Waits until `property` has the wanted value.
fn wait_for(ipc: &mut Ipc, property: &str, is_expected: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    let mut last = Value::Null;
    while start.elapsed() < DEADLINE {
        last = ipc.get(property).unwrap_or_default();
        if is_expected(&last) {
            return last;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("{property} is still {last}");
}

fn beyond(seconds: f64) -> impl Fn(&Value) -> bool {
    move |time| time.as_f64().is_some_and(|time| time > seconds)
}

#[test]
fn a_sender_that_pauses_ends_nothing_and_playing_goes_on_with_new_bytes() {
    let Some(bytes) = material() else { return };
    let (third, two_thirds) = (bytes.len() / 3, bytes.len() * 2 / 3);
    let player = player(&bytes[..third], at(8.0));
    let mut ipc = player.ipc();
    // The recording has not grown yet: mpv reaches its end without a pause.
    wait_for(&mut ipc, "eof-reached", |eof| *eof == json!(true));
    player.append(bytes[third..two_thirds].to_vec(), bytes.len());
    wait_for(&mut ipc, "time-pos", beyond(11.0));
    // Now mpv knows that the file grows: it waits for bytes, and then reaches the end as well.
    ipc.command(json!(["seek", 17.0, "absolute+exact"])).unwrap();
    let start = Instant::now();
    loop {
        let waits = ["eof-reached", "paused-for-cache"].map(|name| ipc.get(name));
        if waits.into_iter().any(|wait| wait.is_ok_and(|wait| wait == json!(true))) {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "mpv does not reach the end");
        thread::sleep(Duration::from_millis(20));
    }
    player.append(bytes[two_thirds..].to_vec(), bytes.len());
    wait_for(&mut ipc, "time-pos", beyond(20.0));
    assert_eq!(ipc.get("pause").unwrap(), json!(false));
    player.quit(ipc);
}

#[test]
fn a_second_play_steers_the_open_player_and_keeps_a_pause_unless_it_goes_live() {
    let Some(bytes) = material() else { return };
    let player = player(&bytes, at(10.0));
    let mut ipc = player.ipc();
    wait_for(&mut ipc, "time-pos", beyond(9.9));
    ipc.command(json!(["set_property", "pause", true])).unwrap();
    let path = recording(&player.folder);
    let near = |seconds: f64, tolerance: f64| {
        move |time: &Value| time.as_f64().is_some_and(|time| (time - seconds).abs() < tolerance)
    };
    let unused = AtomicBool::new(false);
    let file = Target::File(path);
    let steer = |to| {
        assert_eq!(play(&file, to, &options(), &unused).unwrap(), PlayOutcome::Steered);
    };
    steer(at(3.0));
    wait_for(&mut ipc, "time-pos", near(3.0, 0.04));
    steer(Destination::Moment(Moment::BeforeNewest(14.0)));
    wait_for(&mut ipc, "time-pos", near(14.0, 0.1));
    assert_eq!(ipc.get("pause").unwrap(), json!(true));
    steer(Destination::Live);
    wait_for(&mut ipc, "time-pos", beyond(26.0));
    assert_eq!(ipc.get("pause").unwrap(), json!(false));
    player.quit(ipc);
}

#[test]
fn a_recording_that_has_come_to_rest_is_still_scrubbed_at_once() {
    let Some(bytes) = material() else { return };
    let half = bytes.len() / 2;
    let player = player(&bytes[..half], at(12.0));
    let mut ipc = player.ipc();
    player.append(bytes[half..].to_vec(), bytes.len()).join().unwrap();
    wait_for(&mut ipc, "time-pos", beyond(15.0));
    let path = recording(&player.folder);
    while age(&fs::metadata(&path).unwrap()) <= IDLE_TIME {
        thread::sleep(Duration::from_millis(20));
    }
    let start = Instant::now();
    play(&Target::File(path), at(5.0), &options(), &AtomicBool::new(false)).unwrap();
    // Wait until mpv plays there: a pending seek already shows its target as the time.
    wait_for(&mut ipc, "time-pos", |time| time.as_f64().is_some_and(|t| t > 5.2 && t < 9.0));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    player.quit(ipc);
}

#[test]
fn a_recorder_that_leaves_leaves_the_player_open_and_the_next_one_takes_it_over() {
    let Some(bytes) = material() else { return };
    let player = player(&bytes, at(1.0));
    let mut ipc = player.ipc();
    player.stop.store(true, Ordering::Relaxed);
    assert_eq!(player.playing.join().unwrap().unwrap(), PlayOutcome::Stopped);
    let recorder = PlayOptions { is_recorder: true, ..options() };
    let stop = Arc::new(AtomicBool::new(false));
    let playing = open_again(&player.folder, at(6.0), &stop, recorder);
    wait_for(&mut ipc, "time-pos", beyond(5.9));
    ipc.command(json!(["quit"])).unwrap();
    assert_eq!(playing.join().unwrap().unwrap(), PlayOutcome::Ended(None));
}

#[test]
fn a_player_that_is_killed_is_told() {
    let Some(bytes) = material() else { return };
    let player = player(&bytes, at(1.0));
    let pid = player.ipc().get("pid").unwrap().as_i64().unwrap();
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    let error = player.playing.join().unwrap().unwrap_err().to_string();
    assert_eq!(error, "playback: mpv was killed by signal 9");
}

#[test]
fn a_file_that_mpv_cannot_play_is_told_in_its_words() {
    if material().is_none() {
        return;
    }
    let player = player(&[1; 600_000], Destination::Live);
    let error = player.playing.join().unwrap().unwrap_err().to_string();
    assert!(error.starts_with("playback: mpv exited with status 2: "), "{error}");
}

#[test]
fn a_missing_mpv_is_one_line_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = recording(&folder);
    fs::write(&path, vec![0x47; 600_000]).unwrap();
    let options = PlayOptions { program: folder.path().join("no-mpv"), ..options() };
    let stop = AtomicBool::new(false);
    let target = Target::File(path.clone());
    let error = play(&target, Destination::Live, &options, &stop).unwrap_err().to_string();
    let path = path.display();
    let expected = "playback: cannot start mpv: not found; install mpv or open";
    assert_eq!(error, format!("{expected} {path} in any player"));
}

#[test]
fn an_empty_recording_is_told_and_a_recorder_waits_until_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = recording(&folder);
    fs::write(&path, b"").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let target = Target::File(path);
    let error = play(&target, Destination::Live, &options(), &stop).unwrap_err().to_string();
    assert!(error.ends_with("recording.ts: nothing has been recorded yet"), "{error}");
    let recorder = PlayOptions { is_recorder: true, ..options() };
    let playing = open_again(&folder, Destination::Live, &stop, recorder);
    stop.store(true, Ordering::Relaxed);
    assert_eq!(playing.join().unwrap().unwrap(), PlayOutcome::Stopped);
}

#[test]
fn a_player_goes_on_with_the_next_recording_of_a_series_and_is_found_by_each_of_them() {
    let Some(bytes) = material() else { return };
    let folder = tempfile::tempdir().unwrap();
    let session = |name: &str| Session::at(&folder.path().join(name)).unwrap();
    let [first, second] = ["s", "s_2"].map(session);
    let record = |session: &Session, length: usize| {
        drop(session.clone().into_owned().unwrap());
        fs::write(session.recording_ts(), &bytes[..length]).unwrap();
    };
    record(&first, bytes.len() / 3);
    let stop = AtomicBool::new(false);
    let play = |session: &Session, to| {
        play(&Target::Session(session.clone()), to, &options(), &stop).unwrap()
    };
    thread::scope(|scope| {
        let socket = socket_path(&first.recording_ts()).unwrap();
        let playing = scope.spawn(|| play(&first, at(8.0)));
        let _closer = Closer(socket.clone());
        let mut ipc = connect_to_other(&socket);
        wait_for(&mut ipc, "eof-reached", |eof| *eof == json!(true));
        record(&second, bytes.len() / 2);
        let is_open = |session: &Session| {
            let recording = session.recording_ts();
            move |path: &Value| path.as_str() == recording.to_str()
        };
        wait_for(&mut ipc, "path", is_open(&second));
        wait_for(&mut ipc, "time-pos", beyond(0.2));
        // A recorder does not delete a recording that is being played.
        let is_locked =
            |session: &Session| File::open(session.recording_ts()).unwrap().try_lock().is_err();
        assert!(is_locked(&second) && !is_locked(&first));

        assert_eq!(play(&second, at(5.0)), PlayOutcome::Steered);
        wait_for(&mut ipc, "time-pos", beyond(5.0));
        // Return to the first recording, from which the player continues with the next again.
        assert_eq!(play(&first, at(8.0)), PlayOutcome::Steered);
        wait_for(&mut ipc, "path", is_open(&first));
        wait_for(&mut ipc, "path", is_open(&second));
        ipc.command(json!(["quit"])).unwrap();
        assert!(matches!(playing.join().unwrap(), PlayOutcome::Ended(Some(_))));
        assert!(!socket_path(&second.recording_ts()).unwrap().is_symlink());
    });
}
