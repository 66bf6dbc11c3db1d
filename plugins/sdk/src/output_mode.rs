//! The `output-mode` interface: which outputs a stream gets.

/// What `wit/0.1.0/output-mode.wit` says, as Rust.
#[allow(missing_docs, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        world: "output-mode-plugin",
        with: { "flyloft:plugin/types@0.1.0": crate::policy::bindings::flyloft::plugin::types },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_output_mode",
        default_bindings_module: "flyloft_plugin::output_mode::bindings",
        runtime_path: "flyloft_plugin::wit_runtime",
    });
}

pub use crate::policy::{App, Connection, Context, Member, Room};
pub use crate::types::OutputMode;
/// Implemented by a plugin that decides which outputs a stream gets; made known with [`crate::export_output_mode`].
pub use bindings::exports::flyloft::plugin::output_mode::Guest as OutputModes;
pub use bindings::exports::flyloft::plugin::output_mode::{Answer, Outputs, Request};
