//! What happens between the steps of a request, with the application's own routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use standfast_asset_hash::AssetUrls;
use standfast_blobstore::{Blobs, MemoryBlobStore};
use standfast_core::CancellationToken;
use standfast_cron_lock::{Cron, MemoryCronLock};
use standfast_examples::assets::{Page, embedded};
use standfast_examples::jobs::{ReportFiles, ReportJob};
use standfast_examples::record::Record;
use standfast_examples::server::{self, App, Ticks};
use standfast_queue::http::StatusRoutes;
use standfast_queue::subprocess::{Subprocess, SubprocessExecutor};
use standfast_queue::testkit::{Fault, Faulty, Gate, QueueOperation};
use standfast_queue::{
    DeadLetterFilter, DeadLetters as _, JobError, Jobs, MemoryQueue, MemoryStatusStore,
    RedriveOptions, Worker,
};
use standfast_session::MemorySessionHandler;
use tempfile::TempDir;
use tower_service::Service as _;

/// The application on a queue that can be held up, with a handler that makes no real report.
struct Inside {
    queue: Faulty<MemoryQueue>,
    router: Router,
    worker: Worker<Arc<AtomicU32>>,
    /// How often the handler was called.
    calls: Arc<AtomicU32>,
    _staging: TempDir,
}

impl Inside {
    fn new() -> Self {
        let queue = Faulty::new(MemoryQueue::new());
        let jobs = Jobs::new(queue.clone(), MemoryStatusStore::new());
        let calls = Arc::default();
        let worker = jobs.worker(Arc::clone(&calls)).on(make);
        let staging = tempfile::tempdir().unwrap();
        let status = StatusRoutes::new(Arc::clone(jobs.status()));
        let lock = MemoryCronLock::new("inside").unwrap();
        let urls = AssetUrls::new("/{id}/", embedded().into_manifest()).unwrap();
        let app = App {
            jobs,
            blobs: Blobs::new(MemoryBlobStore::new()),
            links: Duration::from_secs(60),
            uploads: Duration::from_secs(60),
            record: Record::default(),
            page: Arc::new(Page::new(&urls, None).unwrap()),
            ticks: Ticks { ledger: Cron::new(lock).ledger(), every: Duration::from_secs(60) },
            staging: SubprocessExecutor::new(Subprocess::new(), staging.path()).unwrap(),
            secret: Arc::new([7; 32]),
            patience: Duration::from_secs(60),
        };
        let sessions = Arc::new(MemorySessionHandler::new());
        let router = server::router(app, status, sessions, "http://localhost").unwrap();
        Self { queue, router, worker, calls, _staging: staging }
    }

    fn post(&self, key: &str, product: &str) -> impl Future<Output = (StatusCode, Value)> + use<> {
        let body = json!({ "data": "sample", "group_by": product, "sum": "revenue" });
        let request = Request::post("/get_report")
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(Body::from(body.to_string()))
            .unwrap();
        answer(self.router.clone(), request)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.router.clone(), Request::get(path).body(Body::empty()).unwrap()).await
    }
}

async fn answer(mut router: Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = router.call(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// Fails the first report by product.
async fn make(job: ReportJob, calls: Arc<AtomicU32>) -> Result<ReportFiles, JobError> {
    let before = calls.fetch_add(1, Ordering::Relaxed);
    if job.group_by == "product" && before == 0 {
        return Err(JobError::dead("the paper has run out"));
    }
    Ok(ReportFiles { report: "r".into(), totals: "t".into() })
}

#[tokio::test]
async fn a_request_that_dies_between_its_two_steps_is_completed_by_its_repetition() {
    let inside = Inside::new();
    let mut polls = Vec::new();
    for round in 0..50 {
        let key = format!("key-{round}");
        // the status is stored; the message is not sent, or nobody hears that it was
        let hold = if round % 2 == 0 { Fault::HoldBefore } else { Fault::HoldAfter };
        inside.queue.script(QueueOperation::Send, [hold(Gate::new())]);
        let sent = inside.queue.calls(QueueOperation::Send);
        let dying = tokio::spawn(inside.post(&key, "region"));
        while inside.queue.calls(QueueOperation::Send) == sent {
            tokio::task::yield_now().await;
        }
        dying.abort();
        assert!(dying.await.unwrap_err().is_cancelled());

        let (status, accepted) = inside.post(&key, "region").await;
        assert_eq!(status, StatusCode::ACCEPTED);
        let poll = accepted["poll"].as_str().unwrap().to_owned();
        assert_eq!(inside.get(&poll).await.0, StatusCode::OK, "a handle that was issued is known");
        polls.push(poll);
    }
    let report = inside.worker.drain().await;
    assert_eq!(report.succeeded, 50);
    assert_eq!(inside.calls.load(Ordering::Relaxed), 50, "each is made once");
    for poll in polls {
        let (_, answer) =
            answer(inside.router.clone(), Request::get(poll).body(Body::empty()).unwrap()).await;
        assert_eq!(answer["status"], "ready", "{answer}");
    }
}

#[tokio::test]
async fn a_dead_letter_that_is_redriven_makes_the_same_handle_ready() {
    let inside = Inside::new();
    let (_, accepted) = inside.post("key", "product").await;
    let poll = accepted["poll"].as_str().unwrap().to_owned();
    let Inside { queue, router, worker, .. } = inside;
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run_until(stop.clone().cancelled_owned()));
    let ask = |suffix: &str| {
        let request = Request::get(format!("{poll}{suffix}")).body(Body::empty()).unwrap();
        let router = router.clone();
        async move { answer(router, request).await.1 }
    };
    let failed = ask("&wait=10s").await;
    assert_eq!(
        (&failed["status"], &failed["error"]),
        (&json!("failed"), &json!("the paper has run out"))
    );
    let dead = queue.list_dead_letters(&DeadLetterFilter::default(), None, 10).await.unwrap();
    assert_eq!(dead.letters.len(), 1);
    assert_eq!(dead.letters[0].reason, "the paper has run out");

    let id = DeadLetterFilter::default().id(dead.letters[0].envelope.id);
    let redriven = queue.redrive(&id, &RedriveOptions::default()).await.unwrap();
    assert_eq!(redriven.sent, 1);
    let ready = async {
        loop {
            let answer = ask("&wait=1s").await;
            if answer["status"] != "failed" {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ready = tokio::time::timeout(Duration::from_secs(10), ready).await.unwrap();
    assert!(matches!(ready["status"].as_str(), Some("ready" | "wait")), "{ready}");
    assert_eq!(ask("&wait=10s").await["status"], "ready");
    stop.cancel();
    running.await.unwrap();
}
