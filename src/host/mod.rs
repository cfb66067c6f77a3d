//! The host on which the program runs.
//!
//! ```text
//! descriptors     keeps inherited file descriptors from child processes
//! open_files      which process has a file open
//! service         notifications to the service manager (systemd)
//! runtime_folder  the user's folder for sockets
//! shutdown        signals, and the request to shut down
//! ```

pub mod descriptors;
pub mod open_files;
pub mod runtime_folder;
pub mod service;
pub mod shutdown;
