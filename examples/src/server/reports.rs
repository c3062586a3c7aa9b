//! Requests for reports: checked, sent, answered at once.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use standfast_blobstore::Blobs;
use standfast_core::{BusinessRef, Context, Error, ErrorKind, JobId, Result as CoreResult};
use standfast_queue::StatusHandle;
use standfast_queue::http::{Accepted, IdempotencyKey, RequestContext};
use standfast_session::business::Actor;
use standfast_session::http::Session;

use super::{App, Failure, data, visitor};
use crate::jobs::{ReportFiles, ReportJob, SAMPLE};
use crate::report::{self, Columns};

/// `POST /get_report`, as JSON or as a form.
///
/// In this order: recorded, sent, listed. Died after the first: recorded and never made; after the
/// second: made and not listed. Whoever repeats the request with the same `Idempotency-Key`
/// completes it, and gets the same report.
///
/// While the queue is away the request waits, and is refused when that takes too long. Then the
/// report may have been sent all the same, and is made although nobody has its handle.
pub(super) async fn request(
    State(app): State<App>,
    RequestContext(context): RequestContext,
    session: Session,
    key: Option<IdempotencyKey>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Accepted, Failure> {
    let body = body.map_err(|refused| Failure::new(refused.status(), refused.body_text()))?;
    let job: ReportJob = parse(&headers, &body)?;
    columns(&app.blobs, &job.data).await?.check(&job.group_by, &job.sum)?;
    let sent = send(&app, context, &session, key, &headers, &job, &body);
    let sent = tokio::time::timeout(app.patience, sent).await;
    let handle = sent.map_err(|_| Failure::queue_is_away())??;
    Ok(Accepted::new(handle, "/is_ready"))
}

async fn send(
    app: &App,
    mut context: Context,
    session: &Session,
    key: Option<IdempotencyKey>,
    headers: &HeaderMap,
    job: &ReportJob,
    body: &[u8],
) -> Result<StatusHandle, Failure> {
    visitor::recognise(session, headers, &mut context).await?;
    let owner = context.session;
    let (id, handle) = match key {
        // the same names for the same request: of one visitor, with one key and one content
        Some(key) => key.ids(&[&app.secret[..], body].concat(), owner),
        None => (JobId::random(), StatusHandle::random()),
    };
    let actor = match owner {
        Some(visitor) => Actor::User(visitor.to_string()),
        None => Actor::Service("client".to_owned()),
    };
    context.business.get_or_insert_with(|| BusinessRef::new(format!("report-{id}")));
    app.record.asked(job, id, actor, &context).await?;
    let sent = app.jobs.send(job.clone()).id(id, handle).owner(owner).context(context).await?;
    if owner.is_some() {
        visitor::list(session, sent.id(), job).await?;
    }
    Ok(sent.id())
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
    data::columns(blobs, data).await?.ok_or_else(unknown)
}

/// What a client gets once its report is made: links, signed anew for each answer.
///
/// # Errors
///
/// When they cannot be signed, or the result is none of ours.
pub async fn links(blobs: &Blobs, result: Option<Value>, works_for: Duration) -> CoreResult<Value> {
    let files: ReportFiles =
        serde_json::from_value(result.unwrap_or_default()).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "report", "report.links").with_source(error)
        })?;
    let report = blobs.signed_url(files.report.as_str(), works_for).inline().await?;
    let totals =
        blobs.signed_url(files.totals.as_str(), works_for).download_as("totals.csv").await?;
    Ok(serde_json::json!({ "url": report.as_str(), "totals_url": totals.as_str() }))
}
