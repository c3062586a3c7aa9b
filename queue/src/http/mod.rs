//! Job status over HTTP, for any server that speaks [`tower_service::Service`].
//!
//! | request | answer |
//! |---|---|
//! | whatever starts a job | [`Accepted`]: 202, `Location`, `Retry-After`, `{"poll":"/is_ready?handle=…"}` |
//! | `GET {poll}?handle=H` | 200 and how the job stands |
//! | … `&wait=20s` | the same once the job has ended, or after 20 seconds |
//! | … `&wait=20s&seen=V` | the same once the version is not V any more, or after 20 seconds |
//! | `GET {poll}/events?handle=H` | the same as events, one for each change |
//! | `POST …/cancel?handle=H` | 202 and the job ends, or 409 because it has |
//!
//! # Answers
//!
//! ```json
//! {"status":"wait","state":"queued","attempt":1,"progress":{"done":3,"total":10,"message":null},
//!  "error":null,"retry_at":null,"cancel_requested":false,"version":4}
//! {"status":"ready","result":"r/7.csv","version":5}
//! {"status":"failed","error":"the file has no rows","version":5}
//! {"status":"cancelled","version":5}
//! ```
//!
//! `state` is `queued` or `running`; `error` is what the last attempt said and `retry_at` when the
//! next one is due. [`on_ready`](StatusRoutes::on_ready) decides what a ready one says besides.
//!
//! Nothing is to be stored (`Cache-Control: no-store`). A job that has not ended has `Retry-After`:
//! half of its age so far, or the time until its scheduled retry, within bounds. The version is
//! the entity tag too, and `If-None-Match` is answered with 304; content from a hook has none,
//! because it is made anew each time.
//!
//! Whatever goes wrong is `{"error":"words"}`:
//!
//! | code | when |
//! |---|---|
//! | 400 | no handle or a malformed one, a malformed `wait` or `seen`, a parameter twice |
//! | 404 | the handle is unknown, has expired, or is somebody else's: the same answer |
//! | 405 | another method, with `Allow` |
//! | 409 | there is nothing left to cancel |
//! | 414 | a query of more than 2 KiB |
//! | 503 | the store or the hook failed, with `Retry-After`; the log has the reason |
//!
//! # Who may ask
//!
//! Whoever knows the handle: 128 bits that cannot be guessed and that this crate never logs whole.
//! A status with an [owner](crate::JobStatus::owner) is shown to that session only. This is also
//! why a request to cancel needs no token against cross-site requests: a foreign page does not
//! know the handle. Keep it from those who must not see it, as you would a signed link: the access
//! logs of servers and proxies are such a place.
//!
//! # Waiting
//!
//! A wait is one wait at the store and no task; it ends when the client goes away. Without `seen`
//! it is over when the job has ended, which is what a script wants; with `seen`, the `version` of
//! the answer before, it is over at the next change, which is what a progress bar wants. A wait
//! longer than [`max_wait`](StatusRoutesConfig::max_wait) is shortened, so be ready to ask again.
//! [`until`](StatusRoutes::until) answers everybody at once when the server stops.
//!
//! # Events
//!
//! Each event is `id: version` and `data:` the JSON above. The first one comes at once; of changes
//! that follow one another quickly only the last is told; comments keep idle connections alive.
//! The stream ends behind the event of a job that has ended, when the status is gone, after
//! [`events_for`](StatusRoutesConfig::events_for), and when the server stops. A browser then
//! connects again with `Last-Event-ID`, gets nothing twice, and 204 (do not come back) if it knows
//! the end already; pages do well to close the stream when `status` is not `wait`. While the store
//! cannot be reached, a connected client gets only comments and then what it has missed. A poll
//! with `Accept: text/event-stream` is answered with events too.

mod accepted;
mod body;
mod events;
#[cfg(feature = "axum")]
mod extract;
mod idempotency;
mod poll;
mod query;
mod respond;
mod routes;
mod view;

pub use accepted::Accepted;
pub use body::StatusBody;
#[cfg(feature = "axum")]
pub use extract::RequestContext;
pub use idempotency::{IdempotencyKey, InvalidIdempotencyKey};
pub use query::InvalidQuery;
pub use routes::{StatusEndpoint, StatusFuture, StatusRoutes, StatusRoutesConfig};
