//! What a process and its children use, read from `/proc`, and sending them signals.

use anyhow::{Context, Result};
use std::time::Duration;

/// Resources of a process and all its descendants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time since the processes started.
    pub cpu: Duration,
    /// Resident memory in bytes; pages that processes share count once for each.
    pub rss: u64,
    /// Threads of all the processes.
    pub threads: u64,
}

impl Usage {
    /// Reads `/proc` now. An error when `pid` is gone; children that vanish meanwhile are left out.
    pub fn of(pid: u32) -> Result<Usage> {
        let mut usage = Usage::one(pid).with_context(|| format!("reading /proc/{pid}"))?;
        for child in children(pid) {
            if let Ok(more) = Usage::of(child) {
                usage.cpu += more.cpu;
                usage.rss += more.rss;
                usage.threads += more.threads;
            }
        }
        Ok(usage)
    }

    fn one(pid: u32) -> Result<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The command's name may hold anything, also spaces and brackets: fields are counted after the last bracket.
        let (_, rest) = stat.rsplit_once(')').context("no command name in stat")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| -> Result<u64> {
            let text = fields.get(number - 3).with_context(|| format!("stat has no field {number}"))?;
            Ok(text.parse()?)
        };
        let ticks = field(14)? + field(15)?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Ok(Usage {
            cpu: Duration::from_micros(ticks * 1_000_000 / per_second),
            rss: field(24)? * rustix::param::page_size() as u64,
            threads: field(20)?,
        })
    }
}

/// The direct children of all threads of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

/// How many files and sockets a process has open.
pub fn open_files(pid: u32) -> Result<usize> {
    let path = format!("/proc/{pid}/fd");
    Ok(std::fs::read_dir(&path).with_context(|| format!("reading {path}"))?.count())
}

/// The signals that tests send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Signal {
    /// Please stop.
    Terminate,
    /// As `kill -9`: no chance to save anything.
    Kill,
    /// Stop running, but keep sockets open: a peer that hangs.
    Pause,
    Continue,
    /// As ctrl-C; ffmpeg ends its output properly.
    Interrupt,
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    use rustix::process::Signal as Os;
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).context("no such process id")?;
    let signal = match signal {
        Signal::Terminate => Os::TERM,
        Signal::Kill => Os::KILL,
        Signal::Pause => Os::STOP,
        Signal::Continue => Os::CONT,
        Signal::Interrupt => Os::INT,
    };
    rustix::process::kill_process(pid, signal).with_context(|| format!("sending a signal to {pid:?}"))
}

/// Raises the limit of open files to the hard limit, and returns it.
pub fn raise_open_files() -> Result<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("raising the limit of open files")?;
    Ok(limit.current.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_usage_is_plausible() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss > 100 << 10, "{usage:?}");
        assert!(usage.threads >= 1, "{usage:?}");
        assert!(Usage::of(u32::MAX).is_err());
    }

    #[test]
    fn children_are_found_and_can_be_stopped() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(children(std::process::id()).contains(&child.id()));
        signal(child.id(), Signal::Kill).unwrap();
        assert!(!child.wait().unwrap().success());
    }
}
