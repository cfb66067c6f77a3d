//! SIGINT and SIGTERM, sent to a separate process: this test binary, running only the ignored test
//! below.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use scenetap::host::shutdown::Shutdown;

/// Longer than any step takes. A hung child ends by itself.
const LONG: Duration = Duration::from_secs(60);

/// Variable that is set in the process that receives the signals.
const IS_CHILD: &str = "SCENETAP_TEST_IS_CHILD";

#[test]
#[ignore = "the process that the tests below send signals to"]
fn child() {
    if std::env::var_os(IS_CHILD).is_none() {
        return; // Run directly, as one of the ignored tests.
    }
    let print = |line: &str| std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
    let shutdown = Shutdown::new();
    shutdown.install_signal_handlers().unwrap();
    print("listening");
    assert!(shutdown.wait_timeout(LONG));
    print("flushing");
    // Waits for a second signal, or until the parent closes its end.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

struct Running {
    child: Child,
    output: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["signals::child", "--exact", "--ignored", "--nocapture"])
            .env(IS_CHILD, "yes")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut running = Running { child, output };
        running.wait_for("listening");
        running
    }

    fn wait_for(&mut self, expected: &str) {
        assert!(self.output.any(|line| line.unwrap() == expected), "it ended without {expected:?}");
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Returns the exit status, after the process was allowed to end (`true`) or not (`false`).
    fn end(mut self, is_allowed: bool) -> Option<i32> {
        let stdin = self.child.stdin.take();
        if is_allowed {
            drop(stdin);
            return self.child.wait().unwrap().code();
        }
        let status = self.child.wait().unwrap().code();
        drop(stdin);
        status
    }
}

#[test]
fn an_interrupt_lets_it_flush() {
    let mut running = Running::start();
    running.send(Signal::INT);
    running.wait_for("flushing");
    assert_eq!(running.end(true), Some(0));
}

#[test]
fn a_termination_lets_it_flush_even_if_it_is_repeated() {
    let mut running = Running::start();
    running.send(Signal::TERM);
    running.wait_for("flushing");
    running.send(Signal::TERM);
    assert_eq!(running.end(true), Some(0));
}

#[test]
fn a_second_interrupt_ends_it_at_once_with_130() {
    let mut running = Running::start();
    running.send(Signal::INT);
    running.wait_for("flushing");
    running.send(Signal::INT);
    assert_eq!(running.end(false), Some(130));
}

#[test]
fn an_interrupt_after_a_termination_ends_it_at_once_too() {
    let mut running = Running::start();
    running.send(Signal::TERM);
    running.wait_for("flushing");
    running.send(Signal::INT);
    assert_eq!(running.end(false), Some(130));
}
