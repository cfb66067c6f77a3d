//! The crate's error type: stage, file, byte offset and cause.
//!
//! A stage creates the error; callers that know the path or the offset add it.
//! The [`Display`](fmt::Display) output is the line that a user reads.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::byte_offset::ByteOffset;

/// Result type of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The part of the program in which something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Flags, environment and configuration file.
    Config,
    /// The session folder.
    Session,
    /// Receiving over TCP.
    Ingest,
    /// Writing `recording.ts`.
    Recording,
    /// Reading `recording.ts`.
    Tail,
    /// Decoding with libav.
    Decode,
    /// JPEGs, index and checkpoint.
    Catalog,
    /// Playback in mpv.
    Playback,
    /// Sending, `scenetap send`.
    Send,
    /// The status of recorders.
    Status,
    /// Stills and clips.
    Evidence,
    /// Lines on stdout.
    Output,
    /// Threads and queues.
    Pipeline,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Config => "config",
            Stage::Session => "session",
            Stage::Ingest => "ingest",
            Stage::Recording => "recording",
            Stage::Tail => "tail",
            Stage::Decode => "decode",
            Stage::Catalog => "catalog",
            Stage::Playback => "playback",
            Stage::Send => "send",
            Stage::Status => "status",
            Stage::Evidence => "evidence",
            Stage::Output => "output",
            Stage::Pipeline => "pipeline",
        })
    }
}

/// Kind of an error, by what a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The file system is full, or a quota is exceeded: wait for space and retry.
    NoSpace,
    /// A stored file is damaged, or has unexpected content: quarantine and rebuild it.
    Corrupt,
    /// A file does not exist.
    Gone,
    /// A resource is in use: retry later.
    Busy,
    /// A flag, a variable or the configuration file is wrong: the user has to correct it.
    Configuration,
    /// scenetap has a bug.
    Bug,
    /// Any other kind.
    Other,
}

impl Kind {
    /// Returns the kind of an operating system error.
    fn of_io(error: &io::Error) -> Kind {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
            io::ErrorKind::NotFound => Kind::Gone,
            _ => Kind::Other,
        }
    }
}

/// An error: the stage and the file or offset where it occurred, a description, and its cause.
#[derive(Debug)]
pub struct Error {
    stage: Stage,
    kind: Kind,
    what: String,
    path: Option<PathBuf>,
    at: Option<ByteOffset>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Returns an error of `stage`. `what` describes the failure and, if possible, what to do
    /// about it.
    pub fn new(stage: Stage, what: impl Into<String>) -> Self {
        let kind = match stage {
            Stage::Config => Kind::Configuration,
            _ => Kind::Other,
        };
        Error { stage, kind, what: what.into(), path: None, at: None, cause: None }
    }

    /// Sets the kind. Without this, the cause determines the kind.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the affected file or folder.
    #[must_use]
    pub fn path(mut self, path: impl AsRef<Path>) -> Self {
        self.path = Some(path.as_ref().to_owned());
        self
    }

    /// Sets the affected file or folder, unless it is already set.
    #[must_use]
    pub fn or_path(mut self, path: impl AsRef<Path>) -> Self {
        self.path.get_or_insert_with(|| path.as_ref().to_owned());
        self
    }

    /// Sets the affected byte offset.
    #[must_use]
    pub fn at(mut self, at: ByteOffset) -> Self {
        self.at = Some(at);
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let cause = cause.into();
        if let (Kind::Other, Some(error)) = (self.kind, cause.downcast_ref::<io::Error>()) {
            self.kind = Kind::of_io(error);
        }
        self.cause = Some(cause);
        self
    }

    /// Returns the part of the program that failed.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Returns the kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.stage)?;
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        if let Some(at) = self.at {
            write!(f, "byte {at}: ")?;
        }
        f.write_str(&self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_ref().map(|cause| cause.as_ref() as _)
    }
}

/// Converts foreign errors to [`Error`].
pub trait Context<T> {
    /// Adds the stage, the file, and a description of the failed operation.
    ///
    /// # Errors
    ///
    /// Returns an error if `self` is an error, with that error as the cause.
    fn context(self, stage: Stage, path: &Path, what: &str) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, stage: Stage, path: &Path, what: &str) -> Result<T> {
        self.map_err(|cause| Error::new(stage, what).path(path).because(cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_that_of_the_cause_unless_it_was_set() {
        let new = || Error::new(Stage::Recording, "cannot append");
        assert_eq!(new().kind(), Kind::Other);
        assert_eq!(new().because(io::Error::from_raw_os_error(28)).kind(), Kind::NoSpace);
        assert_eq!(new().because(io::Error::from_raw_os_error(122)).kind(), Kind::NoSpace);
        assert_eq!(new().because(io::Error::from(io::ErrorKind::NotFound)).kind(), Kind::Gone);
        let io = || io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(new().of_kind(Kind::Corrupt).because(io()).kind(), Kind::Corrupt);
        let error = Error::new(Stage::Config, "cannot read it").because(io());
        assert_eq!(error.kind(), Kind::Configuration);
    }

    #[test]
    fn an_error_reads_as_one_line_with_stage_file_offset_and_cause() {
        let error = Error::new(Stage::Recording, "cannot append")
            .path("/s/recording.ts")
            .at(ByteOffset(188))
            .because(std::io::Error::other("No space left on device"));
        assert_eq!(
            error.to_string(),
            "recording: /s/recording.ts: byte 188: cannot append: No space left on device"
        );
    }
}
