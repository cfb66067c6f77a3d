//! The machine that the program runs on.
//!
//! ```text
//! service         what the service manager (systemd) is notified of
//! runtime_folder  the user's folder for sockets
//! shutdown        signals, and the request to end
//! ```

pub mod runtime_folder;
pub mod service;
pub mod shutdown;
