//! Finds another process that has a file open, as far as /proc shows: processes of this user, or,
//! for root, all.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Returns the id of another process that has `file` open, whose name is `name`. Returns `None` if
/// no such process exists or /proc does not show it.
pub fn opened_by(file: &File, name: &OsStr) -> Option<u32> {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let wanted = identity(file.metadata().ok()?);
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let id: u32 = process.file_name().to_str()?.parse().ok()?;
        if id == std::process::id() {
            return None;
        }
        let mut descriptors = fs::read_dir(process.path().join("fd")).ok()?.flatten();
        // Check the link's text first: a file of another name may be on a server that does not
        // respond. Compare only the name, because a container may see the file at another path.
        let has_name = |target: &Path| target.file_name() == Some(name);
        let is_it = |descriptor: &Path| {
            fs::read_link(descriptor).is_ok_and(|target| has_name(&target))
                && fs::metadata(descriptor).is_ok_and(|found| identity(found) == wanted)
        };
        descriptors.any(|descriptor| is_it(&descriptor.path())).then_some(id)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_reads_a_file_is_found_and_this_one_does_not_count() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let name = path.path().file_name().unwrap();
        let file = File::open(path.path()).unwrap();
        assert_eq!(opened_by(&file, name), None);
        // It waits until its stdin, held here, is closed.
        let mut reader = Command::new("sh")
            .args(["-c", "exec 7< \"$0\"; echo; cat"])
            .arg(path.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        std::io::Read::read_exact(reader.stdout.as_mut().unwrap(), &mut line).unwrap();
        assert!(opened_by(&file, name).is_some());
        assert_eq!(opened_by(&file, "another".as_ref()), None);
        drop(reader.stdin.take());
        reader.wait().unwrap();
        assert_eq!(opened_by(&file, name), None);
    }
}
