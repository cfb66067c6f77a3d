//! The client side: queries recorders.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Status;
use super::socket::{SocketKind, SocketOwner, find, pid_of, session_part, sockets_in};
use crate::error::{Context, Result, Stage};
use crate::host::runtime_folder;

/// Maximum length of an answer. Real answers are far shorter.
const ANSWER_MAX_BYTES: u64 = 1 << 20;

/// Result of querying a recorder.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The recorder answered.
    Answered {
        /// The line of JSON as received, including keys unknown to this version.
        line: String,
        /// The parsed line.
        status: Box<Status>,
    },
    /// A recorder runs but does not answer.
    Hangs {
        /// Process id.
        pid: Option<u32>,
    },
    /// No recorder uses the socket any more.
    Gone,
}

/// Returns the sockets of all recorders of this user, including those left behind by
/// killed ones.
pub fn all_sockets() -> Vec<PathBuf> {
    all_of(SocketKind::Status)
}

/// Returns the sockets of one kind, of all recorders of this user.
pub(super) fn all_of(kind: SocketKind) -> Vec<PathBuf> {
    let folders = runtime_folder::all_folders();
    let mut sockets: Vec<_> = folders.iter().flat_map(|folder| sockets_in(kind, folder)).collect();
    sockets.sort();
    sockets
}

/// Returns the sockets of recorders whose first session is in `folder`.
///
/// # Errors
///
/// Returns an error if the folder does not exist.
pub fn sockets_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let part = session_part(folder)?;
    let is_of_session = |socket: &PathBuf| socket.to_string_lossy().ends_with(&part);
    Ok(all_sockets().into_iter().filter(is_of_session).collect())
}

/// Queries the recorder behind `socket`, and waits at most `timeout` for the answer.
///
/// # Errors
///
/// Returns an error if connecting is not permitted, or the answer is not a status.
pub fn ask(socket: &Path, timeout: Duration) -> Result<Answer> {
    let deadline = Instant::now() + timeout;
    let hangs = || Answer::Hangs { pid: pid_of(SocketKind::Status, socket) };
    let found = match find(socket).context(Stage::Status, socket, "cannot connect")? {
        SocketOwner::Connected(found) => found,
        SocketOwner::Busy => return Ok(hangs()),
        SocketOwner::NotListening => return Ok(Answer::Gone),
    };
    match read_line(found, deadline) {
        // The recorder ended while it was queried.
        Ok(line) if line.is_empty() => Ok(Answer::Gone),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Answer::Gone),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
        {
            Ok(hangs())
        }
        Ok(line) => {
            let status = serde_json::from_str(&line).context(
                Stage::Status,
                socket,
                "cannot parse the answer",
            )?;
            Ok(Answer::Answered { line, status: Box::new(status) })
        }
        Err(error) => Err(error).context(Stage::Status, socket, "cannot read"),
    }
}

/// Reads to the end of the stream and removes the line feed.
fn read_line(stream: UnixStream, deadline: Instant) -> io::Result<String> {
    stream.set_nonblocking(false)?;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let mut stream = stream.take(ANSWER_MAX_BYTES);
    loop {
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.get_ref().set_read_timeout(Some(remaining))?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let text = String::from_utf8(bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Returns the result of querying a recorder that answers with `answer_text`.
    fn ask_recorder(answer_text: &'static str) -> Result<Answer> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record-7-a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            listener.accept().unwrap().0.write_all(answer_text.as_bytes()).unwrap();
        });
        let answer = ask(&path, LONG);
        server.join().unwrap();
        answer
    }

    #[test]
    fn what_another_version_tells_is_passed_on_and_what_it_does_not_tell_is_nothing() {
        let Answer::Answered { line, status } = ask_recorder("{\"pid\":7,\"new\":[1]}\n").unwrap()
        else {
            unreachable!()
        };
        assert_eq!(line, "{\"pid\":7,\"new\":[1]}");
        assert_eq!(*status, Status { pid: 7, ..Status::default() });
    }

    #[test]
    fn one_that_ends_meanwhile_is_gone_and_nonsense_is_an_error() {
        assert_eq!(ask_recorder("").unwrap(), Answer::Gone);
        assert!(ask_recorder("HTTP/1.1 400 Bad Request\n").is_err());
    }

    #[test]
    fn one_that_does_not_answer_hangs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record-7-a.sock");
        let _silent = UnixListener::bind(&path).unwrap();
        let answer = ask(&path, Duration::from_millis(10)).unwrap();
        assert_eq!(answer, Answer::Hangs { pid: Some(7) });
    }
}
