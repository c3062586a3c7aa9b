//! The HTTP side: the page, uploads, requests for reports, and how they stand.

mod data;
mod failure;
mod health;
mod page;
mod reports;
mod request_id;
mod ticks;
mod uploads;
mod visitor;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post};
use standfast_blobstore::Blobs;
use standfast_core::Result;
use standfast_queue::Jobs;
use standfast_queue::http::StatusRoutes;
use standfast_queue::subprocess::SubprocessExecutor;
use standfast_session::SessionHandler;

pub use failure::Failure;
pub use health::{Health, health};
pub use reports::links;
pub use ticks::Ticks;
pub use uploads::forms_at;

use crate::assets::Page;
use crate::record::Record;

/// What the routes share.
#[derive(Clone, Debug)]
pub struct App {
    /// Where requests for reports go.
    pub jobs: Jobs,
    /// Where uploads go.
    pub blobs: Blobs,
    /// How long a link to a finished report works.
    pub links: Duration,
    /// How long a form for an upload works.
    pub uploads: Duration,
    /// Where uploads are while they arrive.
    pub staging: SubprocessExecutor,
    /// Where it is recorded who asked for what.
    pub record: Record,
    /// What is shown at `/`.
    pub page: Arc<Page>,
    /// Who won which tick.
    pub ticks: Ticks,
    /// Makes handles unguessable where they are derived.
    pub secret: Arc<[u8; 32]>,
    /// How long a request waits for the queue.
    pub patience: Duration,
}

/// All routes, with `status` answering how a report stands, for an application that browsers see
/// under `public_url`.
///
/// # Errors
///
/// `Invalid` for a URL that does not begin with `https://` or `http://`.
pub fn router(
    app: App,
    status: StatusRoutes,
    sessions: Arc<dyn SessionHandler>,
    public_url: &str,
) -> Result<Router> {
    let sessions = visitor::layer(sessions, public_url)?;
    let calls = Router::new()
        .route("/uploads", post(uploads::offer))
        .route("/uploads/{upload}", post(uploads::take))
        .route("/get_report", post(reports::request))
        .route("/my_reports", get(visitor::my_reports))
        .route("/history", get(visitor::history))
        .route("/start_over", post(visitor::start_over))
        .route_service("/is_ready", status.clone())
        .route_service("/is_ready/events", status.clone())
        .route_service("/cancel", status)
        .layer(middleware::from_fn(visitor::identify));
    let router = Router::new()
        .route("/ticks", get(ticks::ticks))
        .route("/scheduled/{run}", get(ticks::scheduled))
        .route("/data", post(data::upload).layer(DefaultBodyLimit::disable()))
        .merge(calls)
        .merge(page::router())
        .fallback(|| async { Failure::new(StatusCode::NOT_FOUND, "there is nothing here") })
        .method_not_allowed_fallback(|| async {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed")
        })
        .layer(sessions)
        .layer(middleware::map_response(failure::in_words))
        .layer(middleware::from_fn(request_id::name))
        .with_state(app);
    Ok(router)
}
