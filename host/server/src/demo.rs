//! The built-in live test picture: drawn, encoded and pushed over real RTMP into a room, as an encoder outside would do it.

mod canvas;
mod card;
mod font;
mod pattern;
mod push;
pub mod room;
mod source;
mod tone;
mod video;

use anyhow::{Context as _, Result};
use flyloft_media::rtmp::Address;
use tokio_util::sync::CancellationToken;

pub use pattern::{Format, TestPattern};
pub use source::{Generator, Source};

/// Publishes the test picture of the room called `title` to `url` (`rtmp://host:port/live/KEY`) until `cancel`. A lost connection
/// is made again, with growing pauses. Errors are those that no further try can mend: a wrong URL, an encoder that fails.
pub async fn run(url: &str, title: &str, cancel: CancellationToken) -> Result<()> {
    let address = Address::parse(url).with_context(|| format!("{url:?} is nothing to push to"))?;
    let source = Source::new(Format::default(), title)?;
    let stop = cancel.child_token();
    let make = async {
        let made = source.run(stop.clone()).await;
        stop.cancel();
        made
    };
    let push = async {
        let pushed = push::run(source.stream(), &address, || source.request_keyframe(), &stop).await;
        stop.cancel();
        pushed
    };
    let (made, pushed) = tokio::join!(make, push);
    made.and(pushed)
}
