//! The `vod-source` interface: where the bytes of a VOD file come from.

/// What `wit/0.1.0/vod-source.wit` says, as Rust.
#[allow(missing_docs, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        world: "vod-source-plugin",
        with: { "flyloft:plugin/types@0.1.0": crate::policy::bindings::flyloft::plugin::types },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_vod_source",
        default_bindings_module: "flyloft_plugin::vod_source::bindings",
        runtime_path: "flyloft_plugin::wit_runtime",
    });
}

pub use crate::policy::{Context, Pair};
/// Implemented by a plugin that knows where VOD files are; made known with [`crate::export_vod_source`].
pub use bindings::exports::flyloft::plugin::vod_source::Guest as VodSource;
pub use bindings::exports::flyloft::plugin::vod_source::{
    Addressing, ByteRange, Entry, Error, FileInfo, HttpSource, ListRequest, Listing, LocalFile, OwnBytes, Page, Plan, Request,
    S3Object,
};
