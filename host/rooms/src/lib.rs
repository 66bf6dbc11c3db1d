//! The domain of Flyloft without any I/O: apps, members, stream keys and video rooms, the state machines that they follow, and the
//! events that tell of it. Identifiers, randomness and the time come from the caller.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod broadcast;
mod entity;
mod event;
mod id;
mod mode;
mod post;
mod secret;
mod state;

pub use broadcast::{Broadcast, Effects, Step, Trigger};
pub use entity::{AccessLevel, App, Member, RoomType, StreamKey, VideoRoom};
pub use event::{Deleted, Event, EventBody, Replaced};
pub use id::{AppId, EventId, MemberId, PostId, PublishId, RoomId, StreamName};
pub use mode::OutputMode;
pub use post::{PostInput, PostState, VideoPost};
pub use secret::Secret;
pub use state::{Conflict, ConflictCode, KeyInput, RoomInput, StreamKeyState, VideoRoomState};

/// Milliseconds since the Unix epoch.
pub type Millis = i64;

/// A word of the API that is not one of those that a type knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no {what}: it may be {}", allowed.join(", "))]
pub struct UnknownWord {
    pub what: &'static str,
    pub found: String,
    pub allowed: Vec<&'static str>,
}

/// An enum whose values are the words of the API, the database and the events.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $what:literal { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word in the API.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word).ok_or_else(|| crate::UnknownWord {
                    what: $what,
                    found: word.chars().take(64).collect(),
                    allowed: Self::ALL.iter().map(|value| value.as_str()).collect(),
                })
            }
        }
    };
}
pub(crate) use words;
