//! File descriptors that this process was started with.

use std::fs;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};

/// Prevents programs that this process runs from inheriting any descriptor except 0, 1 and 2.
/// Descriptors that this process opens are never inherited; this is for those that its parent has left
/// open. Must be called before threads close descriptors.
pub fn keep_from_children() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // SAFETY: it was open a moment ago. Since then, only the descriptor of the listing itself was
        // closed; for that one, the call fails, because no other was opened meanwhile.
        #[allow(unsafe_code)]
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
    }
}
