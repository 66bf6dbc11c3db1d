//! A source of VOD files with a scheme of its own, `vod://test/…`: the rest says what it answers.

use flyloft_plugin::vod_source::{
    Addressing, ByteRange, Context, Entry, Error, FileInfo, HttpSource, ListRequest, Listing, LocalFile, OwnBytes, Page, Plan,
    Request, S3Object, VodSource,
};

struct Sources;

/// Bytes of the plugin's own file.
const SIZE: u64 = 1_000_000;

impl VodSource for Sources {
    fn open(_context: Context, request: Request) -> Result<Plan, Error> {
        let path = request.uri.strip_prefix("vod://test/").ok_or(Error::NotMine)?;
        match path.split_once('/').unwrap_or((path, "")) {
            ("file", path) => Ok(Plan::File(LocalFile { path: path.to_owned() })),
            ("http", host) => Ok(Plan::Http(HttpSource { url: format!("https://{host}/v.mp4"), headers: Vec::new() })),
            ("s3", credential) => Ok(Plan::S3(S3Object {
                bucket: "space".to_owned(),
                key: "dir/key one.mp4".to_owned(),
                endpoint: Some("https://ams3.digitaloceanspaces.com".to_owned()),
                region: None,
                addressing: Addressing::Path,
                credential: Some(credential.to_owned()),
            })),
            ("own", handle) => Ok(Plan::Own(OwnBytes { handle: handle.to_owned(), size: SIZE })),
            ("missing", _) => Err(Error::NotFound("File not found.".to_owned())),
            _ => Err(Error::Invalid("There are file, http, s3 and own.".to_owned())),
        }
    }

    fn stat(context: Context, request: Request) -> Result<Option<FileInfo>, Error> {
        match Sources::open(context, request)? {
            Plan::Own(own) => {
                Ok(Some(FileInfo { size: Some(own.size), modified: None, media_type: Some("video/mp4".to_owned()) }))
            }
            _ => Ok(None),
        }
    }

    fn list(_context: Context, request: ListRequest) -> Result<Listing, Error> {
        if !request.uri.starts_with("vod://test/") {
            return Err(Error::NotMine);
        }
        let start: u32 = request.cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let info = FileInfo { size: None, modified: None, media_type: None };
        let entry = |n: u32| Entry { uri: format!("vod://test/own/{n}"), info: info.clone() };
        let end = start + request.limit;
        Ok(Listing::Entries(Page { entries: (start..end).map(entry).collect(), cursor: Some(end.to_string()) }))
    }

    fn read(_context: Context, range: ByteRange) -> Result<Vec<u8>, Error> {
        let end = SIZE.min(range.offset.saturating_add(u64::from(range.length)));
        match range.handle.as_str() {
            "too-much" => Ok(vec![0; range.length as usize + 1]),
            _ => Ok((range.offset..end).map(|offset| offset as u8).collect()),
        }
    }
}

flyloft_plugin::export_vod_source!(Sources);
