//! Playlists as they go over the wire: rendered and compressed once for each window, however many players ask.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use flyloft_media::MediaKind;
use flyloft_media::cmaf::Window;
use flyloft_media::hls;
use parking_lot::Mutex;

/// Which playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Multivariant,
    Media { of: MediaKind, skip: bool },
}

#[derive(Clone, Debug)]
pub struct Rendered {
    pub plain: Bytes,
    pub gzip: Bytes,
    pub etag: String,
}

impl Rendered {
    pub fn new(text: String) -> Self {
        let gzip = compress(text.as_bytes());
        Self { etag: super::etag(text.as_bytes()), plain: text.into(), gzip }
    }
}

/// The playlists of a stream's latest window.
#[derive(Debug, Default)]
pub struct Playlists(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    window: Option<Arc<Window>>,
    rendered: HashMap<Kind, Rendered>,
}

impl Playlists {
    /// The playlist of `window`; `query` goes onto the URIs in it. `None` when there is no such rendition.
    pub fn get(&self, window: &Arc<Window>, kind: Kind, query: &str) -> Option<Rendered> {
        if !query.is_empty() {
            return render(window, kind, query);
        }
        let mut cached = self.0.lock();
        if !cached.window.as_ref().is_some_and(|known| Arc::ptr_eq(known, window)) {
            cached.rendered.clear();
            cached.window = Some(Arc::clone(window));
        }
        if let Some(rendered) = cached.rendered.get(&kind) {
            return Some(rendered.clone());
        }
        let rendered = render(window, kind, query)?;
        cached.rendered.insert(kind, rendered.clone());
        Some(rendered)
    }
}

fn render(window: &Window, kind: Kind, query: &str) -> Option<Rendered> {
    match kind {
        Kind::Multivariant => Some(hls::multivariant(window, query)),
        Kind::Media { of, skip } => hls::media(window, of, skip, query),
    }
    .map(Rendered::new)
}

fn compress(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 3), Compression::fast());
    match encoder.write_all(plain).and_then(|()| encoder.finish()) {
        Ok(compressed) => compressed.into(),
        // Writing to memory does not fail; an empty body would be served as it stands, so nothing depends on this.
        Err(_) => Bytes::new(),
    }
}
