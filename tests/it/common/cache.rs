//! Caches ffmpeg's verdicts and encoded clips below `target/`, so that ffmpeg runs once per input,
//! command line and version.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use ring::digest::{Context, SHA256};

/// Increase this if the content of a cached file changes while its command line does not.
const FORMAT: u64 = 1;

/// The whole output of `ffmpeg -version`, since libraries and build options matter too. The
/// versions of x264 and x265 are not included: after an update of those alone, a cached clip stays
/// valid for these tests.
static VERSION: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let output = Command::new("ffmpeg").arg("-version").output();
    output.expect("callers check that ffmpeg is installed").stdout
});

/// An ffmpeg command line.
pub struct Ffmpeg<'a> {
    arguments: Vec<OsString>,
    /// The file that replaces [`INPUT`].
    input: Option<&'a Path>,
}

/// Placeholder for the input file in [`Ffmpeg::args`].
pub const INPUT: &str = "INPUT";

impl<'a> Ffmpeg<'a> {
    /// Returns a command line with the options that every run needs.
    pub fn new() -> Self {
        let arguments = ["-nostdin", "-hide_banner", "-nostats"].map(OsString::from).to_vec();
        Ffmpeg { arguments, input: None }
    }

    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets the input file. The cache key contains its bytes, not its name.
    pub fn input(mut self, file: &'a Path) -> Self {
        self.input = Some(file);
        self
    }

    /// Returns standard error, whatever the exit status. Panics if a signal ended ffmpeg.
    pub fn log(self) -> String {
        let path = self.cached("log", |command, file| {
            let output = command.output().unwrap();
            assert!(output.status.code().is_some(), "{command:?} was killed");
            file.write_all(&output.stderr).unwrap();
        });
        String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
    }

    /// As [`Ffmpeg::log`], bypassing the cache.
    pub fn log_uncached(self) -> String {
        String::from_utf8_lossy(&self.command().output().unwrap().stderr).into_owned()
    }

    /// Encodes to `format` and returns the path of the cached file. ffmpeg writes to a pipe,
    /// which makes no difference for the formats used here.
    pub fn file(self, format: &str) -> PathBuf {
        let encode = self.args(["-f", format, "-"]);
        let extension = if format == "mpegts" { "ts" } else { format };
        encode.cached(extension, |command, file| {
            let Output { status, stdout, stderr } = command.output().unwrap();
            assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
            file.write_all(&stdout).unwrap();
        })
    }

    fn cached(
        &self,
        extension: &str,
        make: impl FnOnce(&mut Command, &mut std::fs::File),
    ) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ffmpeg");
        let path = folder.join(format!("{}.{extension}", self.key()));
        if path.exists() {
            return path;
        }
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = self.command();
        // Renamed into place, so that concurrent tests see a complete file or none.
        let mut file = tempfile::NamedTempFile::new_in(&folder).unwrap();
        make(&mut command, file.as_file_mut());
        file.persist(&path).unwrap();
        path
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ffmpeg");
        // The parser needs lines without colors; FFREPORT would write a file.
        command.env("AV_LOG_FORCE_NOCOLOR", "1").env_remove("AV_LOG_FORCE_COLOR");
        command.env_remove("FFREPORT");
        command.args(self.arguments.iter().map(|argument| match self.input {
            Some(file) if argument == INPUT => file.as_os_str(),
            _ => argument,
        }));
        command
    }

    fn key(&self) -> String {
        let mut hash = Context::new(&SHA256);
        // Include the length of each part, so that different lists cannot collide.
        let mut part = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(&FORMAT.to_be_bytes());
        part(&VERSION);
        self.arguments.iter().for_each(|argument| part(argument.as_bytes()));
        if let Some(file) = self.input {
            part(&std::fs::read(file).unwrap());
        }
        hash.finish().as_ref()[..16].iter().fold(String::new(), |mut key, byte| {
            let _ = write!(key, "{byte:02x}");
            key
        })
    }
}

#[test]
fn a_verdict_is_kept_by_the_bytes_of_its_input_and_the_command_line() {
    if !super::has("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let (one, same, other) = (write("1", b"ab"), write("2", b"ab"), write("3", b"b"));
    let key = |file: &Path, arguments: &[&str]| Ffmpeg::new().args(arguments).input(file).key();
    assert_eq!(key(&one, &["-i", INPUT]), key(&same, &["-i", INPUT]));
    assert_ne!(key(&one, &["-i", INPUT]), key(&other, &["-i", INPUT]));
    assert_ne!(key(&one, &["-i", INPUT, "a"]), key(&one, &["-i", INPUT]));
    // The boundary between two arguments is part of the key.
    assert_ne!(key(&one, &["ab", "c"]), key(&one, &["a", "bc"]));
}
