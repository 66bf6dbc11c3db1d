//! `show://NAME` is the file `shows/NAME.mp4` in the media directory. Everything else is left to the next plugin.

use flyloft_plugin::vod_source::{
    ByteRange, Context, Error, FileInfo, ListRequest, Listing, LocalFile, Plan, Request, VodSource,
};

struct Rule;

impl VodSource for Rule {
    fn open(_context: Context, request: Request) -> Result<Plan, Error> {
        let name = request.uri.strip_prefix("show://").ok_or(Error::NotMine)?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(Error::Invalid(format!("{name:?} is no show: its name has lower-case letters, digits and hyphens.")));
        }
        Ok(Plan::File(LocalFile { path: format!("shows/{name}.mp4") }))
    }

    fn stat(context: Context, request: Request) -> Result<Option<FileInfo>, Error> {
        // The host looks where `open` points.
        Rule::open(context, request).map(|_| None)
    }

    fn list(_context: Context, request: ListRequest) -> Result<Listing, Error> {
        match request.uri.as_str() {
            "show://" => Ok(Listing::Place(Plan::File(LocalFile { path: "shows".into() }))),
            _ => Err(Error::NotMine),
        }
    }

    fn read(_context: Context, _range: ByteRange) -> Result<Vec<u8>, Error> {
        // It is asked only about plans with bytes of the plugin's own.
        Err(Error::NotMine)
    }
}

flyloft_plugin::export_vod_source!(Rule);

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::testing;

    fn open(uri: &str) -> Result<Plan, Error> {
        Rule::open(testing::context(), Request { uri: uri.into(), shared: true })
    }

    #[test]
    fn a_show_is_a_file() {
        assert_eq!(open("show://pilot-1"), Ok(Plan::File(LocalFile { path: "shows/pilot-1.mp4".into() })));
        assert_eq!(open("vod://s3/bucket/key.mp4"), Err(Error::NotMine));
        for name in ["", "../secret", "A"] {
            assert!(matches!(open(&format!("show://{name}")), Err(Error::Invalid(_))), "{name}");
        }
    }
}
