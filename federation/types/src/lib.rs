//! Wire shapes: what clients and other servers send to us and read from us.
//!
//! Request shapes, identifiers, event contents on cold paths and push rules are ruma's, pinned
//! exactly; only this crate and `hearth-protocol` name it, so that an upgrade is one decision in one
//! place. Shapes that ruma cannot give us (answers of hot routes, fields that clients insist on
//! although they are at their default) are our own and live here beside the re-export.

/// The whole vocabulary, for the names that the short-cuts below do not cover.
pub use ruma;
/// Client-server API: one module per endpoint.
pub use ruma::api::client;
/// Server-server API: one module per endpoint.
pub use ruma::api::federation;
/// Event contents.
pub use ruma::events;
