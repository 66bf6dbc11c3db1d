//! Lists in pages. A cursor is opaque to clients; things that are made meanwhile don't move a page.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::rooms::Page;

const DEFAULT_LIMIT: u32 = 50;
pub const MAX_LIMIT: u32 = 100;
const MAX_CURSOR: usize = 128;

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    pub items: Vec<T>,
    /// Give it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Which page is asked for, checked.
pub struct Wanted {
    after: Option<String>,
    limit: u32,
}

/// What clients give for the page after this id.
pub fn cursor(id: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(id)
}

pub fn limit(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(Problem::invalid("limit", format!("it may be 1 to {MAX_LIMIT}"))),
    }
}

impl Wanted {
    pub fn new(wanted: Option<u32>, cursor: Option<&str>) -> Result<Self, Problem> {
        let after = cursor.map(|cursor| {
            let decoded = Some(cursor)
                .filter(|cursor| cursor.len() <= MAX_CURSOR)
                .and_then(|cursor| BASE64_URL_SAFE_NO_PAD.decode(cursor).ok());
            decoded.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
                Problem::invalid("cursor", "it is no cursor of this API: take the nextCursor of the page before, unchanged")
            })
        });
        Ok(Self { after: after.transpose()?, limit: limit(wanted)? })
    }

    /// The id after which the page begins.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// How many are shown.
    pub fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// What to ask the store for: one more than is shown tells whether there is another page.
    pub fn page(&self) -> Page<'_> {
        Page { after: self.after.as_deref(), limit: self.limit + 1 }
    }

    pub fn list<T, J>(&self, mut found: Vec<T>, id: impl Fn(&T) -> &str, show: impl Fn(T) -> J) -> List<J> {
        let limit = self.limit();
        let more = found.len() > limit;
        found.truncate(limit);
        let next_cursor = found.last().filter(|_| more).map(|last| cursor(id(last)));
        List { items: found.into_iter().map(show).collect(), next_cursor }
    }
}
