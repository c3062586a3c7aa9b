//! Requests for reports: checked, sent, answered at once.

use std::future::IntoFuture;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use standfast_blobstore::{Blobs, ErrorKind};
use standfast_core::{Error, Result as CoreResult};
use standfast_queue::http::{Accepted, IdempotencyKey, RequestContext};

use super::{App, Failure};
use crate::jobs::{ReportFiles, ReportJob, SAMPLE, columns_key};
use crate::report::{self, Columns};

/// How long a link to a finished report works.
const LINK: Duration = Duration::from_secs(60 * 60);

/// `POST /get_report`, as JSON or as a form.
///
/// While the queue is away the request waits, and is refused when that takes too long. Then the
/// report may have been sent all the same, and is made although nobody has its handle; whoever
/// repeats the request with the same `Idempotency-Key` gets that one.
pub(super) async fn request(
    State(app): State<App>,
    RequestContext(context): RequestContext,
    key: Option<IdempotencyKey>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Accepted, Failure> {
    let body = body.map_err(|refused| Failure::new(refused.status(), refused.body_text()))?;
    let job: ReportJob = parse(&headers, &body)?;
    columns(&app.blobs, &job.data).await?.check(&job.group_by, &job.sum)?;
    let owner = context.session;
    let send = app.jobs.send(job).owner(owner).context(context);
    let send = match key {
        // the same names for the same request: of one visitor, with one key and one content
        Some(key) => {
            let (id, handle) = key.ids(&[&app.secret[..], &body].concat(), owner);
            send.id(id, handle)
        }
        None => send,
    };
    let sent = tokio::time::timeout(app.patience, send.into_future()).await;
    let handle = sent.map_err(|_| Failure::queue_is_away())??;
    Ok(Accepted::new(handle.id(), "/is_ready"))
}

fn parse<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Failure> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let parsed = match kind.split(';').next().unwrap_or_default().trim() {
        "application/json" => serde_json::from_slice(body).map_err(|error| error.to_string()),
        "application/x-www-form-urlencoded" | "" => {
            serde_urlencoded::from_bytes(body).map_err(|error| error.to_string())
        }
        other => {
            let words = format!("send JSON or a form, not `{other}`");
            return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
        }
    };
    parsed.map_err(|error| {
        Failure::bad(format!("`data`, `group_by` and `sum` are needed, each as text: {error}"))
    })
}

/// The columns of the data, if it is known.
async fn columns(blobs: &Blobs, data: &str) -> Result<Columns, Failure> {
    if data == SAMPLE {
        return report::inspect_sample().map_err(Failure::from);
    }
    let unknown = || Failure::bad("this data is not known, or not kept any more; upload it again");
    let key = columns_key(data).map_err(|_| unknown())?;
    match blobs.get_bytes(key).await {
        Ok(json) => serde_json::from_slice(&json).map_err(|_| unknown()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(unknown()),
        Err(error) => Err(error.into()),
    }
}

/// What a client gets once its report is made: links, signed anew for each answer.
///
/// # Errors
///
/// When they cannot be signed, or the result is none of ours.
pub async fn links(blobs: &Blobs, result: Option<Value>) -> CoreResult<Value> {
    let files: ReportFiles =
        serde_json::from_value(result.unwrap_or_default()).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "report", "report.links").with_source(error)
        })?;
    let report = blobs.signed_url(files.report.as_str(), LINK).inline().await?;
    let totals = blobs.signed_url(files.totals.as_str(), LINK).download_as("totals.csv").await?;
    Ok(serde_json::json!({ "url": report.as_str(), "totals_url": totals.as_str() }))
}
