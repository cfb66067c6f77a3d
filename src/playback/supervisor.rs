//! The loop beside an open player: keeps it at the live edge, marks kept frames, and handles its keys.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::chapters::Chapters;
use super::follow::{EdgeFollower, Nudge};
use super::ipc::{Ipc, PlayerEvent};
use super::keys::{Action, Keys, action};
use super::live_distance::{LiveDistance, seconds_behind};
use super::osd;
use super::position::time_of_player;
use super::series::PlayedSeries;
use super::shown_still::write_still;
use super::steer::{
    Destination, go, go_as_asked, is_path_of, load, place, playing, return_to_edge, set_begun,
    show_place,
};
use crate::error::Result;
use crate::pipeline::evidence::{Moment, Target};
use crate::session::Session;

/// Interval at which recording, index and stop flag are checked.
const POLL: Duration = Duration::from_millis(250);

/// Duration after which a seek may be waiting for bytes that are not recorded yet …
const SEEK_TIME: Duration = Duration::from_millis(1500);

/// … if its target is this close to the newest picture, in seconds.
const SEEK_MARGIN: f64 = 1.0;

/// Time within which an opened player can be moved to its start position.
const BEGIN_TIME: Duration = Duration::from_secs(10);

/// Seconds of pictures that a recording must have for mpv to recognize it.
const PLAYABLE_SECONDS: f64 = 0.5;

/// Display time of the help.
const HELP_TIME: Duration = Duration::from_secs(8);

/// Text that a key shows once its messages are no longer received.
const LEFT: &str = "scenetap no longer runs beside this player";

/// Moves a player: see [`go`] and [`go_as_asked`].
type Go = fn(&mut Ipc, &Target, Destination, &dyn Fn() -> bool) -> Result<Option<String>>;

/// Result of supervising a player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// The player closed its connection because it is quitting.
    Closed,
    /// The stop flag was set.
    Stopped,
}

/// Keeps a player at the live edge of a growing recording.
pub struct Supervisor<'a> {
    ipc: Ipc,
    /// The target that the player has open.
    target: Target,
    /// Locked while the player has the recording open: a recorder does not delete a locked recording.
    _playing: Option<File>,
    stop: &'a AtomicBool,
    series: PlayedSeries,
    follower: EdgeFollower,
    chapters: Chapters,
    keys: Keys,
    distance: LiveDistance,
    /// Name of the frame to which the player was moved, and time of the move: shown with the distance.
    label: Option<(String, Instant)>,
    /// Start position; `None` once the player has reached it.
    begin: Option<Destination>,
    /// Start time of the seek in progress, and how long it may take.
    sought: Option<(Instant, Duration)>,
    /// Whether a seek by this program is in progress.
    is_moving: bool,
    /// Distance to the newest picture, in seconds, within which the target of a long seek counts as beyond
    /// it.
    seek_margin: f64,
    has_logged_silence: bool,
    started: Instant,
}

impl<'a> Supervisor<'a> {
    /// Supervises the player connected to `ipc`, which has `target` open. Once `target` is loaded, the end
    /// of its timeline is up to date, and the player is moved to `begin`. At the end of the recording, the
    /// player continues with the next one of the series. `stop` ends the supervision.
    pub fn new(
        ipc: Ipc,
        target: &Target,
        begin: Option<Destination>,
        stop: &'a AtomicBool,
    ) -> Self {
        let mut supervisor = Supervisor {
            series: PlayedSeries::new(ipc.socket()),
            ipc,
            target: target.clone(),
            _playing: None,
            stop,
            follower: EdgeFollower::default(),
            chapters: Chapters::default(),
            keys: Keys::default(),
            distance: LiveDistance::default(),
            label: None,
            begin,
            sought: None,
            is_moving: false,
            seek_margin: 0.0,
            has_logged_silence: false,
            started: Instant::now(),
        };
        supervisor.opened(target.clone());
        supervisor
    }

    /// Runs until the player closes the connection or the stop flag is set.
    pub fn run(mut self) -> Watch {
        for (id, property) in ["eof-reached", "pause", "path"].into_iter().enumerate() {
            let observed = self.ipc.command(json!(["observe_property", id + 1, property]));
            self.note(observed);
        }
        if !self.reports_seek_target() {
            self.seek_margin = SEEK_MARGIN;
        }
        match Keys::bind(&mut self.ipc) {
            Ok(keys) => self.keys = keys,
            Err(error) => tracing::debug!("no keys: {error}"),
        }
        let mut polled = None::<Instant>;
        while !self.stop.load(Ordering::Relaxed) {
            match self.ipc.event(POLL) {
                Ok(Some(event)) => self.take(event),
                Ok(None) => {}
                Err(_) => {
                    self.series.remove_links();
                    return Watch::Closed;
                }
            }
            if polled.is_none_or(|at| at.elapsed() >= POLL) {
                polled = Some(Instant::now());
                self.poll();
            }
            self.log_silence();
        }
        self.keys.leave(&mut self.ipc, LEFT);
        Watch::Stopped
    }

    /// Returns whether `time-pos` is the target of a seek in progress, as in mpv 0.35. In 0.40 and later, it
    /// is the current position of the search.
    fn reports_seek_target(&mut self) -> bool {
        let version = self.ipc.get("mpv-version").unwrap_or_default();
        version.as_str().is_some_and(|version| version.contains(" 0.35."))
    }

    fn take(&mut self, event: PlayerEvent) {
        match event {
            PlayerEvent::Property { name, value } => match (name.as_str(), value.as_bool()) {
                ("path", _) => {
                    if let Some(path) = value.as_str() {
                        self.path_changed(path);
                    }
                }
                ("eof-reached", Some(is_reached)) => {
                    let read = self.ipc.get("stream-pos").ok().and_then(|read| read.as_u64());
                    self.follower.eof_reached(is_reached, read);
                    // The recording is loaded by now.
                    self.begin();
                }
                ("pause", Some(is_paused)) => {
                    let was_paused = self.follower.is_paused();
                    self.follower.paused(is_paused);
                    if was_paused && !is_paused {
                        self.show_distance(true);
                    }
                }
                // A property without a value: no file is loaded yet.
                _ => {}
            },
            // mpv has replaced the chapters by those of the file.
            PlayerEvent::FileLoaded => self.chapters.opened(&self.target),
            PlayerEvent::Seek if !self.is_moving => {
                let patience = self.sought.map_or(SEEK_TIME, |(_, patience)| patience);
                self.sought = Some((Instant::now(), patience));
                self.return_to_edge(0.0);
            }
            PlayerEvent::Seek => {}
            PlayerEvent::PlaybackRestart => {
                self.sought = None;
                self.is_moving = false;
                self.begin();
                self.show_distance(true);
            }
            PlayerEvent::Message(words) => {
                if let Some(action) = action(&words) {
                    self.act(action);
                }
            }
        }
    }

    /// Moves the player back to the live edge if it seeks to a time that is not recorded yet, or that is at
    /// most `margin` seconds before the newest picture.
    fn return_to_edge(&mut self, margin: f64) {
        let is_growing = self.target.session().is_some_and(Session::is_recorded);
        if !is_growing || self.begin.is_some() {
            return;
        }
        let flag = self.stop;
        let stop = || flag.load(Ordering::Relaxed);
        match return_to_edge(&mut self.ipc, &self.target, margin, &stop) {
            Ok(true) => {
                self.is_moving = true;
                tracing::debug!("the player is back at the live edge");
            }
            Ok(false) => {}
            Err(error) => tracing::debug!("{error}"),
        }
    }

    /// Moves the player to its start position.
    fn begin(&mut self) {
        let Some(to) = self.begin else { return };
        match self.moved(to, go) {
            Err(error) if self.started.elapsed() < BEGIN_TIME => {
                return tracing::debug!("cannot move the player yet: {error}");
            }
            Err(error) => tracing::debug!("cannot move the player: {error}"),
            Ok(_) => {
                if let Some(key) = self.keys.of(Action::Help) {
                    self.say(format!("scenetap: {key} shows the keys"));
                }
            }
        }
        self.begin = None;
        let told = set_begun(&mut self.ipc);
        self.note(told);
    }

    /// Moves the player.
    fn moved(&mut self, to: Destination, go: Go) -> Result<Option<String>> {
        let stop = self.stop;
        self.is_moving = true;
        let gone = go(&mut self.ipc, &self.target, to, &|| stop.load(Ordering::Relaxed));
        self.is_moving = gone.is_ok();
        gone
    }

    /// Handles a key. Errors are shown on the player's screen.
    fn act(&mut self, action: Action) {
        let done = match action {
            Action::NextScene => self.moved(Destination::NextScene, go_as_asked),
            Action::PreviousScene => self.moved(Destination::PreviousScene, go_as_asked),
            Action::Live => self.moved(Destination::Live, go_as_asked),
            Action::Still => self.still(),
            Action::Help => {
                return osd::show(&mut self.ipc, &self.keys.help(), HELP_TIME);
            }
        };
        let said = match done {
            Ok(said) => said,
            Err(error) => {
                tracing::debug!("{error}");
                Some(error.to_string())
            }
        };
        if let Some(said) = said {
            self.say(said);
        }
    }

    /// Shows a message. If the distance changes soon after, it is shown below the message.
    fn say(&mut self, text: String) {
        osd::show(&mut self.ipc, &text, osd::BRIEFLY);
        self.label = Some((text, Instant::now()));
    }

    /// Writes the shown picture.
    fn still(&mut self) -> Result<Option<String>> {
        let flag = self.stop;
        let stop = || flag.load(Ordering::Relaxed);
        let target = playing(&mut self.ipc, &self.target);
        let time = time_of_player(&mut self.ipc, &target, &stop)?;
        let path = write_still(&target, time, &stop)?;
        tracing::info!("{}: the picture at {time:.6} s", path.display());
        Ok(Some(format!("written: {}", path.display())))
    }

    fn path_changed(&mut self, path: &str) {
        if is_path_of(path, &self.target.recording()) {
            return;
        }
        match Target::of_file(Path::new(path)) {
            Ok(target) => self.opened(target),
            Err(error) => tracing::debug!("{error}"),
        }
    }

    /// Handles that the player has opened a file, by itself or because of another `play`.
    fn opened(&mut self, target: Target) {
        self._playing = lock_shared(&target.recording());
        self.follower.restart();
        self.chapters.opened(&target);
        self.distance.restart();
        self.series.opened(&target);
        self.target = target;
    }

    /// Runs four times per second: makes the player continue, or open the next recording; and sends it new
    /// frames.
    fn poll(&mut self) {
        // Do not disturb a player that does not respond.
        if self.ipc.is_silent() {
            return;
        }
        let now = self.started.elapsed();
        // A deleted recording has been played completely once mpv reaches its end.
        let length = fs::metadata(self.target.recording()).map_or(0, |metadata| metadata.len());
        self.series.look();
        if self.follower.is_due(length, now) {
            self.nudge(now);
        } else {
            self.open_next(length);
        }
        if let Some((since, patience)) = self.sought
            && since.elapsed() > patience
        {
            self.sought = Some((Instant::now(), patience * 2));
            self.return_to_edge(self.seek_margin);
        }
        let flag = self.stop;
        let updated = self.chapters.update(&mut self.ipc, &|| flag.load(Ordering::Relaxed));
        self.note(updated);
        if !self.follower.is_paused() {
            self.show_distance(false);
        }
    }

    /// Makes a player continue that has reached the end of a growing recording.
    fn nudge(&mut self, now: Duration) {
        let flag = self.stop;
        let stop = || flag.load(Ordering::Relaxed);
        let position = time_of_player(&mut self.ipc, &self.target, &stop).ok();
        let sought = match self.follower.nudge(position, now) {
            Nudge::Seconds(seconds) => place(&self.target, Moment::FromStart(seconds), &stop)
                .and_then(|place| show_place(&mut self.ipc, &self.target, &place, &stop)),
            Nudge::Percent(percent) => {
                self.ipc.command(json!(["seek", percent, "absolute-percent"])).map(drop)
            }
        };
        self.is_moving = sought.is_ok();
        match sought {
            Ok(()) => tracing::debug!(?position, "the player continues"),
            Err(error) => tracing::debug!("the player does not continue: {error}"),
        }
    }

    /// Opens the next recording if the player has played all `length` bytes of this one.
    fn open_next(&mut self, length: u64) {
        if !self.follower.has_played_all(length) {
            return;
        }
        let flag = self.stop;
        let stop = || flag.load(Ordering::Relaxed);
        // mpv ends if it cannot open a file.
        let is_playable = |session: &Session| {
            let target = Target::Session(session.clone());
            let newest = place(&target, Moment::BeforeNewest(0.0), &stop);
            newest.is_ok_and(|newest| newest.seconds > PLAYABLE_SECONDS)
        };
        let Some(next) = self.series.next(is_playable) else { return };
        let next = next.recording_ts();
        match load(&mut self.ipc, &next, "0") {
            Ok(()) => tracing::debug!("the player opens {}", next.display()),
            Err(error) => tracing::debug!("the player cannot open the next recording: {error}"),
        }
    }

    /// Shows how far the viewer is behind, if that has changed.
    fn show_distance(&mut self, has_moved: bool) {
        if !self.distance.is_due(has_moved) {
            return;
        }
        let Target::Session(session) = &self.target else { return };
        if !session.is_recorded() && self.series.later().is_empty() {
            return;
        }
        let flag = self.stop;
        let stop = || flag.load(Ordering::Relaxed);
        let time = time_of_player(&mut self.ipc, &self.target, &stop);
        let behind = match time {
            Ok(time) => seconds_behind(session, self.series.later(), time),
            Err(error) => return tracing::debug!("{error}"),
        };
        let said = behind.and_then(|behind| self.distance.changed(behind, has_moved));
        if let Some(said) = said {
            let label = self.label.as_ref().filter(|(_, at)| at.elapsed() < osd::BRIEFLY);
            let said = label.map_or_else(|| said.clone(), |(label, _)| format!("{label}\n{said}"));
            osd::show(&mut self.ipc, &said, osd::BRIEFLY);
        }
    }

    /// Logs once that the player does not respond.
    fn log_silence(&mut self) {
        if self.ipc.is_silent() && !self.has_logged_silence {
            tracing::warn!("the player does not respond; waiting for it");
            self.has_logged_silence = true;
        }
    }

    fn note<T>(&self, outcome: Result<T>) {
        if let Err(error) = outcome {
            tracing::debug!("{error}");
        }
    }
}

/// Locks a recording against deletion. If that fails, the recording is played nevertheless.
fn lock_shared(recording: &Path) -> Option<File> {
    File::open(recording).ok().filter(|file| file.try_lock_shared().is_ok())
}
