//! What runs in a process, each a part of its lifecycle.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use standfast_blobstore::Blobs;
use standfast_core::{BoxError, CancellationToken, Lifecycle, Phase};
use standfast_queue::http::StatusRoutes;
use standfast_queue::{Jobs, Queue, Worker};
use standfast_session::SessionHandler;
use tokio::net::TcpListener;

use crate::jobs::Workshop;
use crate::server;

/// How long requests may take to be finished once the server stops.
const LAST_REQUESTS: Duration = Duration::from_secs(30);
/// How often what has expired is removed, and how much at once.
const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);
const SWEEP: usize = 1000;

/// How reports stand, with links to those that are ready.
pub(crate) fn status_routes(
    jobs: &Jobs,
    blobs: &Blobs,
    works_for: Duration,
    stopping: CancellationToken,
) -> StatusRoutes {
    let blobs = blobs.clone();
    let routes = StatusRoutes::new(Arc::clone(jobs.status())).on_ready(move |status| {
        let blobs = blobs.clone();
        async move { server::links(&blobs, status.result.clone(), works_for).await }
    });
    routes.until(stopping)
}

/// Makes reports until its phase stops, and beyond that until `own_queue` is empty.
pub(crate) fn run_worker(
    lifecycle: &Lifecycle,
    worker: Worker<Workshop>,
    own_queue: Option<Arc<dyn Queue>>,
) {
    let (stopping, released) = (lifecycle.stopping(Phase::Workers), lifecycle.released());
    let worker = worker.release_on(released);
    lifecycle.spawn(Phase::Workers, "worker", async move {
        let stop = async {
            stopping.cancelled().await;
            if let Some(queue) = own_queue {
                while !is_empty(&*queue).await {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        let report = worker.run_until(stop).await;
        tracing::info!(?report, "the worker has stopped");
        Ok::<_, BoxError>(())
    });
}

async fn is_empty(queue: &dyn Queue) -> bool {
    let stats = queue.stats().await.unwrap_or_default();
    stats.ready + stats.leased + stats.delayed == 0
}

/// Removes what has expired from where it does not go by itself; any number of processes may.
pub(crate) fn run_sweeper(lifecycle: &Lifecycle, blobs: Blobs, sessions: Arc<dyn SessionHandler>) {
    let stopping = lifecycle.stopping(Phase::Cron);
    lifecycle.spawn(Phase::Cron, "sweeper", async move {
        loop {
            if let Err(error) = blobs.sweep(SWEEP).await {
                tracing::warn!(%error, "files that have expired stay for now");
            }
            if let Err(error) = sessions.sweep(SWEEP).await {
                tracing::warn!(%error, "sessions that have ended stay for now");
            }
            tokio::select! {
                () = tokio::time::sleep(SWEEP_EVERY) => {}
                () = stopping.cancelled() => return Ok::<_, BoxError>(()),
            }
        }
    });
}

/// Serves until its phase stops.
pub(crate) fn serve(lifecycle: &Lifecycle, listener: TcpListener, router: Router) {
    let (stopping, released) = (lifecycle.stopping(Phase::Http), lifecycle.released());
    lifecycle.spawn(Phase::Http, "http", async move {
        let serve = axum::serve(listener, router);
        let serve = serve.with_graceful_shutdown(stopping.clone().cancelled_owned());
        let enough = async {
            stopping.cancelled().await;
            released.run_until_cancelled(tokio::time::sleep(LAST_REQUESTS)).await;
        };
        tokio::select! {
            served = serve => served,
            () = enough => {
                tracing::warn!("clients that did not finish their requests are left");
                Ok(())
            }
        }
    });
}
