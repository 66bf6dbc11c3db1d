//! The multivariant playlist: one variant, with its sound in a rendition of its own.

use super::{VERSION, put, suffix};
use crate::cmaf::{RenditionWindow, Window};

/// The multivariant playlist, to be served as `index.m3u8`. `query` is appended to the URIs in it. Ask for it when the window is ready.
pub fn multivariant(window: &Window, query: &str) -> String {
    let suffix = suffix(query);
    let mut out = format!("#EXTM3U\n#EXT-X-VERSION:{VERSION}\n");
    let (video, audio) = (window.video.as_ref(), window.audio.as_ref());
    if let (Some(_), Some(audio)) = (video, audio) {
        let channels = audio.latest_init().and_then(|init| init.track.audio()).map_or(2, |info| info.channels);
        put(
            &mut out,
            format_args!(
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"{channels}\",\
                 URI=\"audio.m3u8{suffix}\"\n"
            ),
        );
    }
    let Some(main) = video.or(audio) else { return out };
    let sum = |of: fn(&RenditionWindow) -> u64| window.renditions().map(of).sum::<u64>().max(1);
    let codecs: Vec<_> =
        window.renditions().filter_map(|rendition| Some(rendition.latest_init()?.track.codecs.as_str())).collect();
    put(
        &mut out,
        format_args!(
            "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"",
            sum(|rendition| rendition.peak_bandwidth),
            sum(|rendition| rendition.average_bandwidth),
            codecs.join(",")
        ),
    );
    if let Some(info) = video.and_then(|video| video.latest_init()?.track.video()) {
        put(&mut out, format_args!(",RESOLUTION={}x{}", info.width, info.height));
    }
    if main.frame_rate > 0.0 {
        put(&mut out, format_args!(",FRAME-RATE={:.3}", main.frame_rate));
    }
    if video.is_some() && audio.is_some() {
        out.push_str(",AUDIO=\"audio\"");
    }
    put(&mut out, format_args!("\n{}.m3u8{suffix}\n", crate::cmaf::rendition_name(main.kind)));
    out
}
