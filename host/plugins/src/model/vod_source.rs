//! The records of `wit/0.1.0/vod-source.wit`.

use super::Pair;
use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

/// A file that is to be opened or looked at: the question of `vod-source`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct SourceRequest {
    /// As it was asked for, for example "vod-live://s3/bucket/key%20one.mp4", without credentials.
    pub uri: String,
    /// Whether it makes a live stream that many share (`vod-live:`) and not a stream for one viewer (`vod:`).
    pub shared: bool,
}

/// A file below the media directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct LocalFile {
    /// Relative, decoded, with "/" between its parts; the host has checked that there is no "..".
    pub path: String,
}

/// A file on an HTTP server that answers `Range` requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct HttpSource {
    pub url: String,
    pub headers: Vec<Pair>,
}

/// How a bucket stands in the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ComponentType, Lift)]
#[component(enum)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Addressing {
    #[component(name = "path")]
    Path,
    #[component(name = "virtual-host")]
    VirtualHost,
}

/// An object in an S3-compatible store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct S3Object {
    pub bucket: String,
    /// Decoded.
    pub key: String,
    /// `http` or `https`, without a path. None means Amazon's endpoint for the region.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub addressing: Addressing,
    /// The name of credentials; the host has checked that they are granted to the plugin. None asks without.
    pub credential: Option<String>,
}

/// Bytes that the plugin makes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct OwnBytes {
    /// For [`ByteRange::handle`].
    pub handle: String,
    /// Bytes in all.
    pub size: u64,
}

/// Where bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(variant)]
#[serde(rename_all = "kebab-case")]
pub enum SourcePlan {
    #[component(name = "file")]
    File(LocalFile),
    #[component(name = "http")]
    Http(HttpSource),
    #[component(name = "s3")]
    S3(S3Object),
    #[component(name = "own")]
    Own(OwnBytes),
}

/// Why there is no source. Texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(variant)]
#[serde(rename_all = "kebab-case")]
pub enum SourceError {
    /// The URI is not this plugin's: the next plugin in the chain is asked.
    #[component(name = "not-mine")]
    NotMine,
    #[component(name = "not-found")]
    NotFound(String),
    /// It may not be read.
    #[component(name = "denied")]
    Denied(String),
    /// The URI is the plugin's and is wrong.
    #[component(name = "invalid")]
    Invalid(String),
    /// It can't be said now; a later call may succeed.
    #[component(name = "unavailable")]
    Unavailable(String),
}

/// What is known about a file without opening it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct FileInfo {
    /// Bytes.
    pub size: Option<u64>,
    pub modified: Option<u64>,
    /// For example "video/mp4".
    #[component(name = "media-type")]
    pub media_type: Option<String>,
}

/// What is there? The question of `vod-source`'s `list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct ListRequest {
    /// A directory or a prefix, in the form of [`SourceRequest::uri`].
    pub uri: String,
    /// Where the last page ended. None for the first page.
    pub cursor: Option<String>,
    /// How many entries are wanted, at most [`ListRequest::MAX_ENTRIES`].
    pub limit: u32,
}

impl ListRequest {
    /// Entries of a page.
    pub const MAX_ENTRIES: u32 = 1000;
}

/// A file in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct ListEntry {
    pub uri: String,
    pub info: FileInfo,
}

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct ListPage {
    pub entries: Vec<ListEntry>,
    /// For the next page; None when this is the last.
    pub cursor: Option<String>,
}

/// The answer of `vod-source`'s `list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(variant)]
#[serde(rename_all = "kebab-case")]
pub enum Listing {
    /// The host is to list this place: a directory, or the objects whose keys begin so.
    #[component(name = "place")]
    Place(SourcePlan),
    /// The plugin has listed it itself.
    #[component(name = "entries")]
    Entries(ListPage),
}

/// A piece of a plugin's own bytes: the question of `vod-source`'s `read`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct ByteRange {
    /// From [`OwnBytes::handle`].
    pub handle: String,
    pub offset: u64,
    /// At most [`ByteRange::MAX_LENGTH`].
    pub length: u32,
}

impl ByteRange {
    /// Bytes that may be asked for at a time.
    pub const MAX_LENGTH: u32 = 512 << 10;
}
