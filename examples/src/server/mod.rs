//! The HTTP side: the page, uploads, requests for reports, and how they stand.

mod data;
mod failure;
mod page;
mod reports;
mod visitor;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post};
use standfast_blobstore::Blobs;
use standfast_core::{HealthCheck, Lifecycle};
use standfast_queue::http::StatusRoutes;
use standfast_queue::subprocess::SubprocessExecutor;
use standfast_queue::{Jobs, WorkerHealth};

pub use failure::Failure;
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
    /// Whether the application wants traffic.
    pub lifecycle: Lifecycle,
    /// Whether the worker gets at its queue.
    pub worker: WorkerHealth,
}

/// All routes, with `status` answering how a report stands.
pub fn router(app: App, status: StatusRoutes) -> Router {
    Router::new()
        .route("/data", post(data::upload).layer(DefaultBodyLimit::disable()))
        .route("/get_report", post(reports::request))
        .route_service("/is_ready", status.clone())
        .route_service("/is_ready/events", status.clone())
        .route_service("/cancel", status)
        .route("/health", get(health))
        .merge(page::router())
        .fallback(|| async { Failure::new(StatusCode::NOT_FOUND, "there is nothing here") })
        .method_not_allowed_fallback(|| async {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed")
        })
        .layer(middleware::from_fn(visitor::recognise))
        .with_state(app)
}

/// 200 while the instance wants traffic and its worker works.
async fn health(State(app): State<App>) -> (StatusCode, String) {
    let worker = app.worker.health().await;
    let code = match app.lifecycle.is_ready() && worker.is_usable() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, format!("{:?}\n", worker.verdict))
}
