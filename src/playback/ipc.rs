//! mpv's JSON IPC: one JSON object per line, answers matched by `request_id` (mpv manual,
//! "JSON IPC").

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use crate::error::{Context, Error, Result, Stage};

/// Maximum time to wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum length of a line. mpv's own lines are far shorter.
const LINE_MAX_BYTES: usize = 1024 * 1024;

/// Maximum number of queued events. The oldest is dropped first.
const EVENTS_MAX: usize = 256;

/// The mpv events that are used.
#[derive(Debug, Clone, PartialEq)]
pub enum PlayerEvent {
    /// Value of an observed property; null if the property has no value.
    Property {
        /// Name of the property.
        name: String,
        /// Value of the property.
        value: Value,
    },
    /// A file was opened.
    FileLoaded,
    /// A seek has begun.
    Seek,
    /// A picture is shown after a seek or at the start.
    PlaybackRestart,
    /// Words of a `script-message` command that is bound to a key.
    Message(Vec<String>),
}

/// A connection to a player.
#[derive(Debug)]
pub struct Ipc {
    socket: PathBuf,
    stream: UnixStream,
    received: Vec<u8>,
    /// Bytes that the player has not accepted yet.
    unsent: Vec<u8>,
    events: VecDeque<PlayerEvent>,
    last_id: u64,
    /// Whether waiting for the answer to the last command has timed out.
    is_silent: bool,
}

impl Ipc {
    /// Connects to a player.
    ///
    /// # Errors
    ///
    /// As [`UnixStream::connect`]: there is no socket, or no process listens on it.
    pub fn connect(socket: &Path) -> io::Result<Ipc> {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        Ok(Ipc {
            socket: socket.to_owned(),
            stream,
            received: Vec::new(),
            unsent: Vec::new(),
            events: VecDeque::new(),
            last_id: 0,
            is_silent: false,
        })
    }

    /// Returns the path of the player's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns whether the player has left a command unanswered and has sent nothing since. Until the
    /// player sends something, further commands fail immediately.
    pub fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Sends a command (an array, or an object of named arguments), and waits for the answer.
    ///
    /// # Errors
    ///
    /// Returns an error if mpv refuses the command, does not respond within 2 s, or has
    /// closed the connection.
    pub fn command(&mut self, command: Value) -> Result<Value> {
        if self.is_silent {
            return Err(self.no_answer());
        }
        self.last_id += 1;
        let line = format!("{}\n", json!({ "command": command, "request_id": self.last_id }));
        self.unsent.extend_from_slice(line.as_bytes());
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let message = self.message(deadline);
            let Some(message) =
                message.context(Stage::Playback, &self.socket, "the player is gone")?
            else {
                break;
            };
            if message["request_id"] != self.last_id {
                self.queue_event(&message);
                continue;
            }
            return match message["error"].as_str() {
                Some("success") => Ok(message["data"].clone()),
                error => {
                    let what = format!("the player refused {command}");
                    Err(Error::new(Stage::Playback, what).because(error.unwrap_or("no reason")))
                }
            };
        }
        self.is_silent = true;
        Err(self.no_answer())
    }

    fn no_answer(&self) -> Error {
        Error::new(Stage::Playback, "the open player does not respond").path(&self.socket)
    }

    /// Returns the value of a property.
    ///
    /// # Errors
    ///
    /// As [`Ipc::command`]; also if the property has no value.
    pub fn get(&mut self, property: &str) -> Result<Value> {
        self.command(json!(["get_property", property]))
    }

    /// Returns the next event, or `None` if none arrives within `wait`.
    ///
    /// # Errors
    ///
    /// Returns an error if mpv has closed the connection.
    pub fn event(&mut self, wait: Duration) -> io::Result<Option<PlayerEvent>> {
        let deadline = Instant::now() + wait;
        while self.events.is_empty() {
            match self.message(deadline)? {
                Some(message) => self.queue_event(&message),
                None => return Ok(None),
            }
        }
        Ok(self.events.pop_front())
    }

    /// Discards the queued events for shown pictures: later ones result from later commands.
    pub fn forget_restarts(&mut self) {
        self.events.retain(|event| *event != PlayerEvent::PlaybackRestart);
    }

    /// Waits until a picture is shown. Returns false after `wait`. All events stay queued.
    ///
    /// # Errors
    ///
    /// As [`Ipc::event`].
    pub fn wait_for_restart(&mut self, wait: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + wait;
        loop {
            if self.events.contains(&PlayerEvent::PlaybackRestart) {
                return Ok(true);
            }
            match self.message(deadline)? {
                Some(message) => self.queue_event(&message),
                None => return Ok(false),
            }
        }
    }

    /// Queues a known event; ignores everything else.
    fn queue_event(&mut self, message: &Value) {
        let event = match message["event"].as_str() {
            Some("property-change") => PlayerEvent::Property {
                name: message["name"].as_str().unwrap_or_default().to_owned(),
                value: message["data"].clone(),
            },
            Some("file-loaded") => PlayerEvent::FileLoaded,
            Some("seek") => PlayerEvent::Seek,
            Some("playback-restart") => PlayerEvent::PlaybackRestart,
            Some("client-message") => {
                let words = message["args"].as_array().map(Vec::as_slice).unwrap_or_default();
                let word = |word: &Value| word.as_str().unwrap_or_default().to_owned();
                PlayerEvent::Message(words.iter().map(word).collect())
            }
            _ => return,
        };
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Returns the next line that is JSON; `None` at the deadline.
    fn message(&mut self, deadline: Instant) -> io::Result<Option<Value>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.received) {
                // mpv writes file names that are not UTF-8 unescaped.
                let message = serde_json::from_str(&String::from_utf8_lossy(&self.received[..end]));
                self.received.drain(..=end);
                match message {
                    Ok(message) => return Ok(Some(message)),
                    Err(_) => continue,
                }
            }
            if self.received.len() > LINE_MAX_BYTES {
                return Err(io::Error::other("line longer than 1 MiB"));
            }
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() || !self.exchange(remaining)? {
                return Ok(None);
            }
        }
    }

    /// Sends and receives as much as possible. Returns false if no bytes were exchanged within `wait`.
    fn exchange(&mut self, wait: Duration) -> io::Result<bool> {
        let wanted =
            if self.unsent.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let timeout = Timespec::try_from(wait).map_err(io::Error::other)?;
        let mut polled = [PollFd::new(&self.stream, wanted)];
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        let ready = polled[0].revents();
        if ready.contains(PollFlags::OUT) {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if is_temporary(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                self.received.extend_from_slice(&bytes[..read]);
                self.is_silent = false;
                Ok(true)
            }
            Err(error) if is_temporary(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// Returns a player that answers each line with the result of the next function in `answers`.
    fn player(answers: Vec<fn(u64) -> Vec<u8>>) -> (tempfile::TempDir, Ipc) {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        thread::spawn(move || {
            let mut lines = BufReader::new(listener.accept().unwrap().0);
            for answer in answers {
                let mut line = String::new();
                lines.read_line(&mut line).unwrap();
                let request: Value = serde_json::from_str(&line).unwrap();
                let id = request["request_id"].as_u64().unwrap();
                lines.get_mut().write_all(&answer(id)).unwrap();
            }
        });
        let ipc = Ipc::connect(&folder.path().join("s")).unwrap();
        (folder, ipc)
    }

    #[test]
    fn unknown_events_other_answers_and_lines_that_are_no_json_are_passed_over() {
        let (_folder, mut ipc) = player(vec![|id| {
            let mut lines = b"{\"event\":\"of the future\",\"x\":[1]}\n\xff\xfe\n[]\n\n".to_vec();
            lines.extend(b"{\"event\":\"property-change\",\"id\":1,\"name\":\"pause\",");
            lines.extend(b"\"data\":true}\n{\"request_id\":99,\"error\":\"success\",\"data\":1}\n");
            lines.extend(format!("{{\"request_id\":{id},\"error\":\"success\"").into_bytes());
            lines.extend(b",\"data\":7.5}\n");
            lines
        }]);
        assert_eq!(ipc.get("time-pos").unwrap(), json!(7.5));
        let pause = PlayerEvent::Property { name: "pause".to_owned(), value: json!(true) };
        assert_eq!(ipc.event(Duration::ZERO).unwrap(), Some(pause));
    }

    #[test]
    fn a_file_name_that_is_not_utf8_is_an_answer_all_the_same() {
        let (_folder, mut ipc) = player(vec![|id| {
            let mut line = format!("{{\"request_id\":{id},\"error\":\"success\",").into_bytes();
            line.extend(b"\"data\":\"/a/x\xff.ts\"}\n");
            line
        }]);
        assert_eq!(ipc.get("path").unwrap(), json!("/a/x\u{fffd}.ts"));
        assert!(!ipc.is_silent());
    }

    #[test]
    fn a_refusal_says_why_and_a_player_that_leaves_is_gone() {
        let (_folder, mut ipc) = player(vec![|id| {
            format!("{{\"request_id\":{id},\"error\":\"property unavailable\"}}\n").into_bytes()
        }]);
        let error = ipc.get("time-pos").unwrap_err().to_string();
        assert!(error.ends_with("property unavailable"), "{error}");
        assert!(ipc.get("pause").unwrap_err().to_string().contains("the player is gone"));
        assert!(ipc.event(Duration::from_secs(5)).is_err());
    }
}
