//! Finds application, stream name and parameters in what clients put into `connect`, `publish` and `play`.

/// Parameters of one request; more are left out.
const MAX_PARAMETERS: usize = 64;
/// What FFmpeg and Flash put before a name that looks like a file's.
const FILE_PREFIXES: [&str; 4] = ["flv:", "mp4:", "mp3:", "f4v:"];

/// A stream as a client named it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamName {
    pub app: String,
    pub name: String,
    /// Those behind the stream name, then those behind the application.
    pub parameters: Vec<(String, String)>,
}

impl StreamName {
    /// The stream called `name` in `publish` or `play`, of the application `app` in `connect`. Some encoders send
    /// `app = "live?mode=CMAF"`, some `app = "live/KEY"` and no name, some only a `tc_url` that has everything.
    pub fn resolve(app: &str, tc_url: &str, name: &str) -> Self {
        let (app, app_query) = split_query(app);
        let (name, query) = split_query(name);
        let app = app.trim_matches('/');
        let name = name.trim_start_matches('/');
        let name = FILE_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
        let mut parameters = Vec::new();
        append(&mut parameters, query);
        append(&mut parameters, app_query);
        let (app, name) = match name {
            "" => {
                let (path, url_query) = split_query(path_of(tc_url));
                if url_query != app_query {
                    append(&mut parameters, url_query);
                }
                let path = path.trim_matches('/');
                // Whichever says more; the first segment is the application.
                let whole = if path.len() > app.len() { path } else { app };
                whole.split_once('/').unwrap_or((whole, ""))
            }
            name => (app, name),
        };
        Self { app: decode(app), name: decode(name), parameters }
    }
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

/// What stands behind scheme and host of a URL.
fn path_of(url: &str) -> &str {
    let behind = url.split_once("://").map_or("", |(_, rest)| rest);
    behind.find('/').and_then(|at| behind.get(at..)).unwrap_or_default()
}

fn append(parameters: &mut Vec<(String, String)>, query: &str) {
    let room = MAX_PARAMETERS.saturating_sub(parameters.len());
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).take(room).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    });
    parameters.extend(pairs);
}

/// Decodes `%41`. A plus sign stays one: people paste tokens here, and no form is involved.
fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().map(|pair| pair.map(|digit| char::from(digit).to_digit(16)));
        match (byte, digits) {
            (b'%', Some([Some(high), Some(low)])) => {
                out.push((high * 16 + low) as u8);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(app: &str, tc_url: &str, name: &str) -> (String, String, String) {
        let StreamName { app, name, parameters } = StreamName::resolve(app, tc_url, name);
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (app, name, parameters.join("&"))
    }

    fn expect(app: &str, name: &str, parameters: &str) -> (String, String, String) {
        (app.into(), name.into(), parameters.into())
    }

    #[test]
    fn every_place_for_the_key_is_found() {
        let url = "rtmp://h/live";
        assert_eq!(resolve("live", url, "KEY?mode=CMAF"), expect("live", "KEY", "mode=CMAF"));
        assert_eq!(resolve("live?mode=CMAF", "rtmp://h/live?mode=CMAF", "KEY"), expect("live", "KEY", "mode=CMAF"));
        assert_eq!(resolve("live/KEY?mode=CMAF", "rtmp://h/live/KEY?mode=CMAF", ""), expect("live", "KEY", "mode=CMAF"));
        assert_eq!(resolve("live/KEY", "", ""), expect("live", "KEY", ""));
        assert_eq!(resolve("live", "rtmp://h:1935/live/KEY?mode=RTMP", ""), expect("live", "KEY", "mode=RTMP"));
        assert_eq!(resolve("live/", url, "/KEY"), expect("live", "KEY", ""));
        assert_eq!(resolve("live/instance", url, "KEY"), expect("live/instance", "KEY", ""));
        assert_eq!(resolve("live", url, "mp4:KEY"), expect("live", "KEY", ""));
        assert_eq!(resolve("", "rtmp://h/", "KEY"), expect("", "KEY", ""));
        assert_eq!(resolve("live", url, ""), expect("live", "", ""));
        assert_eq!(resolve("live", url, "?mode=CMAF"), expect("live", "", "mode=CMAF"));
    }

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(resolve("live", "", "K%45Y%2541?a%20b=c%26d&+=%zz%"), expect("live", "KEY%41", "a b=c&d&+=%zz%"));
        assert_eq!(resolve("live", "", "%ff"), expect("live", "\u{fffd}", ""));
    }

    #[test]
    fn parameters_are_limited() {
        let many = format!("KEY?{}", "a=b&".repeat(1000));
        assert_eq!(StreamName::resolve("live", "", &many).parameters.len(), MAX_PARAMETERS);
    }
}
