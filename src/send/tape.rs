//! Reads a file, repeatedly if looped, as runs of bytes between clock readings.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use super::looper::Looper;
use super::pacer::Reading;
use super::pieces::{Piece, Pieces};
use super::survey::{HEAD_BYTES, PacingClock, Survey, survey};
use crate::error::{Context, Error, Result, Stage};

/// Maximum length of a run without a following reading. Limits how far the file is read ahead.
const RUN_BYTES: usize = 4 * 1024 * 1024;

/// Reads the file, and again from its start if it is looped.
pub struct Tape<'p> {
    path: &'p Path,
    file: File,
    survey: Survey,
    pieces: Pieces<Box<dyn Read>>,
    looper: Option<Looper>,
    /// Bytes returned so far in this pass.
    pass_bytes: u64,
    /// A packet with a clock reading, which begins the next run.
    held: Vec<u8>,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The packet after the run has this reading.
    At(Reading),
    /// No reading follows: the run has the maximum length, or the file ends.
    Open,
}

impl<'p> Tape<'p> {
    /// Opens and examines the file. A looped file must be seekable.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened or read, is not MPEG-TS, or is to be looped and
    /// is not a regular file.
    pub fn open(path: &'p Path, is_looped: bool) -> Result<Self> {
        let mut file = File::open(path).context(Stage::Send, path, "cannot open")?;
        let metadata = file.metadata().context(Stage::Send, path, "cannot open")?;
        if metadata.is_dir() {
            return Err(Error::new(Stage::Send, "is a folder, not a file").path(path));
        }
        if is_looped && !metadata.is_file() {
            let what = "cannot be looped: not a regular file";
            return Err(Error::new(Stage::Send, what).path(path));
        }
        let mut head = Vec::new();
        file.by_ref().take(HEAD_BYTES).read_to_end(&mut head).context(
            Stage::Send,
            path,
            "cannot read",
        )?;
        let survey = survey(&head, path)?;
        let rest = reopen(&file, path)?;
        let source = Box::new(Cursor::new(head).chain(rest)) as Box<dyn Read>;
        let pieces = Pieces::new(source, survey.size, survey.first);
        let looper = is_looped.then(Looper::new);
        Ok(Tape { path, file, survey, pieces, looper, pass_bytes: 0, held: Vec::new() })
    }

    /// Returns the clock used for pacing.
    pub fn clock(&self) -> PacingClock {
        self.survey.clock
    }

    /// Returns the length of the file in bytes; `None` for a pipe or a looped file.
    pub fn total_bytes(&self) -> Option<u64> {
        let metadata = self.file.metadata().ok()?;
        (self.looper.is_none() && metadata.is_file()).then_some(metadata.len())
    }

    /// Returns the number of finished passes.
    pub fn passes(&self) -> u64 {
        self.looper.as_ref().map_or(0, Looper::passes)
    }

    /// Replaces `run` with the next run. Returns `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub fn next(&mut self, run: &mut Vec<u8>) -> Result<Option<Ending>> {
        run.clear();
        run.append(&mut self.held);
        while run.len() < RUN_BYTES {
            let Some(piece) = self.pieces.next().context(Stage::Send, self.path, "cannot read")?
            else {
                if self.rewind()? {
                    continue;
                }
                return Ok((!run.is_empty()).then_some(Ending::Open));
            };
            match piece {
                Piece::Loose(bytes) => {
                    self.pass_bytes += bytes.len() as u64;
                    run.extend_from_slice(bytes);
                }
                Piece::Packet(packet) => {
                    self.pass_bytes += packet.len() as u64;
                    if let Some(looper) = &mut self.looper {
                        looper.packet(packet);
                    }
                    if let Some(reading) = self.survey.clock.read(packet) {
                        self.held.extend_from_slice(packet);
                        return Ok(Some(Ending::At(reading)));
                    }
                    run.extend_from_slice(packet);
                }
            }
        }
        Ok(Some(Ending::Open))
    }

    /// Starts the next pass, if there is one.
    fn rewind(&mut self) -> Result<bool> {
        let Some(looper) = &mut self.looper else { return Ok(false) };
        // Without this check, a file that was truncated meanwhile would be looped forever without
        // returning a byte.
        if self.pass_bytes == 0 {
            return Err(Error::new(Stage::Send, "the file has become empty").path(self.path));
        }
        let duration = looper.seam();
        tracing::debug!(
            pass = looper.passes(),
            seconds = duration.seconds(),
            "restarting the file"
        );
        self.pass_bytes = 0;
        self.file.seek(SeekFrom::Start(0)).context(Stage::Send, self.path, "cannot rewind")?;
        let source = Box::new(reopen(&self.file, self.path)?);
        self.pieces = Pieces::new(source, self.survey.size, self.survey.first);
        Ok(true)
    }
}

/// Returns a second handle with the same position.
fn reopen(file: &File, path: &Path) -> Result<File> {
    file.try_clone().context(Stage::Send, path, "cannot open")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use scenetap_testkit as testkit;
    use std::io::Write;

    fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(bytes).expect("written");
        file
    }

    #[test]
    fn runs_end_at_clock_readings_and_together_are_the_file() {
        let mut bytes = vec![9; 50];
        bytes.extend(testkit::paced_stream(4, 3, 1000));
        bytes.extend([0x47; 20]);
        let file = file_of(&bytes);
        let mut tape = Tape::open(file.path(), false).expect("opened");
        assert_eq!(tape.total_bytes(), Some(bytes.len() as u64));
        let (mut all, mut run, mut endings) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(ending) = tape.next(&mut run).expect("read") {
            all.extend_from_slice(&run);
            endings.push((run.len(), ending));
        }
        assert_eq!(all, bytes);
        let reading =
            |n: u64| Ending::At(Reading { ticks: 1000 + n * 1_080_000, discontinuity: false });
        assert_eq!(
            endings,
            [
                (50, reading(0)),
                (564, reading(1)),
                (564, reading(2)),
                (564, reading(3)),
                (584, Ending::Open)
            ]
        );
    }

    #[test]
    fn a_looped_tape_repeats_every_byte_outside_packets_and_goes_on() {
        let mut bytes = testkit::paced_stream(4, 3, 1000);
        bytes.extend([1; 20]);
        let file = file_of(&bytes);
        let mut tape = Tape::open(file.path(), true).expect("opened");
        let (mut all, mut run, mut last) = (Vec::new(), Vec::new(), 0);
        while all.len() < 3 * bytes.len() {
            if let Some(Ending::At(reading)) = tape.next(&mut run).expect("read") {
                assert!(last == 0 || reading.ticks == last + 1_080_000);
                last = reading.ticks;
            }
            all.extend_from_slice(&run);
        }
        assert_eq!(all[..bytes.len()], bytes);
        assert_eq!(all[2 * bytes.len() - 20..2 * bytes.len()], [1; 20]);
        assert_eq!((tape.passes(), tape.total_bytes()), (3, None));
    }

    #[test]
    fn a_folder_and_a_missing_file_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let open_error = |path: &Path| {
            Tape::open(path, false).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(open_error(folder.path()).contains("is a folder"));
        assert!(open_error(&folder.path().join("none.ts")).contains("cannot open: No such file"));
    }
}
