//! Notifies the service manager with sd_notify(3), over the socket in `NOTIFY_SOCKET`.
//!
//! Existing crates connect for each message and block until it is accepted. Notifications must
//! never block the network, so they are implemented here.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Time after which a message that was not accepted is dropped.
const SEND_TIMEOUT: Duration = Duration::from_millis(100);

/// The service manager, if it accepts notifications.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Uses the socket of `NOTIFY_SOCKET` and the watchdog of `WATCHDOG_USEC`.
    pub fn from_environment(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match connect(&name) {
            Ok(socket) => Manager { socket: Some(socket), watchdog: watchdog(variable) },
            Err(error) => {
                tracing::warn!("service: {}: cannot notify: {error}", name.display());
                Self::default()
            }
        }
    }

    /// Returns whether there is a service manager to notify.
    pub fn listens(&self) -> bool {
        self.socket.is_some()
    }

    /// Returns the time without [`Manager::alive`] after which the manager restarts the program.
    /// `None` if the watchdog is off.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Notifies that startup is complete.
    pub fn ready(&self) {
        self.notify("READY=1");
    }

    /// Notifies that the program is shutting down.
    pub fn stopping(&self) {
        self.notify("STOPPING=1");
    }

    /// Notifies the watchdog that the program is not stuck.
    pub fn alive(&self) {
        self.notify("WATCHDOG=1");
    }

    /// Sends the line that `systemctl status` shows.
    pub fn status(&self, line: &str) {
        self.notify(&format!("STATUS={}", line.replace('\n', " ")));
    }

    fn notify(&self, notification: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(notification.as_bytes())
        {
            tracing::debug!(%error, words = notification, "cannot notify the service manager");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok(socket)
}

/// Returns the watchdog's timeout (sd_watchdog_enabled(3)). `WATCHDOG_PID` must be this process:
/// child processes inherit the variables.
fn watchdog(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<Duration> {
    let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
    let is_ours = variable("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(std::process::id().into());
    number("WATCHDOG_USEC").filter(|usec| is_ours && *usec > 0).map(Duration::from_micros)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn manager(variables: &[(&str, &str)]) -> Manager {
        Manager::from_environment(&|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn without_a_manager_nothing_is_told() {
        for variables in [&[][..], &[("NOTIFY_SOCKET", "")], &[("NOTIFY_SOCKET", "/none/there")]] {
            let manager = manager(variables);
            assert!(!manager.listens() && manager.watchdog().is_none());
            manager.ready();
        }
    }

    #[test]
    fn a_manager_with_a_path_and_one_with_an_abstract_name_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("scenetap-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (server, variable) in [
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}")),
        ] {
            manager(&[("NOTIFY_SOCKET", &variable)]).status("a\nb");
            let mut buffer = [0; 64];
            let length = server.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"STATUS=a b");
        }
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _server = UnixDatagram::bind(&path).unwrap();
        let manager = manager(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
        let socket = manager.socket.as_ref().unwrap();
        while socket.send(b"x").is_ok() {}
        manager.alive();
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _server = UnixDatagram::bind(&path).unwrap();
        let socket = ("NOTIFY_SOCKET", path.to_str().unwrap());
        let own_pid = std::process::id().to_string();
        let time = ("WATCHDOG_USEC", "30000000");
        let seconds = |variables: &[_]| manager(variables).watchdog().map(|time| time.as_secs());
        assert_eq!(seconds(&[socket, time]), Some(30));
        assert_eq!(seconds(&[socket, time, ("WATCHDOG_PID", &own_pid)]), Some(30));
        assert_eq!(seconds(&[socket, time, ("WATCHDOG_PID", "1")]), None);
        assert_eq!(seconds(&[socket, ("WATCHDOG_USEC", "0")]), None);
        assert_eq!(seconds(&[socket, ("WATCHDOG_USEC", "soon")]), None);
    }
}
