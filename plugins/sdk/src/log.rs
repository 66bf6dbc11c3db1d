//! Lines for the server's log, with a level (`wasi:logging`). What is printed to stdout and stderr goes there too.

pub use system::Level;

/// For somebody who looks for a fault in the plugin.
pub fn debug(message: impl AsRef<str>) {
    log(Level::Debug, "", message);
}

/// For somebody who watches what happens.
pub fn info(message: impl AsRef<str>) {
    log(Level::Info, "", message);
}

/// Something is odd.
pub fn warn(message: impl AsRef<str>) {
    log(Level::Warn, "", message);
}

/// Something failed.
pub fn error(message: impl AsRef<str>) {
    log(Level::Error, "", message);
}

/// Logs a line; lines with the same context belong together.
pub fn log(level: Level, context: &str, message: impl AsRef<str>) {
    system::log(level, context, message.as_ref());
}

#[cfg(target_family = "wasm")]
mod system {
    pub use crate::imports::bindings::wasi::logging::logging::{Level, log};
}

#[cfg(not(target_family = "wasm"))]
mod system {
    use crate::imports::native::host;

    /// How much a line matters.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Level {
        Trace,
        Debug,
        Info,
        Warn,
        Error,
        Critical,
    }

    pub(super) fn log(_level: Level, _context: &str, message: &str) {
        host(|host| host.log.push(message.to_owned()));
    }
}
