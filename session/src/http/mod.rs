//! Sessions over HTTP, as a tower layer. Feature `tower`; `axum` adds the extractor.
//!
//! [`SessionLayer`] puts a [`Session`] into the extensions of each request. What a handler does to
//! it is recorded and committed as one patch before the first byte of the response; a request that
//! does nothing to it costs nothing.
//!
//! | the request | store operations |
//! |---|---|
//! | ignores its session | 0 |
//! | reads | 1; a touch that is due runs after the response |
//! | writes, without reading | 1 |
//! | reads and writes | 2 |
//!
//! # The cookie
//!
//! With a public URL of `https` it is `__Host-id`, `Secure`, `HttpOnly`, `SameSite=Lax`, for the
//! life of the browser. With one of `http`, browsers would drop that: it is `id` without `Secure`,
//! and a warning at the start says so. The public URL decides, never a header of a request.
//!
//! A cookie that is not one of ours, by its form or because the store does not know it, is nobody's
//! session: it is never adopted, and the first write begins another one. A cookie is only removed
//! by a logout: removing a stale one could hit the fresh one that another response has just set.
//!
//! # What if it ends meanwhile?
//!
//! A request that has seen its session, or shows a secret that no longer counts, and finds at its
//! commit that somebody logged out or in: its writes are dropped, an event says so, and the
//! response is `409 Conflict`. They never bring the session back.
//!
//! # Security events
//!
//! They are `tracing` events with the target `standfast::session::security`, the field `event`, and
//! where they are known `session` (the reference, which cannot log in) and `request_id`:
//! `malformed`, `ambiguous`, `unknown`, `refused`, `created`, `login`, `renewed`, `logout`,
//! `logout_everywhere`, `dropped`.

mod config;
mod cookie;
mod error;
mod events;
#[cfg(feature = "axum")]
mod extract;
mod layer;
mod pending;
#[cfg(debug_assertions)]
mod races;
mod session;
mod step;

pub use config::{OnServerError, OnUnavailable, SameSite, SessionLayerConfig};
pub use error::SessionError;
#[cfg(feature = "axum")]
pub use extract::NoSessionLayer;
pub use layer::{SessionLayer, SessionService};
pub use session::Session;
