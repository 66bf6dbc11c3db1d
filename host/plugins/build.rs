//! Compiles the built-in plugins from `plugins/` so that they can be embedded.

#[path = "build/guests.rs"]
mod guests;

use guests::Guest;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let plugins = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../plugins");
    let built = guests::build(
        &plugins,
        &[
            "-p",
            "flyloft-room-policy",
            "-p",
            "flyloft-output-mode",
            "-p",
            "flyloft-webhook",
            "-p",
            "flyloft-source-local",
            "-p",
            "flyloft-source-s3",
            "-p",
            "flyloft-source-spaces",
        ],
        &[
            "Cargo.toml",
            "Cargo.lock",
            ".cargo",
            "sdk",
            "room-policy",
            "output-mode",
            "webhook",
            "local",
            "s3",
            "spaces",
            "../wit",
        ],
        &[
            Guest { artifact: "flyloft_room_policy", name: "room-policy" },
            Guest { artifact: "flyloft_output_mode", name: "output-mode" },
            Guest { artifact: "flyloft_webhook", name: "webhook" },
            Guest { artifact: "flyloft_source_local", name: "local" },
            Guest { artifact: "flyloft_source_s3", name: "s3" },
            Guest { artifact: "flyloft_source_spaces", name: "spaces" },
        ],
    );
    if let Err(error) = built {
        println!("cargo::error={}", error.replace('\n', " "));
        std::process::exit(1);
    }
}
