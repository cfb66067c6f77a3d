//! Injects faults for tests, in debug builds only. `SCENETAP_FAULT` selects the fault:
//!
//! | value | effect |
//! |---|---|
//! | `kill@N` | kills the process before its `N`th change to the disk |
//! | `tear@N` | the same, but writes half of the bytes first if the change is a write |
//! | `full@N+K` | fails `K` changes from the `N`th on with a full disk; half of a write is done |

#[cfg(not(debug_assertions))]
use std::io;

/// Must be called before a change that is not a write.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(super) fn before() -> io::Result<()> {
    Ok(())
}

/// Must be called before a write.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(super) fn before_write(_: &[u8], _: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
    Ok(())
}

#[cfg(debug_assertions)]
pub(super) use plan::{before, before_write};

#[cfg(debug_assertions)]
mod plan {
    use std::env;
    use std::io;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use rustix::process::{Signal, getpid, kill_process};

    /// Name of the environment variable.
    const VARIABLE: &str = "SCENETAP_FAULT";

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Plan {
        Kill { at: u64, torn: bool },
        Full { from: u64, changes: u64 },
    }

    static PLAN: LazyLock<Option<Plan>> = LazyLock::new(|| parse(&env::var(VARIABLE).ok()?));
    static CHANGES: AtomicU64 = AtomicU64::new(0);

    fn parse(text: &str) -> Option<Plan> {
        let (what, when) = text.split_once('@')?;
        match what {
            "kill" => Some(Plan::Kill { at: when.parse().ok()?, torn: false }),
            "tear" => Some(Plan::Kill { at: when.parse().ok()?, torn: true }),
            "full" => {
                let (from, changes) = when.split_once('+')?;
                Some(Plan::Full { from: from.parse().ok()?, changes: changes.parse().ok()? })
            }
            _ => None,
        }
    }

    pub(crate) fn before() -> io::Result<()> {
        before_write(&[], |_| Ok(()))
    }

    pub(crate) fn before_write(
        bytes: &[u8],
        write: impl FnOnce(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(plan) = *PLAN else { return Ok(()) };
        let change = CHANGES.fetch_add(1, Relaxed) + 1;
        let half = &bytes[..bytes.len() / 2];
        match plan {
            Plan::Kill { at, torn } if change == at => {
                if torn {
                    write(half)?;
                }
                // As with a kill from outside, no other code of this process runs.
                let _ = kill_process(getpid(), Signal::KILL);
                loop {
                    std::thread::park();
                }
            }
            Plan::Full { from, changes } if (from..from + changes).contains(&change) => {
                tracing::info!("injected: change {change} finds the disk full");
                write(half)?;
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_plan_says_what_happens_and_when() {
            assert_eq!(parse("kill@7"), Some(Plan::Kill { at: 7, torn: false }));
            assert_eq!(parse("tear@1"), Some(Plan::Kill { at: 1, torn: true }));
            assert_eq!(parse("full@3+9"), Some(Plan::Full { from: 3, changes: 9 }));
            assert_eq!(parse("full@3"), None);
        }
    }
}
