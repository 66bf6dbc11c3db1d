//! Feeds a stream to its segmenter and publishes each new window.

use std::sync::Arc;

use flyloft_media::cmaf::{Segmenter, SegmenterConfig, Window};
use flyloft_media::hub::{From, Read, Stream};
use tokio::sync::watch;

/// Entries that are taken from the ring at a time.
const STEP: usize = 256;

/// Starts segmenting. The receiver always holds the newest window; it closes when the stream has ended and its playlist is complete.
pub fn start(stream: Arc<Stream>, config: SegmenterConfig) -> watch::Receiver<Arc<Window>> {
    let mut segmenter = Segmenter::new(config);
    let (sender, receiver) = watch::channel(segmenter.window());
    tokio::spawn(async move {
        let mut cursor = stream.cursor(From::Oldest);
        let mut entries = Vec::new();
        loop {
            let listener = stream.listen();
            entries.clear();
            match stream.read(&mut cursor, &mut entries, STEP) {
                Read::Entries(_) => {
                    let mut changed = false;
                    for entry in &entries {
                        changed |= segmenter.push(entry);
                    }
                    if changed {
                        sender.send_replace(segmenter.window());
                    }
                    if entries.len() == STEP {
                        tokio::task::yield_now().await;
                    }
                }
                Read::Empty => listener.await,
                Read::Ended => break,
            }
        }
        segmenter.finish();
        sender.send_replace(segmenter.window());
    });
    receiver
}
