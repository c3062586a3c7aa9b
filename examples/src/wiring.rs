//! Where the parts meet: the only file that names a backend.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use standfast_blobstore::{
    BlobRoutes, BlobStore, Blobs, ErrorKind, FsBlobStore, MemoryBlobStore, SigningKey, UrlSigner,
};
use standfast_core::{
    Backoff, BoxError, CancellationToken, Lifecycle, LifecycleConfig, Phase, random,
};
use standfast_queue::http::StatusRoutes;
use standfast_queue::subprocess::{Subprocess, SubprocessExecutor};
use standfast_queue::{
    Jobs, KindConfig, MemoryQueue, MemoryQueueConfig, MemoryStatusStore, Queue, RetryPolicy, Worker,
};
use tokio::net::TcpListener;

use crate::config::{BlobsAt, Config};
use crate::jobs::{Workshop, make_report};
use crate::server::{self, App};

/// Where signed links point.
const FILES: &str = "/files";
/// How many reports may wait.
const MAX_WAITING: usize = 10_000;
/// How long a report that was accepted may take to be made once the server stops.
const LAST_REPORTS: Duration = Duration::from_secs(60 * 60);
/// How long requests may take to be finished once the server stops.
const LAST_REQUESTS: Duration = Duration::from_secs(30);
/// How often the disk is freed of what has expired, and how much at once.
const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);
const SWEEP: usize = 1000;

/// Starts everything in this process as parts of the returned lifecycle, and says where it serves.
///
/// # Errors
///
/// When the address cannot be had, or the directory for files not be used.
pub async fn start(config: Config) -> Result<(Lifecycle, SocketAddr), BoxError> {
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    let address = listener.local_addr()?;
    let mut lifetimes = LifecycleConfig::default();
    lifetimes.phase_timeout = LAST_REPORTS;
    let lifecycle = Lifecycle::with_config(lifetimes);

    let signer = UrlSigner::new(public_url(&config, address) + FILES, SigningKey::random());
    let (blobs, files) = open_blobs(&config.blobs, &signer).await?;
    let mut queue = MemoryQueueConfig::default();
    queue.max_len = MAX_WAITING;
    let queue = MemoryQueue::with_config(queue);
    let jobs = Jobs::new(queue.clone(), MemoryStatusStore::new());

    let job_process = Subprocess::new().arg("job").inherit_nothing().grace(Duration::from_secs(3));
    let executor = SubprocessExecutor::new(job_process, std::env::temp_dir())?;
    let workshop = Workshop { blobs: blobs.clone(), executor: executor.clone() };
    let kind = KindConfig::default().timeout(Duration::from_secs(config.time_limit)).retry(
        RetryPolicy::default()
            .max_attempts(3)
            .backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(10))),
    );
    let worker = jobs.worker(workshop).on_with(kind, make_report).concurrency(config.jobs);
    let health = worker.health();
    run_worker(&lifecycle, worker, queue);
    run_sweeper(&lifecycle, blobs.clone());

    let status = status_routes(&jobs, &blobs, lifecycle.stopping(Phase::Http));
    let app = App {
        jobs,
        blobs,
        staging: executor,
        secret: Arc::new(random::bytes()),
        lifecycle: lifecycle.clone(),
        worker: health,
    };
    let router = server::router(app, status).nest_service(FILES, files);
    serve(&lifecycle, listener, router);
    Ok((lifecycle, address))
}

/// Links are absolute, unless nobody knows under which name the server is reached.
fn public_url(config: &Config, address: SocketAddr) -> String {
    match &config.public_url {
        Some(url) => url.clone(),
        None if address.ip().is_unspecified() => String::new(),
        None => format!("http://{address}"),
    }
}

async fn open_blobs(at: &BlobsAt, signer: &UrlSigner) -> Result<(Blobs, BlobRoutes), BoxError> {
    let BlobsAt::Directory(path) = at else { return Ok(in_memory(signer)) };
    match FsBlobStore::open(path).await {
        Ok(store) => Ok(with_routes(store.with_signer(signer.clone()), signer)),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            tracing::warn!(%error, "files are kept in memory instead");
            Ok(in_memory(signer))
        }
        Err(error) => Err(error.into()),
    }
}

fn in_memory(signer: &UrlSigner) -> (Blobs, BlobRoutes) {
    with_routes(MemoryBlobStore::new().with_signer(signer.clone()), signer)
}

fn with_routes(store: impl BlobStore + Clone, signer: &UrlSigner) -> (Blobs, BlobRoutes) {
    (Blobs::new(store.clone()), BlobRoutes::new(store, signer.clone()))
}

fn status_routes(jobs: &Jobs, blobs: &Blobs, stopping: CancellationToken) -> StatusRoutes {
    let blobs = blobs.clone();
    let routes = StatusRoutes::new(Arc::clone(jobs.status())).on_ready(move |status| {
        let blobs = blobs.clone();
        async move { server::links(&blobs, status.result.clone()).await }
    });
    routes.until(stopping)
}

/// The queue is in this process and goes with it, so the worker stops only once it is empty.
fn run_worker(lifecycle: &Lifecycle, worker: Worker<Workshop>, queue: MemoryQueue) {
    let (stopping, released) = (lifecycle.stopping(Phase::Workers), lifecycle.released());
    let worker = worker.release_on(released);
    lifecycle.spawn(Phase::Workers, "worker", async move {
        let report = worker
            .run_until(async {
                stopping.cancelled().await;
                while !is_empty(&queue).await {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })
            .await;
        tracing::info!(?report, "the worker has stopped");
        Ok::<_, BoxError>(())
    });
}

async fn is_empty(queue: &impl Queue) -> bool {
    let stats = queue.stats().await.unwrap_or_default();
    stats.ready + stats.leased + stats.delayed == 0
}

fn run_sweeper(lifecycle: &Lifecycle, blobs: Blobs) {
    let stopping = lifecycle.stopping(Phase::Cron);
    lifecycle.spawn(Phase::Cron, "sweeper", async move {
        loop {
            if let Err(error) = blobs.sweep(SWEEP).await {
                tracing::warn!(%error, "what has expired stays for now");
            }
            tokio::select! {
                () = tokio::time::sleep(SWEEP_EVERY) => {}
                () = stopping.cancelled() => return Ok::<_, BoxError>(()),
            }
        }
    });
}

fn serve(lifecycle: &Lifecycle, listener: TcpListener, router: Router) {
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
