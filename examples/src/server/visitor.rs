//! Who asks. Whoever opens the page gets a session; the reports it asks for are in its list, and
//! are shown to it alone. A client that keeps no cookies, such as a script, gets handles that
//! whoever knows them may use: a session that it throws away would lock it out of its own reports.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use axum::middleware::Next;
use axum::response::{Redirect, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use standfast_core::{BusinessRef, Context, Id128, SessionRef};
use standfast_queue::StatusHandle;
use standfast_session::business::BusinessEvent;
use standfast_session::http::{Session, SessionError, SessionLayer, SessionLayerConfig};
use standfast_session::{FieldValue, Flash, FlashLevel, SessionHandler, Snapshot, Timeouts};

use super::{App, Failure};
use crate::jobs::{KEEP, ReportJob};

/// Where the list of reports is in a session, and how long it gets.
const REPORTS: &str = "reports";
const LISTED: usize = 20;
/// The kind of business session that a visitor's reports belong to.
const BUSINESS: &str = "reports";

/// Sessions for an application that browsers see under `public_url`.
pub(super) fn layer(
    sessions: Arc<dyn SessionHandler>,
    public_url: &str,
) -> standfast_core::Result<SessionLayer> {
    let mut config = SessionLayerConfig::default();
    // as long as there may be reports in it
    config.timeouts = Timeouts::new(KEEP, 7 * KEEP);
    config.is_persistent = true;
    SessionLayer::with_config(sessions, public_url, config)
}

/// Looks up the session, if there is one, before whatever the page calls. While that cannot be
/// done nothing else is: somebody else's report and an unknown one are the same 404, which must not
/// be said of one's own. The page itself is shown.
pub(super) async fn identify(
    session: Session,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let context = session.context().await?;
    if let Some(owner) = context.session {
        request.extensions_mut().insert(owner);
    }
    request.extensions_mut().insert(context);
    Ok(next.run(request).await)
}

/// One line of the list.
#[derive(Deserialize, Serialize)]
struct Listed {
    handle: String,
    title: String,
    asked_at: DateTime<Utc>,
}

/// Whose it is what is asked for, if anybody's: `known` is the session as it was looked up.
pub(super) async fn owner(
    session: &Session,
    headers: &HeaderMap,
    known: Option<SessionRef>,
) -> Result<Option<SessionRef>, SessionError> {
    match known {
        // its session has ended; a client that sends cookies keeps the new one
        None if headers.contains_key(COOKIE) => session.ensure().await.map(Some),
        known => Ok(known),
    }
}

/// Puts the session and the business session of whoever asks into `context`.
///
/// Of several first requests at once, each links the same business session, and one of them does.
pub(super) async fn recognise(
    session: &Session,
    headers: &HeaderMap,
    context: &mut Context,
) -> Result<(), SessionError> {
    context.session = owner(session, headers, context.session).await?;
    let Some(owner) = context.session else { return Ok(()) };
    let business = business_of(owner);
    if session.business(BUSINESS).await?.is_none() {
        session.attach(BUSINESS, &business);
        match session.commit().await {
            Err(error) if error.conflict().is_some() => {}
            committed => committed?,
        }
    }
    context.business = Some(business);
    Ok(())
}

/// The reference cannot log in, and what is derived from it cannot either.
fn business_of(session: SessionRef) -> BusinessRef {
    let session = Id128::from(session).to_bytes();
    let id = Id128::derive("standfast-report:business:1", &[&session]);
    BusinessRef::new(format!("visitor-{id}"))
}

/// Puts a report into the list of the session, unless it is there. What requests at the same time
/// put into it is all in it.
///
/// Died before it: the report is made and not listed; asked for again with its `Idempotency-Key`,
/// it is.
pub(super) async fn list(
    session: &Session,
    handle: StatusHandle,
    job: &ReportJob,
) -> Result<(), SessionError> {
    let handle = handle.to_string();
    let known = session.load().await?.map(|snapshot| listed(&snapshot)).unwrap_or_default();
    if known.iter().all(|listed| listed.handle != handle) {
        let listed = Listed { handle, title: job.title(), asked_at: Utc::now() };
        let listed = json!(listed).to_string();
        session.record(|patch| patch.append(REPORTS, listed, LISTED));
    }
    Ok(())
}

/// `GET /my_reports`: what this session has asked for, the newest first.
pub(super) async fn my_reports(session: Session) -> Result<Json<Value>, Failure> {
    let reports = session.load().await?.map(|snapshot| listed(&snapshot)).unwrap_or_default();
    Ok(Json(json!({ "reports": reports })))
}

fn listed(snapshot: &Snapshot) -> Vec<Listed> {
    let Some(FieldValue::List(list)) = snapshot.field(REPORTS).map(|field| &field.value) else {
        return Vec::new();
    };
    // a line that an older release wrote otherwise is left out
    list.iter().rev().filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// `GET /history`: what the record has about this session, the newest first.
pub(super) async fn history(
    State(app): State<App>,
    session: Session,
) -> Result<Json<Value>, Failure> {
    let kept = match session.business(BUSINESS).await? {
        Some(business) => app.record.history(&business).await?,
        None => None,
    };
    let Some(history) = kept else { return Ok(Json(json!({ "events": [] }))) };
    let event = |event: &BusinessEvent| {
        json!({
            "seq": event.seq,
            "at": event.at,
            "what": event.step.split('-').next(),
            "why": event.cause,
            "actor": event.actor,
            "request_id": event.request_id,
            "job": event.origin,
            "hash": event.hash.to_string(),
        })
    };
    let events: Vec<Value> = history.events.iter().map(event).collect();
    Ok(Json(json!({ "events": events, "is_sound": history.is_sound })))
}

/// `POST /start_over`: ends the session and begins another one, which says so once.
pub(super) async fn start_over(session: Session) -> Result<Redirect, Failure> {
    session.logout().await?;
    session.flash(FlashLevel::Success, "You have started over: your list is empty.");
    Ok(Redirect::to("/"))
}

/// What the page does with a session: begins it, and takes the messages that were left for it.
pub(super) async fn welcome(session: &Session) -> Result<Vec<Flash>, SessionError> {
    session.ensure().await?;
    session.take_flashes().await
}
