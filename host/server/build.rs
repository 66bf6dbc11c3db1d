//! Builds the web pages with npm, where there is one, and makes them part of the binary, as well as everything that
//! `flyloft plugin new` writes: the contract, the SDK's sources and the templates.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const WITHOUT_NPM: &str = "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Flyloft</title>\
<h1>This Flyloft was built without its pages</h1><p>The server works, but the watch page was left out because the build found no \
<code>npm</code>. Install Node.js 20 or newer, then run <code>cargo build --release</code> again.</p><p>The API is at \
<a href=/v1/docs>/v1/docs</a>.</p>";

fn main() {
    let web = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../web");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    for path in ["src", "static", "package.json", "package-lock.json", "build.mjs", "tsconfig.json"] {
        if web.join(path).exists() {
            println!("cargo::rerun-if-changed={}", web.join(path).display());
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=BUILT_FOR_TARGET={}", env::var("TARGET").expect("cargo sets it"));
    let dist = out.join("web");
    let _ = fs::remove_dir_all(&dist);
    fs::create_dir_all(&dist).expect("OUT_DIR can be written");
    if let Err(why) = build(&web, &dist) {
        println!("cargo::warning=the web pages are left out: {why}");
        for page in ["index.html", "watch.html"] {
            fs::write(dist.join(page), WITHOUT_NPM).expect("OUT_DIR can be written");
        }
    }
    let mut files = Vec::new();
    list(&dist, &dist, &mut files);
    files.sort();
    let mut code = String::from("pub static FILES: &[(&str, &[u8])] = &[\n");
    for (name, path) in files {
        writeln!(code, "    ({name:?}, include_bytes!({path:?})),").expect("a string takes everything");
    }
    code.push_str("];\n");
    fs::write(out.join("pages.rs"), code).expect("OUT_DIR can be written");
    embed_authoring(&out);
}

/// Makes lists of the text files that new plugin projects are made of.
fn embed_authoring(out: &Path) {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).to_owned();
    let mut code = String::new();
    for (name, directory) in [("WIT", "../../wit/0.1.0"), ("SDK", "../../plugins/sdk"), ("TEMPLATES", "src/cli/plugin/templates")]
    {
        let directory = root.join(directory);
        println!("cargo::rerun-if-changed={}", directory.display());
        let mut files = Vec::new();
        list(&directory, &directory, &mut files);
        files.sort();
        writeln!(code, "pub static {name}: &[(&str, &str)] = &[").expect("a string takes everything");
        for (name, path) in files {
            writeln!(code, "    ({name:?}, include_str!({path:?})),").expect("a string takes everything");
        }
        code.push_str("];\n");
    }
    let workspace = root.join("../../plugins/Cargo.toml");
    println!("cargo::rerun-if-changed={}", workspace.display());
    writeln!(code, "pub static SDK_WORKSPACE: &str = include_str!({:?});", workspace.to_string_lossy())
        .expect("a string takes everything");
    fs::write(out.join("authoring.rs"), code).expect("OUT_DIR can be written");
}

fn build(web: &Path, dist: &Path) -> Result<(), String> {
    for arguments in [&["ci", "--no-audit", "--no-fund"][..], &["run", "build"][..]] {
        let output = Command::new("npm")
            .args(arguments)
            .current_dir(web)
            .env("FLYLOFT_WEB_OUT", dist)
            .output()
            .map_err(|error| format!("npm does not start ({error}); install Node.js 20 or newer"))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let first: Vec<_> = text.lines().take(8).collect();
            return Err(format!("`npm {}` failed: {}", arguments.join(" "), first.join(" | ")));
        }
    }
    Ok(())
}

fn list(root: &Path, directory: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            list(root, &path, files);
        } else if let Ok(name) = path.strip_prefix(root) {
            files.push((name.to_string_lossy().replace('\\', "/"), path.to_string_lossy().into_owned()));
        }
    }
}
