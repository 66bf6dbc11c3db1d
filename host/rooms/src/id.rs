//! Identifiers: opaque strings that the caller makes, told apart by their types.

/// A string of its own type.
macro_rules! id {
    ($($(#[$doc:meta])* $name:ident,)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(&self.0)
            }
        }
    )+};
}

id! {
    /// A tenant.
    AppId,
    /// A person or device of an App.
    MemberId,
    /// A video room; also the name by which viewers watch it.
    RoomId,
    /// An event, unique for ever.
    EventId,
    /// One publish, from its acceptance to its end.
    PublishId,
    /// A video post.
    PostId,
    /// The public name of a member's live stream. It stays the same when the stream key is replaced and says nothing about it.
    StreamName,
}
