//! `wasi:logging/logging`: lines for the server's log, counted together with those on stdout and stderr.

use crate::sandbox::Sandbox;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker};

pub(super) const LOGGING: &str = "wasi:logging/logging@0.1.0-draft";

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "only guests make them")]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

impl From<Level> for tracing::Level {
    fn from(level: Level) -> tracing::Level {
        match level {
            Level::Trace => tracing::Level::TRACE,
            Level::Debug => tracing::Level::DEBUG,
            Level::Info => tracing::Level::INFO,
            Level::Warn => tracing::Level::WARN,
            // The server goes on, however critical it is for the plugin.
            Level::Error | Level::Critical => tracing::Level::ERROR,
        }
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let mut logging = linker.instance(LOGGING)?;
    logging.func_wrap("log", |mut cx: StoreContextMut<'_, Sandbox>, (level, context, message): (Level, String, String)| {
        cx.data_mut().log().message(level.into(), &context, &message);
        Ok(())
    })
}
