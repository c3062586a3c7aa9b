//! Uploads: streamed to a file, checked, then stored.

use std::path::Path;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use standfast_blobstore::{Blobs, ErrorKind};
use standfast_core::Id128;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::time::timeout;

use super::{App, Failure};
use crate::jobs::{KEEP, columns_key, data_key};
use crate::report::{self, Arrival, Columns};

/// The largest upload in bytes.
pub(super) const MAX_UPLOAD: u64 = 512 * 1024 * 1024;
/// How long an upload may bring nothing.
const STALLED: Duration = Duration::from_secs(60);
/// How long a client that was refused may go on sending.
const LINGER: Duration = Duration::from_secs(2);

/// `POST /data`: a CSV file as the body, or as the field `file` of a form.
///
/// While it arrives it is in a directory that goes whatever happens. Then the data is stored, then
/// its columns, then the id is told: dying in between leaves blobs that nobody knows and that expire.
pub(super) async fn upload(
    State(app): State<App>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let dir = app.staging.directory()?;
    let path = dir.path().join("upload");
    receive(request, &path).await?;
    let found = inspect(&path).await?;
    let id = Id128::random().to_string();
    app.blobs.put_file(data_key(&id)?, &path).content_type("text/csv").expires_in(KEEP).await?;
    keep_columns(&app.blobs, &id, &found).await?;
    Ok(taken(&id, &found))
}

/// The answer to whoever brought data.
pub(super) fn taken(id: &str, found: &Columns) -> (StatusCode, Json<Value>) {
    let answer = json!({ "data": id, "columns": found.columns, "rows": found.rows });
    (StatusCode::CREATED, Json(answer))
}

/// Makes the data known, which is to be there already.
pub(super) async fn keep_columns(blobs: &Blobs, id: &str, found: &Columns) -> Result<(), Failure> {
    let columns = blobs.put(columns_key(id)?, json!(found).to_string());
    columns.content_type("application/json").expires_in(KEEP).await?;
    Ok(())
}

/// The columns of the data with this id, if it is known.
pub(super) async fn columns(blobs: &Blobs, id: &str) -> Result<Option<Columns>, Failure> {
    let Ok(key) = columns_key(id) else { return Ok(None) };
    match blobs.get_bytes(key).await {
        Ok(json) => Ok(serde_json::from_slice(&json).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_form(request: &Request) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("multipart/form-data"))
}

async fn receive(request: Request, path: &Path) -> Result<(), Failure> {
    if is_form(&request) {
        let mut form = Multipart::from_request(request, &()).await.map_err(|_| malformed())?;
        let saved = save_field(&mut form, path).await;
        if saved.is_err() {
            linger(async move { while let Ok(Some(_)) = form.next_field().await {} });
        }
        saved
    } else {
        let mut body = request.into_body().into_data_stream();
        let saved = save(body.by_ref().map_err(|_| cut_off()), path).await;
        if saved.is_err() {
            linger(async move { while let Some(Ok(_)) = body.next().await {} });
        }
        saved
    }
}

async fn save_field(form: &mut Multipart, path: &Path) -> Result<(), Failure> {
    while let Some(field) = form.next_field().await.map_err(|_| malformed())? {
        if field.name() == Some("file") {
            return save(field.map_err(|_| cut_off()), path).await;
        }
    }
    Err(Failure::bad("the form has no field `file`"))
}

fn malformed() -> Failure {
    Failure::bad("the upload is not a well-formed form, or it was cut off")
}

fn cut_off() -> Failure {
    Failure::bad("the upload was cut off; please try again")
}

pub(super) fn too_large() -> Failure {
    let words = format!("the file is larger than {} MiB", MAX_UPLOAD / 1024 / 1024);
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, words)
}

/// Writes what arrives to `path`, and stops as soon as it can be no CSV file or is too large.
pub(super) async fn save(
    mut chunks: impl Stream<Item = Result<Bytes, Failure>> + Unpin,
    path: &Path,
) -> Result<(), Failure> {
    let stalled = |_| Failure::new(StatusCode::REQUEST_TIMEOUT, "the upload stalled; try again");
    let mut file = BufWriter::with_capacity(256 * 1024, File::create(path).await?);
    let mut arrival = Arrival::default();
    let mut size = 0;
    while let Some(chunk) = timeout(STALLED, chunks.next()).await.map_err(stalled)? {
        let chunk = chunk?;
        arrival.check(&chunk)?;
        size += chunk.len() as u64;
        if size > MAX_UPLOAD {
            return Err(too_large());
        }
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    Ok(())
}

/// Goes on taking in, for a moment, what a refused client still sends: closing on it at once could
/// destroy the answer on its way.
fn linger(rest: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(timeout(LINGER, rest));
}

/// Reads the whole file.
pub(super) async fn inspect(path: &Path) -> Result<Columns, Failure> {
    let path = path.to_owned();
    let inspected = tokio::task::spawn_blocking(move || report::inspect_file(&path)).await;
    Ok(inspected.map_err(std::io::Error::other)??)
}
