//! `plugins/README.md`, command by command, in each of the languages.

use crate::authoring::author;
use anyhow::{Context, Result, bail, ensure};
use flyloft_tests::server::{Server, binary};
use std::fs;
use std::path::Path;

/// The part of the guide that is run.
const SECTION: &str = "## Ten minutes to a rule of your own";

/// Commands, and what they print if the guide says so.
#[derive(Debug)]
struct Step {
    commands: String,
    expected: Option<String>,
}

/// The fenced `sh` blocks of the section, each with the `text` block that follows it.
fn steps(guide: &str) -> Result<Vec<Step>> {
    let (_, section) = guide.split_once(SECTION).with_context(|| format!("the guide has no section {SECTION:?}"))?;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let mut steps: Vec<Step> = Vec::new();
    let mut rest = section;
    while let Some((_, block)) = rest.split_once("\n```") {
        let (kind, block) = block.split_once('\n').context("a fence at the end")?;
        let (body, after) = block.split_once("\n```").context("a fence is not closed")?;
        match (kind.trim(), steps.last_mut()) {
            ("sh", _) => steps.push(Step { commands: body.to_owned(), expected: None }),
            ("text", Some(step)) if step.expected.is_none() => step.expected = Some(body.to_owned()),
            (kind, _) => bail!("a block of the kind {kind:?} follows neither text nor commands:\n{body}"),
        }
        // The closing fence's line end opens the next.
        rest = after;
    }
    Ok(steps)
}

/// Whether the lines are there one after another. `…` stands for anything, and alone in a line for any lines; times, sizes and digests
/// differ from one machine to the next.
fn matches(expected: &str, printed: &str) -> bool {
    let expected: Vec<String> = expected.lines().map(plain).collect();
    let printed: Vec<String> = printed.lines().map(plain).collect();
    (0..=printed.len()).any(|start| lines_match(&expected, printed.get(start..).unwrap_or_default()))
}

fn lines_match(expected: &[String], printed: &[String]) -> bool {
    match (expected, printed) {
        ([], _) => true,
        ([first, rest @ ..], _) if first.trim() == "…" => {
            (0..=printed.len()).any(|skip| lines_match(rest, printed.get(skip..).unwrap_or_default()))
        }
        (_, []) => false,
        ([first, rest @ ..], [line, printed @ ..]) => line_matches(first, line) && lines_match(rest, printed),
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut open = false;
    for part in parts {
        open = true;
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.is_empty() || open && expected.ends_with('…')
}

/// A line with `#` for digests, durations and sizes, and without spaces at its end.
fn plain(line: &str) -> String {
    let words: Vec<String> = line.trim_end().split(' ').map(str::to_owned).collect();
    let number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let digest = |word: &str| {
        let digits = word.strip_prefix("sha256:").unwrap_or(word).trim_end_matches([':', '…']);
        digits.len() >= 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let unit =
        |word: Option<&String>| word.is_some_and(|word| matches!(word.trim_end_matches(','), "ms" | "s" | "µs" | "KiB" | "MiB"));
    let mut plain = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let unit_follows = unit(words.get(index + 1));
        let is_unit = index > 0 && unit(Some(word)) && number(&words[index - 1]);
        plain.push(match word {
            word if digest(word) || number(word) && unit_follows => "#".to_owned(),
            _ if is_unit => "#".to_owned(),
            word => word.clone(),
        });
    }
    plain.join(" ")
}

/// Runs the guide against a fresh server, in a fresh directory.
fn follow(language: &str) -> Result<()> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/README.md");
    let steps = steps(&fs::read_to_string(&guide)?)?;
    ensure!(steps.len() > 6, "the guide has only {} steps", steps.len());
    let server = Server::with(&[("plugins.deadline_ms", "10000")])?;
    let data = server.data();
    let home = data.parent().context("the data directory has no parent")?;
    let outputs = tempfile::tempdir()?;
    let programs = outputs.path().join("bin");
    fs::create_dir(&programs)?;
    std::os::unix::fs::symlink(binary()?, programs.join("flyloft"))?;

    let mut script = "set -euo pipefail\n".to_owned();
    for (index, step) in steps.iter().enumerate() {
        let commands = step
            .commands
            .replace("--lang rust", &format!("--lang {language}"))
            .replace("http://localhost:8080", &server.base())
            .replace("rtmp://localhost/", &format!("rtmp://{}/", server.addresses().rtmp))
            // It runs already.
            .replace("flyloft serve &", ":");
        let output = outputs.path().join(index.to_string());
        script += &format!("exec > '{}'\n{commands}\n", output.display());
    }
    let mut shell = author(Path::new("bash"))?;
    let path =
        std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())))?;
    shell.arg("-c").arg(&script).current_dir(home).env("PATH", path);
    // A call is given more time than usual: the machine is busy with other tests.
    shell.env("FLYLOFT_PLUGINS_DEADLINE_MS", "10000");
    let run = shell.output().context("running bash")?;

    let said = String::from_utf8_lossy(&run.stderr);
    for (index, step) in steps.iter().enumerate() {
        let Ok(printed) = fs::read_to_string(outputs.path().join(index.to_string())) else {
            bail!("the commands before these failed:\n{}\n--- errors:\n{said}", step.commands);
        };
        let last = index + 1 == steps.len() || !outputs.path().join((index + 1).to_string()).exists();
        ensure!(
            run.status.success() || !last,
            "these commands failed:\n{}\n--- output:\n{printed}\n--- errors:\n{said}",
            step.commands
        );
        if let Some(expected) = &step.expected {
            ensure!(
                matches(expected, &printed),
                "of\n{}\nthe guide expects\n{expected}\n--- and it printed:\n{printed}\n--- errors:\n{said}",
                step.commands
            );
        }
    }
    let left = server.operator()?.get("/v1/plugins/my-policy")?.status;
    ensure!(left == 404, "the guide deletes what it made, and the plugin is still there");
    Ok(())
}

#[test]
fn rust() -> Result<()> {
    follow("rust")
}

#[test]
fn js() -> Result<()> {
    follow("js")
}

#[test]
fn python() -> Result<()> {
    follow("python")
}

#[test]
fn what_is_not_as_the_guide_says_is_found() -> Result<()> {
    let printed =
        "a.wasm  62 KiB\n  digest    sha256:24ec6bd0e6bf4bc5a06e0240467cf0f4\n  x\n  y\n  ✓ one 0.34 ms\n2 passed, 1 failed\n";
    ensure!(
        matches("a.wasm  1.6 MiB\n  digest    sha256:00ec6bd0e6bf…\n…\n  ✓ one 12 ms\n2 passed, 1 failed", printed),
        "a match is not found"
    );
    ensure!(matches("  y\n  ✓ … 12 ms", printed), "a match in the middle is not found");
    for wrong in ["2 passed", "1 passed, 1 failed", "  ✓ two 0.34 ms", "  x\n  ✓ one 0.34 ms", "  ✗ one 0.34 ms", "  y\n…\n  x"]
    {
        ensure!(!matches(wrong, printed), "{wrong:?} is found");
    }
    let guide =
        format!("{SECTION}\n\n```sh\na\nb\n```\n\nprints\n\n```text\nc\n```\n\n```sh\nd\n```\n\n## Next\n\n```sh\ne\n```\n");
    let steps = steps(&guide)?;
    let found: Vec<_> = steps.iter().map(|step| (step.commands.as_str(), step.expected.as_deref())).collect();
    ensure!(found == [("a\nb", Some("c")), ("d", None)], "{found:?}");
    Ok(())
}
