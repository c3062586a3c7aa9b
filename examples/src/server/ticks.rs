//! The ledger of the cron: who won which tick, how late, after whom, and what came of it.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Redirect;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use standfast_core::JobId;
use standfast_cron_lock::{CronLedger, RecordQuery, TickRecord, TickState};
use standfast_queue::JobState;

use super::{App, Failure, links};
use crate::cron;

/// How many ticks a page shows, and how far back it looks for them.
const SHOWN: usize = 12;
const REACH: u32 = 30;

/// What is asked about ticks.
#[derive(Clone, Debug)]
pub struct Ticks {
    /// The records.
    pub ledger: CronLedger,
    /// From one tick to the next.
    pub every: Duration,
}

/// `GET /ticks`: the last ones, the newest first.
pub(super) async fn ticks(State(app): State<App>) -> Result<Json<Value>, Failure> {
    let Ticks { ledger, every } = &app.ticks;
    let mut query = RecordQuery::default();
    query.after = TimeDelta::from_std(*every * REACH).ok().map(|reach| Utc::now() - reach);
    let mut records = ledger.records(&query).await?;
    records.reverse();
    records.truncate(SHOWN);
    let ticks: Vec<Value> = records.iter().map(|record| line(record, *every)).collect();
    Ok(Json(json!({ "every_seconds": every.as_secs_f64(), "ticks": ticks })))
}

fn line(record: &TickRecord, every: Duration) -> Value {
    let state = match record.state {
        TickState::Abandoned => "let go",
        TickState::Claimed => "claimed",
        TickState::Done => "done",
        TickState::Exhausted => "given up",
        TickState::Failed => "failed",
        _ => "unknown",
    };
    let missed = record.previous.map_or(0, |previous| {
        let span = (record.at - previous).as_seconds_f64() / every.as_secs_f64();
        (span.round() as u64).saturating_sub(1)
    });
    let reports: Vec<String> = record.jobs.iter().map(ToString::to_string).collect();
    let former: Vec<&str> = record.former.iter().map(|former| former.owner.name()).collect();
    json!({
        "at": record.at,
        "state": state,
        "winner": record.owner.name(),
        "lag_ms": (record.first_claimed_at - record.at).num_milliseconds(),
        "missed": missed,
        "taken_over_from": former,
        "error": record.error,
        "reports": reports,
    })
}

/// `GET /scheduled/{run}`: to the report that a tick has sent. It is everybody's to see.
pub(super) async fn scheduled(
    State(app): State<App>,
    Path(run): Path<String>,
) -> Result<Redirect, Failure> {
    let missing = |words: &str| Failure::new(StatusCode::NOT_FOUND, words);
    let run: JobId = run.parse().map_err(|_| missing("this is no run"))?;
    let handle = cron::handle(&app.secret, run);
    let status = app.jobs.status().get(&handle).await?;
    let status = status.ok_or_else(|| missing("this report is not kept any more"))?;
    match status.state {
        JobState::Succeeded => {
            let links = links(&app.blobs, status.result.clone(), app.links).await?;
            Ok(Redirect::to(links["url"].as_str().unwrap_or("/")))
        }
        JobState::Queued | JobState::Running => Err(missing("this report is being made")),
        _ => Err(missing("this report could not be made")),
    }
}
