//! The plugins are the examples of this crate: one component each.
