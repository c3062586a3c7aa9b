//! Whether the process works, for what restarts it, sends it traffic, and looks after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::join_all;
use serde_json::{Value, json};
use standfast_core::{Health as Answer, HealthCheck, Lifecycle, Verdict};

/// How long a part may take to say how it is.
const ASKED_FOR: Duration = Duration::from_secs(2);

/// What the health endpoints ask.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "checks need not have one")]
pub struct Health {
    /// Whether the process wants traffic.
    pub lifecycle: Lifecycle,
    /// What it stands on, and its own worker.
    pub checks: Arc<[Arc<dyn HealthCheck + Send + Sync>]>,
}

/// `/live`, `/ready` and `/health`.
///
/// A backend that is away is no reason to restart a process, which would not bring it back, nor to
/// send traffic elsewhere, where it is away, too. So the first two do not ask.
pub fn health(health: Health) -> Router {
    Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/health", get(detailed))
        .with_state(health)
}

/// 200 while the process wants traffic: not when it begins to stop.
async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    match health.lifecycle.is_ready() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

/// How everything is; 200 while the process wants traffic and all of that works.
async fn detailed(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    let answers = join_all(health.checks.iter().map(|check| ask(&**check))).await;
    let ready = health.lifecycle.is_ready();
    let code = match ready && answers.iter().all(Answer::is_usable) {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let parts: Vec<Value> = answers.iter().map(in_words).collect();
    (code, Json(json!({ "ready": ready, "parts": parts })))
}

async fn ask(check: &(dyn HealthCheck + Send + Sync)) -> Answer {
    let began = Instant::now();
    let late = |_| {
        let verdict = Verdict::Failing(format!("no answer within {ASKED_FOR:?}"));
        Answer::since("a part", began, verdict)
    };
    tokio::time::timeout(ASKED_FOR, check.health()).await.unwrap_or_else(late)
}

fn in_words(answer: &Answer) -> Value {
    let (state, why) = match &answer.verdict {
        Verdict::Healthy => ("healthy", None),
        Verdict::Degraded(why) => ("degraded", Some(why)),
        Verdict::Failing(why) => ("failing", Some(why)),
        _ => ("unknown", None),
    };
    let millis = answer.latency.as_secs_f64() * 1000.0;
    json!({ "asked": answer.asked, "state": state, "why": why, "latency_ms": millis })
}
