//! What the shell is told at the end.

use crate::error::{Error, Kind};
use crate::shutdown::SECOND_INTERRUPT_STATUS;

/// The exit statuses that scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done, also after SIGINT or SIGTERM, and when the reader of stdout has left.
    Done,
    /// It failed, and one line on stderr says why.
    Failed,
    /// The command line, a variable or the configuration file is wrong.
    Usage,
    /// A second SIGINT came while everything was being flushed.
    Interrupted,
}

impl ExitStatus {
    /// The number.
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

/// What was asked for wrongly is told apart from what went wrong.
impl From<&Error> for ExitStatus {
    fn from(error: &Error) -> Self {
        match error.kind() {
            Kind::Configuration => ExitStatus::Usage,
            _ => ExitStatus::Failed,
        }
    }
}
