//! Exit statuses of the program.

use crate::error::{Error, Kind};
use crate::host::shutdown::SECOND_INTERRUPT_STATUS;

/// The exit statuses that scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Success; also after SIGINT or SIGTERM, and after the reader of stdout has closed it.
    Done,
    /// Failure; one line on stderr gives the reason.
    Failed,
    /// The command line, an environment variable or the configuration file is invalid.
    Usage,
    /// A second SIGINT arrived before everything was flushed.
    Interrupted,
}

impl ExitStatus {
    /// Returns the process's exit code.
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Done => 0,
            ExitStatus::Failed => 1,
            ExitStatus::Usage => 2,
            ExitStatus::Interrupted => SECOND_INTERRUPT_STATUS,
        }
    }
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        status.code().into()
    }
}

/// Maps configuration errors to [`ExitStatus::Usage`] and all others to
/// [`ExitStatus::Failed`].
impl From<&Error> for ExitStatus {
    fn from(error: &Error) -> Self {
        match error.kind() {
            Kind::Configuration => ExitStatus::Usage,
            _ => ExitStatus::Failed,
        }
    }
}
