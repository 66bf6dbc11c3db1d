//! Video on demand: files that are played, and files that are made into live streams.

pub mod source;
