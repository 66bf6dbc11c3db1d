//! `flyloft plugin new`: writes a plugin project that builds as it is. Everything that it is made of is in this binary:
//! the templates, the contract and the SDK's sources.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::embedded::{SDK, SDK_WORKSPACE, TEMPLATES, WIT};
use super::{Kind, Language, New};

/// Where a Rust project keeps the contract and the SDK. Below it they lie as in Flyloft's own repository, because the
/// SDK finds the contract by its place.
const VENDORED: &str = "flyloft";

impl Language {
    fn directory(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Js => "js",
            Language::Python => "python",
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::RoomPolicy => "room-policy",
            Kind::OutputMode => "output-mode",
            Kind::Webhook => "webhook",
            Kind::VodSource => "vod-source",
        }
    }
}

pub fn run(options: &New) -> Result<()> {
    let name = name(&options.path)?;
    if std::fs::read_dir(&options.path).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} exists and is not empty: take another name, or remove it first", options.path.display());
    }
    for (path, text) in project(&name, options.lang, options.interface)? {
        write(&options.path.join(path), &text)?;
    }
    let place = options.path.display();
    println!("Made {place}, a {} plugin. Now:\n", options.interface.name());
    println!("  cd {place}");
    println!("  flyloft plugin test      # builds it and asks it the questions in cases/");
    println!("\nThe rule is in {}; README.md says more.", source(options.lang));
    Ok(())
}

fn source(language: Language) -> &'static str {
    match language {
        Language::Rust => "src/lib.rs",
        Language::Js => "src/rule.js",
        Language::Python => "src/rule.py",
    }
}

/// The plugin's name: the last part of the path.
fn name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let rest = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !first || !rest || name.len() > 64 || name.ends_with('-') {
        bail!(
            "the plugin name {name:?} can't be used: 1 to 64 lower-case letters, digits and hyphens are allowed, beginning with a letter"
        );
    }
    if [VENDORED, "flyloft-plugin", "wit-bindgen", "componentize-qjs", "test"].contains(&name) {
        bail!("the plugin name {name:?} is taken by something that the plugin is made with: take another one");
    }
    Ok(name.to_owned())
}

/// The project's files, by their paths in it.
fn project(name: &str, language: Language, kind: Kind) -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    let shared = format!("cases/{}/", kind.name());
    let all = format!("{}/all/", language.directory());
    let own = format!("{}/{}/", language.directory(), kind.name());
    for (path, text) in TEMPLATES {
        let place = if let Some(rest) = path.strip_prefix(&all).or_else(|| path.strip_prefix(&own)) {
            PathBuf::from(rest.replace("dot-", "."))
        } else if let Some(rest) = path.strip_prefix(&shared) {
            Path::new("cases").join(rest)
        } else {
            continue;
        };
        // A manifest among the server's sources would be taken for a package.
        let place = if place.extension().is_some_and(|extension| extension == "in") { place.with_extension("") } else { place };
        let text = text.replace("{{name}}", name).replace("{{interface}}", kind.name());
        files.push((place, text.replace("{{version}}", env!("CARGO_PKG_VERSION"))));
    }
    match language {
        Language::Rust => {
            let vendored = Path::new(VENDORED);
            files.extend(WIT.iter().map(|(path, text)| (vendored.join("wit/0.1.0").join(path), (*text).to_owned())));
            files.extend(SDK.iter().map(|(path, text)| (vendored.join("plugins/sdk").join(path), (*text).to_owned())));
            files.push((vendored.join("plugins/Cargo.toml"), sdk_workspace()?));
        }
        Language::Js | Language::Python => files.extend(contract().map(|(path, text)| (path, text.to_owned()))),
    }
    Ok(files)
}

/// The contract for a project with a world of its own: packages that the world depends on.
pub fn contract() -> impl Iterator<Item = (PathBuf, &'static str)> {
    WIT.iter().map(|(path, text)| {
        // The packages that the contract itself depends on are in `deps` already.
        let directory = if path.starts_with("deps/") { "wit" } else { "wit/deps/flyloft-plugin" };
        (Path::new(directory).join(path), *text)
    })
}

/// The manifest from which the SDK takes its version and dependencies, with the SDK as the only member.
fn sdk_workspace() -> Result<String> {
    let mut manifest: toml::Table = SDK_WORKSPACE.parse().context("the SDK's workspace manifest")?;
    manifest.remove("profile");
    let workspace = manifest.get_mut("workspace").and_then(toml::Value::as_table_mut).context("the SDK's workspace manifest")?;
    workspace.insert("members".to_owned(), toml::Value::Array(vec!["sdk".into()]));
    toml::to_string(&manifest).context("the SDK's workspace manifest")
}

pub fn write(path: &Path, text: &str) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).with_context(failed)?;
    }
    std::fs::write(path, text).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn names_are_plain() {
        for name in ["my-policy", "a", "x2"] {
            assert!(super::name(Path::new(name)).is_ok(), "{name}");
        }
        for name in ["", "My", "a_b", "2a", "a-", "ä", "..", "flyloft", "test"] {
            assert!(super::name(Path::new(name)).is_err(), "{name}");
        }
        assert_eq!(super::name(Path::new("/tmp/plugins/my-policy")).unwrap(), "my-policy");
    }

    #[test]
    fn a_project_is_whole() {
        for language in [Language::Rust, Language::Js, Language::Python] {
            for kind in Kind::value_variants() {
                let files = project("my-policy", language, *kind).unwrap();
                let has = |end: &str| files.iter().any(|(path, _)| path.to_str().unwrap().ends_with(end));
                let source = source(language);
                for end in [source, "README.md", ".gitignore", "types.wit", "cases/rule.json"] {
                    assert!(has(end), "{language:?} {kind:?}: {end}");
                }
                let text = |name: &str| files.iter().find(|(path, _)| path == Path::new(name)).map(|(_, text)| text.as_str());
                match language {
                    Language::Rust => {}
                    Language::Js => {
                        let manifest: serde_json::Value = serde_json::from_str(text("package.json").unwrap()).unwrap();
                        let tools = manifest["devDependencies"].as_object().unwrap();
                        assert!(
                            tools.values().all(|version| version.as_str().unwrap().starts_with(|c: char| c.is_ascii_digit()))
                        );
                    }
                    Language::Python => {
                        let requirements = text("requirements.txt").unwrap();
                        assert!(requirements.lines().all(|line| line.contains("==")), "{requirements}");
                    }
                }
                for (path, text) in &files {
                    let left = ["{{name}}", "{{interface}}", "{{version}}"].iter().find(|name| text.contains(*name));
                    assert_eq!(left, None, "{}", path.display());
                }
            }
        }
    }
}
