//! One stream on its way to the disk.

use std::path::PathBuf;
use std::time::Duration;

use flyloft_media::hub::{From, Read, Stream};
use flyloft_media::recording::{Muxer, Output};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::part::PartWriter;

/// Entries that are taken from the ring at a time.
const STEP: usize = 256;
/// What lies there is written when nothing has come for this long.
const IDLE: Duration = Duration::from_secs(2);

/// How a recorder ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Frames that the ring dropped before they could be written.
    pub lost: u64,
    /// Why it ended before the stream did.
    pub failure: Option<String>,
}

/// Records `stream` until it ends or `stop` is cancelled. The disk is waited for here and nowhere else: meanwhile frames wait in the
/// stream's ring, and what falls out of it is counted as lost.
pub async fn record(stream: &Stream, from: From, directory: PathBuf, settings: &Settings, stop: CancellationToken) -> Outcome {
    let mut cursor = stream.cursor(from);
    let mut muxer = Muxer::default();
    let mut writer = Some(PartWriter::new(directory, settings));
    let (mut entries, mut outputs) = (Vec::new(), Vec::new());
    let mut failure = None;
    let mut idle = false;
    while failure.is_none() {
        let listener = stream.listen();
        // Asked before the ring is read: what came until then is still taken.
        let stopped = stop.is_cancelled();
        entries.clear();
        match stream.read(&mut cursor, &mut entries, STEP) {
            Read::Entries(_) => {
                idle = false;
                entries.iter().for_each(|entry| muxer.push(entry, &mut outputs));
                failure = write(&mut writer, &mut outputs).await;
                tokio::task::yield_now().await;
            }
            Read::Empty if stopped => break,
            Read::Empty => tokio::select! {
                () = listener => {}
                () = stop.cancelled() => {}
                () = tokio::time::sleep(IDLE), if !idle => {
                    idle = true;
                    muxer.flush(&mut outputs);
                    failure = write(&mut writer, &mut outputs).await;
                }
            },
            Read::Ended => break,
        }
    }
    if failure.is_none() {
        muxer.flush(&mut outputs);
        failure = write(&mut writer, &mut outputs).await;
    }
    if let Some(mut writer) = writer {
        let closed = tokio::task::spawn_blocking(move || writer.sync()).await;
        failure = failure.or_else(|| closed.ok()?.err().map(|error| error.to_string()));
    }
    Outcome { lost: cursor.skipped(), failure }
}

/// Writes on a thread that may wait for the disk. Why that failed, if it did.
async fn write(writer: &mut Option<PartWriter>, outputs: &mut Vec<Output>) -> Option<String> {
    if outputs.is_empty() {
        return None;
    }
    let mut working = writer.take()?;
    let outputs = std::mem::take(outputs);
    let written = tokio::task::spawn_blocking(move || {
        let written = outputs.iter().try_for_each(|output| working.write(output));
        (working, written)
    });
    match written.await {
        Ok((working, written)) => {
            *writer = Some(working);
            written.err().map(|error| error.to_string())
        }
        Err(error) => Some(format!("a fault of the server: {error}")),
    }
}
