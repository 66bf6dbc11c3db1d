//! What components may import: the interfaces of WASI that this server offers, each bounded and each answering only as
//! far as the operator has granted it.

mod config;
mod http;
mod key_value;
mod logging;
mod memory;

pub use key_value::{KeyValue, KeyValueAnswer, KeyValueError, MAX_KEYS, Versioned};
pub use memory::MemoryKeyValue;

pub(crate) use http::Outgoing;

use crate::sandbox::Sandbox;
use wasmtime::Engine;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};

/// The interfaces of WASI 0.2 that a component may import. Files and environment are there because standard libraries
/// ask for them, and are empty; so does Python's for sockets, which are closed.
const WASI: [&str; 29] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Those that have no stable version yet: exactly these.
const DRAFTS: [&str; 5] = [config::STORE, key_value::STORE, key_value::ATOMICS, key_value::BATCH, logging::LOGGING];

/// The contract's own types.
const TYPES: &str = "flyloft:plugin/types";

/// What there is, in words, for messages.
pub(crate) const AVAILABLE: &str = "wasi:cli, wasi:clocks, wasi:filesystem (empty), wasi:http/outgoing-handler, wasi:io, wasi:random and wasi:sockets (closed) of WASI 0.2, \
     wasi:config/store@0.2.0-rc.1, wasi:keyvalue/store, atomics and batch@0.2.0-draft2, and wasi:logging/logging@0.1.0-draft";

/// Whether a component may import this interface, which is a full name with its version.
pub(crate) fn is_available(name: &str) -> bool {
    if DRAFTS.contains(&name) {
        return true;
    }
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    (WASI.contains(&interface) && version.starts_with("0.2.")) || (interface == TYPES && version.starts_with("0.1."))
}

struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

/// A linker with everything that a component can import.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Sandbox>> {
    use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, io, random, sockets};
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    io::error::add_to_linker::<Sandbox, Io>(l, |t| t.ctx().table)?;
    io::poll::add_to_linker::<Sandbox, Io>(l, |t| t.ctx().table)?;
    io::streams::add_to_linker::<Sandbox, Io>(l, |t| t.ctx().table)?;
    clocks::wall_clock::add_to_linker::<Sandbox, WasiClocks>(l, Sandbox::clocks)?;
    clocks::monotonic_clock::add_to_linker::<Sandbox, WasiClocks>(l, Sandbox::clocks)?;
    random::random::add_to_linker::<Sandbox, WasiRandom>(l, |t| t.ctx().ctx.random())?;
    random::insecure::add_to_linker::<Sandbox, WasiRandom>(l, |t| t.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<Sandbox, WasiRandom>(l, |t| t.ctx().ctx.random())?;
    filesystem::preopens::add_to_linker::<Sandbox, WasiFilesystem>(l, Sandbox::filesystem)?;
    filesystem::types::add_to_linker::<Sandbox, WasiFilesystem>(l, Sandbox::filesystem)?;
    cli::exit::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::environment::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::stdin::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::stdout::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::stderr::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_input::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_output::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_stdin::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_stdout::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_stderr::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    sockets::instance_network::add_to_linker::<Sandbox, WasiSockets>(l, Sandbox::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<Sandbox, WasiSockets>(l, Sandbox::sockets)?;
    sockets::network::add_to_linker::<Sandbox, WasiSockets>(l, &sockets::network::LinkOptions::default(), Sandbox::sockets)?;
    sockets::tcp::add_to_linker::<Sandbox, WasiSockets>(l, Sandbox::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<Sandbox, WasiSockets>(l, Sandbox::sockets)?;
    sockets::udp::add_to_linker::<Sandbox, WasiSockets>(l, Sandbox::sockets)?;
    sockets::udp_create_socket::add_to_linker::<Sandbox, WasiSockets>(l, Sandbox::sockets)?;
    config::add_to_linker(l)?;
    http::add_to_linker(l)?;
    key_value::add_to_linker(l)?;
    logging::add_to_linker(l)?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_told_by_name_and_version() {
        for good in [
            "wasi:io/streams@0.2.0",
            "wasi:http/types@0.2.12",
            "wasi:config/store@0.2.0-rc.1",
            "wasi:keyvalue/atomics@0.2.0-draft2",
            "wasi:logging/logging@0.1.0-draft",
            "flyloft:plugin/types@0.1.0",
        ] {
            assert!(is_available(good), "{good}");
        }
        for bad in [
            "wasi:nn/inference@0.2.0",
            "wasi:http/incoming-handler@0.2.0",
            "wasi:io/streams@0.3.0",
            "wasi:io/streams",
            "wasi:config/store@0.2.0-draft",
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:logging/logging",
            "flyloft:plugin/types@0.2.0",
        ] {
            assert!(!is_available(bad), "{bad}");
        }
    }
}
