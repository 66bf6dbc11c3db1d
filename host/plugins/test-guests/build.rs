//! Compiles the plugins of `plugins/test-guests`.

#[path = "../build/guests.rs"]
mod guests;

use guests::Guest;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../build");
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../plugins");
    let built = guests::build(
        &plugins,
        &["-p", "flyloft-test-guests", "--examples"],
        &["Cargo.toml", "Cargo.lock", ".cargo", "sdk", "test-guests", "../wit"],
        &[
            Guest { artifact: "examples/hostile", name: "hostile" },
            Guest { artifact: "examples/always_cmaf", name: "always-cmaf" },
            Guest { artifact: "examples/abstain", name: "abstain" },
            Guest { artifact: "examples/both", name: "both" },
        ],
    );
    if let Err(error) = built {
        println!("cargo::error={}", error.replace('\n', " "));
        std::process::exit(1);
    }
}
