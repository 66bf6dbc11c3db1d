//! Compiles the plugins of `plugins/test-guests`, and those for other servers' callbacks.

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
        &["-p", "flyloft-test-guests", "--examples", "-p", "flyloft-nginx-callbacks", "-p", "flyloft-srs-callbacks", "--lib"],
        &["Cargo.toml", "Cargo.lock", ".cargo", "sdk", "test-guests", "callbacks", "nginx-callbacks", "srs-callbacks", "../wit"],
        &[
            Guest { artifact: "examples/hostile", name: "hostile" },
            Guest { artifact: "examples/always_cmaf", name: "always-cmaf" },
            Guest { artifact: "examples/abstain", name: "abstain" },
            Guest { artifact: "examples/both", name: "both" },
            Guest { artifact: "examples/reach", name: "reach" },
            Guest { artifact: "examples/hooks", name: "hooks" },
            Guest { artifact: "examples/sources", name: "sources" },
            Guest { artifact: "examples/realloc", name: "realloc" },
            Guest { artifact: "flyloft_nginx_callbacks", name: "nginx-callbacks" },
            Guest { artifact: "flyloft_srs_callbacks", name: "srs-callbacks" },
        ],
    );
    if let Err(error) = built {
        println!("cargo::error={}", error.replace('\n', " "));
        std::process::exit(1);
    }
}
