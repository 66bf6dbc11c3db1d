//! The streams of recorded files for tests: with a media directory of their own.

use std::sync::Arc;
use std::time::Duration;

use flyloft_media::cmaf::SegmenterConfig;
use flyloft_media::hub::RingLimits;
use flyloft_plugins::Plugins;

use super::source::Sources;
use super::{Settings, Vod};
use crate::config;
use crate::egress::fanout;
use crate::ingest::Door;
use crate::live::{self, Live};
use crate::rooms::testing::World;

pub(crate) async fn open(world: &World, plugins: &Plugins) -> Arc<Vod> {
    let second = Duration::from_secs(1);
    let live = Live::new(live::Settings {
        ring: RingLimits::default(),
        segmenter: SegmenterConfig::new(""),
        fanout: fanout::Settings { coalesce: Duration::ZERO, max_lag: 5_000_000, stall_timeout: 20 * second },
        reconnect_timeout: 30 * second,
    });
    let door = Door { rooms: Arc::clone(&world.rooms), live, stall_timeout: 15 * second };
    let sources = Sources::new(&config::Vod::default(), world.dir.path(), plugins.clone()).unwrap();
    let settings = Settings {
        buffer: 10 * second,
        looped: false,
        viewer_timeout: Some(30 * second),
        max_streams: 4,
        app: None,
        channels: Vec::new(),
    };
    Vod::open(Arc::clone(&world.rooms), door, sources, settings).await.unwrap()
}
