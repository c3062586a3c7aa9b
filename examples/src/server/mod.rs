//! The HTTP side: the page, uploads, requests for reports, and how they stand.

mod data;
mod failure;
mod health;
mod page;
mod reports;
mod visitor;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::post;
use standfast_blobstore::Blobs;
use standfast_queue::Jobs;
use standfast_queue::http::StatusRoutes;
use standfast_queue::subprocess::SubprocessExecutor;

pub use failure::Failure;
pub use health::{Health, health};
pub use reports::links;

/// What the routes share.
#[derive(Clone, Debug)]
pub struct App {
    /// Where requests for reports go.
    pub jobs: Jobs,
    /// Where uploads go.
    pub blobs: Blobs,
    /// Where uploads are while they arrive.
    pub staging: SubprocessExecutor,
    /// Makes handles unguessable where they are derived.
    pub secret: Arc<[u8; 32]>,
    /// How long a request waits for the queue.
    pub patience: Duration,
}

/// All routes, with `status` answering how a report stands.
pub fn router(app: App, status: StatusRoutes) -> Router {
    Router::new()
        .route("/data", post(data::upload).layer(DefaultBodyLimit::disable()))
        .route("/get_report", post(reports::request))
        .route_service("/is_ready", status.clone())
        .route_service("/is_ready/events", status.clone())
        .route_service("/cancel", status)
        .merge(page::router())
        .fallback(|| async { Failure::new(StatusCode::NOT_FOUND, "there is nothing here") })
        .method_not_allowed_fallback(|| async {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed")
        })
        .layer(middleware::from_fn(visitor::recognise))
        .with_state(app)
}
