//! Uploads that go past this server, where the files can be had that way: a form for each, with
//! which a browser sends its file to where files are kept; then the file is looked at and taken.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use standfast_blobstore::{BlobKey, Blobs, CopyOptions, Expiry, ExpiryChange, GetOutcome, Version};
use standfast_core::{Id128, Result as CoreResult, SessionRef};
use standfast_queue::http::RequestContext;
use standfast_session::http::Session;

use super::data::{self, MAX_UPLOAD};
use super::{App, Failure, visitor};
use crate::jobs::{KEEP, data_key};
use crate::report::ReportError;

/// How long a file is kept that nobody takes, and one that was taken: until then it can be again.
const UNTAKEN: Duration = Duration::from_secs(60 * 60);
/// What a table may be called.
const TYPES: [&str; 3] = ["text/csv", "text/plain", "text/tab-separated-values"];

/// What somebody would upload.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// How many bytes.
    size: u64,
    /// Its media type.
    #[serde(rename = "type", default = "csv")]
    kind: String,
}

fn csv() -> String {
    TYPES[0].to_owned()
}

/// `POST /uploads`: a form for one file of this size and type, for whoever asks alone.
///
/// Died before, at or after it: nothing is kept that does not go by itself.
pub(super) async fn offer(
    State(app): State<App>,
    RequestContext(context): RequestContext,
    session: Session,
    headers: HeaderMap,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    if !app.blobs.capabilities().sign_form {
        let words = "files are not taken this way here; send them to /data";
        return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, words));
    }
    let refused = |refused: JsonRejection| Failure::new(refused.status(), refused.body_text());
    let Json(Wanted { size, kind }) = wanted.map_err(refused)?;
    if !TYPES.contains(&&*kind) {
        let words = format!("a table is of the type {}", TYPES.join(" or "));
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
    }
    match size {
        0 => return Err(ReportError::Empty.into()),
        1..=MAX_UPLOAD => {}
        _ => return Err(data::too_large()),
    }
    let owner = visitor::owner(&session, &headers, context.session).await?;
    let id = Id128::random();
    let form = app.blobs.signed_form(key(owner, id)?, app.uploads);
    let form = form.exactly(size).content_type(kind).blob_expires_in(UNTAKEN).await?;
    let fields: Map<String, Value> =
        form.fields.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let answer = json!({
        "upload": id.to_string(),
        "url": form.as_str(),
        "fields": fields,
        "expires_at": form.effective_expires_at,
    });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// `POST /uploads/{upload}`: checks what was uploaded, and takes it as `POST /data` does.
///
/// What is taken is a copy of the very bytes that were checked, under an id that follows from them:
/// the form is good for other bytes until it ends, and these are other data. So a repeated request
/// is answered with the same id. First the copy is stored, then the columns: died in between leaves
/// a copy that nobody knows and that expires, and the repeated request does it again.
pub(super) async fn take(
    State(app): State<App>,
    RequestContext(context): RequestContext,
    Path(upload): Path<String>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let upload: Id128 = upload.parse().map_err(|_| unknown())?;
    let key = key(context.session, upload)?;
    let version = app.blobs.head(&key).await?.ok_or_else(unknown)?.version;
    let id = data_id(&app.secret, &key, &version).to_string();
    if let Some(found) = data::columns(&app.blobs, &id).await? {
        return Ok(data::taken(&id, &found));
    }
    let GetOutcome::Found(blob) = app.blobs.get(&key).if_match(&version).await? else {
        return Err(changed());
    };
    let dir = app.staging.directory()?;
    let path = dir.path().join("upload");
    data::save(blob.into_stream().map_err(Failure::from), &path).await?;
    let found = data::inspect(&path).await?;
    let expiry = ExpiryChange::Set(Expiry::In(KEEP));
    let copy = CopyOptions::default().with_source(version).with_expiry(expiry);
    let copied = app.blobs.copy_with(&key, data_key(&id)?, &copy).await?;
    copied.stored().ok_or_else(changed)?;
    data::keep_columns(&app.blobs, &id, &found).await?;
    Ok(data::taken(&id, &found))
}

/// Not there, not yet, not any more, or somebody else's: no one can tell.
fn unknown() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "this upload is not known, or not kept any more")
}

fn changed() -> Failure {
    Failure::new(StatusCode::CONFLICT, "the upload changed while it was checked; try again")
}

/// Where an upload is, which whoever asks for it says by asking: another visitor looks elsewhere.
fn key(owner: Option<SessionRef>, upload: Id128) -> CoreResult<BlobKey> {
    let owner = match owner {
        Some(session) => {
            let session = Id128::from(session).to_bytes();
            Id128::derive("standfast-report:uploads:1", &[&session]).to_string()
        }
        None => "anybody".to_owned(),
    };
    BlobKey::new(format!("uploads/{owner}/{upload}"))
}

/// Guessed by nobody, and the same for the same bytes of the same upload.
fn data_id(secret: &[u8; 32], key: &BlobKey, version: &Version) -> Id128 {
    let parts = [&secret[..], key.as_str().as_bytes(), version.as_str().as_bytes()];
    Id128::derive("standfast-report:data:1", &parts)
}

/// Where the forms of these files lead, if there are any: the address that one shows.
///
/// # Errors
///
/// When none can be signed.
pub async fn forms_at(blobs: &Blobs) -> CoreResult<Option<String>> {
    if !blobs.capabilities().sign_form {
        return Ok(None);
    }
    let form = blobs.signed_form("uploads/nobody", Duration::from_secs(1)).await?;
    Ok(Some(form.into_string()))
}
