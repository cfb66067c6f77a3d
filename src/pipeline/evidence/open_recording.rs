//! An open recording, with its index of key frames.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::demux::ProgramChoice;
use crate::disk::Folder;
use crate::error::{Context, Error, Result, Stage};
use crate::keyframes::{Keyframe, KeyframeIndex};
use crate::media::ByteOffset;
use crate::pipeline::live::checkpoint::Checkpoint;
use crate::session::Session;
use crate::tail::{End, FileTail, probe_open_file};
use crate::ts::{Aligner, PacketSize};

/// Input of a command: a session or a single file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A session.
    Session(Session),
    /// An MPEG-TS file that belongs to no session.
    File(PathBuf),
}

impl Target {
    /// Returns what the file at `path` is: the recording of a session, or a single file.
    ///
    /// # Errors
    ///
    /// Returns an error if the path cannot be made absolute.
    pub fn of_file(path: &Path) -> Result<Self> {
        let session = Session::of_recording(path)?;
        Ok(session.map_or_else(|| Target::File(path.to_owned()), Target::Session))
    }

    /// Returns the session; `None` for a single file.
    pub fn session(&self) -> Option<&Session> {
        match self {
            Target::Session(session) => Some(session),
            Target::File(_) => None,
        }
    }

    /// Returns the path of the recording.
    pub fn recording(&self) -> PathBuf {
        match self {
            Target::Session(session) => session.recording_ts(),
            Target::File(path) => path.clone(),
        }
    }
}

/// An open recording. Bytes recorded after it was opened are ignored.
#[derive(Debug)]
pub struct OpenRecording {
    path: PathBuf,
    file: File,
    length: u64,
    packet_size: PacketSize,
    is_growing: bool,
    program: ProgramChoice,
    is_of_its_program: bool,
    session: Option<Session>,
    index: Option<KeyframeIndex>,
}

impl OpenRecording {
    /// Opens a recording and selects a program: by default, the one whose frames a recorder has kept.
    /// A symbolic link in place of a session's recording is not followed.
    ///
    /// # Errors
    ///
    /// Returns an error if the recording cannot be read or is not MPEG-TS.
    pub fn open(target: &Target, program: Option<u16>) -> Result<Self> {
        let path = target.recording();
        let (file, session) = match target {
            Target::File(_) => (regular_file(&path)?, None),
            Target::Session(session) => (without_links(&path)?, Some(session.clone())),
        };
        // Check before probing: if the recorder ends in between, only its last picture is omitted.
        let is_growing = session.as_ref().is_some_and(Session::is_recorded);
        let (length, packet_size) = probe_open_file(&file, &path)?;
        let recorded = session.as_ref().and_then(recorded_program);
        let is_of_its_program = program.is_none() || program == recorded;
        let index = session.as_ref().filter(|_| is_of_its_program).and_then(|session| {
            let opened = KeyframeIndex::open(&session.keyframes_idx());
            opened.inspect_err(|error| tracing::debug!("{error}")).ok()
        });
        let program = program.or(recorded);
        let program = program.map_or(ProgramChoice::FirstWithVideo, ProgramChoice::Number);
        Ok(OpenRecording {
            path,
            file,
            length,
            packet_size,
            is_growing,
            program,
            is_of_its_program,
            session,
            index,
        })
    }

    /// Returns the path of the recording.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether `path` leads to this recording.
    pub fn is_at(&self, path: &Path) -> bool {
        let identity = |found: std::fs::Metadata| (found.dev(), found.ino());
        let own = self.file.metadata().ok().map(identity);
        own.is_some() && std::fs::metadata(path).ok().map(identity) == own
    }

    /// Returns the open recording.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns the length in bytes at which the recording was opened.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns whether a recorder may still append to the recording.
    pub fn is_growing(&self) -> bool {
        self.is_growing
    }

    /// Returns the selected program.
    pub fn program(&self) -> ProgramChoice {
        self.program
    }

    /// Returns whether the recorder kept frames and key frames of the selected program.
    pub fn is_of_its_program(&self) -> bool {
        self.is_of_its_program
    }

    /// Returns the session, if the recording belongs to one.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Returns the index of key frames, if there is one.
    pub fn index(&self) -> Option<&KeyframeIndex> {
        self.index.as_ref()
    }

    /// Reads from the packet whose sync byte is at `at`, or from a little earlier.
    ///
    /// # Errors
    ///
    /// As [`OpenRecording::read_from`].
    pub fn read_at(&self, at: ByteOffset) -> Result<FileTail> {
        // Include the bytes in front of the sync byte.
        let step =
            if self.packet_size.leading_bytes() > 0 { self.packet_size.bytes() as u64 } else { 0 };
        match at.0.checked_sub(step) {
            Some(earlier) if at.0 > 0 => {
                self.tail(Aligner::resume(ByteOffset(earlier), self.packet_size))
            }
            _ => self.read_from(None),
        }
    }

    /// Reads from the tables in front of `keyframe`, or from the beginning.
    ///
    /// # Errors
    ///
    /// Returns an error if the system is out of file descriptors.
    pub fn read_from(&self, keyframe: Option<&Keyframe>) -> Result<FileTail> {
        let aligner = match keyframe {
            Some(keyframe) => {
                Aligner::resume(keyframe.tables.unwrap_or(keyframe.at), self.packet_size)
            }
            None => Aligner::begin(ByteOffset(0), self.packet_size),
        };
        self.tail(aligner)
    }

    fn tail(&self, aligner: Aligner) -> Result<FileTail> {
        let file = self.file.try_clone().context(Stage::Evidence, &self.path, "cannot read")?;
        Ok(FileTail::of(file, &self.path, aligner, End::Finished(self.length)))
    }
}

/// Opens a file that the user has named.
fn regular_file(path: &Path) -> Result<File> {
    // Check before opening: opening a pipe would block until another process writes to it.
    let metadata = std::fs::metadata(path).context(Stage::Evidence, path, "cannot open")?;
    if !metadata.is_file() {
        return Err(Error::new(Stage::Evidence, "neither a session nor a file").path(path));
    }
    File::open(path).context(Stage::Evidence, path, "cannot open")
}

/// Opens a file of a session for reading. The folder may be a symbolic link, for example to another
/// disk; the file may not.
fn without_links(path: &Path) -> Result<File> {
    if path.is_symlink() {
        let what = "it is a symbolic link; name the file itself to read it";
        return Err(Error::new(Stage::Evidence, what).path(path));
    }
    let opened = || -> io::Result<File> {
        let folder = Folder::open(path.parent().unwrap_or(path))?;
        folder.read_file(path.file_name().unwrap_or_default())
    };
    opened().context(Stage::Evidence, path, "cannot open")
}

/// Returns the number of the program whose frames are kept. A checkpoint that cannot be read counts as
/// missing.
fn recorded_program(session: &Session) -> Option<u16> {
    let path = session.checkpoint_json();
    let mut bytes = Vec::new();
    without_links(&path).ok()?.read_to_end(&mut bytes).ok()?;
    let checkpoint = Checkpoint::parse(&path, &bytes);
    let number = checkpoint
        .inspect_err(|error| tracing::debug!("{error}"))
        .ok()
        .map(|checkpoint| checkpoint.point.program.number);
    // 0 stands for a stream without tables.
    number.filter(|number| *number > 0)
}
