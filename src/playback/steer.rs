//! Moves a player.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::ipc::Ipc;
use super::neighbors::continuations;
use super::osd;
use super::position::{is_large_file, number, position, time_of_player};
use super::scenes::{Scene, next_scene, previous_scene};
use crate::error::{Error, Result, Stage};
use crate::media::ByteOffset;
use crate::pipeline::evidence::{
    self, Moment, OpenRecording, PlayerKeyframe, PlayerPlace, Target, Way,
};

/// Time without a write after which a recording counts as not growing.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(1);

/// The live edge: newer pictures cannot be played without interruption yet.
const LIVE: Moment = Moment::BeforeNewest(1.0);

/// Maximum time to wait for a picture after a seek.
const SHOW_TIMEOUT: Duration = Duration::from_secs(2);

/// Script option of a player that shows that it has reached its start position.
const BEGUN: &str = "scenetap-begun";

/// Interval between two checks of this option …
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// … and maximum number of checks. After that, the player is moved nevertheless.
const OPENING_LOOKS: u32 = 40;

/// Maximum number of seeks by bytes: the recording may grow between our read of its length and mpv's.
const MAX_SEEKS: u32 = 3;

/// Maximum distance in seconds at which the player has found a key frame.
const FOUND_SECONDS: f64 = 0.5;

/// Number of seconds by which a seek starts before its target …
pub const SEEK_BACK_SECONDS: f64 = 1.5;

/// … or, if that is earlier, by which it starts before the key frame.
const MARGIN_SECONDS: f64 = 0.5;

/// Destination of a player.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Destination {
    /// The live edge: the end of the newest recording of the series.
    Live,
    /// A moment of the recording.
    Moment(Moment),
    /// The next scene after the shown picture.
    NextScene,
    /// The previous scene.
    PreviousScene,
}

/// Waits until a player that was just started has reached its start position.
///
/// # Errors
///
/// Returns an error if the player is gone or does not respond.
pub fn wait_until_open(ipc: &mut Ipc) -> Result<()> {
    for _ in 0..OPENING_LOOKS {
        match ipc.get("script-opts") {
            Ok(options) if options.get(BEGUN).is_some() => return Ok(()),
            Err(error) if ipc.is_silent() => return Err(error),
            _ => {
                ipc.forget_restarts();
                ipc.wait_for_restart(LOOK_INTERVAL).map_err(gone)?;
            }
        }
    }
    Ok(())
}

/// Reports to other `play` processes that a player has reached its start position.
///
/// # Errors
///
/// Returns an error if the player refuses or does not respond.
pub fn set_begun(ipc: &mut Ipc) -> Result<()> {
    let option = format!("{BEGUN}=yes");
    ipc.command(json!(["change-list", "script-opts", "append", option])).map(drop)
}

/// Moves a player. A paused player stays paused. Returns a message for the user, if any. `opened` is the
/// target with which the player was opened.
///
/// # Errors
///
/// Returns an error if the destination does not exist, or if the player refuses or does not respond.
pub fn go(
    ipc: &mut Ipc,
    opened: &Target,
    to: Destination,
    stop: &dyn Fn() -> bool,
) -> Result<Option<String>> {
    match to {
        Destination::Live => show_edge(ipc, &newest(opened)?, stop).map(|()| None),
        Destination::Moment(moment) => show(ipc, opened, moment, stop).map(|()| None),
        Destination::NextScene | Destination::PreviousScene => {
            // Wait for the picture of a seek in progress.
            if ipc.get("seeking").is_ok_and(|is_seeking| is_seeking == true) {
                ipc.forget_restarts();
                ipc.wait_for_restart(SHOW_TIMEOUT).map_err(gone)?;
            }
            let target = playing(ipc, opened);
            let time = time_of_player(ipc, &target, stop)?;
            let is_playing = ipc.get("pause")?.as_bool() == Some(false);
            let scene = scene(&target, to, time, is_playing, stop)?;
            let moment = Moment::FromStart(scene.entry.timestamp);
            show(ipc, &Target::Session(scene.session.clone()), moment, stop)?;
            Ok(Some(osd::frame_label(&scene.entry)))
        }
    }
}

/// As [`go`], on request of the user: moving to the live edge also ends a pause.
///
/// # Errors
///
/// As [`go`].
pub fn go_as_asked(
    ipc: &mut Ipc,
    opened: &Target,
    to: Destination,
    stop: &dyn Fn() -> bool,
) -> Result<Option<String>> {
    let said = go(ipc, opened, to, stop)?;
    if to == Destination::Live {
        ipc.command(json!(["set_property", "pause", false]))?;
    }
    Ok(said)
}

/// Returns the start position of a player that is not open yet: the live edge, unless specified otherwise.
///
/// # Errors
///
/// Returns an error if the position does not exist.
pub fn begin(
    target: &Target,
    to: Destination,
    stop: &dyn Fn() -> bool,
) -> Result<(Target, Destination)> {
    match to {
        // Check that the moment exists before a window is opened.
        Destination::Moment(moment) => place(target, moment, stop).map(|_| (target.clone(), to)),
        Destination::Live => Ok((newest(target)?, to)),
        Destination::NextScene | Destination::PreviousScene => {
            let scene = scene(&newest(target)?, to, f64::INFINITY, false, stop)?;
            let moment = Moment::FromStart(scene.entry.timestamp);
            Ok((Target::Session(scene.session), Destination::Moment(moment)))
        }
    }
}

/// Returns the scene next to `time`, for a player that is paused or playing there.
fn scene(
    target: &Target,
    to: Destination,
    time: f64,
    is_playing: bool,
    stop: &dyn Fn() -> bool,
) -> Result<Scene> {
    let Target::Session(session) = target else {
        let what = "a file has no scenes: only a recorder keeps frames";
        return Err(Error::new(Stage::Playback, what).path(target.recording()));
    };
    let (found, what) = match to {
        Destination::PreviousScene => {
            (previous_scene(session, time, is_playing)?, "no earlier scene")
        }
        _ => (next_scene(session, time, stop)?, "no later scene yet"),
    };
    found.ok_or_else(|| Error::new(Stage::Playback, what).path(session.folder()))
}

/// Returns the newest recording that continues `target`.
fn newest(target: &Target) -> Result<Target> {
    let Target::Session(session) = target else { return Ok(target.clone()) };
    let newest = continuations(session, session.is_recorded())?.pop();
    Ok(newest.map_or_else(|| target.clone(), Target::Session))
}

/// Returns the target that the player has open; `opened` if none is open yet.
pub fn playing(ipc: &mut Ipc, opened: &Target) -> Target {
    let path = ipc.get("path").ok();
    match path.as_ref().and_then(|path| path.as_str()) {
        Some(path) if !is_path_of(path, &opened.recording()) => {
            Target::of_file(Path::new(path)).unwrap_or_else(|_| opened.clone())
        }
        _ => opened.clone(),
    }
}

/// Shows the live edge of a recording. If scenetap can decode no picture, shows the end of the file.
fn show_edge(ipc: &mut Ipc, target: &Target, stop: &dyn Fn() -> bool) -> Result<()> {
    let recording = target.recording();
    if !is_large_file(target) && place(target, LIVE, stop).is_ok() {
        return show(ipc, target, LIVE, stop);
    }
    if is_playing(ipc, &recording) {
        return ipc.command(json!(["seek", 100, "absolute-percent"])).map(drop);
    }
    load(ipc, &recording, "100%")
}

/// Shows a moment of a recording.
fn show(ipc: &mut Ipc, target: &Target, moment: Moment, stop: &dyn Fn() -> bool) -> Result<()> {
    let place = place(target, moment, stop)?;
    let recording = target.recording();
    if !is_playing(ipc, &recording) {
        // Discard earlier events, which do not belong to this request.
        ipc.forget_restarts();
        allow_for(ipc, &place)?;
        load(ipc, &recording, &place.seconds.max(0.0).to_string())?;
        if place.way == Way::Time {
            return Ok(());
        }
        ipc.wait_for_restart(SHOW_TIMEOUT).map_err(gone)?;
    }
    show_place(ipc, target, &place, stop)
}

/// Shows a place of the recording that the player has open.
///
/// # Errors
///
/// Returns an error if the player refuses, does not respond, or does not find it.
pub fn show_place(
    ipc: &mut Ipc,
    target: &Target,
    place: &PlayerPlace,
    stop: &dyn Fn() -> bool,
) -> Result<()> {
    let recording = target.recording();
    let keyframe = match (place.way, place.keyframe) {
        (Way::Time, _) | (_, None) => return seek(ipc, &recording, place),
        (Way::Both, Some(keyframe)) => {
            ipc.forget_restarts();
            seek(ipc, &recording, place)?;
            if !ipc.wait_for_restart(SHOW_TIMEOUT).map_err(gone)? {
                return Ok(());
            }
            let off = time_of_player(ipc, target, stop)? - place.seconds;
            if off.abs() <= FOUND_SECONDS {
                return Ok(());
            }
            tracing::debug!("the player is {off:.3} s from {:.3} s", place.seconds);
            keyframe
        }
        (Way::Bytes, Some(keyframe)) => keyframe,
    };
    seek_bytes(ipc, &recording, &keyframe)
}

/// Moves a player back to the live edge if it seeks to a time beyond the newest picture, or at most `margin`
/// seconds before it: it would wait until the recording has grown. Returns whether it was moved.
///
/// # Errors
///
/// Returns an error if the recording has no pictures, or the player refuses or does not respond.
pub fn return_to_edge(
    ipc: &mut Ipc,
    target: &Target,
    margin: f64,
    stop: &dyn Fn() -> bool,
) -> Result<bool> {
    let sought = number(ipc, "time-pos")?;
    let newest = place(target, Moment::BeforeNewest(0.0), stop)?;
    let is_beyond = newest.way == Way::Time && sought > newest.seconds - margin;
    if is_beyond {
        show(ipc, target, LIVE, stop)?;
    }
    Ok(is_beyond)
}

/// Returns where the player finds a moment.
///
/// # Errors
///
/// Returns an error if `moment` counts from the newest picture, and there is none.
pub fn place(target: &Target, moment: Moment, stop: &dyn Fn() -> bool) -> Result<PlayerPlace> {
    match moment {
        Moment::FromStart(0.0) => return Ok(PlayerPlace::by_time(0.0)),
        Moment::FromStart(seconds) if is_large_file(target) => {
            return Ok(PlayerPlace::by_time(seconds));
        }
        _ => {}
    }
    let found = OpenRecording::open(target, None)
        .and_then(|recording| evidence::place(&recording, moment, stop));
    match (found, moment) {
        // mpv may play files that scenetap cannot read.
        (Err(error), Moment::FromStart(seconds)) => {
            tracing::debug!("{error}");
            Ok(PlayerPlace::by_time(seconds))
        }
        (found, _) => found,
    }
}

/// Seeks to a key frame by bytes. Verifies the result by the sender's clock.
fn seek_bytes(ipc: &mut Ipc, recording: &Path, keyframe: &PlayerKeyframe) -> Result<()> {
    let mut off = f64::NAN;
    for _ in 0..MAX_SEEKS {
        let Some(percent) = percent_of(recording, keyframe.after) else { break };
        ipc.forget_restarts();
        ipc.command(json!(["seek", percent, "absolute-percent"]))?;
        if !ipc.wait_for_restart(SHOW_TIMEOUT).map_err(gone)? {
            // The seek may still be in progress: mpv waits for more bytes of a growing recording.
            return Ok(());
        }
        off = position(ipc)?.1.seconds_since(keyframe.clock);
        if off.abs() <= FOUND_SECONDS {
            return Ok(());
        }
        tracing::debug!("the player is {off:.3} s from the key frame after {}", keyframe.after);
    }
    let what = format!("the player is {off:.3} s away from the requested key frame");
    Err(Error::new(Stage::Playback, what).path(recording).at(keyframe.after))
}

/// Returns an offset in percent of the current length of a recording.
fn percent_of(recording: &Path, offset: ByteOffset) -> Option<f64> {
    let length = fs::metadata(recording).ok()?.len();
    Some(super::follow::percent(offset.0, length))
}

/// Returns whether the player has this recording open.
fn is_playing(ipc: &mut Ipc, recording: &Path) -> bool {
    let Ok(path) = ipc.get("path") else { return false };
    let real = |path: &Path| fs::canonicalize(path).ok();
    path.as_str().is_some_and(|path| {
        is_path_of(path, recording)
            || real(Path::new(path)).is_some_and(|path| Some(path) == real(recording))
    })
}

/// Returns whether `path`, as reported by mpv, is the path of a recording. mpv replaces bytes that are not
/// UTF-8.
pub fn is_path_of(path: &str, recording: &Path) -> bool {
    recording.to_string_lossy() == path
}

/// Opens another recording in the player. `start` is a value of mpv's option `--start`.
///
/// # Errors
///
/// As [`go`].
pub fn load(ipc: &mut Ipc, recording: &Path, start: &str) -> Result<()> {
    let Some(file) = recording.to_str() else {
        let what = "a path that is not UTF-8 cannot be opened in a player that is open already";
        return Err(Error::new(Stage::Playback, what).path(recording));
    };
    let options = json!({ "start": start });
    let command =
        json!({ "name": "loadfile", "url": file, "flags": "replace", "options": options });
    ipc.command(command).map(drop)
}

/// Seeks to a time. If mpv has seen the file grow and it no longer grows, every read at
/// the end of the file takes mpv 2 s, and a seek by time reads there a dozen times. In
/// this case, opening the file again is faster.
fn seek(ipc: &mut Ipc, recording: &Path, place: &PlayerPlace) -> Result<()> {
    allow_for(ipc, place)?;
    let seconds = place.seconds.max(0.0);
    if has_stopped_growing(ipc, recording) && load(ipc, recording, &seconds.to_string()).is_ok() {
        return Ok(());
    }
    ipc.command(json!(["seek", seconds, "absolute+exact"])).map(drop)
}

/// Makes the next exact seek start in front of the key frame. libavformat may return a position within a
/// group of pictures; from there, mpv would show only the next key frame.
fn allow_for(ipc: &mut Ipc, place: &PlayerPlace) -> Result<()> {
    let Some(keyframe) = place.keyframe else { return Ok(()) };
    let back = place.seconds - keyframe.time.seconds() + MARGIN_SECONDS;
    let option = json!(["set_property", "hr-seek-demuxer-offset", back.max(SEEK_BACK_SECONDS)]);
    ipc.command(option).map(drop)
}

/// Returns whether the recording has grown since the player was started, but not
/// recently.
fn has_stopped_growing(ipc: &Ipc, recording: &Path) -> bool {
    let age = |path: &Path| -> Option<Duration> { age(fs::metadata(path).ok()?.modified().ok()) };
    let (Some(file), Some(opened)) = (age(recording), age(ipc.socket())) else { return false };
    // A name that is not UTF-8 cannot be passed as JSON.
    recording.to_str().is_some() && file > IDLE_TIME && file < opened
}

/// Returns the time since `at`, or 0 if that time is in the future.
fn age(at: Option<SystemTime>) -> Option<Duration> {
    Some(at?.elapsed().unwrap_or_default())
}

fn gone(cause: std::io::Error) -> Error {
    Error::new(Stage::Playback, "the player is gone").because(cause)
}
