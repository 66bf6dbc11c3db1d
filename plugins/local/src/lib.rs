//! The built-in source for files in the server's media directory: `vod://film.mp4`, `vod-live://dir/a%20film.mp4`. What begins with
//! `vod://s3/` is not its.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use flyloft_plugin::vod_source::{
    ByteRange, Context, Error, FileInfo, ListRequest, Listing, LocalFile, Plan, Request, VodSource, decoded, decoded_place, rest,
};

struct Local;

impl VodSource for Local {
    fn open(_context: Context, request: Request) -> Result<Plan, Error> {
        let path = decoded(own(&request.uri)?)?;
        Ok(Plan::File(LocalFile { path }))
    }

    fn stat(_context: Context, request: Request) -> Result<Option<FileInfo>, Error> {
        decoded(own(&request.uri)?)?;
        Ok(None)
    }

    fn list(_context: Context, request: ListRequest) -> Result<Listing, Error> {
        let path = decoded_place(own(&request.uri)?)?;
        Ok(Listing::Place(Plan::File(LocalFile { path })))
    }

    fn read(_context: Context, _range: ByteRange) -> Result<Vec<u8>, Error> {
        Err(Error::Invalid("This source makes no bytes itself: the host reads its files.".to_owned()))
    }
}

flyloft_plugin::export_vod_source!(Local);

/// The path of a URI that is this plugin's.
fn own(uri: &str) -> Result<&str, Error> {
    rest(uri).filter(|rest| !rest.starts_with("s3/")).ok_or(Error::NotMine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::testing;

    fn open(uri: &str) -> Result<Plan, Error> {
        Local::open(testing::context(), Request { uri: uri.into(), shared: true })
    }

    fn file(path: &str) -> Plan {
        Plan::File(LocalFile { path: path.into() })
    }

    #[test]
    fn a_uri_names_a_file() {
        assert_eq!(open("vod://sample.mp4"), Ok(file("sample.mp4")));
        assert_eq!(open("vod-live://dir/sub/a%20film.mp4"), Ok(file("dir/sub/a film.mp4")));
        assert_eq!(open("vod://%D1%84%D0%B8%D0%BB%D1%8C%D0%BC.mp4"), Ok(file("фильм.mp4")));
        assert_eq!(open("vod://s3.mp4"), Ok(file("s3.mp4")));
    }

    #[test]
    fn other_sources_have_their_own() {
        for uri in ["vod://s3/bucket/a.mp4", "vod-live://s3/https://h/b/k", "test://a.mp4", "a.mp4", ""] {
            assert_eq!(open(uri), Err(Error::NotMine), "{uri}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_directory() {
        for path in
            ["", "../a", "a/../b", "%2e%2e/a", "%2e%2e%2fa", "/etc/passwd", "%2fetc/passwd", "a%00", "a\\b", "a//b", "%zz"]
        {
            let opened = open(&format!("vod://{path}"));
            assert!(matches!(&opened, Err(Error::Invalid(reason)) if reason.ends_with('.')), "{path}: {opened:?}");
        }
    }

    #[test]
    fn directories_are_listed_by_the_host() {
        let list = |uri: &str| Local::list(testing::context(), ListRequest { uri: uri.into(), cursor: None, limit: 10 });
        assert_eq!(list("vod://"), Ok(Listing::Place(file(""))));
        assert_eq!(list("vod-live://dir/"), Ok(Listing::Place(file("dir"))));
        assert_eq!(list("vod://s3/bucket/"), Err(Error::NotMine));
        assert!(matches!(list("vod://dir/.."), Err(Error::Invalid(_))));
        let stat = |uri: &str| Local::stat(testing::context(), Request { uri: uri.into(), shared: false });
        assert_eq!(stat("vod://a.mp4"), Ok(None));
        assert!(matches!(stat("vod://../a.mp4"), Err(Error::Invalid(_))));
    }
}
